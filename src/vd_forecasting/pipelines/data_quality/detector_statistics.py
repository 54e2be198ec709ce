"""A few numbers about each detector's series, from one pass over the array."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.pipelines.data_quality.stretches import longest_stretches
from vd_forecasting.vd_array import each_few_vds
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, VOLUME

NIGHT = (0, 5)
DAY = (6, 22)
"""Hours of the clock, the last one left out."""

PATCHY = 0.1
"""Share missing above which a night is patchy."""

DENSE = 30.0
SPARSE = 10.0
"""Occupancies in %: a road is full from the first on, and free up to the second."""

# Masks of this many take little memory beside a block.
_VDS_AT_ONCE = 16

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass
class LongestStretches:
    """The longest stretch of each detector and feature, [N, F] both; length 0 for none."""

    start: Counts
    length: Counts


@dataclass
class DetectorStatistics:
    """T steps, N detectors, F features; numbers of a feature the file lacks are NaN or 0."""

    missing: Counts
    """Missing values, [N, F]."""
    missing_stretch: LongestStretches
    zero_stretch: LongestStretches
    equal_stretch: LongestStretches
    """One and the same value other than zero; a value that occurs once has length 1."""
    missing_by_night: Counts
    missing_by_day: Counts
    """[N, F], in the hours of NIGHT and DAY; values missing because no vehicle passed, such as a
    speed where the volume is 0, do not count."""
    patchy_nights: Counts
    """Nights with more than PATCHY of their steps missing, counted likewise, [N, F]."""
    night_steps: int
    day_steps: int
    nights: int
    changes: Counts
    """Values that differ from that of the step before, [N, F]."""
    digests: npt.NDArray[np.bytes_]
    """[N, F], equal for equal series."""
    speed_when_dense: npt.NDArray[np.float64]
    speed_when_sparse: npt.NDArray[np.float64]
    """Median speed at occupancies of DENSE or more and SPARSE or less, [N]."""
    dense_steps: Counts
    sparse_steps: Counts
    """Time steps behind each median, [N]."""
    highest: npt.NDArray[np.float64]
    """Highest value of each feature, [F]."""
    volume_by_hour: npt.NDArray[np.float64]
    """Mean volume by hour of the day, over all detectors, [24]."""
    observed: npt.NDArray[np.bool_]
    """Whether any detector has a value, [T]."""


def detector_statistics(vd: xr.DataArray) -> DetectorStatistics:
    """The statistics of a clean VD array, which may be larger than memory."""
    names = [str(name) for name in vd["feature"].to_numpy()]
    column = {name: names.index(name) for name in names}
    hour = vd["time"].dt.hour.to_numpy()
    periods = _periods(vd["time"].to_numpy(), hour)
    found = _empty(vd.sizes["time"], vd.sizes["vd"], len(names))
    found.night_steps = int(periods.steps[periods.night].sum())
    found.day_steps = int(periods.steps[periods.day].sum())
    found.nights = int(periods.night.sum())
    sums, seen = np.zeros(24), np.zeros(24)
    for part, values in each_few_vds(vd, _VDS_AT_ONCE, "look at detectors"):
        missing = np.isnan(values)
        for feature, series in enumerate(values):
            _add_series(found, part, feature, series, missing[feature])
        found.observed |= ~missing.all(axis=(0, 1))
        if VOLUME in column:
            volume = values[column[VOLUME]]
            finite = ~missing[column[VOLUME]]
            seen += np.bincount(hour, finite.sum(axis=0), minlength=24)
            sums += np.bincount(hour, np.nansum(volume, axis=0, dtype=np.float64), minlength=24)
            missing &= volume != 0
        _add_nights(found, part, missing, periods)
        if {SPEED, OCCUPANCY} <= column.keys():
            _add_speeds(found, part, values[column[SPEED]], values[column[OCCUPANCY]])
    np.divide(sums, seen, out=found.volume_by_hour, where=seen > 0)
    return found


def _empty(steps: int, vds: int, features: int) -> DetectorStatistics:
    def counts(*shape: int) -> Counts:
        return np.zeros(shape or (vds, features), dtype=np.int64)

    return DetectorStatistics(
        missing=counts(),
        missing_stretch=LongestStretches(counts(), counts()),
        zero_stretch=LongestStretches(counts(), counts()),
        equal_stretch=LongestStretches(counts(), counts()),
        missing_by_night=counts(),
        missing_by_day=counts(),
        patchy_nights=counts(),
        night_steps=0,
        day_steps=0,
        nights=0,
        changes=counts(),
        digests=np.zeros((vds, features), dtype="S16"),
        speed_when_dense=np.full(vds, np.nan),
        speed_when_sparse=np.full(vds, np.nan),
        dense_steps=counts(vds),
        sparse_steps=counts(vds),
        highest=np.full(features, np.nan),
        volume_by_hour=np.full(24, np.nan),
        observed=np.zeros(steps, dtype=bool),
    )


@dataclass(frozen=True)
class _Periods:
    """The time steps cut into nights, days and what lies between, P in all."""

    begins: Counts
    """First step, [P]."""
    steps: Counts
    """Number of steps, [P]."""
    night: npt.NDArray[np.bool_]
    day: npt.NDArray[np.bool_]
    """[P]"""


def _periods(times: npt.NDArray[np.datetime64], hour: npt.NDArray[np.int64]) -> _Periods:
    kind = np.select([_within(hour, NIGHT), _within(hour, DAY)], [1, 2], 0)
    period = 3 * times.astype("datetime64[D]").astype(np.int64) + kind
    begins = np.flatnonzero(np.diff(period, prepend=period[0] - 1))
    steps = np.diff(begins, append=len(times))
    return _Periods(begins, steps, kind[begins] == 1, kind[begins] == 2)


def _within(hour: npt.NDArray[np.int64], hours: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return (hour >= hours[0]) & (hour < hours[1])


def _add_series(
    found: DetectorStatistics,
    part: slice,
    feature: int,
    series: Floats,
    missing: npt.NDArray[np.bool_],
) -> None:
    """One feature of some VDs: [n, T]."""
    same = np.zeros(series.shape, dtype=bool)
    same[:, 1:] = series[:, 1:] == series[:, :-1]  # NaN equals nothing
    zero = series == 0
    found.missing[part, feature] = missing.sum(axis=1)
    found.changes[part, feature] = (~same & ~missing).sum(axis=1)
    for longest, holds, before in (
        (found.missing_stretch, missing, 0),
        (found.zero_stretch, zero, 0),
        (found.equal_stretch, same & ~zero, 1),  # its first step equals none before it
    ):
        start, length = longest_stretches(holds)
        longest.start[part, feature] = start - before * (length > 0)
        longest.length[part, feature] = length + before * (length > 0)
    # All NaN are written alike, so that equal series have equal bytes.
    found.digests[part, feature] = [
        hashlib.blake2b(one.tobytes(), digest_size=16).digest()
        for one in np.where(missing, np.float32(np.nan), series)
    ]
    highest = np.fmax.reduce(series, axis=None)
    found.highest[feature] = np.fmax(found.highest[feature], highest)


def _add_nights(
    found: DetectorStatistics, part: slice, missing: npt.NDArray[np.bool_], periods: _Periods
) -> None:
    """Values missing without a reason, [F, n, T], by night and by day."""
    by_period = np.add.reduceat(missing, periods.begins, axis=-1, dtype=np.int64)  # [F, n, P]
    patchy = by_period > PATCHY * periods.steps
    found.missing_by_night[part] = by_period[..., periods.night].sum(axis=-1).T
    found.missing_by_day[part] = by_period[..., periods.day].sum(axis=-1).T
    found.patchy_nights[part] = patchy[..., periods.night].sum(axis=-1).T


def _add_speeds(found: DetectorStatistics, part: slice, speed: Floats, occupancy: Floats) -> None:
    """Speeds on a full road and on a free one: [n, T] both."""
    known = np.isfinite(speed)
    for chosen, steps, median in (
        (known & (occupancy >= DENSE), found.dense_steps, found.speed_when_dense),
        (known & (occupancy <= SPARSE), found.sparse_steps, found.speed_when_sparse),
    ):
        steps[part] = chosen.sum(axis=1)
        for index in np.flatnonzero(steps[part]):
            median[part.start + index] = np.median(speed[index, chosen[index]])
