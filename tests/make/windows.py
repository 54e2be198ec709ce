"""Windows of made-up traffic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from tests.make.parameters import CALENDAR, SPLIT
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.parameters import (
    Calendar,
    Cleaning,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    MultiVDWindows,
)
from vd_forecasting.pipelines.training.windows import (
    make_independent_multi_vd_windows,
    make_multi_vd_windows,
)

MakesWindows = Callable[[xr.DataArray], WindowSet]

CLEANING = Cleaning(interval=None, error_codes=(), min_observed=0.01, features={})


def window_parameters(changes: dict[str, Any]) -> dict[str, Any]:
    """Six steps in, three out, of three features the first two forecast."""
    return {
        "sequence_length": 6,
        "prediction_length": 3,
        "input_features": None,
        "target_features": ("avg_speed", "total_volume"),
        "num_vds": 2,
        **changes,
    }


def make_joint_windows(clean: xr.DataArray, **changes: Any) -> WindowSet:
    """Windows of two VDs that are forecast jointly."""
    calendar = Calendar(holidays=changes.pop("holidays", ()))
    parameters = MultiVDWindows.model_validate(window_parameters(changes))
    return make_multi_vd_windows(clean, parameters, SPLIT, CLEANING, calendar)


def make_independent_windows(clean: xr.DataArray, **changes: Any) -> WindowSet:
    """Windows of two VDs or others, each with a model of its own."""
    parameters = IndependentMultiVDWindows.model_validate(
        window_parameters({"target_vd_index": "all", **changes})
    )
    return make_independent_multi_vd_windows(clean, parameters, SPLIT, CLEANING, CALENDAR)


def make_global_windows(clean: xr.DataArray, **changes: Any) -> WindowSet:
    """Windows of all VDs or of some, each by itself, for one model."""
    parameters = GlobalVDWindows.model_validate(window_parameters({"num_vds": None, **changes}))
    return make_multi_vd_windows(clean, parameters, SPLIT, CLEANING, CALENDAR)


def physical(windows: WindowSet, forecast: np.ndarray) -> np.ndarray:
    """A scaled forecast ``[W, H, N, F]`` in the units of the features."""
    positions = windows.target_positions
    return np.asarray(
        forecast * windows.data["std"].to_numpy()[:, positions]
        + windows.data["mean"].to_numpy()[:, positions]
    )
