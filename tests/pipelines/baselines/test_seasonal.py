"""Forecasts by the clock, against what a loop over the series or a table by hand says."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.arrays import make_clean
from tests.make.windows import make_joint_windows, physical
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.pipelines.baselines.baseline import Baseline, all_vds
from vd_forecasting.pipelines.baselines.forecast import (
    bin_means,
    forecast_seasonal_naive,
    learn_historical_average,
)
from vd_forecasting.vd_array import minute_of_week

STEPS_PER_DAY = 8  # of three hours each


def coarse_clean(days: int = 40, missing: float = 0.3, seed: int = 0) -> xr.DataArray:
    return make_clean(days * STEPS_PER_DAY, vds=2, missing=missing, seed=seed, interval="3h")


def test_minute_of_week_counts_from_monday() -> None:
    time = np.array(["2024-03-04T00:00", "2024-03-05T00:10", "2024-03-10T23:59"], "datetime64[ns]")
    np.testing.assert_array_equal(minute_of_week(time), [0, 1450, 7 * 1440 - 1])


def test_target_steps_follow_the_origin() -> None:
    windows = make_joint_windows(coarse_clean())
    start = windows.ends["val"]
    assert windows.origins("test")[0] == start + 6 - 1
    np.testing.assert_array_equal(
        windows.target_steps(windows.origins("test"))[0], start + 5 + np.arange(1, 4)
    )
    assert windows.target_steps(windows.origins("test"))[-1, -1] == len(windows.time) - 1


def forecast_test(baseline: Baseline, windows: WindowSet) -> np.ndarray:
    return baseline(windows, windows.origins("test"), all_vds(windows))


def historical_average(windows: WindowSet) -> np.ndarray:
    return forecast_test(learn_historical_average(windows, all_vds(windows)), windows)


# --- seasonal naive -------------------------------------------------------------------------------


def seasonal_by_hand(series: np.ndarray, origin: int, target: int) -> float:
    """One value, as a person would look it up; the series is NaN where not observed."""
    for days in range(1, 8):
        step = target - days * STEPS_PER_DAY
        if 0 <= step <= origin and np.isfinite(series[step]):
            return float(series[step])
    known = series[: origin + 1]
    return float(known[np.isfinite(known)][-1])


@pytest.mark.parametrize("prediction_length", [3, 11])  # 11 steps are more than a day
def test_seasonal_naive_by_hand(prediction_length: int) -> None:
    clean = coarse_clean()
    # A fortnight without a speed: nothing to repeat for a while.
    clean[20 * STEPS_PER_DAY : 35 * STEPS_PER_DAY, 1, 0] = np.nan
    windows = make_joint_windows(clean, prediction_length=prediction_length)
    forecast = physical(windows, forecast_test(forecast_seasonal_naive, windows))
    steps = windows.target_steps(windows.origins("test"))
    for n in range(2):
        for f in range(2):
            series = clean.to_numpy()[:, n, f]
            expected = [
                [seasonal_by_hand(series, at, step) for step in row]
                for at, row in zip(windows.origins("test"), steps, strict=True)
            ]
            np.testing.assert_allclose(forecast[:, :, n, f], expected, rtol=1e-4, atol=1e-3)


def test_seasonal_naive_takes_the_day_before_where_observed() -> None:
    clean = coarse_clean(missing=0.0)
    windows = make_joint_windows(clean)
    forecast = physical(windows, forecast_test(forecast_seasonal_naive, windows))
    day_before = clean.to_numpy()[windows.target_steps(windows.origins("test")) - STEPS_PER_DAY][
        ..., :2
    ]
    np.testing.assert_allclose(forecast, day_before, rtol=1e-4, atol=1e-3)


# --- historical average ---------------------------------------------------------------------------


def test_bin_means_by_hand() -> None:
    values = np.array([1.0, 3.0, 100.0, 5.0]).reshape(4, 1, 1)
    observed = np.array([True, True, False, True]).reshape(4, 1, 1)
    means = bin_means(values, observed, np.array([0, 0, 0, 2]), 3)
    np.testing.assert_array_equal(means.ravel(), [2, np.nan, 5])


def test_historical_average_is_a_pandas_pivot() -> None:
    clean = coarse_clean()
    windows = make_joint_windows(clean)
    forecast = physical(windows, historical_average(windows))
    time = pd.DatetimeIndex(clean["time"].to_numpy())
    table = pd.DataFrame(clean.to_numpy()[:, 1, 1], index=time)
    training = table.iloc[: windows.ends["train"]]
    stamps = time[: len(training)]
    means = training.groupby([stamps.day_of_week, stamps.hour])[0].mean()
    assert means.notna().all()
    targets = time[windows.target_steps(windows.origins("test")).ravel()]
    expected = means.loc[list(zip(targets.day_of_week, targets.hour, strict=True))]
    np.testing.assert_allclose(forecast[:, :, 1, 1].ravel(), expected, rtol=1e-5)


def test_an_empty_bin_falls_back_to_the_time_of_day_and_then_to_the_mean() -> None:
    clean = coarse_clean(missing=0.0)
    time = pd.DatetimeIndex(clean["time"].to_numpy())
    clean[(time.day_of_week == 3) & (time.hour == 9), 0, 0] = np.nan
    clean[time.hour == 12, 0, 0] = np.nan
    windows = make_joint_windows(clean)
    forecast = physical(windows, historical_average(windows))[:, :, 0, 0].ravel()
    training = clean.to_numpy()[: windows.ends["train"], 0, 0]
    hour = time.hour[: len(training)]
    targets = time[windows.target_steps(windows.origins("test")).ravel()]
    thursday_at_nine = (targets.day_of_week == 3) & (targets.hour == 9)
    assert thursday_at_nine.any()
    np.testing.assert_allclose(
        forecast[thursday_at_nine], np.nanmean(training[hour == 9]), rtol=1e-5
    )
    np.testing.assert_allclose(forecast[targets.hour == 12], np.nanmean(training), rtol=1e-5)


def test_historical_average_knows_the_training_split_only() -> None:
    clean = coarse_clean()
    windows = make_joint_windows(clean)
    changed = clean.copy()
    changed[windows.ends["train"] :] = 1e4
    before, after = (historical_average(one) for one in (windows, make_joint_windows(changed)))
    np.testing.assert_array_equal(before, after)
