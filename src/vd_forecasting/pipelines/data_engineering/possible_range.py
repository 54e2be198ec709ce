"""The range of values that cleaning leaves, within which a forecast must lie too."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import resample as resampling
from vd_forecasting.pipelines.data_engineering.clocks import steps_between
from vd_forecasting.vd_array import interval_of

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def possible_range(
    clean: xr.DataArray, observed: Mask, cleaning: Cleaning
) -> tuple[Floats, Floats]:
    """Lowest and highest possible value of each detector and feature, ``[N, F]``.

    They are infinite where cleaning sets no limit. A range holds for the file's own interval, so
    that of a sum grows with the steps that resampling joined. A ``max_rate`` counts for the time in
    the unit or, where that is the interval, for the time from one record of a detector to the next.

    ``clean`` is read for its labels alone, the records are those of ``observed`` ``[T, N, F]``.
    """
    limits = [resampling.limits_of(cleaning, str(name)) for name in clean["feature"].values]
    found = np.array([resampling.range_of(of) for of in limits])  # [F, 2]
    if resampling.FROM in clean.attrs:
        added = np.flatnonzero(resampling.summed(clean, cleaning))
        found[added] *= resampling.steps_per_bin(clean, cleaning)
        # A detector that reports less often than every step has fewer records in a bin.
        found[added, 0] = np.minimum(found[added, 0], 0)
    low, high = (np.tile(end, (observed.shape[1], 1)) for end in found.T)
    for at, of_feature in enumerate(limits):
        if of_feature.max_rate is not None:
            high[:, at] = of_feature.max_rate * _hours(clean, cleaning, at, observed)
    return low.astype("float32"), high.astype("float32")


def _hours(
    clean: xr.DataArray, cleaning: Cleaning, at: int, observed: Mask
) -> npt.NDArray[np.float64]:
    """The time for which a value of a feature counts, [N]."""
    interval = pd.Timedelta(interval_of(clean))
    period = resampling.period_of(resampling.unit_of(clean, cleaning, at)) or interval
    steps = (
        steps_between(np.asarray(observed.any(axis=2)))
        if period == interval
        else np.ones(observed.shape[1])
    )
    return steps * (period / pd.Timedelta("1h"))
