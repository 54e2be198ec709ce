"""The gradient boosting: what its models see, and that they learn."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.make.arrays import make_clean, with_places
from tests.make.windows import (
    MakesWindows,
    make_global_windows,
    make_independent_windows,
    make_joint_windows,
)
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.pipelines.baselines import gradient_boosting
from vd_forecasting.pipelines.baselines.baseline import all_vds
from vd_forecasting.pipelines.baselines.gradient_boosting import (
    draw,
    horizon_groups,
    lagged_inputs,
    learn_gradient_boosting,
    rotate,
    spaced_lags,
)

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


def test_all_windows_of_the_model_are_drawn_or_as_many_as_asked_for() -> None:
    train, vds = np.array([5, 6, 7]), slice(2, 4)
    random = np.random.default_rng(0)
    at, vd = draw(train, vds, 6, random)
    assert at.tolist() == [5, 6, 7, 5, 6, 7]
    assert vd.tolist() == [2, 2, 2, 3, 3, 3]
    some = set(zip(*draw(train, vds, 5, random), strict=True))
    assert len(some) == 5
    assert some < set(zip(at, vd, strict=True))


def test_inputs_by_hand() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    at = np.array([5, 300])  # 2024-03-04 is a Monday, and 288 steps are a day
    inputs = lagged_inputs(windows, np.array([1, 0]), at)
    values = windows.data["values"].to_numpy()
    np.testing.assert_array_equal(inputs[0, :15], values[[5, 4, 3, 2, 0], 1].ravel())
    np.testing.assert_array_equal(inputs[1, :15], values[[300, 299, 298, 297, 295], 0].ravel())
    np.testing.assert_array_equal(inputs[:, 15:], [[25, 0, 0, 1], [60, 1, 0, 0]])


def test_a_global_model_also_sees_level_and_spread_of_the_vd() -> None:
    clean = make_clean(400, vds=2)
    vd, at = np.array([1, 0]), np.array([5, 300])
    of_two = lagged_inputs(make_joint_windows(clean), vd, at)
    windows = make_global_windows(clean)
    inputs = lagged_inputs(windows, vd, at)
    np.testing.assert_array_equal(inputs[:, :19], of_two)
    scales = np.hstack([windows.scaler["mean"][vd], windows.scaler["std"][vd]])
    np.testing.assert_array_equal(inputs[:, 19:], scales)
    described = make_global_windows(with_places(make_clean(400)))
    assert described.static.shape == (3, 4)
    static = lagged_inputs(described, vd, at)[:, -4:]
    np.testing.assert_array_equal(static, described.static[vd])


def forecast_test(windows: WindowSet, **settings: int) -> np.ndarray:
    boosting = learn_gradient_boosting(windows, all_vds(windows), **settings)
    return boosting(windows, windows.origins("test"), all_vds(windows))


def test_a_holiday_is_an_input() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    windows.day_off[288:] = 1  # the second day
    inputs = lagged_inputs(windows, np.array([1, 0]), np.array([287, 288]))
    np.testing.assert_array_equal(inputs[:, 15:], [[1435, 0, 0, 1], [0, 1, 1, 0]])


@pytest.mark.integration
@pytest.mark.parametrize("make", [make_joint_windows, make_global_windows])
def test_models_learnt_in_processes_are_the_same(make: MakesWindows) -> None:
    windows = make(make_clean(400, vds=2))
    here = forecast_test(windows, **SETTINGS)
    np.testing.assert_array_equal(forecast_test(windows, **SETTINGS, at_once=2), here)


def test_trees_learn_what_the_last_value_does_not_tell() -> None:
    clean = make_clean(1500, vds=2)
    windows = make_joint_windows(clean)
    forecast = forecast_test(windows, **{**SETTINGS, "iterations": 40})
    truth = (windows.data["values"].where(windows.data["observed"])).to_numpy()
    truth = truth[windows.target_steps(windows.origins("test"))][..., :2]
    error, persisted = (
        np.nanmean(abs(each - truth))
        for each in (forecast, windows.last_values(windows.origins("test")))
    )
    assert error < 0.85 * persisted


@pytest.mark.parametrize("make", [make_joint_windows, make_independent_windows])
def test_few_vds_know_nothing_of_each_other(make: Callable[..., WindowSet]) -> None:
    clean = make_clean(400, vds=2)
    changed = clean.copy()
    changed[:, 1] *= 1.5
    before = forecast_test(make(clean), **SETTINGS)
    after = forecast_test(make(changed), **SETTINGS)
    np.testing.assert_array_equal(before[:, :, 0], after[:, :, 0])
    assert not np.array_equal(before[:, :, 1], after[:, :, 1])


@pytest.mark.parametrize("make", [make_joint_windows, make_global_windows])
def test_vds_that_share_models_learn_from_each_other_but_are_forecast_from_their_own_past(
    make: MakesWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    if make is make_joint_windows:
        monkeypatch.setattr(gradient_boosting, "OWN_MODELS", 1)
    windows = make(make_clean(400, vds=2))
    before = forecast_test(windows, **SETTINGS)
    end = windows.ends["train"]
    other_past = WindowSet(windows.data.copy(deep=True))
    other_past.values[end:, 1] *= 1.5
    after = forecast_test(other_past, **SETTINGS)
    np.testing.assert_array_equal(before[:, :, 0], after[:, :, 0])
    assert not np.array_equal(before[:, :, 1], after[:, :, 1])
    other_lesson = WindowSet(windows.data.copy(deep=True))
    other_lesson.values[:end, 1] *= 1.5
    after = forecast_test(other_lesson, **SETTINGS)
    assert not np.array_equal(before[:, :, 0], after[:, :, 0])


def test_a_target_that_was_not_observed_is_never_used() -> None:
    """What stands in place of a missing target may be an input of later windows, so hide that."""
    windows = make_joint_windows(make_clean(400, vds=2, missing=0.0))
    end = windows.ends["train"]
    windows.data["observed"][end - 2 : end] = False  # targets of training windows, inputs of none
    wild = WindowSet(windows.data.copy(deep=True))
    wild.values[end - 2 : end] = 1e3
    np.testing.assert_array_equal(
        forecast_test(windows, **SETTINGS),
        forecast_test(wild, **SETTINGS),
    )


@pytest.mark.parametrize("own_models", [1, 2])
def test_an_output_never_observed_stays_at_the_last_value(
    own_models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_boosting, "OWN_MODELS", own_models)
    windows = make_joint_windows(make_clean(400, vds=2))
    windows.data["observed"][: windows.ends["train"], 1, 0] = False
    forecast = forecast_test(windows, **SETTINGS)
    np.testing.assert_array_equal(
        forecast[:, :, 1, 0], windows.last_values(windows.origins("test"))[:, :, 1, 0]
    )


def test_of_many_windows_some_are_drawn() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    assert len(windows.origins("train")) > 100
    few = {**SETTINGS, "max_windows": 100}
    one = forecast_test(windows, **few)
    np.testing.assert_array_equal(one, forecast_test(windows, **few))
    assert not np.array_equal(one, forecast_test(windows, **SETTINGS))
