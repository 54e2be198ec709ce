"""What a run will take, before it starts: trainings, time, memory and disk.

Time and memory are measured ones, of the last run of an experiment with the same network, batch
size and device; without one they are not known. Disk follows from the shape of the forecasts.
"""

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline.node import Node
from kedro.validation import DataValidationError
from pydantic import BaseModel, ValidationError

from vd_forecasting.artefacts import Config, Cost, Fit, History
from vd_forecasting.parameters import (
    Budget,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    MultiVDWindows,
    Split,
    Training,
    Windows,
)
from vd_forecasting.vd_array import rolling_splits
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import duration, listed, megabytes, plural

PROGRAM_BYTES = 525_000_000  # Python with torch and the other libraries, on Linux without a GPU
FLOAT_BYTES = 4
REFIT_STATE = ".refit_state"
"""End of the name of what a node reads that may train on all data."""
STUDY = ".study"
"""End of the name of what a node reads that searches for settings."""
NOTABLE_SECONDS = 2.0
"""A shorter training gives no idea of the others, or took up a finished one."""

Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True)
class Planned:
    """The trainings of one experiment."""

    experiment: str
    windows: Windows
    training: Training
    split: Split

    @property
    def models(self) -> int:
        """Models that are trained from every seed."""
        return num_models(self.windows)

    @property
    def vds(self) -> int | None:
        """Detectors that are forecast; None for all that are fit."""
        if isinstance(self.windows, MultiVDWindows | GlobalVDWindows):
            return self.windows.num_vds
        return self.models

    @property
    def size(self) -> tuple[int, int, int]:
        """Models, seeds and test blocks; their product is the number of trainings."""
        return self.models, len(self.training.seeds), self.split.folds

    def windows_in(self, steps: int) -> int:
        """Windows in a split of so many time steps."""
        length = self.windows.sequence_length + self.windows.prediction_length
        return max(steps - length + 1, 0)

    def in_epoch(self, windows: int, like: Config) -> int:
        """Windows that an epoch sees where the training split has so many, of detectors as of a
        training before."""
        if isinstance(self.windows, GlobalVDWindows):
            windows *= len(like.vdids)  # one for each detector
        return min(windows, self.training.windows_per_epoch or windows)

    def seen(self, windows: int, like: Config) -> int:
        """Windows that all epochs of a training see, if it does not stop early."""
        in_epoch = self.in_epoch(windows, like)
        decay = self.training.decays_in(math.ceil(in_epoch / self.training.batch_size))
        return in_epoch * min(self.training.epochs, decay)

    def values_in(self, steps: int, detectors: int) -> int:
        """Numbers in the forecasts of such a split, of every seed, and in their truths, where the
        file has so many detectors."""
        features = len(self.windows.target_features or TARGET_FEATURES)
        of_window = self.windows.prediction_length * (self.vds or detectors) * features
        return self.windows_in(steps) * of_window * (len(self.training.seeds) + 1)


@dataclass(frozen=True)
class PlannedRefit:
    """The trainings of one experiment on all data, as many as it has models."""

    config: Config
    fits: tuple[Fit, ...]
    """How the trainings of the comparison went."""

    @property
    def epochs(self) -> int:
        """Of all models together."""
        return sum(fit.best_epoch for fit in self.fits)

    def seconds(self, times: pd.DatetimeIndex) -> float:
        """At most, for a file with these time stamps.

        An epoch takes as long as in the comparison, in proportion to the windows, some of which may
        be in both.
        """
        of_epochs = sum(fit.best_epoch * fit.seconds / len(fit.epochs) for fit in self.fits)
        added = (times[-1] - times[0]) / pd.Timedelta(minutes=self.config.interval_minutes)
        windows = added + sum(span.windows for span in self.config.split.values())
        return of_epochs * windows / self.config.split["train"].windows


def num_models(windows: Windows) -> int:
    """Models that forecast the detectors of some windows."""
    if not isinstance(windows, IndependentMultiVDWindows):
        return 1
    index = windows.target_vd_index
    all_of_them = windows.num_vds if index == "all" else 1
    return len(set(index)) if isinstance(index, tuple) else all_of_them


def is_training(node: Node) -> bool:
    """Whether a node trains the networks of a comparison."""
    return any(name.endswith(".training_state") for name in node.inputs)


def is_search(node: Node) -> bool:
    """Whether a node searches for settings."""
    return any(name.endswith(STUDY) for name in node.inputs)


