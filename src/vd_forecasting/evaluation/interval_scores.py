"""Do prediction intervals cover what they promise, and how wide are they?

A score is a mean over observed truths, made of sums that can be added, as in :mod:`.errors`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts.forecasts import RANGE
from vd_forecasting.evaluation.aligned import (
    DIMS,
    JOINED,
    AlignedForecasts,
    Member,
    deviation_over_seeds,
    mean_over_seeds,
)
from vd_forecasting.evaluation.errors import LossesOverTime
from vd_forecasting.evaluation.intervals import Calibration, Floats, Forecasted, interval_bounds
from vd_forecasting.parameters import Intervals
from vd_forecasting.vocabulary import joined_name

CENTRAL: Final = tuple(n / 10 for n in range(1, 10))
"""Levels whose ends are, with the forecast for the median, the quantiles 0.05, 0.10, … 0.95."""

GROUP_BYTES: Final = 32 * 2**20
"""The intervals of some members at one horizon, as numbers."""

SCORES: Final = ("coverage", "width", "winkler")
"""Those that each level has."""


@dataclass(frozen=True)
class SummedIntervals(LossesOverTime):
    """Sums over the observed truths; losses over time are the CRPS."""

    by_vd: xr.Dataset
    """Over the origins of each test block: ``coverage``, ``width`` and the interval score
    ``winkler`` (member, block, level, horizon, vd, feature) of the ``levels``; ``crps`` and the
    number ``n`` without level. Behind the members of ``by_origin`` come the networks' seeds
    joined, each by a name of its own."""
    by_horizon: xr.Dataset
    """The same over all detectors too, of :data:`CENTRAL` levels as well."""
    by_day: xr.Dataset
    """Over detectors and horizons: ``coverage`` (member, level, day, feature) and ``n`` (day,
    feature), by the day of the origin."""
    members: list[Member]
    """Those of ``by_vd``."""
    mode: str
    levels: tuple[float, ...]
    """Those to show."""


def sum_intervals(
    forecasts: AlignedForecasts, validation: Mapping[int, AlignedForecasts], intervals: Intervals
) -> SummedIntervals:
    """Put intervals around the forecasts of all members, seeds joined among them, and add up.

    Each member has its own intervals. Those of a test block are learnt from the ``validation`` of
    that block and from the test blocks before it. Detectors are read a block at a time, and of the
    intervals those of some members at one horizon are held.
    """
    by_vd, by_horizon, by_origin, by_day = [], xr.Dataset(), xr.Dataset(), xr.Dataset()
    for block in forecasts.blocks():
        of_vds, of_origins, of_days = _sums_of_block(block, validation, intervals)
        by_vd.append(of_vds.sel(level=[*intervals.levels]))
        total = of_vds.sum("vd", skipna=False)
        by_horizon = by_horizon + total if by_horizon else total
        by_origin = by_origin + of_origins if by_origin else of_origins
        by_day = by_day + of_days if by_day else of_days
    names = [str(name) for name in forecasts.data["model"].values]
    joined = forecasts.of_several_seeds
    labels = {"model": ("member", [*names, *map(joined_name, joined)])}
    return SummedIntervals(
        by_origin=by_origin.assign_coords(labels).isel(member=slice(len(names))),
        interval_minutes=forecasts.interval_minutes,
        by_vd=xr.concat(by_vd, "vd").assign_coords(labels),
        by_horizon=by_horizon.assign_coords(labels),
        by_day=by_day.assign_coords(labels),
        members=[*forecasts.members, *(Member(name, JOINED, best=False) for name in joined)],
        mode=forecasts.mode,
        levels=intervals.levels,
    )


def _sums_of_block(
    block: AlignedForecasts, validation: Mapping[int, AlignedForecasts], intervals: Intervals
) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Sums by detector, by origin and by day."""
    labels: dict[str, Any] = {"vd": block.vdids, "feature": block.features}
    labels["horizon"] = block.horizons
    tests = block.by_test_block()
    befores = {number: validation[number].sel(**labels) for number in tests}
    levels = sorted({*CENTRAL, *intervals.levels})
    by_vd, over_time = [], []
    for number, test in tests.items():
        low, high = (test.data[name].sel(block=number).values for name in RANGE)
        earlier = [tests[one] for one in tests if one < number]
        scored = [
            _score(now, list(past), (low, high), levels, intervals.adaptive_step)
            for now, *past in _side_by_side(test, [befores[number], *earlier], len(levels))
        ]
        by_vd.append(xr.concat([of_vds for of_vds, _ in scored], "member", data_vars="all"))
        over_time.append(xr.concat([of_time for _, of_time in scored], "member"))
    total = xr.concat(over_time, "origin").assign_coords(
        origin=block.origins, horizon=block.horizons, feature=block.features, level=levels
    )
    n = block.truth.notnull().sum("vd").drop_vars("unit", errors="ignore")
    day = total["origin"].dt.floor("D").rename("day")
    by_day = {"coverage": total["coverage"].groupby(day).sum(skipna=False)}
    by_day["n"] = n.sum("horizon").groupby(day).sum()
    return (
        xr.concat(by_vd, pd.Index([*tests], name="block")).assign_coords(**labels, level=levels),
        xr.Dataset({"loss": total["loss"], "n": n}),
        xr.Dataset(by_day),
    )


