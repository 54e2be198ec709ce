"""Forecast the test windows of a mode without a network."""

import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from vd_forecasting.parameters import Baselines, Compute
from vd_forecasting.pipelines.baselines.gradient_boosting import forecast_gradient_boosting
from vd_forecasting.pipelines.baselines.ridge import forecast_ridge
from vd_forecasting.pipelines.baselines.seasonal import (
    forecast_historical_average,
    forecast_seasonal_naive,
)
from vd_forecasting.pipelines.baselines.steps import origins
from vd_forecasting.pipelines.training.batches import target_positions
from vd_forecasting.pipelines.training.evaluate import forecast_attributes, forecast_coordinates

logger = logging.getLogger(__name__)


def forecast_baselines(windows: xr.Dataset, baselines: Baselines, compute: Compute) -> xr.Dataset:
    """Learn every baseline from the training split and forecast every test window.

    Args:
        windows: the dataset of :func:`~..training.windows.make_windows`.
        baselines: settings of those that have any.
        compute: threads of the linear algebra.

    Returns:
        float32 ``prediction`` (model, origin, horizon, vd, feature) in physical units, with the
        coordinates of :func:`~..training.evaluate.forecast_split`, whose truth it is to be compared
        with; ``fit_seconds`` (model), the time it took to learn and to forecast.
    """
    models: dict[str, Callable[[xr.Dataset], np.ndarray]] = {
        "seasonal_naive": forecast_seasonal_naive,
        "historical_average": forecast_historical_average,
        "ridge": partial(forecast_ridge, alphas=baselines.ridge_alphas),
        "gradient_boosting": partial(
            forecast_gradient_boosting,
            iterations=baselines.boosting_iterations,
            max_windows=baselines.boosting_windows,
        ),
    }
    positions = target_positions(windows)
    mean, std = windows["mean"].values[:, positions], windows["std"].values[:, positions]
    horizons = int(windows.attrs["prediction_length"])
    at = origins(windows, "test")
    shape = (len(models), len(at), horizons, windows.sizes["vd"], len(positions))
    prediction, seconds = np.empty(shape, "float32"), np.empty(len(models))
    for row, (name, forecast) in enumerate(models.items()):
        started = time.perf_counter()
        with threadpool_limits(compute.threads):
            prediction[row] = forecast(windows) * std + mean
        seconds[row] = time.perf_counter() - started
        logger.info("%s_baselines: %s  %.1f s", windows.attrs["mode"], name, seconds[row])
    return xr.Dataset(
        {
            "prediction": (("model", "origin", "horizon", "vd", "feature"), prediction),
            "fit_seconds": ("model", seconds),
        },
        coords={"model": list(models), **forecast_coordinates(windows, at)},
        attrs=forecast_attributes(windows, "baselines"),
    )
