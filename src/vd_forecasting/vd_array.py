"""The VD array: values over time, detector and feature on a regular grid.

An array may be larger than memory. It is then worked on in blocks: some detectors at a time, each
with all its time steps and features. Detectors are cleaned and scored one by one, so blocks are
independent of each other.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice
from math import lcm
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from tqdm import tqdm

from vd_forecasting.parameters import Split
from vd_forecasting.wording import in_one_line

logger = logging.getLogger(__name__)

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)

DIMS: Final = ("time", "vd", "feature")
MINUTES_PER_DAY: Final = 24 * 60
MINUTES_PER_WEEK: Final = 7 * MINUTES_PER_DAY

BLOCK_BYTES = 96 * 2**20
"""Most memory for the values of a block, unless a single detector takes more."""

VDS_AT_ONCE = 16
"""So many are learnt and forecast at a time by baselines, so that memory does not grow with their
number. A year of 5 minutes takes 20 MB a VD and baseline."""
VDS_PER_CHUNK = 8
"""In the files that this project writes; a block of whole chunks is read and written quickest."""

# HDF5 lets one thread in at a time, so with a third most would wait, and each holds a block.
_AT_ONCE = 2
_SECONDS_WITHOUT_BAR = 2


def interval_of(vd: xr.DataArray) -> np.timedelta64:
    """The interval of an array on a regular grid."""
    return as_interval(interval_minutes(vd))


def interval_minutes(vd: xr.DataArray) -> float:
    """The interval of an array on a regular grid, from its attribute of that name."""
    return float(vd.attrs["interval_minutes"])


def as_interval(minutes: float) -> np.timedelta64:
    """Minutes as a time in whole nanoseconds."""
    return np.timedelta64(round(minutes * 60e9), "ns")


def source_of(vd: xr.DataArray) -> str:
    """Name of the file an array was first read from, to begin messages with."""
    return in_one_line(str(vd.attrs.get("source_file", "VD file")))


def minute_of_week(time: np.ndarray) -> np.ndarray:
    """Minutes since the last Monday, 00:00, int64 ``[T]``, of datetime64 ``[T]``."""
    minutes = time.astype("datetime64[m]").astype("int64")
    return (minutes + 3 * MINUTES_PER_DAY) % MINUTES_PER_WEEK  # 1970-01-01 was a Thursday


def in_vd_blocks(vd: xr.DataArray, steps: int = 0) -> xr.DataArray:
    """The array, [time, vd, feature], with its values as a dask array, cut along ``vd`` only.

    Blocks it has along ``vd`` already are kept. ``steps`` are those of the result made from it,
    where these are more.
    """
    widths = _widths(vd, steps)
    of_file = _vds_per_chunk(vd)
    if "compression" in vd.encoding and of_file > widths[0] and len(widths) > 1:
        logger.warning(
            "%s: compressed in chunks of %s detectors, more than the %s read together, so that all "
            "of it is decompressed %s times; a copy with smaller chunks would be read faster",
            *(source_of(vd), f"{of_file:,}", f"{widths[0]:,}", len(widths)),
        )
    return vd.chunk(time=-1, vd=tuple(widths), feature=-1)


def each_vd_block(vd: xr.DataArray, doing: str | None = None) -> Iterator[xr.DataArray]:
    """The blocks of an array, [time, vd, feature], in memory, in the order of its detectors.

    While one is used the next is read or computed; at most these two are in memory. A dask array is
    cut where its blocks are. ``doing`` labels the progress bar, which a terminal shows after
    seconds; None for no bar.
    """
    hidden = True if doing is None else None  # None: where there is no terminal
    count, delay = vd.sizes["vd"], _SECONDS_WITHOUT_BAR
    ends = list(accumulate(_widths(vd)))
    blocks = (vd.isel(vd=slice(start, end)) for start, end in zip([0, *ends], ends, strict=False))
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        tqdm(desc=doing, total=count, unit="VD", delay=delay, disable=hidden) as bar,
    ):
        ahead = deque(pool.submit(in_memory, block) for block in islice(blocks, _AT_ONCE))
        while ahead:
            block = ahead.popleft().result()
            yield block
            bar.update(block.sizes["vd"])
            del block
            ahead.extend(pool.submit(in_memory, following) for following in islice(blocks, 1))


def each_few_vds(
    vd: xr.DataArray, few: int, doing: str
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Positions along ``vd`` and their values, [F, n, T], series by series: every detector once,
    ``few`` at a time, so that masks of the values stay small."""
    first = 0
    for block in each_vd_block(vd, doing):
        values = block.transpose(*reversed(DIMS)).to_numpy()
        for start in range(0, values.shape[1], few):
            series = np.ascontiguousarray(values[:, start : start + few])
            yield slice(first, first + series.shape[1]), series
            first += series.shape[1]