def searched_experiments(nodes: Iterable[Node]) -> list[str]:
    """The experiments whose settings the nodes of a run are to search."""
    return [str(node.namespace).removeprefix("tune_") for node in nodes if is_search(node)]


def estimate_searches(experiments: Sequence[str], budget: Budget) -> str:
    """What is searched, in a line: ``1 search for settings: at most 1 h of training each, …``."""
    most = plural(budget.trials or 0, "trial")
    if budget.seconds is not None:
        most = f"{duration(budget.seconds)} of training"
    noun = "search" if len(experiments) == 1 else "searches"
    return f"{len(experiments)} {noun} for settings: at most {most} each, over all runs"


def plan_trainings(nodes: Iterable[Node], catalog: CatalogProtocol) -> list[Planned]:
    """The trainings among the nodes of a run, by experiment."""
    names = [node.namespace for node in nodes if is_training(node) and node.namespace is not None]
    return [
        Planned(
            name,
            catalog.load(f"params:{name}.windows"),
            catalog.load(f"params:{name}.training"),
            catalog.load("params:split"),
        )
        for name in names
    ]


def asked_refits(nodes: Iterable[Node], catalog: CatalogProtocol) -> list[str]:
    """The experiments that nodes of a run are to train on all data."""
    names = [name for node in nodes for name in node.inputs if name.endswith(REFIT_STATE)]
    if not names or not catalog.load("params:forecast").refit:
        return []
    return [name.removeprefix("forecast_").removesuffix(REFIT_STATE) for name in names]


def plan_refits(nodes: Iterable[Node], catalog: CatalogProtocol) -> list[PlannedRefit]:
    """The same, of experiments that were trained."""
    found = []
    for experiment in asked_refits(nodes, catalog):
        config = _record(catalog, f"{experiment}.config", Config)
        history = _record(catalog, f"{experiment}.training_history", History)
        if config and history:
            fits = history.seeds.get(str(config.best_seed), {})
            found.append(PlannedRefit(config, tuple(fits.values())))
    return found


def count_refits(planned: Sequence[PlannedRefit]) -> str:
    """``2 trainings on all data: multi_vd_lstm of 12 epochs, multi_vd_xlstm of 9 epochs``."""
    total = sum(len(one.fits) for one in planned)
    parts = [f"{one.config.experiment} of {plural(one.epochs, 'epoch')}" for one in planned]
    return f"{plural(total, 'training')} on all data: {', '.join(parts)}"


def estimate_refits(planned: Iterable[PlannedRefit], catalog: CatalogProtocol) -> str:
    """Their time, in a line."""
    times, compute = _times(catalog, "vd_raw"), catalog.load("params:compute")
    seconds = {
        one.config.experiment: one.seconds(times)
        if times is not None and one.config.compute == compute
        else None
        for one in planned
    }
    known = [value for value in seconds.values() if value is not None]
    unknown = [name for name, value in seconds.items() if value is None]
    parts = [f"at most {duration(sum(known))}, none on the data of the last time"] if known else []
    if unknown:
        parts.append(f"not known on another device or with other threads: {listed(unknown)}")
    return f"Time of training on all data: {'; '.join(parts)}"


def count_trainings(planned: Iterable[Planned]) -> str:
    """``12 trainings: 5 experiments of 1 model × 2 seeds, multi_vd_lstm of 1 model × 2 seeds``."""
    by_size, total, parts = attrgetter("size"), 0, []
    for size, group in groupby(sorted(planned, key=by_size), by_size):
        names = [one.experiment for one in group]
        whose = names[0] if len(names) == 1 else plural(len(names), "experiment")
        models, seeds, blocks = size
        of_each = [plural(models, "model"), plural(seeds, "seed")]
        of_each += [plural(blocks, "test block")] if blocks > 1 else []
        parts.append(f"{whose} of {' × '.join(of_each)}")
        total += len(names) * math.prod(size)
    return f"{plural(total, 'training')}: {', '.join(parts)}"


