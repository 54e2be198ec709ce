"""The cleaning rules, in the order in which they are applied.

Every rule takes a VD array ``("time", "vd", "feature")`` and the cleaning parameters and returns a
new VD array; none changes the array it was given. :func:`.clean.clean` lists the errors they raise.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.data_engineering import resample as resampling
from vd_forecasting.vd_array import interval_of, source_of
from vd_forecasting.wording import in_words

# A grid this much longer than the observed steps means a stray time stamp.
MAX_GRID_PER_STEP = 50
ALWAYS_ALLOWED_GRID = 100_000

_USUAL = "1s 2s 5s 10s 15s 20s 30s 1min 2min 3min 5min 6min 10min 15min 20min 30min 1h 2h 3h 6h 1D"
USUAL_INTERVALS = pd.to_timedelta(_USUAL.split()).to_numpy().astype("timedelta64[ns]")

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def _without(
    vd: xr.DataArray, cleaning: Cleaning, wrong: Callable[[Floats, FeatureCleaning], Mask]
) -> xr.DataArray:
    """The array with NaN where a feature's values, [T, N], are wrong by its limits."""
    values = vd.to_numpy().copy()
    for index, feature in enumerate(vd["feature"].to_numpy()):
        column = values[..., index]
        column[wrong(column, resampling.limits_of(cleaning, str(feature)))] = np.nan
    return vd.copy(data=values)


