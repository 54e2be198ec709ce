"""A trained experiment and a recent file for it."""

from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from tests.make.arrays import make_clean
from tests.make.parameters import INTERVALS
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    global_windows,
    independent_windows,
    joint_windows,
    train_lstm,
)
from vd_forecasting.artefacts import (
    Forecasts,
    RecentForecasts,
    RecentWindows,
    WindowBlocks,
    WindowSet,
)
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.parameters import Baselines, Forecast
from vd_forecasting.pipelines.forecast.clean_recent import clean_recent
from vd_forecasting.pipelines.forecast.forecast_recent import forecast_recent
from vd_forecasting.pipelines.forecast.recent_windows import make_recent_windows
from vd_forecasting.pipelines.training.evaluate import evaluate

BASELINES = Baselines(
    ridge_alphas=(10.0,), ridge_neighbours=9, boosting_iterations=5, boosting_windows=100
)
STEPS = 500
MAKE = {"joint": joint_windows, "independent": independent_windows, "global": global_windows}


@cache
def evaluated(kind: str = "joint") -> tuple[Checkpoint, WindowSet, Forecasts, Forecasts]:
    """Checkpoint, windows, and forecasts of test and validation of an LSTM of 3 VDs or two."""
    windows = MAKE[kind](make_clean(STEPS))
    training = TRAINING.model_copy(update={"epochs": 1})
    best, models, *_ = train_lstm(windows, LSTM, training, MAPE_MIN_TRUTH, COMPUTE)
    blocks = WindowBlocks.of_one(windows)
    forecasts, _, validation = evaluate(best, models, blocks, MAPE_MIN_TRUTH, COMPUTE)
    return best, windows, forecasts, validation


def trained(kind: str = "joint") -> tuple[Checkpoint, WindowSet, Forecasts]:
    """The same without validation."""
    return evaluated(kind)[:3]


def recent_file(first: int = 380, last: int = STEPS) -> xr.DataArray:
    """Steps of the same traffic, as a file has them."""
    recent = make_clean(STEPS).isel(time=slice(first, last))
    return recent.assign_attrs(source_file="today.h5")


def recent_windows(raw: xr.DataArray, kind: str = "joint", origins: Any = "last") -> RecentWindows:
    """What is forecast from."""
    best, windows, _ = trained(kind)
    blocks, parameters = WindowBlocks.of_one(windows), Forecast(origins=origins)
    return make_recent_windows(clean_recent(raw, best), best, blocks, parameters)


def forecast(raw: xr.DataArray, kind: str = "joint", origins: Any = "last") -> RecentForecasts:
    """All the way from the file."""
    return both(raw, kind, origins)[1]


def both(
    raw: xr.DataArray, kind: str = "joint", origins: Any = "last"
) -> tuple[RecentWindows, RecentForecasts]:
    """What is forecast from, and the forecasts."""
    recent = recent_windows(raw, kind, origins)
    best = trained(kind)[0]
    asked = Forecast(origins=origins)
    return recent, forecast_recent(recent, best, BASELINES, asked, INTERVALS, COMPUTE)


def without(raw: xr.DataArray, steps: slice, vd: int | slice, feature: int | slice) -> xr.DataArray:
    """The file with missing values."""
    values = np.array(raw.values)
    values[steps, vd, feature] = np.nan
    return raw.copy(data=values)