def _side_by_side(
    now: AlignedForecasts, past: Sequence[AlignedForecasts], levels: int
) -> Iterator[list[Forecasted]]:
    """The forecasts of some members side by side, ``[T, H, M, N, F]``, and those of the past; then
    those of the next ones. Behind all members come the seeds joined.

    Steps of time follow one another, and a step of many members takes hardly longer than one of
    one: so as many are put together as memory should hold of one array of intervals.
    """
    periods = [now, *past]
    everyone = [
        map(_values, chain(of.forecast, map(of.joined, of.of_several_seeds))) for of in periods
    ]
    truths = [_values(of.truth)[:, :, None] for of in periods]
    steps, _, *shape = truths[0].shape
    together = max(GROUP_BYTES // max(8 * levels * steps * math.prod(shape), 1), 1)
    while (groups := [[*islice(members, together)] for members in everyone])[0]:
        yield [
            Forecasted(of.origins, np.stack(group, axis=2), truth, of.interval_minutes)
            for of, group, truth in zip(periods, groups, truths, strict=True)
        ]


def _values(array: xr.DataArray) -> npt.NDArray[np.floating]:
    values: npt.NDArray[np.floating] = array.transpose(*DIMS).values
    return values


def _score(
    now: Forecasted,
    past: Sequence[Forecasted],
    possible: tuple[Floats, Floats],
    levels: Sequence[float],
    step: float,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Sums over the origins, and over the detectors; of coverage the latter over horizons too. The
    truths are ``[T, H, 1, N, F]``."""
    central = np.isin(levels, CENTRAL)
    of_vds: dict[str, list[Floats]] = {name: [] for name in (*SCORES, "crps", "n")}
    crps_over_time, coverage_over_time = [], np.zeros(())
    bounds = interval_bounds(Calibration.learn(past), now, possible, levels, step)
    for at, ends in enumerate(bounds):
        shape = now.forecast[:, at].shape
        truth = np.broadcast_to(now.truth[:, at], shape).astype("float64", order="C")
        unknown = ~np.isfinite(truth)
        pinball, covered = np.zeros(shape), []
        of_levels: dict[str, list[Floats]] = {name: [] for name in SCORES}
        # Level by level, which the caches of a processor have room for.
        for level, is_central, lower, upper in zip(levels, central, *ends, strict=True):
            inside = np.where(np.isnan(lower), np.nan, (lower <= truth) & (truth <= upper))
            width = upper - lower
            winkler = np.maximum(lower - truth, truth - upper)
            np.maximum(winkler, 0, out=winkler)
            winkler *= 2 / (1 - level)
            winkler += width
            if is_central:  # twice the pinball loss of both ends
                pinball += (1 - level) * winkler
            for name, values in zip(SCORES, (inside, width, winkler), strict=True):
                np.copyto(values, 0, where=unknown)
                of_levels[name].append(values.sum(0))
            covered.append(np.einsum("tmnf->mtf", inside))  # whole numbers, in any order
        pinball += abs(truth - now.forecast[:, at])
        crps = np.where(unknown, 0, pinball / (2 * central.sum() + 1))
        for name, sums_of_levels in of_levels.items():
            of_vds[name].append(np.stack(sums_of_levels, axis=1))
        of_vds["crps"].append(crps.sum(0))
        of_vds["n"].append((~unknown).sum(0))
        crps_over_time.append(np.moveaxis(crps.sum(-2), 1, 0))
        coverage_over_time = coverage_over_time + np.stack(covered, axis=1)
    dims = ("horizon", "vd", "feature")
    sums = {
        name: (
            ("member", "level", *dims) if name in SCORES else ("member", *dims),
            np.stack(values, axis=-3),
        )
        for name, values in of_vds.items()
    }
    over_time = {
        "loss": (("member", "origin", "horizon", "feature"), np.stack(crps_over_time, axis=2)),
        "coverage": (("member", "level", "origin", "feature"), coverage_over_time),
    }
    return xr.Dataset(sums), xr.Dataset(over_time)


def scores_of(sums: xr.Dataset) -> xr.Dataset:
    """Coverage, mean width, Winkler score and CRPS from sums; NaN without any truth."""
    n = sums.variables["n"].where(sums.variables["n"] > 0)
    return xr.Dataset({str(of): sums.variables[of] / n for of in sums if of != "n"}, sums.coords)


@dataclass(frozen=True)
class IntervalScores:
    """Scores of networks and baselines, pooled over detectors; a network's are means over seeds.

    Where a network has several seeds, these are also there joined.
    """

    by_horizon: xr.Dataset
    """``coverage``, ``width`` and ``winkler`` (model, level, horizon, feature) and ``crps`` (model,
    horizon, feature)."""
    average: xr.Dataset
    """The same of all horizons together."""
    average_sd: xr.Dataset
    """Standard deviations over the seeds; NaN where there is one."""
    by_day: xr.DataArray
    """Coverage (model, level, day, feature)."""
    levels: tuple[float, ...]
    """Those to show; there are :data:`CENTRAL` too."""

    def at(
        self, score: str, model: str, feature: str, level: float | None = None
    ) -> tuple[float, float]:
        """A value of all horizons together and its standard deviation; CRPS has no level."""
        labels = {"model": model, "feature": feature} | ({} if level is None else {"level": level})
        value, sd = (float(of[score].sel(labels)) for of in (self.average, self.average_sd))
        return value, sd


def interval_scores_of(summed: SummedIntervals) -> IntervalScores:
    """The scores that sums amount to."""

    def pooled(*dims: str) -> xr.Dataset:
        return scores_of(summed.by_horizon.sum(dims, skipna=False))

    average = pooled("block", "horizon")
    return IntervalScores(
        by_horizon=mean_over_seeds(pooled("block")),
        average=mean_over_seeds(average),
        average_sd=deviation_over_seeds(average),
        by_day=mean_over_seeds(scores_of(summed.by_day))["coverage"],
        levels=summed.levels,
    )