def drop_error_codes(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Error codes become NaN; a feature's own list replaces the shared one."""

    def codes(values: Floats, limits: FeatureCleaning) -> Mask:
        return np.isin(values, np.array(limits.error_codes, dtype=np.float32))

    return _without(vd, cleaning, codes)


def drop_impossible_values(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Values outside a feature's physical range become NaN, infinite ones always."""

    def impossible(values: Floats, limits: FeatureCleaning) -> Mask:
        low, high = limits.range or (-np.inf, np.inf)
        return np.isinf(values) | (values < low) | (values > high)

    return _without(vd, cleaning, impossible)


def drop_blank_timestamps(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Time steps without a time stamp are dropped: their place is unknown."""
    blank = np.isnat(times_of(vd))
    return vd.isel(time=np.flatnonzero(~blank)) if blank.any() else vd


def sort_by_time(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Time steps are sorted by time; equal time stamps keep the order of the file."""
    times = times_of(vd)
    return vd.isel(time=np.argsort(times, kind="stable")) if steps_out_of_order(times) else vd


def snap_to_grid(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Each time stamp moves to the nearest point of a regular grid; needs sorted time stamps.

    The grid begins at midnight of the first day. Its interval is that of the parameters, else the
    one ``detect_interval`` finds. Sets the attribute ``interval_minutes``.
    """
    times = times_of(vd)
    if len(times) == 0 or times[0] == times[-1]:
        raise ValueError(
            f"{source_of(vd)}: {len(times)} usable time steps with {min(len(times), 1)} "
            "different time stamps, at least 2 are needed; check /metadata/timestamps"
        )
    interval = (
        resampling.nanoseconds(cleaning.interval) if cleaning.interval else detect_interval(times)
    )
    midnight = times[0].astype("datetime64[D]").astype("datetime64[ns]")
    snapped = midnight + (times - midnight + interval // 2) // interval * interval
    gridded = vd.assign_coords(time=snapped)
    # A file that has resampling.FROM is the output of an earlier cleaning.
    gridded.attrs = {name: value for name, value in vd.attrs.items() if name != resampling.FROM}
    gridded.attrs["interval_minutes"] = float(interval / np.timedelta64(1, "m"))
    return gridded


def resolve_duplicates(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Time steps with one time stamp are merged, every detector and feature by itself: the last
    value that is not missing wins, as later records correct earlier ones. Needs sorted stamps."""
    times = times_of(vd)
    last = np.flatnonzero(np.append(times[1:] != times[:-1], True))
    if len(last) == len(times):
        return vd
    copies, values = np.diff(last, prepend=-1), vd.to_numpy()
    kept = values[last]
    for back in range(1, copies.max()):
        groups = np.flatnonzero(copies > back)
        filled = kept[groups]
        kept[groups] = np.where(np.isnan(filled), values[last[groups] - back], filled)
    return resampling.with_time(vd, kept, times[last])


def fill_grid(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Grid points without a time step, between the first and the last, are added as NaN. Needs time
    stamps that are unique and on the grid; if most of it would be empty, one must be wrong."""
    times, interval = times_of(vd), interval_of(vd)
    if len(times) < 2:
        raise ValueError(
            f"{source_of(vd)}: all time stamps fall on one step of {in_words(interval)}, at least "
            "2 steps are needed; set cleaning.interval to a shorter one"
        )
    position = ((times - times[0]) // interval).astype(np.int64)
    steps = int(position[-1]) + 1
    if steps == len(times):
        return vd
    if steps > max(MAX_GRID_PER_STEP * len(times), ALWAYS_ALLOWED_GRID):
        first, last = np.datetime_as_string(times[[0, -1]], unit="s")
        raise ValueError(
            f"{source_of(vd)}: time stamps from {first} to {last} make {steps:,} steps of "
            f"{in_words(interval)}, but only {len(times):,} of them are in the file; correct the "
            "stray time stamp or set cleaning.interval"
        )
    values = np.full((steps, *vd.shape[1:]), np.nan, dtype=np.float32)
    values[position] = vd.to_numpy()
    return resampling.with_time(vd, values, times[0] + np.arange(steps) * interval)


def drop_stuck_values(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """A non-zero value repeated for at least ``stuck_after`` becomes NaN, the first one included.

    Zeros are exempt, since an empty road repeats them; a missing value ends a repetition. Needs a
    regular grid.
    """

    def stuck(values: Floats, limits: FeatureCleaning) -> Mask:
        if limits.stuck_after is None:
            return np.zeros(values.shape, dtype=bool)
        steps = np.ceil(pd.Timedelta(limits.stuck_after).to_timedelta64() / interval_of(vd))
        # A single step is no repetition, however long the interval.
        return _repeated(values, max(2, int(steps)))

    return _without(vd, cleaning, stuck)


def _repeated(values: Floats, steps: int) -> Mask:
    """Whether values [T, N] belong to at least ``steps`` equal non-zero ones along T."""
    by_vd = np.ascontiguousarray(values.T)  # [N, T]
    begins = np.ones(by_vd.shape, dtype=bool)
    begins[:, 1:] = by_vd[:, 1:] != by_vd[:, :-1]  # also where NaN follows NaN
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=by_vd.size)
    stuck = (lengths >= steps) & (by_vd.ravel()[first] != 0)
    return np.repeat(stuck, lengths).reshape(by_vd.shape).T


RULES: dict[str, Callable[[xr.DataArray, Cleaning], xr.DataArray]] = {
    "error codes": drop_error_codes,
    "physical range": drop_impossible_values,
    "blank time stamps": drop_blank_timestamps,
    "time order": sort_by_time,
    "time grid": snap_to_grid,
    "duplicates": resolve_duplicates,
    "absent steps": fill_grid,
    "stuck values": drop_stuck_values,
}


def steps_out_of_order(times: resampling.Times) -> int:
    """Number of time stamps [T] that are earlier than one before them."""
    return int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0


def detect_interval(times: resampling.Times) -> np.timedelta64:
    """The most common difference between sorted time stamps [T]; the least of equally common ones.

    Clocks that jitter by seconds scatter the differences around the interval. If no difference
    accounts for most steps, a usual interval within 10 % of the most common one is taken.
    """
    differences, counts = np.unique(np.diff(np.unique(times)), return_counts=True)
    interval = np.timedelta64(differences[counts.argmax()], "ns")
    if 2 * counts.max() > counts.sum():
        return interval
    usual = USUAL_INTERVALS[np.abs(USUAL_INTERVALS / interval - 1).argmin()]
    return usual if abs(usual / interval - 1) <= 0.1 else interval


def times_of(vd: xr.DataArray) -> resampling.Times:
    """The time stamps, [T] in nanoseconds."""
    return vd["time"].to_numpy().astype("datetime64[ns]")
