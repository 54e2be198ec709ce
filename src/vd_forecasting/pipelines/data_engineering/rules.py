"""The cleaning rules, in the order in which they are applied.

Every rule takes a VD array ``("time", "vd", "feature")`` and the cleaning parameters and returns a
new VD array; none changes the array it was given. :func:`.clean.clean` lists the errors they raise.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.detector_clocks import Times, detect_interval
from vd_forecasting.language import marked
from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.data_engineering import resample as resampling
from vd_forecasting.pipelines.data_engineering.clocks import (
    ALWAYS_ALLOWED_GRID,
    MAX_GRID_PER_STEP,
    steps_between_records,
    times_of,
)
from vd_forecasting.vd_array import interval_of, source_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, VOLUME
from vd_forecasting.wording import in_words

NO_QUEUE = 5.0
"""Occupancy in % up to which a speed of 0 without vehicles is no standing queue."""

STUCK_BY_CHANCE = 0.001
"""Repetitions that noise and rounding make as long as one that counts as stuck, per series."""

MOST_EQUAL = 0.8
"""Highest chance of equal neighbours that is put down to noise and rounding."""

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
        low, high = resampling.range_of(limits)
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


def drop_speeds_without_vehicles(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """A speed of 0 where no vehicle passed becomes NaN: nothing was there to be measured.

    No vehicle passed where the volume is 0 and the occupancy is absent or near 0. With a high one
    a queue stands, and the 0 stays.
    """
    column = {str(name): at for at, name in enumerate(vd["feature"].to_numpy())}
    if not {SPEED, VOLUME} <= column.keys():
        return vd
    values = vd.to_numpy()
    empty = (values[..., column[SPEED]] == 0) & (values[..., column[VOLUME]] == 0)  # [T, N]
    if OCCUPANCY in column and empty.any():
        occupancy = values[..., column[OCCUPANCY]]
        highest = np.fmax.reduce(occupancy, axis=0, initial=0)  # of each detector; 1: a share
        empty &= ~(occupancy > np.where(highest <= 1, NO_QUEUE / 100, NO_QUEUE))
    if not empty.any():
        return vd
    values = values.copy()
    values[empty, column[SPEED]] = np.nan
    return vd.copy(data=values)


def drop_impossible_rates(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Values above a feature's ``max_rate``, a number per hour, become NaN; needs a regular grid.

    A value counts for the time in its unit, such as veh/h, else for the interval of its detector.
    """
    rates = [resampling.limits_of(cleaning, str(name)).max_rate for name in vd["feature"].values]
    if not any(rates):
        return vd
    values, above = vd.to_numpy(), np.zeros(vd.shape, dtype=bool)
    own = steps_between_records(vd) * interval_of(vd)  # [N]
    for at, rate in enumerate(rates):
        if rate is not None:
            period = resampling.period_of(resampling.unit_of(vd, cleaning, at))
            hours = (own if period is None else period.to_timedelta64()) / np.timedelta64(1, "h")
            above[..., at] = values[..., at] > rate * hours
    return vd.copy(data=np.where(above, np.float32(np.nan), values)) if above.any() else vd


def drop_stuck_values(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """A non-zero value repeated for at least ``stuck_after`` becomes NaN, the first one included.

    It must also be repeated more often than chance explains. Zeros are exempt, since an empty road
    repeats them; a missing value ends a repetition. Needs a regular grid.
    """
    apart = steps_between_records(vd)

    def stuck(values: Floats, limits: FeatureCleaning) -> Mask:
        found = np.zeros(values.shape, dtype=bool)
        if limits.stuck_after is None:
            return found
        steps = pd.Timedelta(limits.stuck_after).to_timedelta64() / interval_of(vd)
        # A single step is no repetition, however long the interval.
        found = _repeated(values, max(2, math.ceil(steps)))
        for at in np.flatnonzero(apart > 1):
            own = np.isfinite(values[:, at])
            records = max(2, math.ceil(steps / apart[at]))
            found[own, at] = _repeated(values[own, at : at + 1], records)[:, 0]
        return found

    return _without(vd, cleaning, stuck)


def _repeated(values: Floats, steps: int) -> Mask:
    """Whether values [T, N] belong to at least ``steps`` equal non-zero ones along T, and to more
    than chance explains."""
    by_vd = np.ascontiguousarray(values.T)  # [N, T]
    begins = np.ones(by_vd.shape, dtype=bool)
    begins[:, 1:] = by_vd[:, 1:] != by_vd[:, :-1]  # also where NaN follows NaN
    first = np.flatnonzero(begins)
    lengths, held = np.diff(first, append=by_vd.size), by_vd.ravel()[first]
    stuck = (lengths >= steps) & (held != 0)
    vd_of = first // max(len(values), 1)
    for vd in np.unique(vd_of[stuck]):
        own = slice(*np.searchsorted(vd_of, [vd, vd + 1]))
        stuck[own] &= _beyond_chance(held[own], lengths[own], steps)
    return np.repeat(stuck, lengths).reshape(by_vd.shape).T


def _beyond_chance(held: Floats, lengths: npt.NDArray[np.int64], steps: int) -> Mask:
    """Which runs of equal values, [R] of one series, are longer than noise and rounding make them.

    How often a value follows itself by chance is seen from its other runs: the share of them that
    are longer than 1, and at least that share of all values. A run that was found to be stuck says
    nothing about chance, so it is left out, and the others are judged again.
    """
    _, value = np.unique(held, return_inverse=True)
    counted = np.isfinite(held) & (held != 0)
    stuck = np.zeros(len(held), dtype=bool)
    while True:
        runs, repeats = counted & ~stuck, counted & ~stuck & (lengths > 1)
        of_all = (repeats.sum() - 1) / max(runs.sum() - 1, 1)
        count, repeated = (np.bincount(value, weights=mask) for mask in (runs, repeats))
        equal = np.maximum((repeated - 1) / np.maximum(count - 1, 1), max(of_all, 1e-6))
        needed = 1 + np.log(STUCK_BY_CHANCE / lengths.sum()) / np.log(equal.clip(max=MOST_EQUAL))
        found = repeats & (lengths >= np.maximum(steps, needed[value]))
        if not found.any():
            return stuck
        stuck |= found


RULES: dict[str, Callable[[xr.DataArray, Cleaning], xr.DataArray]] = {
    marked("error codes"): drop_error_codes,
    marked("physical range"): drop_impossible_values,
    marked("blank time stamps"): drop_blank_timestamps,
    marked("time order"): sort_by_time,
    marked("time grid"): snap_to_grid,
    marked("duplicates"): resolve_duplicates,
    marked("absent steps"): fill_grid,
    marked("no vehicles"): drop_speeds_without_vehicles,
    marked("highest rate"): drop_impossible_rates,
    marked("stuck values"): drop_stuck_values,
}


def steps_out_of_order(times: Times) -> int:
    """Number of time stamps [T] that are earlier than one before them."""
    return int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0
