"""What a run will take, before it starts: trainings, time, memory and disk.

Time and memory are measured ones, of the last run of an experiment with the same network, batch
size and device; without one they are not known. Disk follows from the shape of the forecasts.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline.node import Node
from kedro.validation import DataValidationError
from pydantic import BaseModel, ValidationError

from vd_forecasting.artefacts import Config, Cost, History
from vd_forecasting.parameters import IndependentMultiVDWindows, MultiVDWindows, Training, Windows
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import duration, listed, megabytes, plural

PROGRAM_BYTES = 525_000_000
"""Python with torch and the other libraries, on Linux without a GPU."""
FLOAT_BYTES = 4
NOTABLE_SECONDS = 2.0
"""A shorter training gives no idea of the others, or took up a finished one."""

Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True)
class Planned:
    """The trainings of one experiment."""

    experiment: str
    windows: Windows
    training: Training

    @property
    def models(self) -> int:
        """Models that are trained from every seed."""
        if not isinstance(self.windows, IndependentMultiVDWindows):
            return 1
        index = self.windows.target_vd_index
        if index == "all":
            return self.windows.num_vds
        return 1 if isinstance(index, int) else len(set(index))

    @property
    def seeds(self) -> int:
        """Seeds of every model."""
        return len(self.training.seeds)

    @property
    def vds(self) -> int:
        """Detectors that are forecast."""
        return self.windows.num_vds if isinstance(self.windows, MultiVDWindows) else self.models

    @property
    def length(self) -> int:
        """Steps of a window."""
        return self.windows.sequence_length + self.windows.prediction_length


def is_training(node: Node) -> bool:
    """Whether a node trains networks."""
    return any(name.endswith(".training_state") for name in node.inputs)


def plan_trainings(nodes: Iterable[Node], catalog: CatalogProtocol) -> list[Planned]:
    """The trainings among the nodes of a run, by experiment."""
    return [
        Planned(
            node.namespace,
            catalog.load(f"params:{node.namespace}.windows"),
            catalog.load(f"params:{node.namespace}.training"),
        )
        for node in nodes
        if is_training(node) and node.namespace is not None
    ]


def count_trainings(planned: Iterable[Planned]) -> str:
    """``12 trainings: 5 experiments of 1 model × 2 seeds, multi_vd_lstm of 1 model × 2 seeds``."""
    by_size: dict[tuple[int, int], list[str]] = {}
    for one in planned:
        by_size.setdefault((one.models, one.seeds), []).append(one.experiment)
    total = sum(models * seeds * len(names) for (models, seeds), names in by_size.items())
    parts = [
        f"{names[0] if len(names) == 1 else plural(len(names), 'experiment')} of "
        f"{plural(models, 'model')} × {plural(seeds, 'seed')}"
        for (models, seeds), names in by_size.items()
    ]
    return f"{plural(total, 'training')}: {', '.join(parts)}"


def estimate(planned: list[Planned], steps: int | None, catalog: CatalogProtocol) -> list[str]:
    """Time, memory and disk of trainings, a line each.

    Args:
        planned: the trainings.
        steps: time steps of the detector file, see :func:`time_steps`.
        catalog: parameters and the records of earlier runs.
    """
    seconds: dict[str, float] = {}
    step_bytes: dict[str, int] = {}
    for one in planned:
        config = _record(catalog, f"{one.experiment}.config", Config)
        if config is None or not _is_like(config, one, catalog):
            continue
        history = _record(catalog, f"{one.experiment}.training_history", History)
        if history is not None:
            seconds[one.experiment] = _seconds(one, config, history, steps, catalog)
        cost = _record(catalog, f"{one.experiment}.cost", Cost)
        if cost is not None:
            step_bytes[one.experiment] = cost.training_step_bytes
    return [
        _time(planned, seconds),
        _memory(planned, step_bytes),
        _disk(planned, steps, catalog),
    ]


def time_left(seconds: Sequence[float], total: int) -> str | None:
    """``2 of 10 models trained, about 12 min left``; None if that is not worth a line.

    Args:
        seconds: of each training so far; those that an earlier run had finished take next to none.
        total: number of trainings.
    """
    trained = [one for one in seconds if one >= NOTABLE_SECONDS]
    left = total - len(seconds)
    if total <= 2 or not left or not trained:
        return None
    expected = duration(statistics.fmean(trained) * left)
    return f"{len(seconds)} of {total} models trained, about {expected} left"


def time_steps(catalog: CatalogProtocol, name: str) -> int | None:
    """Time steps of a detector file once it is cleaned; None if it cannot be read.

    Args:
        catalog: where the file and the parameters are.
        name: ``vd_clean``, or ``vd_raw`` if the run cleans it anew.
    """
    try:
        time = pd.DatetimeIndex(catalog.load(name)["time"].values).dropna().unique().sort_values()
    except (DatasetError, DataValidationError, OSError):
        return None
    if len(time) < 2:
        return None
    cleaning = catalog.load("params:cleaning")
    most_common = pd.Series(np.diff(time)).mode()[0]
    interval = pd.Timedelta(cleaning.resample or cleaning.interval or most_common)
    return int((time[-1] - time[0]) / interval) + 1


def _is_like(config: Config, planned: Planned, catalog: CatalogProtocol) -> bool:
    """Whether an epoch of the last run did, window by window, what one will do now."""
    model = catalog.load(f"params:{planned.experiment}.model").model_dump(mode="json")
    now = planned.windows
    return (
        config.model_parameters == model
        and config.compute == catalog.load("params:compute")
        and config.training.batch_size == planned.training.batch_size
        and config.windows.sequence_length == now.sequence_length
        and config.windows.prediction_length == now.prediction_length
        and len(config.vdids) == planned.vds
    )


def _seconds(
    planned: Planned, config: Config, history: History, steps: int | None, catalog: CatalogProtocol
) -> float:
    """Upper bound of the time of trainings: no training stops early."""
    fits = [fit for _, _, fit in history.fits()]
    of_epoch = sum(fit.seconds for fit in fits) / sum(len(fit.epochs) for fit in fits)
    before = config.split["train"].windows
    now = _windows(planned, steps, catalog.load("params:split").train) or before
    return planned.models * planned.seeds * planned.training.epochs * of_epoch * now / before


def _windows(planned: Planned, steps: int | None, share: float) -> int | None:
    """Windows in a split that has this share of the steps."""
    return None if steps is None else max(round(share * steps) - planned.length + 1, 0)


def _record(catalog: CatalogProtocol, name: str, kind: type[Kind]) -> Kind | None:
    """A record of an earlier run; None if there is none that can be read."""
    dataset: Any = catalog.get(name)
    try:
        loaded = dataset.load() if dataset is not None and dataset.exists() else None
        return loaded if loaded is None or isinstance(loaded, kind) else kind.model_validate(loaded)
    except (DatasetError, ValidationError):
        return None


def _time(planned: Iterable[Planned], known: dict[str, float]) -> str:
    each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in known.items())
    total = f"at most {duration(sum(known.values()))}, if none stops early and one follows another"
    return "Time of training: " + _or_unknown(planned, known, f"{total} ({each})")


def _memory(planned: Iterable[Planned], known: dict[str, int]) -> str:
    largest = max(known.values(), default=0)
    text = (
        f"about {megabytes(PROGRAM_BYTES + largest)} for each worker besides the data, "
        f"{megabytes(largest)} of it for the largest training step"
    )
    return "Memory: " + _or_unknown(planned, known, text)


def _or_unknown(planned: Iterable[Planned], known: dict[str, Any], text: str) -> str:
    names = [one.experiment for one in planned if one.experiment not in known]
    unknown = [f"not known before a first run with these settings: {listed(names)}"]
    return "; ".join([*([text] if known else []), *(unknown if names else [])])


def _disk(planned: Iterable[Planned], steps: int | None, catalog: CatalogProtocol) -> str:
    if steps is None:
        return "Disk: not known, as the detector file cannot be read"
    share, values = catalog.load("params:split").test, 0
    for one in planned:
        features = len(one.windows.target_features or TARGET_FEATURES)
        origins = _windows(one, steps, share) or 0
        values += (one.seeds + 1) * origins * one.windows.prediction_length * one.vds * features
    size = megabytes(FLOAT_BYTES * values)
    return f"Disk: up to {size} of test forecasts and their truths, before compression"
