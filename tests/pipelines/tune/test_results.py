"""The files of a search say what was tried, and can be used as they are."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from tests.make.studies import descend, searched
from vd_forecasting.artefacts import Tuned
from vd_forecasting.cli import run
from vd_forecasting.pipelines.tune.found import Found
from vd_forecasting.pipelines.tune.results import write_results
from vd_forecasting.pipelines.tune.settings import Settings
from vd_forecasting.pipelines.tune.study import Epoch, TrialFailed


@pytest.fixture
def found(tmp_path: Path) -> Found:
    pytest.importorskip("optuna")

    def train(settings: Settings, number: int) -> Iterator[Epoch]:
        if number == 2:
            raise TrialFailed("no memory", 0.0)
        return descend(settings, number)

    return searched(tmp_path, train)


def test_every_trial_is_a_row(found: Found) -> None:
    table, *_ = write_results(found)
    assert [*table] == [
        *("number", "state", "value", "best_epoch", "epochs", "seconds"),
        *("model.hidden_size", "model.dropout", "training.learning_rate", "reason"),
    ]
    first, failed = table.iloc[0], table.iloc[2]
    assert (first["state"], first["best_epoch"], first["epochs"]) == ("complete", 4, 4)
    assert first["value"] == found.trials[0].loss
    assert (failed["state"], failed["reason"]) == ("failed", "no memory")
    assert failed.isna()["value"]


def test_the_record_counts_the_trials(found: Found) -> None:
    _, record, *_ = write_results(found)
    assert (record.trials, record.failed) == (8, 1)
    assert record.seconds == found.seconds
    assert (record.source, record.until) == ("made.h5", "2024-03-20T00:00:00")
    assert Tuned.model_validate_json(record.model_dump_json()) == record


def test_the_best_settings_are_a_block_of_parameters(found: Found) -> None:
    *_, block, _ = write_results(found)
    comment, _, _ = block.partition("\n")
    assert comment.startswith(f"# single_vd_lstm: trial {found.best.number}, the best of 8 trials")
    best = found.best.settings
    assert yaml.safe_load(block) == {
        "single_vd_lstm": {
            "model": {
                "hidden_size": best["model.hidden_size"],
                "dropout": best["model.dropout"],
            },
            "training": {"learning_rate": best["training.learning_rate"]},
        }
    }


def test_the_best_settings_are_a_file_of_options(found: Found, tmp_path: Path) -> None:
    *_, block, options = write_results(found)
    path = tmp_path / "tuned.yml"
    path.write_text(options)
    context = click.Context(run, info_name="run")
    with context:
        run.parse_args(context, ["--config", str(path)])
    assert context.params["params"] == yaml.safe_load(block)
