"""What a training cost and how far it over-fitted."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from vd_forecasting.pipelines.reporting.errors import Json
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.wording import (
    NOTHING,
    duration,
    is_number,
    number,
    plural,
)


@dataclass(frozen=True)
class Costs:
    """Of all models of one experiment together, unless it says otherwise."""

    parameters: int
    """Of one model."""
    models: int
    seconds: float
    epochs: int
    seconds_per_epoch: float
    best_epochs: tuple[int, ...]
    """Per model, from 1."""
    trained_epochs: tuple[int, ...]
    """Per model."""
    stopped_early: int
    """How many models."""
    still_improving: int
    """How many models had their best epoch last, when the limit of epochs ended training."""
    gaps: Mapping[str, float]
    """Per target feature: MAE on validation ÷ MAE on training; only those defined."""

    @property
    def gap(self) -> float | None:
        """Mean of the gaps over the features."""
        return statistics.fmean(self.gaps.values()) if self.gaps else None

    def parameters_in_words(self) -> str:
        """``1,234``, or ``10 × 1,234``."""
        return f"{self.models} × {self.parameters:,}" if self.models > 1 else f"{self.parameters:,}"

    def seconds_per_epoch_in_words(self) -> str:
        """A duration; a dash without epochs."""
        return duration(self.seconds_per_epoch) if self.epochs else NOTHING

    def best_epoch_in_words(self) -> str:
        """``12 of 20``, or for several models ``median 12 (8 to 19)``."""
        if self.models == 1:
            return f"{self.best_epochs[0]} of {self.trained_epochs[0]}"
        low, high = min(self.best_epochs), max(self.best_epochs)
        return f"median {statistics.median(self.best_epochs):g} ({low} to {high})"

    def stopping_in_words(self) -> str:
        """Why training ended."""
        if self.models == 1:
            return "early stopping" if self.stopped_early else "the limit of epochs"
        at_limit = self.models - self.stopped_early
        if not at_limit:
            return f"early stopping, all {plural(self.models, 'model')}"
        return f"early stopping for {self.stopped_early} models, the limit for {at_limit}"


def costs_of(config: Json, history: Json, metrics: Json) -> Costs:
    """Add up an experiment's training history.

    Args:
        config: of the experiment.
        history: one entry per trained model.
        metrics: with the errors on ``train`` and ``val`` at the chosen epoch.
    """
    epoch_seconds = [epoch["seconds"] for run in history.values() for epoch in run["epochs"]]
    gaps = {}
    for feature in metrics["val"]:
        val, train = metrics["val"][feature]["mae"], metrics["train"][feature]["mae"]
        if is_number(val) and is_number(train) and train > 0:
            gaps[feature] = val / train
    return Costs(
        parameters=config["num_parameters"],
        models=config["num_models"],
        seconds=sum(run["seconds"] for run in history.values()),
        epochs=len(epoch_seconds),
        seconds_per_epoch=sum(epoch_seconds) / max(len(epoch_seconds), 1),
        best_epochs=tuple(run["best_epoch"] for run in history.values()),
        trained_epochs=tuple(len(run["epochs"]) for run in history.values()),
        stopped_early=sum(bool(run["stopped_early"]) for run in history.values()),
        still_improving=sum(
            not run["stopped_early"] and run["best_epoch"] == len(run["epochs"])
            for run in history.values()
        ),
        gaps=gaps,
    )


def cost_rows(costs: Mapping[str, Costs]) -> list[list[str]]:
    """Rows of a table with one column per model, in the order of ``costs``."""
    several = any(cost.models > 1 for cost in costs.values())
    features = list(dict.fromkeys(feature for cost in costs.values() for feature in cost.gaps))
    rows = [
        ["trainable parameters", *(cost.parameters_in_words() for cost in costs.values())],
        ["training time", *(duration(cost.seconds) for cost in costs.values())],
        ["time per epoch", *(cost.seconds_per_epoch_in_words() for cost in costs.values())],
        ["chosen epoch", *(cost.best_epoch_in_words() for cost in costs.values())],
        ["training ended by", *(cost.stopping_in_words() for cost in costs.values())],
    ]
    if several:
        rows.insert(1, ["models trained", *(f"{cost.models:,}" for cost in costs.values())])
    rows += [
        [
            f"over-fitting gap, {feature}",
            *(number(cost.gaps.get(feature)) for cost in costs.values()),
        ]
        for feature in features
    ]
    rows.append(["over-fitting gap, mean", *(number(cost.gap) for cost in costs.values())])
    return rows


def still_improving(costs: Mapping[str, Costs]) -> list[str]:
    """A sentence per model whose training was cut short."""
    return [
        f"{NAMES[model]} was still improving when the limit of epochs ended training"
        + (f" (in {cost.still_improving} of {cost.models} models)" if cost.models > 1 else "")
        + "; more epochs may help."
        for model, cost in costs.items()
        if cost.still_improving
    ]


CURVES_EXPLAINED = (
    "Training errors are of the weights as they were at each step, with dropout; validation errors "
    "of their moving average, which is what is kept. So validation can lie below training."
)
GAP_EXPLAINED = (
    "Over-fitting gap: MAE on the validation split ÷ MAE on the training split, both at the chosen "
    "epoch. 1 means that the model does as well on days it has not seen; how far those days "
    "themselves are easier or harder counts too."
)
