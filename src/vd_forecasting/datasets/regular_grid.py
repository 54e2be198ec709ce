"""Catalog validator for arrays that must have a value for every time step."""

import numpy as np
import pandas as pd
import xarray as xr


def check_regular_grid(data: xr.DataArray) -> xr.DataArray:
    """Return ``data`` if its ``time`` coordinate [T] increases in equal steps.

    Raises:
        ValueError: one line that names the first step that does not.
    """
    if "time" not in data.coords or data.sizes.get("time", 0) == 0:
        raise ValueError("the array has no time stamps")
    times = data["time"].to_index()
    blank = np.flatnonzero(times.isna())
    if blank.size:
        raise ValueError(
            f"{blank.size} of {times.size} time stamps are blank (NaT), the first that of step "
            f"{blank[0]}"
        )
    steps = np.diff(times)
    backward = np.flatnonzero(steps <= np.timedelta64(0))
    if backward.size:
        raise ValueError(f"{_pair(times, backward[0])}: the time stamps must increase")
    uneven = np.flatnonzero(steps != steps[:1])
    if uneven.size:
        raise ValueError(
            f"{_pair(times, uneven[0])}: {pd.Timedelta(steps[uneven[0]])} apart, "
            f"but the first two are {pd.Timedelta(steps[0])} apart"
        )
    return data


def _pair(times: pd.Index, step: int) -> str:
    return f"step {step} is at {times[step]} and step {step + 1} at {times[step + 1]}"