def estimate(
    planned: list[Planned], shape: tuple[int, int] | None, catalog: CatalogProtocol
) -> list[str]:
    """Time, memory and disk of trainings, a line each; ``shape`` as by :func:`grid_shape`."""
    steps, detectors = shape or (None, 0)
    seconds: dict[str, float] = {}
    step_bytes: dict[str, int] = {}
    parts = {one.experiment: rolling_splits(steps, one.split) if steps else [] for one in planned}
    for one in planned:
        config = _record(catalog, f"{one.experiment}.config", Config)
        if config is None or not _is_like(config, one, catalog):
            continue
        if history := _record(catalog, f"{one.experiment}.training_history", History):
            fits = [fit for _, _, fit in history.fits()]
            of_epoch = sum(fit.seconds for fit in fits) / sum(len(fit.epochs) for fit in fits)
            last = config.split["train"].windows
            before = [*(block["train"].windows for block in config.earlier.values()), last]
            now = [one.windows_in(round(s.train * end)) for end, s in parts[one.experiment]]
            drawn = statistics.fmean(one.seen(windows, config) for windows in now or before)
            drawn /= replace(one, training=config.training).in_epoch(last, config)
            seconds[one.experiment] = math.prod(one.size) * of_epoch * drawn
        if cost := _record(catalog, f"{one.experiment}.cost", Cost):
            step_bytes[one.experiment] = cost.training_step_bytes
    each = ", ".join(f"{name} {duration(value)}" for name, value in seconds.items())
    total = duration(sum(seconds.values()))
    time = f"at most {total}, if none stops early and one follows another ({each})"
    largest = max(step_bytes.values(), default=0)
    memory = (
        f"about {megabytes(PROGRAM_BYTES + largest)} for each worker besides the data, "
        f"{megabytes(largest)} of it for the largest training step"
    )
    disk = "not known, as the detector file cannot be read"
    if steps is not None:
        values = sum(
            one.values_in(round(share * end), detectors)
            for one in planned
            for end, of_block in parts[one.experiment]
            for share in (of_block.val, of_block.test)
        )
        size = megabytes(FLOAT_BYTES * values)
        disk = f"up to {size} of forecasts and their truths, before compression"
    return [
        f"Time of training: {_or_unknown(time, planned, seconds)}",
        f"Memory: {_or_unknown(memory, planned, step_bytes)}",
        f"Disk: {disk}",
    ]


def time_left(seconds: Sequence[float], total: int) -> str | None:
    """``2 of 10 models trained, about 12 min left``; None if that is not worth a line.

    ``seconds`` are of each training so far, next to none if an earlier run had finished it.
    """
    trained = [one for one in seconds if one >= NOTABLE_SECONDS]
    left = total - len(seconds)
    if total <= 2 or not left or not trained:
        return None
    expected = duration(statistics.fmean(trained) * left)
    return f"{len(seconds)} of {total} models trained, about {expected} left"


def grid_shape(catalog: CatalogProtocol, name: str) -> tuple[int, int] | None:
    """Time steps and detectors of a file once it is cleaned; None if it cannot be read.

    Its ``name`` is ``vd_clean``, or ``vd_raw`` if the run cleans it anew.
    """
    time = _times(catalog, name)
    if time is None:
        return None
    cleaning = catalog.load("params:cleaning")
    most_common = pd.Series(np.diff(time)).mode()[0]
    interval = pd.Timedelta(cleaning.resample or cleaning.interval or most_common)
    return int((time[-1] - time[0]) / interval) + 1, catalog.load(name).sizes["vd"]


def _times(catalog: CatalogProtocol, name: str) -> pd.DatetimeIndex | None:
    """The time stamps of a detector file, in order; None if it cannot be read or has only one."""
    try:
        time = catalog.load(name)["time"].values
    except (DatasetError, DataValidationError, OSError):
        return None
    times = pd.DatetimeIndex(time).dropna().unique().sort_values()
    return times if len(times) > 1 else None


def _is_like(config: Config, planned: Planned, catalog: CatalogProtocol) -> bool:
    """Whether a step of the last run computed what one will compute now."""
    model = catalog.load(f"params:{planned.experiment}.model").model_dump(mode="json")
    before, now = config.windows, planned.windows
    return (
        config.model_parameters == model
        and config.compute == catalog.load("params:compute")
        and config.training.batch_size == planned.training.batch_size
        and before.sequence_length == now.sequence_length
        and before.prediction_length == now.prediction_length
        and planned.vds in (None, len(config.vdids))
    )


def _record(catalog: CatalogProtocol, name: str, kind: type[Kind]) -> Kind | None:
    """A record of an earlier run; None if there is none that can be read."""
    dataset: Any = catalog.get(name)
    with suppress(DatasetError, ValidationError):
        if dataset is not None and dataset.exists():
            return kind.model_validate(dataset.load())
    return None


def _or_unknown(text: str, planned: list[Planned], known: Collection[str]) -> str:
    unknown = "not known before a first run with these settings"
    names = [one.experiment for one in planned if one.experiment not in known]
    if not known:
        return unknown
    return f"{text}; {unknown}: {listed(names)}" if names else text
