"""Errors of several models for the same truths: the sums that tests rest on, and the scores."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts.forecasts import BLOCK
from vd_forecasting.evaluation.aligned import (
    JOINED,
    AlignedForecasts,
    Member,
    deviation_over_seeds,
    mean_over_seeds,
)
from vd_forecasting.evaluation.metrics import error_sums, from_sums, joined_sums, truth_sums
from vd_forecasting.language import say
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import MODELS, joined_label, joined_name, name_of
from vd_forecasting.wording import count, plural, with_unit

Json = dict[str, Any]

_ALL_HORIZONS = 0
_LABELS = ("model", "seed", "best")
_ALIKE: dict[str, Any] = {"join": "override", "coords": "minimal", "compat": "override"}
"""For arrays with the same labels, which xarray would compare one by one."""


@dataclass(frozen=True)
class LossesOverTime:
    """Sums of the losses of every member over all detectors, on which tests rest."""

    by_origin: xr.Dataset
    """``loss`` (member, origin, horizon, feature), absolute errors or another, and the number of
    values scored, ``n`` (origin, horizon, feature)."""
    interval_minutes: float

    @property
    def days(self) -> dict[str, int]:
        """Test days that count, by feature: at least half of their origins are scored."""
        scored = self.by_origin["n"].sum("horizon").transpose("origin", "feature") > 0
        days = count_days(scored.values, scored["origin"].values, self.interval_minutes)
        return dict(zip(map(str, scored["feature"].values), days, strict=True))


@dataclass(frozen=True)
class SummedErrors(LossesOverTime):
    """Sums of the errors of every member over the observed truths; losses are absolute errors.

    ``by_origin`` also has the sums of the observed truths themselves, ``truth`` (origin, horizon,
    feature).
    """

    by_vd: xr.Dataset
    """The sums of :func:`.metrics.sums` over the origins of each test block: (member, block,
    horizon, vd, feature). Behind the members of ``by_origin`` come the networks' seeds joined, each
    by a name of its own."""
    members: list[Member]
    """Of ``by_vd``."""
    mode: str
    spans: Mapping[int, tuple[pd.Timestamp, pd.Timestamp]]
    """First and last origin of each test block, by its number."""
    units: Mapping[str, str]
    """In words, by target feature."""


def count_days(
    scored: npt.NDArray[np.bool_], origins: npt.NDArray[np.datetime64], interval_minutes: float
) -> list[int]:
    """Calendar days of which at least half of the origins are scored, [K]; ``scored`` [T, K]."""
    return days_that_count(origins_of_days(scored, origins), interval_minutes)


def origins_of_days(
    scored: npt.NDArray[np.bool_], origins: npt.NDArray[np.datetime64]
) -> npt.NDArray[np.int64]:
    """How many origins of each calendar day are scored, [D, K]; ``scored`` [T, K]."""
    of_day = pd.DataFrame(scored).groupby(pd.DatetimeIndex(origins).floor("D")).sum()
    return of_day.to_numpy("int64")


def days_that_count(of_days: npt.NDArray[np.int64], interval_minutes: float) -> list[int]:
    """The same as :func:`count_days`, from the numbers of origins that are scored, [D, K]."""
    origins_of_day = max(pd.Timedelta("24h") / pd.Timedelta(minutes=interval_minutes), 1)
    return [int(days) for days in (of_days >= origins_of_day / 2).sum(axis=0)]


def sum_errors(forecasts: AlignedForecasts, mape_min_truth: float) -> SummedErrors:
    """Add up the errors of all members.

    Forecasts are read once, a block of detectors at a time, so memory does not grow with their
    number.
    """
    by_vd, total = [], xr.Dataset()
    for block in forecasts.blocks():
        of_vds, of_origins = _sums_of_block(block, mape_min_truth)
        by_vd.append(of_vds)
        total = total + of_origins if total else of_origins
    names = [str(name) for name in forecasts.data["model"].values]
    joined = forecasts.of_several_seeds
    with_joined = [*names, *map(joined_name, joined)]
    return SummedErrors(
        by_vd=xr.concat(by_vd, "vd").assign_coords(model=("member", with_joined)),
        by_origin=total.assign_coords(model=("member", names)),
        members=[*forecasts.members, *(Member(name, JOINED, best=False) for name in joined)],
        spans=_spans(forecasts),
        mode=forecasts.mode,
        units=forecasts.units,
        interval_minutes=forecasts.interval_minutes,
    )


def _spans(forecasts: AlignedForecasts) -> dict[int, tuple[pd.Timestamp, pd.Timestamp]]:
    of_origin, origins = forecasts.data[BLOCK].values, pd.DatetimeIndex(forecasts.origins)
    spans = {int(number): origins[of_origin == number] for number in np.unique(of_origin)}
    return {number: (of_block[0], of_block[-1]) for number, of_block in spans.items()}


def _sums_of_block(block: AlignedForecasts, mape_min_truth: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Sums over the origins and sums over the detectors."""
    observed, scale = block.truth.notnull(), block.data["mase_scale"]
    numbers = scale["block"].values
    ends = np.searchsorted(block.data[BLOCK].values, [*numbers, numbers[-1] + 1])
    spans = [slice(*span) for span in pairwise(ends)]
    absolute, by_vd = [], []
    for labelled in block.forecast:  # one by one, for their errors take room
        error = abs(labelled.drop_vars(_LABELS).astype("float64") - block.truth)
        absolute.append(error.where(observed, 0).sum("vd", skipna=False))
    for at, span in enumerate(spans):
        part = replace(block, data=block.data.isel(origin=span))
        of_truth = truth_sums(part.truth, ["origin"], mape_min_truth)
        everyone = chain(part.forecast, map(part.joined, part.of_several_seeds))
        of_members = [
            error_sums(part.truth, forecast, ["origin"], mape_min_truth)
            for forecast in (of.drop_vars(_LABELS, errors="ignore") for of in everyone)
        ]
        of_errors = xr.concat(of_members, "member", **_ALIKE)
        of_each = of_truth.expand_dims(member=len(of_members))
        by_vd.append(joined_sums(of_each, of_errors, scale.isel(block=at, drop=True)))
    of_origins = {
        "loss": xr.concat(absolute, "member", **_ALIKE),
        "n": observed.sum("vd"),
        "truth": block.truth.astype("float64").sum("vd"),
    }
    of_vds = xr.concat(by_vd, scale["block"], **_ALIKE).transpose("member", "block", ...)
    return of_vds, xr.Dataset(of_origins)


