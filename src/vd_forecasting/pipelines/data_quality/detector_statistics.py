"""A few numbers about each detector's series, from one pass over the array."""

import hashlib

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.pipelines.data_engineering.clocks import steps_between
from vd_forecasting.pipelines.data_engineering.resample import flow_factor
from vd_forecasting.pipelines.data_quality.stretches import LongestStretches, longest_stretches
from vd_forecasting.vd_array import DIMS, each_few_vds
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, VOLUME

NIGHT = (0, 5)
DAY = (6, 22)
"""Hours of the clock, the last one left out."""

PATCHY = 0.1
"""Share missing above which a night is patchy."""

DENSE = 30.0
SPARSE = 10.0
"""Occupancies in %: a road is full from the first on, and free up to the second."""

FLOW = 300.0
"""Vehicles per hour that no rounding of occupancies leaves at 0: about 1.5 % at 100 km/h."""

# Masks of this many take little memory beside a block.
_VDS_AT_ONCE = 16

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class DetectorStatistics:
    """T steps, N detectors, F features; numbers of a feature the file lacks are NaN or 0."""

    def __init__(self, steps: int, vds: int, features: int) -> None:
        def counts(*shape: int) -> Counts:
            return np.zeros(shape or (vds, features), dtype=np.int64)

        self.missing = counts()
        """Missing values, [N, F]."""
        # The longest stretch of each detector and feature, [N, F].
        self.missing_stretch = LongestStretches(counts(), counts())
        self.zero_stretch = LongestStretches(counts(), counts())
        self.equal_stretch = LongestStretches(counts(), counts())
        """One and the same value other than zero; a value that occurs once has length 1."""
        self.missing_by_night = counts()
        self.missing_by_day = counts()
        """[N, F], in the hours of NIGHT and DAY; values missing because no vehicle passed, such as
        a speed where the volume is 0, do not count."""
        self.patchy_nights = counts()
        """Nights with more than PATCHY of their steps missing, counted likewise, [N, F]."""
        self.nights = self.night_steps = self.day_steps = 0
        self.changes = counts()
        """Values that differ from that of the step before, [N, F]."""
        self.digests = np.zeros((vds, features), dtype="S16")
        """[N, F], equal for equal series."""
        self.speed_when_dense, self.speed_when_sparse = np.full((2, vds), np.nan)
        """Median speed at occupancies of DENSE or more and SPARSE or less, [N]."""
        self.dense_steps, self.sparse_steps = counts(2, vds)
        """Time steps behind each median, [N]."""
        self.steps_between = np.ones(vds)
        """Time steps from one record to the next, [N]."""
        # Values that another one contradicts or leaves open, [N].
        self.zero_speed_of_unknown = counts(vds)
        """Speeds of 0 where no volume is known."""
        self.zero_speed_of_vehicles = counts(vds)
        """Speeds of 0 where vehicles passed."""
        self.zero_occupancy_of_vehicles = counts(vds)
        """Occupancies of 0 where vehicles passed at more than FLOW."""
        self.negative_volume = counts(vds)
        self.highest = np.full(features, np.nan)
        """Highest value of each feature, [F]."""
        self.volume_by_hour = np.full(24, np.nan)
        """Mean volume by hour of the day, over all detectors, [24]."""
        self.observed = np.zeros(steps, dtype=bool)
        """Whether any detector has a value, [T]."""


def detector_statistics(vd: xr.DataArray) -> DetectorStatistics:
    """The statistics of a clean VD array, which may be larger than memory."""
    column = {str(name): at for at, name in enumerate(vd["feature"].to_numpy())}
    hour = vd["time"].dt.hour.to_numpy()
    night, day = ((hour >= first) & (hour < end) for first, end in (NIGHT, DAY))  # [T]
    dates = vd["time"].to_numpy()[night].astype("datetime64[D]")
    _, begins, lengths = np.unique(dates, return_index=True, return_counts=True)
    found = DetectorStatistics(*(vd.sizes[dim] for dim in DIMS))
    found.nights, found.night_steps, found.day_steps = len(begins), len(dates), int(day.sum())
    sums, seen = np.zeros(24), np.zeros(24)
    flow = FLOW / flow_factor(vd) if VOLUME in column else np.nan
    for part, values in each_few_vds(vd, _VDS_AT_ONCE, "look at detectors"):
        missing = np.isnan(values)  # [F, n, T]
        for feature, series in enumerate(values):
            _add_series(found, part, feature, series)
        recorded = np.asarray(~missing.all(axis=0))  # [n, T]
        found.observed |= recorded.any(axis=0)
        found.steps_between[part] = steps_between(recorded.T)
        _add_contradictions(found, part, {name: values[at] for name, at in column.items()}, flow)
        if VOLUME in column:
            volume = values[column[VOLUME]]
            finite = ~missing[column[VOLUME]]
            seen += np.bincount(hour, finite.sum(axis=0), minlength=24)
            sums += np.bincount(hour, np.nansum(volume, axis=0, dtype=np.float64), minlength=24)
            missing &= volume != 0  # what is left is missing without a reason
        by_night = np.add.reduceat(missing[..., night], begins, axis=-1, dtype=np.int64)
        found.missing_by_night[part] = by_night.sum(axis=-1).T
        found.missing_by_day[part] = missing[..., day].sum(axis=-1).T
        found.patchy_nights[part] = (by_night > PATCHY * lengths).sum(axis=-1).T
        if {SPEED, OCCUPANCY} <= column.keys():
            _add_speeds(found, part, values[column[SPEED]], values[column[OCCUPANCY]])
    np.divide(sums, seen, out=found.volume_by_hour, where=seen > 0)
    return found


def _add_series(found: DetectorStatistics, part: slice, feature: int, series: Floats) -> None:
    """One feature of some detectors: [n, T]."""
    missing, zero = np.isnan(series), series == 0
    same = np.zeros(series.shape, dtype=bool)
    same[:, 1:] = series[:, 1:] == series[:, :-1]  # NaN equals nothing
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
    found.highest[feature] = np.fmax(found.highest[feature], np.fmax.reduce(series, axis=None))


def _add_contradictions(
    found: DetectorStatistics, part: slice, of: dict[str, Floats], flow: float
) -> None:
    """Each feature of some detectors, [n, T]; ``flow`` is FLOW in the unit of the volume."""
    none = np.full((1, 1), np.nan, dtype=np.float32)
    speed, volume, occupancy = (of.get(name, none) for name in (SPEED, VOLUME, OCCUPANCY))
    still = speed == 0
    for counts, holds in (
        (found.zero_speed_of_unknown, still & np.isnan(volume)),
        (found.zero_speed_of_vehicles, still & (volume > 0)),
        (found.zero_occupancy_of_vehicles, (occupancy == 0) & (volume > flow)),
        (found.negative_volume, volume < 0),
    ):
        counts[part] = np.count_nonzero(holds, axis=1)


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
