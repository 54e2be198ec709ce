"""Whether errors differ beyond chance: tests and intervals on sums of errors over time.

Sums over the detectors weigh every observed value the same, as the tables do: an interval is one of
the very ratio that they show.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.evaluation.errors import LossesOverTime, SummedErrors
from vd_forecasting.evaluation.significance import (
    MIN_DAYS,
    diebold_mariano,
    holm,
    model_confidence_set,
    ratio_intervals,
)
from vd_forecasting.evaluation.sums_over_time import AVERAGE, SumsOverTime, sums_over_time
from vd_forecasting.parameters import Evaluation
from vd_forecasting.vocabulary import MODELS, name_of

Floats = npt.NDArray[np.float64]

ALIKE_IN_ALL_MODES = ("persistence", "seasonal_naive", "historical_average")


@dataclass(frozen=True)
class Difference:
    """The second network's mean loss, such as MAE, relative to the first's."""

    change: float
    """Relative; negative where the second is better."""
    low: float
    high: float
    """Confidence interval of the change; NaN where the test days are too few."""
    p_value: float
    """Diebold–Mariano; of single horizons adjusted by Holm; NaN where the test days are too few."""
    size: float = 0.05
    """A p-value up to this is called significant: 1 − ``confidence``."""

    @property
    def is_tested(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite([self.low, self.high]).all())

    @property
    def is_significant(self) -> bool:
        """Whether the test rejects that there is no difference."""
        return self.p_value <= self.size

    @property
    def spans_zero(self) -> bool:
        """Whether the interval holds "no difference"."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Differences:
    """Tests on one set of truths."""

    between: Mapping[tuple[str, int], Difference]
    """By feature and horizon, :data:`AVERAGE` for all of them; empty unless two networks."""
    mae_low: xr.DataArray
    """Lower end of the interval of MAE, over (model, horizon, feature); NaN if the days are too few
    and for baselines."""
    mae_high: xr.DataArray
    confidence_set: xr.DataArray
    """p-values of the model confidence set over (model, feature), all horizons together; NaN if the
    days are too few. A model is in the set where p is above 1 − ``confidence``."""
    confidence: float
    days: Mapping[str, int]
    """Test days that count, by feature: at least half of their origins are scored."""

    @property
    def is_tested(self) -> bool:
        """Whether the test days are enough for intervals."""
        return bool(self.mae_low.notnull().any())

    @property
    def most_days(self) -> int:
        """Test days that count, of the feature that has most."""
        return max(self.days.values())

    @property
    def has_set(self) -> bool:
        """Whether the test days are enough for a model confidence set."""
        return bool(self.confidence_set.notnull().any())

    def in_set(self, model: str, feature: str) -> bool:
        """Whether no other model is better beyond chance."""
        return bool(self.confidence_set.sel(model=model, feature=feature) > 1 - self.confidence)


def find_differences(summed: SummedErrors, evaluation: Evaluation) -> Differences:
    """Test all models on their absolute errors, summed over detectors and averaged over seeds."""
    sums = sums_over_time(summed)
    low, high = _intervals(sums, evaluation.confidence)
    return Differences(
        between=_between(sums, evaluation.confidence),
        mae_low=low,
        mae_high=high,
        confidence_set=_confidence_sets(sums, evaluation),
        confidence=evaluation.confidence,
        days=summed.days,
    )


def difference_between(
    losses: LossesOverTime, confidence: float
) -> dict[tuple[str, int], Difference]:
    """Test the networks on any losses, by feature and horizon as :class:`Differences` holds them.

    Empty unless there are two networks.
    """
    return _between(sums_over_time(losses), confidence)


