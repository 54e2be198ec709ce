"""The node that cleans: rules applied to a file that may be larger than memory, and a log of them.

What a rule does to time steps depends on the time stamps alone, and what it does to the values of a
detector on that detector alone. So ``clean`` applies the rules once to an array without detectors,
which yields the labels of the clean one, and then to a few detectors at a time.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import resample as resampling
from vd_forecasting.pipelines.data_engineering.clocks import on_one_clock, times_of
from vd_forecasting.pipelines.data_engineering.resample import RESAMPLED
from vd_forecasting.pipelines.data_engineering.rules import RULES, steps_out_of_order
from vd_forecasting.vd_array import (
    DIMS,
    each_vd_block,
    in_memory,
    in_vd_blocks,
    interval_of,
    source_of,
)
from vd_forecasting.vocabulary import VOLUME
from vd_forecasting.wording import per_words

logger = logging.getLogger(__name__)

# The rules hold several copies of the values they see: only part of a block at a time.
_BYTES_AT_ONCE = 16 * 2**20

# What the log says of the time steps that a rule dropped or moved.
_DONE = {
    "blank time stamps": "have no time stamp; dropped",
    "time order": "were out of order; sorted",
    "time grid": "were off the regular grid; moved to its nearest point",
}

Floats = npt.NDArray[np.float32]


def clean(vd_raw: xr.DataArray, cleaning: Cleaning) -> tuple[xr.DataArray, pd.DataFrame]:
    """Apply all rules to a raw VD array, then resample it where the parameters say so.

    The values are read twice, block by block: here for the log, and when the result, a dask array,
    is saved. Neither array has to fit in memory.

    Returns:
        The clean VD array, on a regular time grid, with a ``unit`` for every feature and the
        attribute ``interval_minutes``; and the cleaning log, with a row per ``rule``, ``vdid`` and
        ``feature``: ``rows`` (time steps after the rule), ``observed`` (finite values after the
        rule) and ``moved`` (time steps the rule gave another place or time stamp). Its first rule
        is "raw", the state of the file; a rule removed the difference to the rule before.
        ``RESAMPLED``, where it applies, comes last and counts on the coarser grid.

    Raises:
        ValueError: the file holds no values, fewer than two usable time stamps, or time stamps so
            far apart that the regular grid would be mostly empty; or as :func:`resample` says.
    """
    raw, cleaning = _prepare(vd_raw, cleaning)
    labels = raw[:, :0].compute()
    stages = dict(_stages(labels, cleaning))
    moved = _log_stages(stages)
    final = _last_of(stages, cleaning)

    rows = {name: stage.sizes["time"] for name, stage in stages.items()}
    blocks = in_vd_blocks(raw, max(rows.values()))
    few = _BYTES_AT_ONCE // (4 * max(rows.values()) * raw.sizes["feature"])
    in_parts = partial(_by_block, blocks=blocks, labels=labels, vds=max(few, 1))
    # The interval is found once, not in the time stamps of every part.
    known = with_interval(cleaning, interval_of(stages["time grid"]))

    clean_values = in_parts(partial(_last_stage, cleaning=known), (len(final), np.float32))
    of_vds = {name: coord for name, coord in raw.coords.items() if "vd" in coord.dims}
    coords = {**final.drop_vars(of_vds).coords, **of_vds}
    vd = xr.DataArray(clean_values, coords, DIMS, raw.name, final.attrs)

    counts = in_parts(partial(_observed_by_stage, cleaning=known), (len(stages), np.int64))
    by_block = each_vd_block(xr.DataArray(counts, dims=("stage", "vd", "feature")), "check")
    observed = np.concatenate([block.to_numpy() for block in by_block], axis=1)
    _log_duplicates(source_of(final), rows, dict(zip(rows, observed.sum(axis=(1, 2)), strict=True)))
    names = [list(rows), *([str(name) for name in vd[dim].values] for dim in ("vd", "feature"))]
    index = pd.MultiIndex.from_product(names, names=["rule", "vdid", "feature"])
    log = index.to_frame(index=False)
    log["rows"] = np.repeat([*rows.values()], observed[0].size)
    log["observed"] = observed.ravel()
    log["moved"] = np.repeat([*moved.values()], observed[0].size)
    return vd, log


def clean_at_once(vd_raw: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """What :func:`clean` makes of a VD array, copies of which fit in memory; there is no log."""
    raw, cleaning = _prepare(vd_raw, cleaning)
    stages = dict(_stages(in_memory(raw), cleaning))
    _log_stages(stages)
    final = _last_of(stages, cleaning)
    repeated = {name: stages[name] for name in ("time grid", "duplicates")}
    rows = {name: stage.sizes["time"] for name, stage in repeated.items()}
    if len({*rows.values()}) > 1:
        values = {name: int(stage.count()) for name, stage in repeated.items()}
        _log_duplicates(source_of(final), rows, values)
    return final


def _prepare(vd_raw: xr.DataArray, cleaning: Cleaning) -> tuple[xr.DataArray, Cleaning]:
    """The array [time, vd, feature] whose detectors share their time stamps, and the parameters
    with the interval, where these showed it."""
    raw = vd_raw.transpose(*DIMS)
    if 0 in raw.shape[1:]:
        raise ValueError(
            f"{source_of(raw)}: no values ({raw.sizes['vd']} detectors, {raw.sizes['feature']} "
            "features); export the file again"
        )
    given = cleaning.interval and resampling.nanoseconds(cleaning.interval)
    raw, interval = on_one_clock(raw, given or None)
    if interval is not None:
        cleaning = with_interval(cleaning, interval)
    limits = resampling.limits_of(cleaning, VOLUME)
    if limits.range is not None and VOLUME in raw["feature"].values:
        text = "%s: the range of %s, %s in each interval, holds in place of any max_rate"
        logger.info(text, source_of(raw), VOLUME, resampling.range_in_words(limits))
    return raw, cleaning


def _stages(vd: xr.DataArray, cleaning: Cleaning) -> Iterator[tuple[str, xr.DataArray]]:
    """The array as it is, after each rule and, where the parameters say so, resampled."""
    yield "raw", vd
    for name, rule in RULES.items():
        vd = rule(vd, cleaning)
        yield name, vd
    vd = _with_units(vd, cleaning)
    resampled = resampling.resample(vd, cleaning)
    if resampled is not vd:
        yield RESAMPLED, resampled


def _last_stage(vd: xr.DataArray, cleaning: Cleaning) -> Floats:
    """The values after the last stage."""
    [(_, last)] = deque(_stages(vd, cleaning), maxlen=1)  # earlier ones are not kept in memory
    return np.asarray(last.to_numpy())


def _observed_by_stage(vd: xr.DataArray, cleaning: Cleaning) -> npt.NDArray[np.int64]:
    """Number of finite values in each stage, [stage, vd, feature]."""
    counts: list[npt.NDArray[np.int64]] = []
    before = None
    for _, stage in _stages(vd, cleaning):
        values = stage.to_numpy()
        # Most rules find nothing in most files, and hand on the same values.
        counts.append(counts[-1] if values is before else np.isfinite(values).sum(axis=0))
        before = values
    return np.stack(counts)


def _by_block(
    function: Callable[[xr.DataArray], npt.NDArray[Any]],
    shape: tuple[int, npt.DTypeLike],
    *,
    blocks: xr.DataArray,
    labels: xr.DataArray,
    vds: int,
) -> Any:
    """The dask array [length, N, F] that ``function`` makes, ``vds`` detectors at a time, of VD
    arrays with the coordinates of ``labels`` [T, 0, F], but without VDIDs; ``shape`` holds the
    length and the type of the values."""
    from dask import array  # noqa: PLC0415  (slow to import)

    length, dtype = shape
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


def _with_units(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Give every feature a unit: the file's own, else that of the parameters, else ""."""
    per = f"/{per_words(interval_of(vd))}"
    units = [
        resampling.unit_of(vd, cleaning, at).replace("/interval", per)
        for at in range(vd.sizes["feature"])
    ]
    return vd.assign_coords(unit=("feature", np.array(units, dtype=str)))


