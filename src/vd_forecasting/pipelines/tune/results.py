"""The files that a search leaves beside its page: its trials, and its best settings."""

from typing import Any

import pandas as pd
import yaml

from vd_forecasting.artefacts import Tuned
from vd_forecasting.artefacts.records import TunedSettings
from vd_forecasting.pipelines.tune.found import COMPLETE, FAILED, PRUNED, Found
from vd_forecasting.pipelines.tune.settings import in_blocks
from vd_forecasting.wording import number, plural


def write_results(found: Found) -> tuple[pd.DataFrame, Tuned, str, str]:
    """Write down what was found.

    Returns:
        A row per trial; the record of the best settings; these as a block for ``conf/local``; and
        the same as a file for ``kedro run --config``.
    """
    block = {found.experiment: in_blocks(found.best.settings)}
    return (
        trial_table(found),
        summarise(found),
        _as_yaml(found, block),
        _as_yaml(found, {"run": {"namespace": found.experiment, "params": block}}),
    )


def trial_table(found: Found) -> pd.DataFrame:
    """A row per trial: how it ended and a column for each setting, lists as text."""
    names = dict.fromkeys(name for trial in found.trials for name in trial.settings)
    rows = [
        {
            "number": trial.number,
            "state": trial.state,
            "value": trial.loss,
            "best_epoch": trial.best_epoch,
            "epochs": len(trial.losses),
            "seconds": trial.seconds,
            **{name: _as_cell(trial.settings.get(name)) for name in names},
            "reason": trial.reason,
        }
        for trial in found.trials
    ]
    return pd.DataFrame(rows).astype({"best_epoch": "Int64"})


def _as_cell(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value


def summarise(found: Found) -> Tuned:
    """The record of the best settings."""
    return Tuned(
        experiment=found.experiment,
        study=found.study,
        source=found.data.source,
        until=found.data.until,
        best=TunedSettings(**in_blocks(found.best.settings)),
        complete=len(found.those(COMPLETE)),
        pruned=len(found.those(PRUNED)),
        failed=len(found.those(FAILED)),
        seconds=found.seconds,
        budget=found.budget,
    )


def _as_yaml(found: Found, content: dict[str, Any]) -> str:
    """YAML that begins with where it is from."""
    trials = plural(len(found.trials), "trial")
    return (
        f"# {found.experiment}: trial {found.best.number}, the best of {trials} of study "
        f"{found.study}, validation loss {number(found.best.loss)}.\n"
        f"{yaml.safe_dump(content, sort_keys=False, default_flow_style=None)}"
    )
