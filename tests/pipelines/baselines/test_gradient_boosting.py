"""The gradient boosting: what its models see, and that they learn."""

import numpy as np
import pytest

from tests.conftest import make_clean
from tests.pipelines.baselines.made import make_joint_windows
from vd_forecasting.pipelines.baselines.gradient_boosting import (
    forecast_gradient_boosting,
    horizon_groups,
    lagged_inputs,
    rotate,
    spaced_lags,
)
from vd_forecasting.pipelines.baselines.steps import last_values, origins, target_steps

SETTINGS = {"iterations": 5, "max_windows": 10_000}


def test_lags_are_ever_further_apart_and_reach_the_first_step() -> None:
    assert spaced_lags(20).tolist() == [0, 1, 2, 3, 5, 7, 11, 15, 19]
    assert spaced_lags(1).tolist() == [0]
    assert spaced_lags(5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("last", range(1, 30))
def test_every_horizon_is_in_one_group(last: int) -> None:
    groups = horizon_groups(last)
    assert [horizon for group in groups for horizon in group] == list(range(1, last + 1))
    assert groups[0] == range(1, 2)
    assert all(len(group) <= 3 for group in groups)


@pytest.mark.parametrize("horizons", [range(1, 2), range(2, 4), range(4, 7)])
def test_windows_are_shared_out_evenly(horizons: range) -> None:
    row, horizon = rotate(30, horizons)
    uses = min(2, len(horizons))
    np.testing.assert_array_equal(np.bincount(row), np.full(30, uses))
    counts = [int((horizon == h).sum()) for h in horizons]
    assert counts == [30 * uses // len(horizons)] * len(horizons)
    assert len(set(zip(row.tolist(), horizon.tolist(), strict=True))) == len(row)


def test_inputs_by_hand() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    at = np.array([5, 300])  # 2024-03-04 is a Monday, and 288 steps are a day
    inputs = lagged_inputs(windows, 1, at)
    values = windows["values"].to_numpy()[:, 1]
    np.testing.assert_array_equal(inputs[0, :15], values[[5, 4, 3, 2, 0]].ravel())
    np.testing.assert_array_equal(inputs[:, 15:], [[25, 0], [60, 1]])


def test_trees_learn_what_the_last_value_does_not_tell() -> None:
    clean = make_clean(1500, vds=2)
    windows = make_joint_windows(clean)
    forecast = forecast_gradient_boosting(windows, **{**SETTINGS, "iterations": 40})
    truth = (windows["values"].where(windows["observed"])).to_numpy()
    truth = truth[target_steps(windows, "test")][..., :2]
    error, persisted = (
        np.nanmean(abs(each - truth)) for each in (forecast, last_values(windows, "test"))
    )
    assert error < 0.85 * persisted


def test_a_vd_is_forecast_from_its_own_past() -> None:
    clean = make_clean(400, vds=2)
    changed = clean.copy()
    changed[:, 1] *= 1.5
    before = forecast_gradient_boosting(make_joint_windows(clean), **SETTINGS)
    after = forecast_gradient_boosting(make_joint_windows(changed), **SETTINGS)
    np.testing.assert_array_equal(before[:, :, 0], after[:, :, 0])


def test_a_target_that_was_not_observed_is_never_used() -> None:
    """What stands in place of a missing target may be an input of later windows, so hide that."""
    windows = make_joint_windows(make_clean(400, vds=2, missing=0.0))
    end = windows.attrs["train_end"]
    windows["observed"][end - 2 : end] = False  # targets of training windows, inputs of none
    wild = windows.copy(deep=True)
    wild["values"][end - 2 : end] = 1e3
    np.testing.assert_array_equal(
        forecast_gradient_boosting(windows, **SETTINGS),
        forecast_gradient_boosting(wild, **SETTINGS),
    )


def test_an_output_never_observed_stays_at_the_last_value() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    windows["observed"][: windows.attrs["train_end"], 1, 0] = False
    forecast = forecast_gradient_boosting(windows, **SETTINGS)
    np.testing.assert_array_equal(forecast[:, :, 1, 0], last_values(windows, "test")[:, :, 1, 0])


def test_of_many_windows_some_are_drawn() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    assert len(origins(windows, "train")) > 100
    few = {**SETTINGS, "max_windows": 100}
    one = forecast_gradient_boosting(windows, **few)
    np.testing.assert_array_equal(one, forecast_gradient_boosting(windows, **few))
    assert not np.array_equal(one, forecast_gradient_boosting(windows, **SETTINGS))
