"""Forecast the windows of a mode without a network, or by the clock alone."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import BaselineForecasts, WindowBlocks, WindowSet
from vd_forecasting.parameters import Baselines, Compute
from vd_forecasting.pipelines.baselines.gradient_boosting import forecast_gradient_boosting
from vd_forecasting.pipelines.baselines.ridge import learn_ridge
from vd_forecasting.vd_array import MINUTES_PER_DAY, MINUTES_PER_WEEK, minute_of_week

logger = logging.getLogger(__name__)

DAYS_BACK = 7
SPLITS = ("val", "test")
"""Whose windows are forecast."""

Baseline = Callable[[WindowSet, np.ndarray], np.ndarray]
"""Forecasts the windows at origins ``[W]``, float32 ``[W, H, N, F]`` in scaled units."""

Learner = Callable[[WindowSet], Baseline]
"""Learns a baseline from the training split, and what it has to choose from validation."""


def forecast_baselines(
    blocks: WindowBlocks, baselines: Baselines, compute: Compute
) -> tuple[BaselineForecasts, BaselineForecasts]:
    """The forecasts of every window of test and of validation, in physical units and possible, by
    every baseline, which learns anew for every test block."""
    parts = {}
    for number, of_block in blocks.blocks.items():
        if blocks.label(number):
            logger.info("%s_baselines: test block %d", of_block.mode, number)
        parts[number] = forecast_block(of_block, baselines, compute)
    validation, test = (
        BaselineForecasts.of_blocks({number: of[split] for number, of in parts.items()})
        for split in SPLITS
    )
    return test, validation


def forecast_block(
    windows: WindowSet, baselines: Baselines, compute: Compute
) -> dict[str, BaselineForecasts]:
    """The forecasts of the windows of one block, by split."""
    boosting: Baseline = partial(
        forecast_gradient_boosting,
        iterations=baselines.boosting_iterations,
        max_windows=baselines.boosting_windows,
    )
    learners = {**quick_baselines(baselines), "gradient_boosting": lambda _: boosting}
    return forecast_by(learners, windows, SPLITS, compute)


def quick_baselines(baselines: Baselines) -> dict[str, Learner]:
    """Those that are learnt within seconds."""
    return {
        "seasonal_naive": lambda _: forecast_seasonal_naive,
        "historical_average": learn_historical_average,
        "ridge": partial(learn_ridge, alphas=baselines.ridge_alphas),
    }


def forecast_by(
    learners: Mapping[str, Learner], windows: WindowSet, splits: Sequence[str], compute: Compute
) -> dict[str, BaselineForecasts]:
    """The forecasts of the windows of some splits by some baselines, in physical units and
    possible; all splits take one learning."""
    of_split = {split: windows.origins(split) for split in splits}
    origins = np.concatenate([*of_split.values()])
    shape = (len(learners), *windows.target_steps(origins).shape, *windows.target_scaler[0].shape)
    prediction, seconds = np.empty(shape, "float32"), np.empty(len(learners))
    for row, (name, learn) in enumerate(learners.items()):
        started = time.perf_counter()
        with threadpool_limits(compute.threads):
            prediction[row] = windows.to_possible(learn(windows)(windows, origins))
        seconds[row] = time.perf_counter() - started
        logger.info("%s_baselines: %s  %.1f s", windows.mode, name, seconds[row])
    dims = ("model", "origin", "horizon", "vd", "feature")
    attributes, forecasts, first = windows.forecast_attributes("baselines"), {}, 0
    for split, own in of_split.items():
        rows = slice(first, first := first + len(own))
        arrays = {"prediction": (dims, prediction[:, rows]), "fit_seconds": ("model", seconds)}
        labels = {"model": list(learners), **windows.forecast_coordinates(split)}
        forecasts[split] = BaselineForecasts(xr.Dataset(arrays, labels, attributes))
    return forecasts


def forecast_seasonal_naive(windows: WindowSet, origins: np.ndarray) -> np.ndarray:
    """Forecast the value observed at the same time of day, on the latest earlier day that has one.

    The days searched are one to seven days before the target. Whatever lies at or before the origin
    may be used, values before the window included. Without any observation the forecast is the
    last value known at the origin. At origins ``[W]`` float32 ``[W, H, N, F]`` in scaled units.
    """
    values, _ = windows.target_series  # [T, N, F]
    forecast = windows.last_values(origins)
    for past, usable in earlier_days(windows, origins):  # the later day overwrites the earlier one
        np.copyto(forecast, values[past], where=usable)
    return forecast


def earlier_days(
    windows: WindowSet, origins: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The steps at the same time of day as the targets, int ``[W, H]``, and what of them may be
    used, bool ``[W, H, N, F]``: seven days before, six days before, and so on."""
    _, observed = windows.target_series  # [T, N, F]
    day = round(MINUTES_PER_DAY / windows.interval_minutes)
    for days in range(DAYS_BACK, 0, -1):
        past = windows.target_steps(origins) - days * day
        known = (past >= 0) & (past <= origins[:, None])
        past = np.where(known, past, 0)
        yield past, known[..., None, None] & observed[past]


def learn_historical_average(windows: WindowSet) -> Baseline:
    """:func:`forecast_historical_average` with the means of the training split."""
    train = slice(0, windows.ends["train"])
    values, observed = (series[train] for series in windows.target_series)  # [T, N, F]
    means = {}
    for period in (MINUTES_PER_WEEK, MINUTES_PER_DAY):
        bins = bins_of(windows, train, period)
        number = int(period // windows.interval_minutes) + 1
        means[period] = bin_means(values, observed, bins, number)
    return partial(forecast_historical_average, means=means)


def forecast_historical_average(
    windows: WindowSet, origins: np.ndarray, means: Mapping[int, np.ndarray]
) -> np.ndarray:
    """The mean of the training split at the same time of day and day of week.

    A bin is as long as the interval of the data. One without an observed training value takes the
    mean of its time of day over all days, and where there is none either, the training mean.
    At origins ``[W]`` float32 ``[W, H, N, F]`` in scaled units; the means are those of
    :func:`bin_means` by period in minutes, the longest first.
    """
    steps = windows.target_steps(origins)  # [W, H]
    forecast = np.array(np.nan)
    for period, of_bins in means.items():
        forecast = np.where(
            np.isfinite(forecast), forecast, of_bins[bins_of(windows, steps, period)]
        )
    # Scaled values have the training mean at zero.
    return np.where(np.isfinite(forecast), forecast, 0).astype("float32")


def bins_of(windows: WindowSet, steps: slice | np.ndarray, period: int) -> np.ndarray:
    """Which part of a period of so many minutes some steps fall into, int of their shape."""
    minutes = minute_of_week(windows.time[steps]) % period
    return (minutes // windows.interval_minutes).astype("int64")


def bin_means(
    values: np.ndarray, observed: np.ndarray, bins: np.ndarray, num_bins: int
) -> np.ndarray:
    """Mean of the observed ``values`` [T, N, F] of every bin; step t falls into ``bins[t]``.

    float64 ``[num_bins, N, F]``, NaN for a bin without an observed value.
    """
    sums = np.zeros((num_bins, *values.shape[1:]))
    counts = np.zeros_like(sums)
    np.add.at(sums, bins, np.where(observed, values, 0))
    np.add.at(counts, bins, observed)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
