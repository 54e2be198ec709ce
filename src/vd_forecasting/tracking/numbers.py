"""The numbers of an experiment, by name and step: curves by epoch, errors by horizon, costs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from vd_forecasting.artefacts import Cost, History
from vd_forecasting.artefacts.records import Epoch
from vd_forecasting.artefacts.windows import GLOBAL, JOINT
from vd_forecasting.wording import is_number

CURVES = ("mae", "rmse")
"""Metrics logged by epoch, by horizon and of persistence; on the whole test split all are."""

MAX_CURVES = 40
"""Trainings with curves of their own; of more, the median is logged."""


@dataclass(frozen=True)
class Point:
    """A number at a step, which is an epoch, a horizon or, where there are no steps, 0."""

    name: str
    step: int
    value: float


def points_of(
    history: History | None, metrics: Mapping[str, Any] | None, cost: Cost | None
) -> list[Point]:
    """All numbers of an experiment; what is undefined or not there is left out."""
    found: list[tuple[str, int, float | None]] = []
    if history is not None:
        found += [*_curves(history), ("cost/training_seconds", 0, _seconds(history))]
    if metrics is not None:
        found += [*_errors(metrics), *_by_horizon(metrics)]
    if cost is not None:
        found += [
            *(
                (f"cost/latency_ms_batch_{batch}", 0, 1000 * seconds)
                for batch, seconds in cost.latency_seconds.items()
            ),
            ("cost/training_step_mb", 0, cost.training_step_bytes / 1e6),
        ]
    return [Point(name, step, value) for name, step, value in found if is_number(value)]


def _curves(history: History) -> Iterator[tuple[str, int, float | None]]:
    """Losses, errors and learning rate by epoch, of each training; of many, their median among
    those that reached the epoch."""
    fits = {_label(history, seed, name): fit for seed, name, fit in history.fits()}
    if len(fits) <= MAX_CURVES:
        for label, fit in fits.items():
            for epoch in fit.epochs:
                for name, value in _of_epoch(epoch).items():
                    yield f"epoch/{name}{label}", epoch.epoch, value
            yield f"best_epoch{label}", 0, fit.best_epoch
        return
    for number in range(max(len(fit.epochs) for fit in fits.values())):
        longer = (fit for fit in fits.values() if len(fit.epochs) > number)
        reached = [_of_epoch(fit.epochs[number]) for fit in longer]
        for name in reached[0]:
            values = [value for of in reached if is_number(value := of[name])]
            yield f"epoch/{name} median", number + 1, median(values) if values else None
    yield "best_epoch median", 0, median(fit.best_epoch for fit in fits.values())


def _label(history: History, seed: str, name: str) -> str:
    """What tells a training from the others of its experiment, "" if it is the only one."""
    of_model = "" if name in (JOINT, GLOBAL) else f" {name}"
    return f"{of_model} seed {seed}" if len(history.seeds) > 1 else of_model


def _of_epoch(epoch: Epoch) -> dict[str, float | None]:
    found: dict[str, float | None] = {"learning_rate": epoch.learning_rate}
    for split in ("train", "val"):
        errors = getattr(epoch, split)
        found[f"{split}_loss"] = errors.loss
        found |= {
            f"{split}_{metric}_{feature}": of_feature[metric]
            for feature, of_feature in errors.features.items()
            for metric in CURVES
        }
    return found


def _seconds(history: History) -> float:
    """Of all trainings, those of earlier test blocks among them."""
    return sum(fit.seconds for fits in history.root.values() for fit in fits.values())


def _errors(metrics: Mapping[str, Any]) -> Iterator[tuple[str, int, float | None]]:
    """Errors on the whole test split, beside persistence on the same truths."""
    for feature, errors in metrics["test"].items():
        for metric, value in errors.items():
            if metric != "unit":
                yield f"test/{metric}_{feature}", 0, value
        for metric in CURVES:
            persistence = metrics["persistence"][feature][metric]
            yield f"test/persistence_{metric}_{feature}", 0, persistence


def _by_horizon(metrics: Mapping[str, Any]) -> Iterator[tuple[str, int, float | None]]:
    for who in ("", "persistence_"):
        for feature, errors in metrics[f"{who}by_horizon"].items():
            for metric in CURVES:
                for step, value in enumerate(errors[metric], start=1):
                    yield f"horizon/{who}{metric}_{feature}", step, value
