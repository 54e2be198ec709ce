"""Detectors that stand for all, of an array that may be larger than memory."""

import numpy as np
import xarray as xr

from vd_forecasting.vd_array import DIMS


def evenly_spread(vd: xr.DataArray, most_values: int) -> xr.DataArray:
    """As many detectors as hold ``most_values``, at least one, evenly spread over the file.

    Returns:
        ``("time", "vd", "feature")``, in memory; the whole array if it holds no more values.
    """
    vd = vd.transpose(*DIMS)
    vds = vd.sizes["vd"]
    count = min(max(most_values // (vd.sizes["time"] * vd.sizes["feature"]), 1), vds)
    chosen = np.arange(vds) if count == vds else np.arange(count) * vds // count
    return vd.isel(vd=chosen).compute()