def in_memory(values: Labelled) -> Labelled:
    """The same with its values read or computed."""
    # A dask array would start threads of its own, and hold more blocks.
    return values.compute(scheduler="synchronous")


def _widths(vd: xr.DataArray, steps: int = 0) -> list[int]:
    """The number of detectors in each block."""
    if vd.chunks:
        return list(vd.chunksizes["vd"])
    of_one = 4 * max(vd.sizes["time"], steps) * vd.sizes["feature"]
    # A chunk that lies in two blocks is decompressed twice.
    of_file = _vds_per_chunk(vd)
    grains = (lcm(of_file, VDS_PER_CHUNK), of_file, VDS_PER_CHUNK, 1)
    fitting = (BLOCK_BYTES // max(of_one, 1) // grain * grain for grain in grains)
    width = next(filter(None, fitting), 1)
    full, rest = divmod(vd.sizes["vd"], width)
    return [width] * full + [rest] * (rest > 0)


def _vds_per_chunk(vd: xr.DataArray) -> int:
    """Detectors per chunk of the file the array comes from; 1 where it has no chunks."""
    return int(vd.encoding.get("preferred_chunks", {}).get("vd", 1))


def targets_in(vd_clean: xr.DataArray, target_features: Sequence[str]) -> list[str]:
    """The target features the file has; all its features if it has none of them."""
    features = [str(name) for name in vd_clean["feature"].to_numpy()]
    return [name for name in target_features if name in features] or features


def eligible_vds(
    vd_clean: xr.DataArray, target_features: Sequence[str], min_observed: float
) -> Iterator[str]:
    """VDIDs, in file order, of the detectors fit for training; reads only as far as is consumed.

    A detector is fit when each target feature the file has is observed in at least the share
    ``min_observed`` of the time steps given. If the file has none of the target features, all its
    features count.
    """
    for shares in observed_shares(vd_clean, target_features):
        yield from map(str, shares["vd"].to_numpy()[(shares >= min_observed).all("feature")])


def observed_shares(vd: xr.DataArray, target_features: Sequence[str]) -> Iterator[xr.DataArray]:
    """Share of the time steps at which each target feature the file has is observed.

    Yields ``(vd, feature)`` of some detectors at a time; reads only as far as is consumed.
    """
    targets = vd.sel(feature=targets_in(vd, target_features)).transpose(*DIMS)
    for start in range(0, targets.sizes["vd"], VDS_PER_CHUNK):
        few = targets.isel(vd=slice(start, start + VDS_PER_CHUNK))
        yield few.copy(data=np.isfinite(few.to_numpy())).mean("time")


def before_test(vd: xr.DataArray, split: Split) -> xr.DataArray:
    """The steps of train and validation."""
    return vd.isel(time=slice(0, round(vd.sizes["time"] * (split.train + split.val))))


def rolling_splits(steps: int, split: Split) -> list[tuple[int, Split]]:
    """The part of a file of so many steps that each test block ends, and its split.

    The evaluation on a rolling origin with refit, Tashman (2000): the test split of a part is its
    block, and what lies before it is divided into training and validation as the whole file is.
    """
    known, parts = split.train + split.val, []
    for later in reversed(range(split.folds)):  # blocks behind this one
        end = steps if later == 0 else round(steps * (known - (later - 1) * split.test))
        val_end = round(steps * (known - later * split.test))
        train_end = round(steps * (split.train - later * split.test * split.train / known))
        train, val = train_end / end, (val_end - train_end) / end
        parts.append((end, Split.model_construct(train=train, val=val, test=1 - train - val)))
    return parts


def check_regular_grid(data: xr.DataArray) -> xr.DataArray:
    """Return ``data`` if its ``time`` coordinate [T] increases in equal steps.

    Raises:
        ValueError: one line that names the first step that does not.
    """
    if "time" not in data.coords or data.sizes.get("time", 0) == 0:
        raise ValueError("the array has no time stamps")
    times = data["time"].to_index()
    if (blank := np.flatnonzero(times.isna())).size:
        found = f"{blank.size} of {times.size} time stamps are blank (NaT)"
        raise ValueError(f"{found}, the first that of step {blank[0]}")
    steps = np.diff(times)
    if (backward := np.flatnonzero(steps <= np.timedelta64(0, "ns"))).size:
        raise ValueError(f"{_pair(times, backward[0])}: the time stamps must increase")
    if (uneven := np.flatnonzero(steps != steps[:1])).size:
        raise ValueError(
            f"{_pair(times, uneven[0])}: {pd.Timedelta(steps[uneven[0]])} apart, "
            f"but the first two are {pd.Timedelta(steps[0])} apart"
        )
    return data


def _pair(times: pd.Index, step: int) -> str:
    return f"step {step} is at {times[step]} and step {step + 1} at {times[step + 1]}"
