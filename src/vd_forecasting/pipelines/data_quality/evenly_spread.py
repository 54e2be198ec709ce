"""Detectors that stand for all, of an array that may be larger than memory."""

import numpy as np
import xarray as xr

from vd_forecasting.vd_array import DIMS


def evenly_spread(vd: xr.DataArray, most_values: int) -> xr.DataArray:
    """As many detectors as hold ``most_values``, at least one, evenly spread over the file.

    They are in memory, ``("time", "vd", "feature")``.
    """
    vds = vd.sizes["vd"]
    count = min(max(most_values // (vd.sizes["time"] * vd.sizes["feature"]), 1), vds)
    return vd.transpose(*DIMS).isel(vd=np.arange(count) * vds // count).compute()