def find_confidence_sets(
    by_mode: Mapping[str, SummedErrors], evaluation: Evaluation, *, comparable: bool
) -> xr.DataArray:
    """p-values ``(model, feature)`` of the model confidence set among the models of all modes.

    A model is ``{mode}_{model}``. Where modes are not comparable each has its own set. Baselines
    that are the same in several modes stand once, under the first.
    """
    named = []
    for mode, summed in by_mode.items():
        sums = sums_over_time(summed)
        named.append(replace(sums, models=[f"{mode}_{model}" for model in sums.models]))
    if not comparable:
        sets = [_confidence_sets(sums, evaluation) for sums in named]
        return xr.concat(sets, "model", join="outer")  # modes may have other features
    distinct: dict[str, Floats] = {}
    for sums in named:
        for name, of_model in zip(sums.models, sums.by_day, strict=True):
            is_network = name.endswith(tuple(f"_{model}" for model in MODELS))
            alike = (np.array_equal(of_model, other, equal_nan=True) for other in distinct.values())
            if is_network or not any(alike):
                distinct[name] = of_model
    together = replace(named[0], models=list(distinct), by_day=np.stack(list(distinct.values())))
    return _confidence_sets(together, evaluation)


def model_labels(models: Sequence[tuple[str, str]]) -> list[str]:
    """What tables and plots of several modes call models, given as mode and model.

    A baseline that looks at one VD alone in every mode needs no mode, unless it stands there twice.
    """
    counts = Counter(model for _, model in models)
    return [
        name_of(model)
        if model in ALIKE_IN_ALL_MODES and counts[model] == 1
        else f"{mode} {name_of(model)}"
        for mode, model in models
    ]


def _between(sums: SumsOverTime, confidence: float) -> dict[tuple[str, int], Difference]:
    if any(model not in sums.models for model in MODELS):
        return {}
    first, second = (sums.models.index(model) for model in MODELS)
    longest = max(step for _, step in sums.pairs)
    raw = [
        diebold_mariano(
            sums.by_origin[first, :, k], sums.by_origin[second, :, k], step or longest
        ).p_value
        if sums.days[k] >= MIN_DAYS
        else math.nan
        for k, (_, step) in enumerate(sums.pairs)
    ]
    p_values = dict(zip(sums.pairs, raw, strict=True))
    for feature in dict.fromkeys(feature for feature, _ in sums.pairs):
        steps = [pair for pair in sums.pairs if pair[0] == feature and pair[1] != AVERAGE]
        adjusted = holm([p_values[pair] for pair in steps])
        p_values |= zip(steps, map(float, adjusted), strict=True)
    ratios = ratio_intervals(sums.by_day[second], sums.by_day[first], sums.days, confidence)
    return {
        pair: Difference(
            ratio.estimate - 1, ratio.low - 1, ratio.high - 1, p_values[pair], 1 - confidence
        )
        for pair, ratio in zip(sums.pairs, ratios, strict=True)
    }


def _intervals(sums: SumsOverTime, confidence: float) -> tuple[xr.DataArray, xr.DataArray]:
    """Intervals of the networks' MAE; the baselines' are not drawn, and stay NaN."""
    steps = [step != AVERAGE for _, step in sums.pairs]
    coords: dict[str, list[Any]] = {
        "model": sums.models,
        "feature": list(dict.fromkeys(feature for feature, _ in sums.pairs)),
        "horizon": list(dict.fromkeys(step for _, step in sums.pairs if step != AVERAGE)),
    }
    ends = np.full((2, *(len(labels) for labels in coords.values())), np.nan)
    for model in [name for name in MODELS if name in sums.models]:
        at = sums.models.index(model)
        intervals = ratio_intervals(sums.by_day[at], sums.scored, sums.days, confidence)
        both = np.array([(interval.low, interval.high) for interval in intervals])[steps]
        ends[:, at] = both.T.reshape(ends[:, at].shape)
    low, high = (xr.DataArray(end, coords).transpose("model", "horizon", ...) for end in ends)
    return low, high


def _confidence_sets(sums: SumsOverTime, evaluation: Evaluation) -> xr.DataArray:
    """p-values over (model, feature); NaN for a model whose forecasts are not all numbers."""
    by_feature = {}
    for k, (feature, step) in enumerate(sums.pairs):
        if step == AVERAGE:
            named = zip(sums.models, sums.by_day[..., k], strict=True)
            losses = {name: of_model for name, of_model in named if np.isfinite(of_model).all()}
            p_values = model_confidence_set(
                losses, sums.days[k], evaluation.confidence, evaluation.bootstrap_repetitions
            )
            by_feature[feature] = [p_values.get(name, np.nan) for name in sums.models]
    coords = {"feature": list(by_feature), "model": sums.models}
    return xr.DataArray(list(by_feature.values()), coords).transpose("model", "feature")
