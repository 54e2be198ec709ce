"""Forecast the test windows of a mode without a network."""

import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import BaselineForecasts, WindowSet
from vd_forecasting.parameters import Baselines, Compute
from vd_forecasting.pipelines.baselines.gradient_boosting import forecast_gradient_boosting
from vd_forecasting.pipelines.baselines.ridge import forecast_ridge
from vd_forecasting.pipelines.baselines.seasonal import (
    forecast_historical_average,
    forecast_seasonal_naive,
)

logger = logging.getLogger(__name__)


def forecast_baselines(
    windows: WindowSet, baselines: Baselines, compute: Compute
) -> BaselineForecasts:
    """Learn every baseline from the training split and forecast every test window.

    The forecasts are in physical units, to be compared with the truths of the networks' forecasts.
    """
    models: dict[str, Callable[[WindowSet], np.ndarray]] = {
        "seasonal_naive": forecast_seasonal_naive,
        "historical_average": forecast_historical_average,
        "ridge": partial(forecast_ridge, alphas=baselines.ridge_alphas),
        "gradient_boosting": partial(
            forecast_gradient_boosting,
            iterations=baselines.boosting_iterations,
            max_windows=baselines.boosting_windows,
        ),
    }
    shape = (len(models), *windows.target_steps("test").shape, *windows.target_mean.shape)
    prediction, seconds = np.empty(shape, "float32"), np.empty(len(models))
    for row, (name, forecast) in enumerate(models.items()):
        started = time.perf_counter()
        with threadpool_limits(compute.threads):
            prediction[row] = windows.to_physical(forecast(windows))
        seconds[row] = time.perf_counter() - started
        logger.info("%s_baselines: %s  %.1f s", windows.mode, name, seconds[row])
    dims = ("model", "origin", "horizon", "vd", "feature")
    return BaselineForecasts(
        xr.Dataset(
            {"prediction": (dims, prediction), "fit_seconds": ("model", seconds)},
            coords={"model": list(models), **windows.forecast_coordinates("test")},
            attrs=windows.forecast_attributes("baselines"),
        )
    )
