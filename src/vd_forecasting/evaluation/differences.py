"""Whether errors differ beyond chance: tests and intervals on losses over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.evaluation.errors import SummedErrors
from vd_forecasting.evaluation.significance import (
    Bootstrap,
    diebold_mariano,
    holm,
    model_confidence_set,
    ratio_intervals,
)
from vd_forecasting.parameters import Evaluation
from vd_forecasting.vocabulary import MODELS, NAMES

AVERAGE = 0
"""Stands for all horizons together where others are counted from 1."""
ALIKE_IN_ALL_MODES = ("persistence", "seasonal_naive", "historical_average")


@dataclass(frozen=True)
class Difference:
    """The second network's MAE relative to the first's."""

    change: float
    """Relative; negative where the second is better."""
    low: float
    high: float
    """Confidence interval of the change; NaN where the test span is too short."""
    p_value: float
    """Diebold–Mariano; of single horizons adjusted by Holm."""
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
    """Lower end of the interval of MAE, over (model, horizon, feature); NaN if too short."""
    mae_high: xr.DataArray
    confidence_set: xr.DataArray
    """p-values of the model confidence set over (model, feature), all horizons together; NaN if
    too short. A model is in the set where p is above 1 − ``confidence``."""
    confidence: float
    span_days: float
    """How long the test errors are."""
    block_days: float

    @property
    def is_tested(self) -> bool:
        """Whether the test span is long enough for intervals."""
        return bool(self.mae_low.notnull().any())

    def in_set(self, model: str, feature: str) -> bool:
        """Whether no other model is better beyond chance."""
        return bool(self.confidence_set.sel(model=model, feature=feature) > 1 - self.confidence)


def find_differences(summed: SummedErrors, evaluation: Evaluation) -> Differences:
    """Test all models on the series of their losses over the forecast origins.

    A loss is the absolute error averaged over VDs, and over the seeds of a network.
    """
    series, bootstrap = summed.losses, _bootstrap(summed, evaluation)
    interval = pd.Timedelta(minutes=summed.interval_minutes)
    horizons = [int(step) for step in series["horizon"].values]
    by_horizon = {
        (str(feature), step): series.sel(feature=feature, horizon=step)
        for feature, step in product(series["feature"].values, horizons)
    }
    averages = _averages(series)
    low, high = _intervals(series, bootstrap)
    return Differences(
        between=_between({**by_horizon, **averages}, horizons, bootstrap),
        mae_low=low,
        mae_high=high,
        confidence_set=_confidence_sets(averages, bootstrap),
        confidence=evaluation.confidence,
        span_days=series.sizes["origin"] * interval / pd.Timedelta("24h"),
        block_days=bootstrap.block * interval / pd.Timedelta("24h"),
    )


def find_confidence_sets(
    by_mode: Mapping[str, SummedErrors], evaluation: Evaluation, *, comparable: bool
) -> xr.DataArray:
    """p-values ``(model, feature)`` of the model confidence set among the models of all modes.

    A model is ``{mode}_{model}``. Where modes are not comparable each has its own set. Baselines
    that are the same in several modes stand once, under the first.
    """
    bootstrap = _bootstrap(next(iter(by_mode.values())), evaluation)
    named = []
    for mode, summed in by_mode.items():
        losses = summed.losses
        models = [f"{mode}_{model}" for model in losses["model"].values]
        named.append(losses.assign_coords(model=models))
    if not comparable:
        sets = [_confidence_sets(_averages(losses), bootstrap) for losses in named]
        return xr.concat(sets, "model", join="outer")  # modes may have other features
    together = xr.concat(named, "model")
    distinct: dict[str, npt.NDArray[np.float64]] = {}
    for name, of_model in zip(map(str, together["model"].values), together.values, strict=True):
        is_network = name.endswith(tuple(f"_{model}" for model in MODELS))
        alike = (np.array_equal(of_model, other, equal_nan=True) for other in distinct.values())
        if is_network or not any(alike):
            distinct[name] = of_model
    return _confidence_sets(_averages(together.sel(model=list(distinct))), bootstrap)


def model_labels(models: Sequence[tuple[str, str]]) -> list[str]:
    """What tables and plots of several modes call models, given as mode and model.

    A baseline that looks at one VD alone in every mode needs no mode, unless it stands there twice.
    """
    counts = Counter(model for _, model in models)
    return [
        NAMES[model]
        if model in ALIKE_IN_ALL_MODES and counts[model] == 1
        else f"{mode} {NAMES[model]}"
        for mode, model in models
    ]


def _bootstrap(summed: SummedErrors, evaluation: Evaluation) -> Bootstrap:
    interval = pd.Timedelta(minutes=summed.interval_minutes)
    return Bootstrap(
        block=round(pd.Timedelta(evaluation.bootstrap_block) / interval),
        repetitions=evaluation.bootstrap_repetitions,
        level=evaluation.confidence,
    )


def _averages(series: xr.DataArray) -> dict[tuple[str, int], xr.DataArray]:
    """The mean of the horizons that are observed, by feature.

    The same horizons for every model: where a forecast is not a number, neither is its average.
    """
    observed = series.notnull().any("model")
    count = observed.sum("horizon")
    total = series.where(observed, 0).sum("horizon", skipna=False)
    average = total / count.where(count > 0)
    return {(str(f), AVERAGE): average.sel(feature=f) for f in series["feature"].values}


def _between(
    series: Mapping[tuple[str, int], xr.DataArray], horizons: list[int], bootstrap: Bootstrap
) -> dict[tuple[str, int], Difference]:
    names = next(iter(series.values()))["model"].values
    if any(model not in names for model in MODELS):
        return {}
    first, second = MODELS
    pairs = {
        key: (of_models.sel(model=first).values, of_models.sel(model=second).values)
        for key, of_models in series.items()
    }
    p_values: dict[tuple[str, int], float] = {}
    for feature in dict.fromkeys(feature for feature, _ in series):
        keys = [(feature, step) for step in (*horizons, AVERAGE)]
        raw = [diebold_mariano(*pairs[key], key[1] or max(horizons)).p_value for key in keys]
        p_values |= zip(keys, map(float, [*holm(raw[:-1]), raw[-1]]), strict=True)
    below, above = (np.stack(of_model, axis=1) for of_model in zip(*pairs.values(), strict=True))
    size = 1 - bootstrap.level
    return {
        key: Difference(ratio.estimate - 1, ratio.low - 1, ratio.high - 1, p_values[key], size)
        for key, ratio in zip(pairs, ratio_intervals(above, below, bootstrap), strict=True)
    }


def _intervals(series: xr.DataArray, bootstrap: Bootstrap) -> tuple[xr.DataArray, xr.DataArray]:
    """Intervals of the networks' MAE; the baselines' are not drawn, and stay NaN."""
    low = xr.full_like(series.isel(origin=0, drop=True), np.nan)
    high = low.copy()
    for model in [name for name in MODELS if name in series["model"].values]:
        columns = series.sel(model=model).stack(column=("horizon", "feature"))
        columns = columns.transpose("origin", "column")
        ends = ratio_intervals(columns.values, np.ones(columns.shape), bootstrap)
        for (step, feature), interval in zip(columns["column"].values, ends, strict=True):
            at = {"model": model, "horizon": step, "feature": feature}
            low.loc[at], high.loc[at] = interval.low, interval.high
    return low, high


def _confidence_sets(
    averages: Mapping[tuple[str, int], xr.DataArray], bootstrap: Bootstrap
) -> xr.DataArray:
    """p-values over (model, feature); NaN for a model whose forecasts are not all numbers."""
    by_feature = []
    for of_models in averages.values():
        names = [str(name) for name in of_models["model"].values]
        whole = (of_models.notnull() | of_models.isnull().all("model")).all("origin")
        losses = {name: of_models.sel(model=name).values for name in names if whole.sel(model=name)}
        p_values = model_confidence_set(losses, bootstrap)
        by_feature.append([p_values.get(name, np.nan) for name in names])
    coords = {"feature": [feature for feature, _ in averages], "model": names}
    return xr.DataArray(by_feature, coords, ("feature", "model")).transpose("model", "feature")
