"""The rules that turn a raw VD array into a clean one, and a log of what each rule did.

Every rule takes a VD array ``("time", "vd", "feature")`` and the cleaning parameters and gives a
new VD array; none changes the array it was given. ``clean`` applies ``RULES`` in order.

What a rule does to time steps depends on the time stamps alone, and what it does to the values of a
VD on that VD alone. So ``clean`` applies them once to an array without VDs, which gives the labels
of the clean one, and then to a few VDs at a time.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.resample import (
    FROM,
    RESAMPLED,
    in_one_line,
    resample,
)
from vd_forecasting.vd_array import DIMS, each_vd_block, in_vd_blocks, interval_of
from vd_forecasting.wording import in_words, per_words

logger = logging.getLogger(__name__)


# A file whose grid is this much longer than its observed steps holds a stray time stamp.
MAX_GRID_PER_STEP = 50
ALWAYS_ALLOWED_GRID = 100_000

_USUAL = "1s 2s 5s 10s 15s 20s 30s 1min 2min 3min 5min 6min 10min 15min 20min 30min 1h 2h 3h 6h 1D"
USUAL_INTERVALS = pd.to_timedelta(_USUAL.split()).to_numpy().astype("timedelta64[ns]")

# Of a block, what the rules see at once: they hold several copies.
_BYTES_AT_ONCE = 16 * 2**20

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


def clean(vd_raw: xr.DataArray, cleaning: Cleaning) -> tuple[xr.DataArray, pd.DataFrame]:
    """Apply all rules to a raw VD array, then resample it where the parameters say so.

    Returns the clean VD array, on a regular time grid, with a ``unit`` for every feature and the
    attribute ``interval_minutes``; and the cleaning log, a tidy table with one row per rule, VD
    and feature: ``rule``, ``vdid``, ``feature``, ``rows`` (time steps after the rule),
    ``observed`` (finite values after the rule) and ``moved`` (time steps the rule gave another
    place or time stamp). Its first rule is "raw", the state of the file, so what a rule removed
    is the difference to the rule before. Where the array was resampled, ``RESAMPLED`` comes last;
    it removes nothing, but counts steps and values of the coarser grid.

    The clean array is a dask array in blocks of VDs, computed when it is saved; for the log all
    values are read here, block by block. So neither array has to fit in memory.

    Raises ValueError if the file holds no values, fewer than two usable time stamps, or time
    stamps so far apart that the regular grid would be mostly empty; or for ``cleaning.resample``,
    see ``resample``.
    """
    raw = vd_raw.transpose(*DIMS)
    if raw.sizes["vd"] == 0 or raw.sizes["feature"] == 0:
        raise ValueError(
            f"{_source(raw)}: no values ({raw.sizes['vd']} VDs, {raw.sizes['feature']} features); "
            "export the file again"
        )
    labels = raw[:, :0].compute()
    stages = dict(_stages(labels, cleaning))
    moved = {"raw": 0}
    for (_, before), (name, after) in pairwise(stages.items()):
        moved[name] = _MOVED[name](before, after) if name in _MOVED else 0
        _report_rows(name, before, after, moved[name])
    final = _with_units(after, cleaning)
    if RESAMPLED in stages:
        logger.info("%s: %s", _source(final), in_one_line(final, cleaning))

    rows = {name: stage.sizes["time"] for name, stage in stages.items()}
    blocks = in_vd_blocks(raw, max(rows.values()))
    few = _BYTES_AT_ONCE // (4 * max(rows.values()) * raw.sizes["feature"])
    in_parts = partial(_of_blocks, blocks=blocks, labels=labels, vds=max(few, 1))
    # Not to be looked for again in the time stamps of every part.
    interval = int(interval_of(stages["time grid"]).astype(np.int64))
    known = cleaning.model_copy(update={"interval": f"{interval}ns"})

    clean_values = in_parts(partial(_last_stage, cleaning=known), len(final), np.float32)
    of_vds = {name: coord for name, coord in raw.coords.items() if "vd" in coord.dims}
    coords = {**final.drop_vars(of_vds).coords, **of_vds}
    vd = xr.DataArray(clean_values, coords, DIMS, raw.name, final.attrs)

    counts = in_parts(partial(_observed_by_stage, cleaning=known), len(stages), np.int64)
    by_block = each_vd_block(xr.DataArray(counts, dims=("stage", "vd", "feature")), "check")
    observed = np.concatenate([block.to_numpy() for block in by_block], axis=1)
    return vd, _log(vd, rows, moved, observed)


def _stages(vd: xr.DataArray, cleaning: Cleaning) -> Iterator[tuple[str, xr.DataArray]]:
    """The array as it is, then after each rule and, where the parameters say so, resampled."""
    yield "raw", vd
    for name, rule in RULES.items():
        vd = rule(vd, cleaning)
        yield name, vd
    vd = _with_units(vd, cleaning)
    resampled = resample(vd, cleaning)
    if resampled is not vd:
        yield RESAMPLED, resampled


def _last_stage(vd: xr.DataArray, cleaning: Cleaning) -> Floats:
    """The values after the last stage."""
    for _, stage in _stages(vd, cleaning):
        last = stage  # none before it is kept
    values: Floats = last.to_numpy()
    return values


def _observed_by_stage(vd: xr.DataArray, cleaning: Cleaning) -> Counts:
    """How many values are finite in each stage, [stage, vd, feature]."""
    return np.stack(
        [np.isfinite(stage.to_numpy()).sum(axis=0) for _, stage in _stages(vd, cleaning)]
    )


def _of_blocks(
    function: Callable[[xr.DataArray], npt.NDArray[Any]],
    length: int,
    dtype: npt.DTypeLike,
    *,
    blocks: xr.DataArray,
    labels: xr.DataArray,
    vds: int,
) -> Any:
    """The dask array [length, N, F] that ``function`` makes of so many VDs of a block at a time.

    It is given VD arrays with the coordinates of ``labels`` [T, 0, F], but without VDIDs.
    """
    from dask import array  # noqa: PLC0415  (slow to import)

    coords = {name: coord for name, coord in labels.coords.items() if "vd" not in coord.dims}

    def of_block(values: Floats) -> npt.NDArray[Any]:
        made = np.empty((length, *values.shape[1:]), dtype)
        for start in range(0, values.shape[1], vds):
            few = np.s_[:, start : start + vds]
            part = values[few].astype(np.float32, copy=False)
            made[few] = function(xr.DataArray(part, coords, DIMS, attrs=labels.attrs))
        return made

    chunks = (length, *(blocks.chunksizes[dim] for dim in ("vd", "feature")))
    empty: npt.NDArray[Any] = np.empty((0, 0, 0), dtype)
    return array.map_blocks(of_block, blocks.data, chunks=chunks, dtype=dtype, meta=empty)


def drop_error_codes(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Error codes become NaN; a feature's own list replaces the one all features share."""
    values = vd.to_numpy().copy()
    for index, feature in enumerate(vd["feature"].to_numpy()):
        limits = cleaning.features.get(str(feature))
        own = limits.error_codes if limits else None
        column = values[..., index]
        for code in cleaning.error_codes if own is None else own:
            column[column == np.float32(code)] = np.nan
    return vd.copy(data=values)


