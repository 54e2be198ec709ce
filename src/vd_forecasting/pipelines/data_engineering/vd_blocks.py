"""A VD array some VDs at a time: it may be larger than memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

Floats = npt.NDArray[np.float32]

_BLOCK_BYTES = 16 * 2**20
_VDS_PER_CHUNK = 8
"""Of the VD files this project writes: parts of a chunk cost as much to read as all of it."""


def vd_blocks(vd: xr.DataArray) -> Iterator[tuple[slice, Floats]]:
    """Every VD once: positions along ``vd`` and their values, [T, n, F], about 16 MB at a time."""
    vd = vd.transpose("time", "vd", "feature")
    bytes_per_vd = 4 * vd.sizes["time"] * vd.sizes["feature"]
    chunks = max(_BLOCK_BYTES // (bytes_per_vd * _VDS_PER_CHUNK), 1)
    step = chunks * _VDS_PER_CHUNK
    for first in range(0, vd.sizes["vd"], step):
        part = slice(first, min(first + step, vd.sizes["vd"]))
        yield part, vd.isel(vd=part).to_numpy()


def evenly_spread(vd: xr.DataArray, most_values: int) -> xr.DataArray:
    """So many VDs, evenly spread over the file, that they hold ``most_values``; at least one.

    All VDs where they hold no more; in memory, ``("time", "vd", "feature")``.
    """
    vd = vd.transpose("time", "vd", "feature")
    vds = vd.sizes["vd"]
    count = min(max(most_values // (vd.sizes["time"] * vd.sizes["feature"]), 1), vds)
    chosen = np.arange(vds) if count == vds else np.arange(count) * vds // count
    return vd.isel(vd=chosen).compute()
