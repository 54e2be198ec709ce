"""Some VDs that stand for all, of an array that may be larger than memory."""

import numpy as np
import xarray as xr


def evenly_spread(vd: xr.DataArray, most_values: int) -> xr.DataArray:
    """So many VDs, evenly spread over the file, that they hold ``most_values``; at least one.

    All VDs where they hold no more; in memory, ``("time", "vd", "feature")``.
    """
    vd = vd.transpose("time", "vd", "feature")
    vds = vd.sizes["vd"]
    count = min(max(most_values // (vd.sizes["time"] * vd.sizes["feature"]), 1), vds)
    chosen = np.arange(vds) if count == vds else np.arange(count) * vds // count
    return vd.isel(vd=chosen).compute()
