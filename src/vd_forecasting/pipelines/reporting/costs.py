"""The cost of an experiment: time, size, and how far it over-fitted."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from vd_forecasting.artefacts import Fit, Outcome
from vd_forecasting.language import say
from vd_forecasting.rendering.markdown import feature_text
from vd_forecasting.wording import (
    change,
    count,
    duration,
    is_number,
    listed,
    megabytes,
    number,
    plural,
    quantity,
)


@dataclass(frozen=True)
class Costs:
    """All models of one experiment together, unless a property says otherwise."""

    outcome: Outcome

    @cached_property
    def fits(self) -> list[Fit]:
        """Every training, of all models and seeds."""
        return [fit for _, _, fit in self.outcome.history.fits()]

    @property
    def models(self) -> int:
        """Models trained from each seed."""
        return self.outcome.config.num_models

    @property
    def seeds(self) -> int:
        return len(self.outcome.history.seeds)

    @property
    def seconds(self) -> float:
        """Training time, mean over the seeds."""
        return sum(fit.seconds for fit in self.fits) / self.seeds

    @property
    def seconds_per_epoch(self) -> float:
        return statistics.fmean(epoch.seconds for fit in self.fits for epoch in fit.epochs)

    @property
    def still_improving(self) -> int:
        """Trainings that the limit of epochs ended at their best epoch."""
        return sum(fit.still_improving for fit in self.fits)

    @property
    def diverged(self) -> int:
        """Trainings that ended because a loss was no longer a number."""
        return sum(fit.diverged is not None for fit in self.fits)

    @cached_property
    def gaps(self) -> dict[str, float]:
        """Generalisation gap by target feature, MAE on validation ÷ on training, where defined."""
        train, val = self.outcome.fit_errors.train, self.outcome.fit_errors.val
        excess = {name: change(val[name]["mae"], train[name]["mae"]) for name in val}
        return {name: 1 + ratio for name, ratio in excess.items() if is_number(ratio)}

    @property
    def gap(self) -> float | None:
        """Mean of the gaps over the features."""
        return statistics.fmean(self.gaps.values()) if self.gaps else None

    @property
    def parameters_in_words(self) -> str:
        """``1,234``, or ``10 × 1,234``."""
        parameters = count(self.outcome.config.num_parameters)
        return f"{count(self.models)} × {parameters}" if self.models > 1 else parameters

    @property
    def best_epoch_in_words(self) -> str:
        """``12 of 20``, or for several trainings ``median 12 (8 to 19)``."""
        best = [fit.best_epoch for fit in self.fits]
        if len(best) == 1:
            return say("{part} of {all}", part=best[0], all=len(self.fits[0].epochs))
        return say(
            "median {median} ({first} to {last})",
            median=f"{statistics.median(best):g}",
            first=min(best),
            last=max(best),
        )

    @property
    def ended_by_in_words(self) -> str:
        """Why training ended, and how many of several trainings."""
        reasons = Counter(map(_ended_by, self.fits)).most_common()
        if len(reasons) > 1:
            return listed(
                say("{reason} in {number}", reason=reason, number=count(times))
                for reason, times in reasons
            )
        [(reason, times)] = reasons
        if times == 1:
            return reason
        return say("{reason}, all {trainings}", reason=reason, trainings=plural(times, "training"))


def _ended_by(fit: Fit) -> str:
    if fit.diverged:
        return say("divergence")
    if fit.stopped_early:
        return say("early stopping")
    return say("the end of its schedule") if fit.decayed else say("the limit of epochs")


def cost_rows(costs: Mapping[str, Costs]) -> list[list[str]]:
    """Rows of a table with one column per model, in the order of ``costs``."""
    of_all = list(costs.values())
    seeds = any(cost.seeds > 1 for cost in of_all)
    rows = {say("trainable parameters"): [cost.parameters_in_words for cost in of_all]}
    if seeds:
        rows[say("seeds")] = [count(cost.seeds) for cost in of_all]
    if any(cost.models > 1 for cost in of_all):
        rows[say("models trained")] = [count(cost.models) for cost in of_all]
    time = say("training time per seed") if seeds else say("training time")
    rows[time] = [duration(cost.seconds) for cost in of_all]
    rows[say("time per epoch")] = [duration(cost.seconds_per_epoch) for cost in of_all]
    rows[say("chosen epoch")] = [cost.best_epoch_in_words for cost in of_all]
    rows[say("training ended by")] = [cost.ended_by_in_words for cost in of_all]
    measured = [cost.outcome.cost for cost in of_all]
    for batch in measured[0].latency_seconds:
        forecast = say("forecast of {windows}, one CPU thread", windows=plural(batch, "window"))
        rows[forecast] = [quantity(1e3 * of.latency_seconds[batch], "ms") for of in measured]
    rows[say("memory of a training step")] = [megabytes(of.training_step_bytes) for of in measured]
    for name in dict.fromkeys(feature for cost in of_all for feature in cost.gaps):
        label = say("generalisation gap, {feature}", feature=feature_text(name))
        rows[label] = [number(cost.gaps.get(name)) for cost in of_all]
    rows[say("generalisation gap, mean")] = [number(cost.gap) for cost in of_all]
    return [[label, *cells] for label, cells in rows.items()]
