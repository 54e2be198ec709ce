"""What errors and speeds of a VD are measured against, from its training split alone."""

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.vocabulary import SPEED

FREE_FLOW_PERCENTILE = 85


def mase_scale(windows: WindowSet) -> xr.DataArray:
    """MAE of the daily seasonal naive forecast within the training split.

    The scale of MASE with a season of one day, Hyndman and Koehler (2006), section 3.

    Args:
        windows: scaled and split series.

    Returns:
        float64 ``(vd, feature)`` of the target features in physical units; NaN where no value and
        the one a day before it are both observed, or where they never differ.
    """
    values = _training_values(windows)
    day = round(pd.Timedelta("24h") / pd.Timedelta(minutes=windows.interval_minutes))
    difference = abs(values.shift(time=-day) - values)
    scale = difference.sum("time") / difference.count("time")
    return scale.where(scale > 0)


def free_flow_speed(windows: WindowSet) -> xr.DataArray:
    """The 85th percentile of the speeds observed in the training split.

    Returns:
        float64 ``(vd,)`` in the unit of the speed; NaN where none is observed or speed is not a
        target.
    """
    values = _training_values(windows)
    if SPEED not in values["feature"].values:
        return xr.full_like(values.isel(time=0, feature=0, drop=True), np.nan)
    speeds = values.sel(feature=SPEED, drop=True)
    return speeds.quantile(FREE_FLOW_PERCENTILE / 100, "time", skipna=True).drop_vars("quantile")


def _training_values(windows: WindowSet) -> xr.DataArray:
    """Target features of the training split in physical units, NaN where not observed."""
    training = windows.data.isel(
        time=slice(0, windows.ends["train"]), feature=windows.target_positions
    )
    physical = training["values"].astype("float64") * training["std"] + training["mean"]
    return physical.where(training["observed"]).transpose("time", "vd", "feature")