@dataclass(frozen=True)
class Errors:
    """Scores of networks and baselines, most pooled over VDs; a network's are means over seeds.

    By detector, by horizon and on average, networks of several seeds are there twice: the forecasts
    of the seeds are joined under the name of :func:`.joined_name`.
    """

    by_horizon: xr.Dataset
    """Metrics over (model, horizon, feature)."""
    average: xr.Dataset
    """Metrics over (model, feature), pooled over horizons."""
    by_horizon_sd: xr.Dataset
    """Standard deviations over the seeds; NaN where there is one."""
    average_sd: xr.Dataset
    by_vd: xr.Dataset
    """Metrics over (model, vd, feature), pooled over horizons."""
    by_block: xr.Dataset
    """Metrics over (model, block, feature) of each test block, pooled over horizons."""
    spans: Mapping[int, tuple[pd.Timestamp, pd.Timestamp]]
    """First and last origin of each test block, by its number."""
    by_origin: xr.Dataset
    """As of :class:`LossesOverTime`."""
    seeds: Mapping[str, int]
    """How many, by network."""
    days: Mapping[str, int]
    """Test days that count, by feature: at least half of their origins are scored."""
    units: Mapping[str, str]
    interval_minutes: float

    @property
    def networks(self) -> list[str]:
        """LSTM, xLSTM or both."""
        return [name for name in self._models if name in MODELS]

    @property
    def baselines(self) -> list[str]:
        """Persistence and the others."""
        others = {*self.networks, *self.joined.values()}
        return [name for name in self._models if name not in others]

    @property
    def joined(self) -> dict[str, str]:
        """By network of several seeds, the name of the mean of their forecasts."""
        return {name: joined_name(name) for name, seeds in self.seeds.items() if seeds > 1}

    @property
    def labels(self) -> dict[str, str]:
        """Names in print of networks, each followed by its seeds joined, and baselines."""
        labels: dict[str, str] = {}
        for name in (*self.networks, *self.baselines):
            labels[name] = name_of(name)
            if name in self.joined:
                labels[self.joined[name]] = joined_label(labels[name], self.seeds[name])
        return labels

    @property
    def _models(self) -> list[str]:
        return [str(name) for name in self.average["model"].values]

    @property
    def most_days(self) -> int:
        """Test days that count, of the feature that has most."""
        return max(self.days.values())

    @property
    def features(self) -> list[str]:
        """Target features."""
        return [str(name) for name in self.average["feature"].values]

    @property
    def horizons(self) -> list[int]:
        """Steps ahead, from 1."""
        return [int(step) for step in self.by_horizon["horizon"].values]

    @property
    def by_hour(self) -> xr.DataArray:
        """MAE over (model, hour, feature), by the hour of day that was forecast."""
        ahead = self.by_origin["horizon"] * as_interval(self.interval_minutes)
        hour = (self.by_origin["origin"] + ahead).dt.hour.rename("hour")
        total = self.by_origin.groupby(hour).sum(skipna=False)
        mae = total["loss"] / total["n"].where(total["n"] > 0)
        return mean_over_seeds(mae).reindex(hour=range(24))

    @cached_property
    def _values(self) -> dict[Any, dict[Any, float]]:
        return _by_place(self.by_horizon, self.average)

    @cached_property
    def _deviations(self) -> dict[Any, dict[Any, float]]:
        return _by_place(self.by_horizon_sd, self.average_sd)

    def at(self, metric: str, model: str, feature: str, horizon: int | None = None) -> float:
        """One value: of a horizon, or of all horizons together."""
        return float(self._values[metric][model, feature, horizon or _ALL_HORIZONS])

    def sd(self, metric: str, model: str, feature: str, horizon: int | None = None) -> float:
        """The standard deviation of a value over the seeds; NaN where there is one."""
        return float(self._deviations[metric][model, feature, horizon or _ALL_HORIZONS])

    def count(self, feature: str) -> int:
        """How many observed values of a feature are scored, all horizons together."""
        return int(self.at("n", "persistence", feature))

    def label(self, feature: str) -> str:
        """A feature with its unit."""
        return with_unit(feature, self.units.get(feature, ""))

    @property
    def scored_in_words(self) -> str:
        """``1,200 to 1,234 observed values per feature``."""
        counts = [self.count(feature) for feature in self.features]
        low, high = min(counts), max(counts)
        if low == high:
            return say("{values} per feature", values=plural(low, "observed value"))
        return say("{low} to {high} observed values per feature", low=count(low), high=count(high))


