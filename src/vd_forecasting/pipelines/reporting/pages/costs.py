"""What a training cost and how far it over-fitted."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from vd_forecasting.artefacts import FitErrors
from vd_forecasting.evaluation.errors import Json
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import (
    NOTHING,
    duration,
    is_number,
    megabytes,
    milliseconds,
    number,
    plural,
)


@dataclass(frozen=True)
class Costs:
    """Of all models of one experiment together, unless it says otherwise."""

    parameters: int
    """Of one model."""
    models: int
    """Trained with each seed."""
    seeds: int
    seconds: float
    """With one seed, the mean of them."""
    epochs: int
    seconds_per_epoch: float
    best_epochs: tuple[int, ...]
    """Per model and seed, from 1."""
    trained_epochs: tuple[int, ...]
    """Per model and seed."""
    stopped_early: int
    """How many models."""
    still_improving: int
    """How many models had their best epoch last, when the limit of epochs ended training."""
    diverged: int
    """How many trainings ended because a loss was no longer a number."""
    gaps: Mapping[str, float]
    """Per target feature: MAE on validation ÷ MAE on training; only those defined."""
    latency: Mapping[int, float]
    """Seconds of a forecast on a CPU, by windows in the batch."""
    step_bytes: int
    """What a training step holds in memory."""

    @property
    def runs(self) -> int:
        """Trainings, of all models and seeds."""
        return self.models * self.seeds

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
        if self.runs == 1:
            return f"{self.best_epochs[0]} of {self.trained_epochs[0]}"
        low, high = min(self.best_epochs), max(self.best_epochs)
        return f"median {statistics.median(self.best_epochs):g} ({low} to {high})"

    def stopping_in_words(self) -> str:
        """Why training ended."""
        if self.runs == 1:
            early = "divergence" if self.diverged else "early stopping"
            return early if self.stopped_early else "the limit of epochs"
        at_limit = self.runs - self.stopped_early
        if not at_limit:
            return f"early stopping, all {plural(self.runs, 'training')}"
        return f"early stopping in {self.stopped_early} trainings, the limit in {at_limit}"


def runs_of(history: Json) -> dict[str, Json]:
    """Every training in a history, by what tells it from the others: VD, seed or both."""
    several = len(history) > 1
    return {
        f"{name}, seed {seed}"
        if several and name != "joint"
        else f"seed {seed}"
        if several
        else name: run
        for seed, runs in history.items()
        for name, run in runs.items()
    }


def costs_of(config: Json, history: Json, fit_errors: FitErrors, cost: Json) -> Costs:
    """Add up an experiment's training history.

    Args:
        config: of the experiment.
        history: by seed, an entry per trained model.
        fit_errors: on training and validation at the chosen epoch.
        cost: what :func:`..training.cost.measure_cost` measured.
    """
    runs = runs_of(history).values()
    epoch_seconds = [epoch["seconds"] for run in runs for epoch in run["epochs"]]
    gaps = {}
    for feature in fit_errors.val:
        val, train = fit_errors.val[feature]["mae"], fit_errors.train[feature]["mae"]
        if is_number(val) and is_number(train) and train > 0:
            gaps[feature] = val / train
    return Costs(
        parameters=config["num_parameters"],
        models=config["num_models"],
        seeds=len(history),
        seconds=sum(run["seconds"] for run in runs) / len(history),
        epochs=len(epoch_seconds),
        seconds_per_epoch=sum(epoch_seconds) / max(len(epoch_seconds), 1),
        best_epochs=tuple(run["best_epoch"] for run in runs),
        trained_epochs=tuple(len(run["epochs"]) for run in runs),
        stopped_early=sum(bool(run["stopped_early"]) for run in runs),
        still_improving=sum(
            not run["stopped_early"] and run["best_epoch"] == len(run["epochs"]) for run in runs
        ),
        diverged=sum(run["diverged"] is not None for run in runs),
        gaps=gaps,
        latency={int(batch): seconds for batch, seconds in cost["latency_seconds"].items()},
        step_bytes=cost["training_step_bytes"],
    )


def cost_rows(costs: Mapping[str, Costs]) -> list[list[str]]:
    """Rows of a table with one column per model, in the order of ``costs``."""
    several = any(cost.models > 1 for cost in costs.values())
    features = list(dict.fromkeys(feature for cost in costs.values() for feature in cost.gaps))
    rows = [
        ["trainable parameters", *(cost.parameters_in_words() for cost in costs.values())],
        [
            "training time" + (" per seed" if any(c.seeds > 1 for c in costs.values()) else ""),
            *(duration(cost.seconds) for cost in costs.values()),
        ],
        ["time per epoch", *(cost.seconds_per_epoch_in_words() for cost in costs.values())],
        ["chosen epoch", *(cost.best_epoch_in_words() for cost in costs.values())],
        ["training ended by", *(cost.stopping_in_words() for cost in costs.values())],
    ]
    if several:
        rows.insert(1, ["models trained", *(f"{cost.models:,}" for cost in costs.values())])
    if any(cost.seeds > 1 for cost in costs.values()):
        rows.insert(1, ["seeds", *(f"{cost.seeds:,}" for cost in costs.values())])
    rows += [
        [
            f"forecast of {plural(batch, 'window')}, one CPU thread",
            *(milliseconds(cost.latency[batch]) for cost in costs.values()),
        ]
        for batch in next(iter(costs.values())).latency
    ]
    rows.append(
        ["memory of a training step", *(megabytes(cost.step_bytes) for cost in costs.values())]
    )
    rows += [
        [
            f"over-fitting gap, {feature}",
            *(number(cost.gaps.get(feature)) for cost in costs.values()),
        ]
        for feature in features
    ]
    rows.append(["over-fitting gap, mean", *(number(cost.gap) for cost in costs.values())])
    return rows


def cut_short(costs: Mapping[str, Costs]) -> list[str]:
    """A sentence per model whose training was cut short, by the limit of epochs or divergence."""
    diverged = [
        f"{NAMES[model]} diverged in training"
        + (f" ({cost.diverged} of {cost.runs} trainings)" if cost.runs > 1 else "")
        + "; the best epoch before is used. A lower learning rate may help."
        for model, cost in costs.items()
        if cost.diverged
    ]
    return diverged + [
        f"{NAMES[model]} was still improving when the limit of epochs ended training"
        + (f" (in {cost.still_improving} of {cost.runs} trainings)" if cost.runs > 1 else "")
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
MEMORY_EXPLAINED = (
    "Memory of a training step: weights, gradients, optimiser and average of weights, and what is "
    "kept for the gradient. Forecast times are medians."
)
