"""Which steps of the series the windows of a split read, and what time it is then.

W windows, H horizons, N VDs, F target features.
"""

from typing import Final

import numpy as np
import xarray as xr

from vd_forecasting.pipelines.training.batches import target_positions
from vd_forecasting.pipelines.training.windows import window_starts

MINUTES_PER_DAY: Final = 24 * 60
MINUTES_PER_WEEK: Final = 7 * MINUTES_PER_DAY


def origins(windows: xr.Dataset, split: str) -> np.ndarray:
    """The last input step of every window of a split, int ``[W]``."""
    return window_starts(windows, split) + int(windows.attrs["sequence_length"]) - 1


def target_steps(windows: xr.Dataset, split: str) -> np.ndarray:
    """The steps that every window of a split has to forecast, int ``[W, H]``."""
    horizon = np.arange(1, int(windows.attrs["prediction_length"]) + 1)
    return origins(windows, split)[:, None] + horizon


def last_values(windows: xr.Dataset, split: str) -> np.ndarray:
    """The last value known at the origin, for every horizon: float32 ``[W, H, N, F]``, scaled."""
    last = windows["values"].values[origins(windows, split)][..., target_positions(windows)]
    return np.repeat(last[:, None], int(windows.attrs["prediction_length"]), axis=1)


def minute_of_week(time: np.ndarray) -> np.ndarray:
    """Minutes since the last Monday, 00:00.

    Args:
        time: datetime64 ``[T]``.

    Returns:
        int64 ``[T]``.
    """
    minutes = time.astype("datetime64[m]").astype("int64")
    # The epoch, 1970-01-01, was a Thursday.
    return (minutes + 3 * MINUTES_PER_DAY) % MINUTES_PER_WEEK