def with_interval(cleaning: Cleaning, interval: np.timedelta64) -> Cleaning:
    """The parameters with the interval of the data as if it had been given."""
    nanoseconds = int(interval.astype("timedelta64[ns]").astype(np.int64))
    return cleaning.model_copy(update={"interval": f"{nanoseconds}ns"})


def _last_of(stages: Mapping[str, xr.DataArray], cleaning: Cleaning) -> xr.DataArray:
    """What all rules leave, with units; says so if it was resampled."""
    final = _with_units([*stages.values()][-1], cleaning)
    if RESAMPLED in stages:
        logger.info("%s: %s", source_of(final), resampling.describe_resampling(final, cleaning))
    return final


def _log_stages(stages: Mapping[str, xr.DataArray]) -> dict[str, int]:
    """Log what each rule did to whole time steps; return how many it moved."""
    moved = {"raw": 0}
    for (_, before), (name, after) in pairwise(stages.items()):
        moved[name] = _log_steps(name, before, after)
    return moved


def _log_steps(rule: str, before: xr.DataArray, after: xr.DataArray) -> int:
    """Log what a rule did to whole time steps, if it did anything; return how many it moved."""
    moved, steps = 0, before.sizes["time"]
    if rule == "time order":
        moved = steps_out_of_order(times_of(before))
    elif rule == "time grid":
        moved = int((times_of(before) != times_of(after)).sum())
    count = moved or steps - after.sizes["time"]
    if rule in _DONE and count:
        args = source_of(before), f"{count:,}", f"{steps:,}", _DONE[rule]
        logger.warning("%s: %s of %s time steps %s", *args)
    return moved


def _log_duplicates(source: str, rows: dict[str, int], values: dict[str, int]) -> None:
    """Log how many time steps were merged with others, where values were lost by it.

    Detectors that report at different seconds of one step lose none.
    """
    if values["time grid"] > values["duplicates"]:
        logger.warning(
            "%s: %s of %s time steps repeat a time stamp; the last value of each was kept",
            *(source, f"{rows['time grid'] - rows['duplicates']:,}", f"{rows['time grid']:,}"),
        )