def drop_impossible_values(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Values outside a feature's physical range become NaN, infinite ones always."""
    values = vd.to_numpy().copy()
    values[np.isinf(values)] = np.nan
    for index, feature in enumerate(vd["feature"].to_numpy()):
        limits = cleaning.features.get(str(feature))
        if limits and limits.range:
            low, high = limits.range
            column = values[..., index]
            column[(column < low) | (column > high)] = np.nan
    return vd.copy(data=values)


def drop_blank_timestamps(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Time steps without a time stamp are dropped: nothing tells where they belong."""
    blank = np.isnat(_times(vd))
    return vd.isel(time=np.flatnonzero(~blank)) if blank.any() else vd


def sort_by_time(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Time steps are sorted by time; equal time stamps keep the order of the file."""
    times = _times(vd)
    if not steps_out_of_order(times):
        return vd
    return vd.isel(time=np.argsort(times, kind="stable"))


def snap_to_grid(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Each time stamp moves to the nearest point of a regular grid; needs sorted time stamps.

    The grid begins at midnight of the first day. Its interval is that of the parameters, else the
    one ``detect_interval`` finds. Sets the attribute ``interval_minutes``.

    Raises ValueError with fewer than two different time stamps.
    """
    times = _times(vd)
    if len(times) == 0 or times[0] == times[-1]:
        raise ValueError(
            f"{_source(vd)}: {len(times)} usable time steps with {min(len(times), 1)} "
            "different time stamps, at least 2 are needed; check /metadata/timestamps"
        )
    interval = (
        pd.Timedelta(cleaning.interval).to_timedelta64().astype("timedelta64[ns]")
        if cleaning.interval
        else detect_interval(times)
    )
    midnight = times[0].astype("datetime64[D]").astype("datetime64[ns]")
    since = (times - midnight).astype(np.int64)
    step = int(interval.astype(np.int64))
    snapped = midnight + ((since + step // 2) // step * step).astype("timedelta64[ns]")
    gridded = vd.assign_coords(time=snapped)
    # FROM is of an earlier cleaning, whose output this file then is.
    gridded.attrs = {name: value for name, value in vd.attrs.items() if name != FROM}
    gridded.attrs["interval_minutes"] = float(interval / np.timedelta64(1, "m"))
    return gridded


def resolve_duplicates(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Of several time steps with one time stamp, the last non-missing value wins.

    A later record corrects an earlier one, separately for every VD and feature. Needs sorted
    time stamps.
    """
    times = _times(vd)
    last = np.flatnonzero(np.append(times[1:] != times[:-1], True))
    if len(last) == len(times):
        return vd
    copies = np.diff(last, prepend=-1)
    values = vd.to_numpy()
    kept = values[last]
    for back in range(1, copies.max()):
        groups = np.flatnonzero(copies > back)
        filled = kept[groups]
        kept[groups] = np.where(np.isnan(filled), values[last[groups] - back], filled)
    return _with_time(vd, kept, times[last])


def fill_grid(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Grid points without a time step, between the first and the last, are added as NaN.

    Needs time stamps that are unique and on the grid.

    Raises ValueError with fewer than two time steps, or if the grid would be so much longer than
    the observed time steps that a time stamp must be wrong.
    """
    times = _times(vd)
    interval = interval_of(vd)
    if len(times) < 2:
        raise ValueError(
            f"{_source(vd)}: all time stamps fall on one step of {in_words(interval)}, at least 2 "
            "steps are needed; set cleaning.interval to a shorter one"
        )
    position = ((times - times[0]) // interval).astype(np.int64)
    steps = int(position[-1]) + 1
    if steps == len(times):
        return vd
    if steps > max(MAX_GRID_PER_STEP * len(times), ALWAYS_ALLOWED_GRID):
        first, last = np.datetime_as_string(times[[0, -1]], unit="s")
        raise ValueError(
            f"{_source(vd)}: time stamps from {first} to {last} make {steps:,} steps of "
            f"{in_words(interval)}, but only {len(times):,} of them are in the file; correct the "
            "stray time stamp or set cleaning.interval"
        )
    values = np.full((steps, *vd.shape[1:]), np.nan, dtype=np.float32)
    values[position] = vd.to_numpy()
    return _with_time(vd, values, times[0] + np.arange(steps) * interval)


def drop_stuck_values(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """A non-zero value repeated for at least ``stuck_after`` becomes NaN, all of the run.

    Zeros are exempt, since an empty road repeats them; a missing value ends a run. Needs a
    regular grid.
    """
    values = vd.to_numpy().copy()
    for index, feature in enumerate(vd["feature"].to_numpy()):
        limits = cleaning.features.get(str(feature))
        if limits is None or limits.stuck_after is None:
            continue
        stuck_after = pd.Timedelta(limits.stuck_after).to_timedelta64()
        # One step is no repetition, however long the interval.
        steps = max(2, int(np.ceil(stuck_after / interval_of(vd))))
        column = values[..., index]
        column[_repeated(column, steps)] = np.nan
    return vd.copy(data=values)


def _repeated(values: npt.NDArray[np.float32], steps: int) -> npt.NDArray[np.bool_]:
    """Where values [T, N] belong to a non-zero run along T of at least ``steps`` equal ones."""
    by_vd = np.ascontiguousarray(values.T)  # [N, T]
    begins = np.ones(by_vd.shape, dtype=bool)
    begins[:, 1:] = by_vd[:, 1:] != by_vd[:, :-1]  # NaN differs from NaN, so it begins a new run
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


def steps_out_of_order(times: Times) -> int:
    """How many time stamps [T] are earlier than one before them."""
    return int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0


def detect_interval(times: Times) -> np.timedelta64:
    """The most common positive difference between sorted time stamps [T]; of equals, the least.

    Clocks that jitter by seconds scatter the differences around the interval. So if the most
    common one is not that of most steps, a usual interval within 10 % of it is taken instead.
    """
    differences, counts = np.unique(np.diff(np.unique(times)), return_counts=True)
    interval = np.timedelta64(differences[counts.argmax()], "ns")
    if 2 * counts.max() > counts.sum():
        return interval
    usual = USUAL_INTERVALS[np.abs(USUAL_INTERVALS / interval - 1).argmin()]
    return usual if abs(usual / interval - 1) <= 0.1 else interval


_MOVED: dict[str, Callable[[xr.DataArray, xr.DataArray], int]] = {
    "time order": lambda before, _: steps_out_of_order(_times(before)),
    "time grid": lambda before, after: int((_times(before) != _times(after)).sum()),
}


def _times(vd: xr.DataArray) -> Times:
    return vd["time"].to_numpy().astype("datetime64[ns]")


def _source(vd: xr.DataArray) -> str:
    return str(vd.attrs.get("source_file", "VD file"))


def _with_time(vd: xr.DataArray, values: npt.NDArray[np.float32], times: Times) -> xr.DataArray:
    """The array with other values and time stamps; all else stays."""
    others = {name: coord for name, coord in vd.coords.items() if "time" not in coord.dims}
    return xr.DataArray(
        values, coords={"time": times, **others}, dims=DIMS, name=vd.name, attrs=vd.attrs
    )


def _with_units(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Give every feature a unit: the file's own, else that of the parameters, else ""."""
    per = per_words(interval_of(vd))
    features = [str(name) for name in vd["feature"].to_numpy()]
    own = [""] * len(features)
    if "unit" in vd.coords:
        own = [str(unit) for unit in vd["unit"].to_numpy()]
    units = [
        unit or (cleaning.features[feature].unit if feature in cleaning.features else "")
        for feature, unit in zip(features, own, strict=True)
    ]
    filled = [unit.replace("/interval", f"/{per}") for unit in units]
    return vd.assign_coords(unit=("feature", np.array(filled, dtype=str)))


def _log(
    vd: xr.DataArray, rows: dict[str, int], moved: dict[str, int], observed: Counts
) -> pd.DataFrame:
    """The cleaning log, ordered by stage, VD and feature, as is ``observed`` [stage, N, F]."""
    vdids, features = (np.array(vd[dim].to_numpy(), dtype=str) for dim in ("vd", "feature"))
    each = len(vdids) * len(features)
    return pd.DataFrame(
        {
            "rule": np.repeat(list(rows), each),
            "vdid": np.tile(np.repeat(vdids, len(features)), len(rows)),
            "feature": np.tile(features, len(vdids) * len(rows)),
            "rows": np.repeat(list(rows.values()), each),
            "observed": observed.ravel(),
            "moved": np.repeat([moved[name] for name in rows], each),
        }
    )


def _report_rows(rule: str, before: xr.DataArray, after: xr.DataArray, moved: int) -> None:
    """Log what a rule did to whole time steps, if it did anything."""
    steps, change = before.sizes["time"], after.sizes["time"] - before.sizes["time"]
    done = {
        "blank time stamps": (-change, "have no time stamp; dropped"),
        "time order": (moved, "were out of order; sorted"),
        "time grid": (moved, "were off the regular grid; moved to its nearest point"),
        "duplicates": (-change, "repeat a time stamp; the last value of each was kept"),
    }
    count, what = done.get(rule, (0, ""))
    if count:
        logger.warning(
            "%s: %s of %s time steps %s", _source(before), f"{count:,}", f"{steps:,}", what
        )