def _by_place(by_horizon: xr.Dataset, average: xr.Dataset) -> dict[Any, dict[Any, float]]:
    """Values by metric, then by model, feature and horizon; a look-up in these is quick."""
    both = (by_horizon, average.expand_dims(horizon=[_ALL_HORIZONS]))
    frames = [scores.to_dataframe(["model", "feature", "horizon"]) for scores in both]
    return pd.concat(frames).to_dict()


def errors_of(summed: SummedErrors) -> Errors:
    """The errors that sums amount to."""

    def pooled(*dims: str) -> xr.Dataset:
        return from_sums(summed.by_vd.sum(dims, skipna=False))

    by_horizon, average = pooled("block", "vd"), pooled("block", "horizon", "vd")
    seeds = Counter(m.model for m in summed.members if isinstance(m.seed, int))
    return Errors(
        by_horizon=mean_over_seeds(by_horizon),
        average=mean_over_seeds(average),
        by_horizon_sd=deviation_over_seeds(by_horizon),
        average_sd=deviation_over_seeds(average),
        by_vd=mean_over_seeds(pooled("block", "horizon")),
        by_block=mean_over_seeds(pooled("horizon", "vd")),
        spans=summed.spans,
        by_origin=summed.by_origin,
        seeds=seeds,
        days=summed.days,
        units=summed.units,
        interval_minutes=summed.interval_minutes,
    )
