"""The clocks of the detectors: at which interval each reports, and in which phase of it.

Most files have one clock, that of their time stamps. In a table, every detector may have its own:
its records come a minute after those of another, or less often. The time stamps are then those of
all clocks together, and none of the detectors reports at each of them.
"""

import logging
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.detector_clocks import (
    FEWEST_DIFFERENCES,
    Cells,
    Times,
    cells_of,
    detect_interval,
    phase_of,
    shortest_interval,
)
from vd_forecasting.vd_array import DIMS, VDS_PER_CHUNK, in_memory, in_vd_blocks, source_of
from vd_forecasting.wording import in_words

logger = logging.getLogger(__name__)

MAX_GRID_PER_STEP = 50
ALWAYS_ALLOWED_GRID = 100_000
"""A grid that much longer than the observed steps, and than this, means a stray time stamp."""

RARE = 0.1
"""Share of a detector's records on neighbouring steps up to which it reports less often."""

Mask = npt.NDArray[np.bool_]


def times_of(vd: xr.DataArray) -> Times:
    """The time stamps, [T] in nanoseconds."""
    return vd["time"].to_numpy().astype("datetime64[ns]")


def steps_between_records(vd: xr.DataArray) -> npt.NDArray[np.float64]:
    """Steps of a regular grid from one record of a detector to the next, [N]."""
    return steps_between(_recorded(vd.to_numpy()))


def steps_between(recorded: Mask) -> npt.NDArray[np.float64]:
    """Steps from one record to the next, [N], of detectors with records at some steps, [T, N].

    This is 1 for nearly all, 5 for a detector of 5 minutes on a grid of 1 minute, and 2.5 on one of
    2 minutes. Records missing by chance do not count, as they leave neighbours, three in a row.
    """
    found = np.ones(recorded.shape[1])
    records = np.count_nonzero(recorded, axis=0)
    pairs = recorded[1:] & recorded[:-1]
    alone = np.count_nonzero(pairs, axis=0) <= RARE * records
    few_triples = np.count_nonzero(pairs[1:] & pairs[:-1], axis=0) <= RARE * records
    for at in np.flatnonzero(few_triples & (records > FEWEST_DIFFERENCES)):
        differences = np.diff(np.flatnonzero(recorded[:, at]))
        usual, most = (np.bincount(differences).argmax(), 0.5) if alone[at] else (1, 1 - RARE)
        near = differences[np.abs(differences - usual) <= 1]
        if len(near) > most * len(differences):
            found[at] = Fraction(near.mean()).limit_denominator(6)
    return found


def own_interval(raw: xr.DataArray) -> np.timedelta64:
    """The interval of an array [T, N, F]: that of its quickest detector.

    Fewer than two different time stamps are a ValueError.
    """
    order, times = _in_order(raw)
    if len(times) == 0 or times[0] == times[-1]:
        raise ValueError(
            f"{source_of(raw)}: at least 2 different time stamps are needed; check "
            "/metadata/timestamps"
        )
    interval = shortest_interval((times[one] for one in _each_recorded(raw, order)), times)
    return detect_interval(times) if interval is None else interval


def on_one_clock(
    raw: xr.DataArray, given: np.timedelta64 | None = None
) -> tuple[xr.DataArray, np.timedelta64 | None]:
    """An array [T, N, F] whose detectors share their time stamps, and their interval.

    Where the time stamps are those of one clock, this is the file itself, and None; so it is where
    the quickest detector has another interval than is ``given``. Else every record moves to the
    grid of the quickest detector, each detector by its own phase, so that neither a phase nor
    jitter puts two records into one step. No value is lost: records that do share a step have a
    row each.
    """
    all_times = times_of(raw)
    blank = np.flatnonzero(np.isnat(all_times))
    order, times = _in_order(raw)
    interval = shortest_interval((times[one] for one in _each_recorded(raw, order)), times)
    if interval is None or (given is not None and given != interval):
        return raw, None
    # One step before midnight, as a record may move to before it.
    start = times[0].astype("datetime64[D]").astype("datetime64[ns]") - interval
    points = int((times[-1] - start) // interval) + 2
    if points > max(MAX_GRID_PER_STEP * len(times), ALWAYS_ALLOWED_GRID):
        return raw, None
    rows_of = np.zeros(points, dtype=np.int64)
    furthest: np.timedelta64 = np.timedelta64(0, "ns")
    for one in _each_recorded(raw, order):
        cells, moved = _cells(times[one] - start, interval)
        rows_of = np.maximum(rows_of, np.bincount(cells, minlength=points))
        furthest = max(furthest, moved)
    first_row, rows = np.cumsum(rows_of) - rows_of, int(rows_of.sum())

    def move(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        made = np.full((rows + len(blank), *values.shape[1:]), np.nan, dtype=np.float32)
        made[rows:] = values[blank]
        for at, one in enumerate(_recorded(values)[order].T):
            cells, _ = _cells(times[one] - start, interval)
            before = np.arange(len(cells)) - np.searchsorted(cells, cells)  # in the same step
            made[first_row[cells] + before, at] = values[order[one], at]
        return made

    blocks = in_vd_blocks(raw, rows)
    chunks = (rows + len(blank), *(blocks.chunksizes[dim] for dim in ("vd", "feature")))
    values = blocks.data.map_blocks(move, chunks=chunks, dtype=np.float32)
    grid = start + np.repeat(np.arange(points), rows_of) * interval
    others = {name: coord for name, coord in raw.coords.items() if "time" not in coord.dims}
    coords = {"time": np.append(grid, all_times[blank]), **others}
    logger.info(
        "%s: detectors report at different times, the quickest every %s; each was put on this grid "
        "by its own phase, its records moved by at most %s",
        *(source_of(raw), in_words(interval), in_words(furthest)),
    )
    return xr.DataArray(values, coords, DIMS, raw.name, raw.attrs), interval


def _in_order(raw: xr.DataArray) -> tuple[npt.NDArray[np.intp], Times]:
    """The order of the steps with a time stamp, and these time stamps, sorted."""
    times = times_of(raw)
    order = np.argsort(times, kind="stable")[: len(times) - np.isnat(times).sum()]  # NaT come last
    return order, times[order]


def _each_recorded(raw: xr.DataArray, order: npt.NDArray[np.intp]) -> Iterator[Mask]:
    """Where each detector has records, [T], at the time steps in ``order``."""
    for start in range(0, raw.sizes["vd"], VDS_PER_CHUNK):
        few = in_memory(raw.isel(vd=slice(start, start + VDS_PER_CHUNK)))
        yield from np.ascontiguousarray(_recorded(few.to_numpy())[order].T)


def _recorded(values: npt.NDArray[np.float32]) -> Mask:
    """Whether a detector has any value at a time step, [T, N], of values [T, N, F]."""
    missing = np.ones(values.shape[:-1], dtype=bool)
    for feature in range(values.shape[-1]):  # far quicker than along the short axis
        missing &= np.isnan(values[..., feature])
    return ~missing


def _cells(
    since: npt.NDArray[np.timedelta64], interval: np.timedelta64
) -> tuple[Cells, np.timedelta64]:
    """Steps of the grid to which the records of one detector move, and how far at most.

    ``since`` is sorted and counts from a point of the grid.
    """
    cells = cells_of(since, phase_of(since, interval), interval)
    moved = np.abs((since - cells * interval).astype(np.int64)).max(initial=0)
    return cells, np.timedelta64(int(moved), "ns")
