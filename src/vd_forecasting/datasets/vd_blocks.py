"""VD arrays larger than memory: some VDs at a time, each with all its time steps and features.

What is done to detectors is done to each by itself, so blocks of VDs are independent of each other.
"""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice
from math import lcm

import xarray as xr
from tqdm import tqdm

logger = logging.getLogger(__name__)

BLOCK_BYTES = 96 * 2**20
"""What the values of a block take, unless a single VD takes more."""

VDS_PER_CHUNK = 8
"""In the files that this project writes; a block of whole chunks is read and written quickest."""

# HDF5 lets one thread in at a time, so with a third most would wait, and each holds a block.
_AT_ONCE = 2

_SECONDS_WITHOUT_BAR = 2


def in_vd_blocks(vd: xr.DataArray, steps: int = 0) -> xr.DataArray:
    """The same array, its values a dask array that is cut along ``vd`` only.

    Args:
        vd: has the dims time, vd and feature. Blocks it has along ``vd`` already are kept.
        steps: how many time steps will be made of it, where these are more.
    """
    widths = _widths(vd, steps)
    of_file = _vds_per_chunk(vd)
    if "compression" in vd.encoding and of_file > widths[0]:
        logger.warning(
            "%s: compressed in chunks of %s VDs, more than the %s looked at together, so that all "
            "of it is decompressed %s times over; a copy with smaller chunks would be read faster",
            vd.attrs.get("source_file", "VD file"),
            f"{of_file:,}",
            f"{widths[0]:,}",
            len(widths),
        )
    return vd.chunk(time=-1, vd=tuple(widths), feature=-1)


def each_vd_block(vd: xr.DataArray, doing: str | None = None) -> Iterator[xr.DataArray]:
    """The blocks of an array, in memory, in the order of its VDs.

    While one is used the next is read or computed; no more than these two are there.

    Args:
        vd: has the dims time, vd and feature. A dask array is cut where its blocks are.
        doing: stands before the progress bar, which a terminal shows where it takes seconds; no
            bar without it.
    """
    ends = list(accumulate(_widths(vd)))
    blocks = (vd.isel(vd=slice(start, end)) for start, end in zip([0, *ends], ends, strict=False))
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        tqdm(
            desc=doing,
            total=vd.sizes["vd"],
            unit="VD",
            delay=_SECONDS_WITHOUT_BAR,
            disable=True if doing is None else None,
        ) as bar,
    ):
        ahead = deque(pool.submit(_load, block) for block in islice(blocks, _AT_ONCE))
        while ahead:
            block = ahead.popleft().result()
            yield block
            bar.update(block.sizes["vd"])
            del block
            ahead.extend(pool.submit(_load, following) for following in islice(blocks, 1))


def _load(block: xr.DataArray) -> xr.DataArray:
    # A dask array would start threads of its own, and hold more blocks.
    return block.compute(scheduler="synchronous") if block.chunks else block.compute()


def _widths(vd: xr.DataArray, steps: int = 0) -> list[int]:
    """How many VDs each block holds."""
    if vd.chunks:
        return list(vd.chunksizes["vd"])
    vds = vd.sizes["vd"]
    of_one = 4 * max(vd.sizes["time"], steps) * vd.sizes["feature"]
    # A chunk that lies in two blocks is decompressed twice.
    of_file = _vds_per_chunk(vd)
    grains = (lcm(of_file, VDS_PER_CHUNK), of_file, VDS_PER_CHUNK, 1)
    fitting = (BLOCK_BYTES // max(of_one, 1) // grain * grain for grain in grains)
    width = next(filter(None, fitting), 1)
    full, rest = divmod(vds, width)
    return [width] * full + [rest] * (rest > 0)


def _vds_per_chunk(vd: xr.DataArray) -> int:
    """Of the file the array comes from; 1 where it has no chunks."""
    return int(vd.encoding.get("preferred_chunks", {}).get("vd", 1))
