"""Congestion as an event: whether forecasts say it, and how long before a queue begins.

A step is congested where the speed of its detector is below a share of the detector's free-flow
speed; a forecast says so where it is below the same speed. Everything is built from counts, which
add up over detectors. Values that are not observed are not counted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from vd_forecasting.evaluation.aligned import (
    JOINED,
    AlignedForecasts,
    Member,
    deviation_over_seeds,
    mean_over_seeds,
)
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import SPEED, joined_name

Mask = npt.NDArray[np.bool_]
Steps = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float64]

QUEUE: Final = pd.Timedelta("15min")
"""So long a queue must last, and so long the road must have been clear before it."""

OUTCOMES: Final = ("hits", "misses", "false_alarms", "correct_rejections")


@dataclass(frozen=True)
class CongestionCounts:
    """How often members said congestion and how often there was some, all detectors together."""

    data: xr.Dataset
    """``hits``, ``misses``, ``false_alarms`` and ``correct_rejections`` (member, horizon), and
    ``queues`` (member, lead) of :func:`announced_before`; NaN for a member of which a forecast is
    no number. The coordinate ``model`` on member names seeds joined by :func:`.joined_name`."""
    members: list[Member]
    interval_minutes: float


def count_congestion(forecasts: AlignedForecasts, share: float) -> CongestionCounts:
    """Count what all members say of steps slower than a share of free flow.

    Forecasts are read a block of detectors at a time. Without speeds among the targets, or where no
    free-flow speed is known, nothing is counted.
    """
    joined = forecasts.of_several_seeds
    names = [*(str(name) for name in forecasts.data["model"].values), *map(joined_name, joined)]
    horizons = len(forecasts.horizons)
    total = np.zeros((len(names), len(OUTCOMES), horizons))
    leads = np.zeros((len(names), horizons + 1))
    if SPEED in forecasts.features:
        speeds = replace(forecasts, data=forecasts.data.sel(feature=SPEED, drop=True))
        for block in speeds.blocks():
            counted = _count_block(block, share)
            everyone = chain(block.forecast, map(block.joined, joined))
            for row, (outcomes, queues) in enumerate(map(counted, everyone)):
                total[row] += outcomes
                leads[row] += queues
    arrays = {name: (("member", "horizon"), total[:, n]) for n, name in enumerate(OUTCOMES)}
    labels = {"horizon": forecasts.horizons, "lead": np.arange(horizons + 1)}
    data = xr.Dataset({**arrays, "queues": (("member", "lead"), leads)}, labels)
    return CongestionCounts(
        data.assign_coords(model=("member", names)),
        [*forecasts.members, *(Member(name, JOINED, best=False) for name in joined)],
        forecasts.interval_minutes,
    )


def _count_block(
    block: AlignedForecasts, share: float
) -> Callable[[xr.DataArray], tuple[Counts, Counts]]:
    """What counts the outcomes ``[4, H]`` and the queues by lead ``[H + 1]`` of a forecast."""
    dims = ("origin", "horizon", "vd")
    limit = block.slow_below(share).broadcast_like(block.truth).transpose(*dims).values
    truth = block.truth.transpose(*dims).values
    known, congested = np.isfinite(truth) & np.isfinite(limit), truth < limit
    steps = queue_steps(block.interval_minutes)
    begins = queue_begins(known[:, 0], congested[:, 0], _segments(block), steps, truth.shape[1])

    def count(forecast: xr.DataArray) -> tuple[Counts, Counts]:
        values = forecast.transpose(*dims).values
        said = values < limit
        pairs = ((True, True), (True, False), (False, True), (False, False))
        masks = [known & (congested == was) & (said == says) for was, says in pairs]
        outcomes = np.stack([mask.sum((0, 2)) for mask in masks]).astype("float64")
        outcomes[:, (known & np.isnan(values)).any((0, 2))] = np.nan
        leads = announced_before(said, begins)
        queues = np.bincount(leads, minlength=said.shape[1] + 1).astype("float64")
        return outcomes, np.where(np.isnan(outcomes).any(), np.nan, queues)

    return count


def queue_steps(interval_minutes: float) -> int:
    """:data:`QUEUE` in steps, at least one."""
    return max(1, round(QUEUE / pd.Timedelta(minutes=interval_minutes)))


def _segments(block: AlignedForecasts) -> list[slice]:
    """Origins that follow each other without a gap."""
    gaps = np.flatnonzero(np.diff(block.origins) != as_interval(block.interval_minutes)) + 1
    ends = [0, *gaps.tolist(), len(block.origins)]
    return [slice(*pair) for pair in pairwise(ends)]


def queue_begins(
    known: Mask, congested: Mask, segments: list[slice], steps: int, horizons: int
) -> tuple[Steps, Steps]:
    """The first steps of queues: their positions ``[Q]`` in time and among the detectors.

    ``known`` and ``congested`` ``[T, N]`` are of consecutive steps within each segment. A queue is
    so many congested ``steps`` or more that follow on as many clear ones; a step that is not known
    is neither. It is left out where it begins before a step has been forecast at all ``horizons``.
    """
    begins = np.zeros(known.shape, dtype=bool)
    for segment in segments:
        if segment.stop - segment.start < 2 * steps:
            continue
        is_slow, is_clear = (
            np.asarray(sliding_window_view(of[segment], steps, axis=0).all(axis=-1))
            for of in (known & congested, known & ~congested)
        )
        found = is_clear[:-steps] & is_slow[steps:]
        begins[segment][steps : steps + len(found)] = found
        begins[segment][: horizons - 1] = False
    time, vd = np.nonzero(begins)
    return time, vd


def announced_before(said: Mask, begins: tuple[Steps, Steps]) -> Steps:
    """How many steps before its beginning each queue is announced, ``[Q]``; 0 if it is not.

    ``said`` ``[T, H, N]`` is whether the forecast made at an origin says congestion at a horizon.
    A queue that begins at step t is announced h steps before if all forecasts of t made at the
    origins t − 1, t − 2, … t − h say so. More than H steps are not seen. ``begins`` counts t as the
    origin t − 1, so the forecast of t with horizon h is that of origin ``t − h + 1``.
    """
    time, vd = begins
    horizon = np.arange(said.shape[1])
    of_queues = said[time[:, None] - horizon, horizon, vd[:, None]]  # [Q, H]
    leads: Steps = of_queues.cumprod(axis=1).sum(axis=1)
    return leads


def congestion_scores(counts: xr.Dataset) -> xr.Dataset:
    """Precision, recall, F1 and accuracy from counts of outcomes.

    A score without anything to divide by is NaN: precision where congestion is never said, recall
    and F1 where there is none.
    """
    hits, misses, false_alarms, rejections = (counts[name] for name in OUTCOMES)
    there = hits + misses

    def ratio(part: xr.DataArray, whole: xr.DataArray) -> xr.DataArray:
        return part / whole.where(whole > 0)

    return xr.Dataset(
        {
            "precision": ratio(hits, hits + false_alarms),
            "recall": ratio(hits, there),
            "f1": ratio(2 * hits, (2 * hits + false_alarms + misses).where(there > 0)),
            "accuracy": ratio(hits + rejections, there + false_alarms + rejections),
        }
    )


def announcements(counted: CongestionCounts) -> xr.Dataset:
    """Over (member): ``announced``, the share of the queues that are announced at all, and
    ``lead_minutes``, the median time of those; NaN without any."""
    queues = counted.data["queues"]
    total, of_announced = queues.sum("lead", skipna=False), queues.sel(lead=slice(1, None))
    announced = of_announced.sum("lead", skipna=False)
    below = of_announced.cumsum("lead")
    # The middle one of an odd number, the mean of the middle two of an even one.
    middle = [
        (below < np.ceil(half)).sum("lead") + 1 for half in (announced / 2, announced / 2 + 0.5)
    ]
    lead = (middle[0] + middle[1]) / 2 * counted.interval_minutes
    return xr.Dataset(
        {
            "announced": announced / total.where(total > 0),
            "lead_minutes": lead.where(announced > 0),
        }
    )


@dataclass(frozen=True)
class Congestion:
    """Scores of networks and baselines, all detectors together; a network's are means over seeds.

    Where a network has several seeds, these are also there joined.
    """

    by_horizon: xr.Dataset
    """Precision, recall, F1 and accuracy over (model, horizon)."""
    average: xr.Dataset
    """The same of all horizons together, ``announced`` and ``lead_minutes`` of
    :func:`announcements`, over (model)."""
    by_horizon_sd: xr.Dataset
    """Standard deviations over the seeds; NaN where there is one."""
    average_sd: xr.Dataset
    scored: int
    """Observed speeds, all horizons together."""
    congested: int
    """Those below the congestion speed."""
    queues: int
    horizons: list[int]
    interval_minutes: float

    @property
    def share(self) -> float:
        """Share of the scored speeds that are congested; NaN without any."""
        return self.congested / self.scored if self.scored else np.nan

    def at(self, score: str, model: str, horizon: int | None = None) -> tuple[float, float]:
        """A value and its standard deviation, of a horizon or of all together."""
        both = (
            (self.average, self.average_sd)
            if horizon is None
            else tuple(of.sel(horizon=horizon) for of in (self.by_horizon, self.by_horizon_sd))
        )
        value, sd = (float(of[score].sel(model=model)) for of in both)
        return value, sd


def congestion_of(counted: CongestionCounts) -> Congestion:
    """The scores that counts amount to."""
    data = counted.data
    by_horizon = congestion_scores(data)
    average = congestion_scores(data.sum("horizon", skipna=False)).merge(announcements(counted))
    # All members are scored on the same values; persistence forecasts are always numbers.
    own = data.isel(member=[member.model for member in counted.members].index("persistence"))
    outcomes = {name: int(own[name].sum()) for name in OUTCOMES}
    return Congestion(
        mean_over_seeds(by_horizon),
        mean_over_seeds(average),
        deviation_over_seeds(by_horizon),
        deviation_over_seeds(average),
        scored=sum(outcomes.values()),
        congested=outcomes["hits"] + outcomes["misses"],
        queues=int(own["queues"].sum()),
        horizons=[int(step) for step in data["horizon"].values],
        interval_minutes=counted.interval_minutes,
    )
