"""The ridge regression, against scikit-learn's and a least-squares solver's."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.linear_model import Ridge

from tests import PROJECT
from tests.make.arrays import make_clean, with_places
from tests.make.parameters import CALENDAR, SPLIT
from tests.make.windows import (
    CLEANING,
    MakesWindows,
    make_global_windows,
    make_independent_windows,
    make_joint_windows,
    physical,
)
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.parameters import Cleaning, MultiVDWindows
from vd_forecasting.pipelines.baselines import ridge
from vd_forecasting.pipelines.baselines.baseline import all_vds
from vd_forecasting.pipelines.baselines.neighbours import Neighbours, nearest_vds
from vd_forecasting.pipelines.baselines.ridge import (
    NormalEquations,
    Part,
    choose_alpha,
    learn_ridge,
)
from vd_forecasting.pipelines.data_engineering.clean import clean as clean_vd
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.windows import make_multi_vd_windows

ALL = slice(0, 2)


PART = Part(ALL, np.arange(2))


def forecast_test(windows: WindowSet, alphas: list[float], neighbours: int = 9) -> np.ndarray:
    everything = all_vds(windows)
    ridge = learn_ridge(windows, everything, alphas, Neighbours(neighbours))
    return ridge(windows, windows.origins("test"), everything)


def inputs_and_changes(
    windows: WindowSet, vds: slice, split: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a network sees and has to forecast, by the networks' own batches.

    Inputs ``[W, C]``; changes ``[W, K]``, NaN where not observed; last values ``[W, K]``.
    """
    batches = WindowBatches(windows, vds, split, batch_size=10**6)
    (inputs, targets), *rest = list(batches)
    assert not rest
    inputs = inputs[..., : -1 if windows.one_by_one else None]  # no number of the VD
    own = len(windows.features) * (vds.stop - vds.start)
    past, others = inputs[..., :own].numpy(), inputs[:, -1, own:].numpy()
    flat = np.hstack([past.reshape(len(past), -1), others]).astype("float64")
    last = windows.last_values(windows.origins(split))[:, :, vds].reshape(len(flat), -1)
    return flat, targets.numpy().reshape(len(flat), -1) - last, last


def ridge_by_sklearn(windows: WindowSet, vds: slice, alpha: float) -> np.ndarray:
    """Every output on its own observed windows: ``[W, K]``, scaled."""
    x, y, _ = inputs_and_changes(windows, vds, "train")
    x_test, _, last = inputs_and_changes(windows, vds, "test")
    columns = []
    for output in y.T:
        seen = np.isfinite(output)
        model = Ridge(alpha=alpha, solver="svd").fit(x[seen], output[seen])
        columns.append(model.predict(x_test))
    return np.asarray(np.column_stack(columns) + last)


@pytest.mark.parametrize("make", [make_joint_windows, make_independent_windows])
@pytest.mark.parametrize("missing", [0.0, 0.1, 0.7])
def test_ridge_is_scikit_learns(make: MakesWindows, missing: float) -> None:
    windows = make(make_clean(400, vds=2, missing=missing))
    forecast = forecast_test(windows, [10.0])
    for vds in windows.models.values():
        expected = ridge_by_sklearn(windows, vds, 10.0)
        own = forecast[:, :, vds].reshape(expected.shape)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.7])
def test_a_global_ridge_is_scikit_learns_on_the_windows_of_all_vds(missing: float) -> None:
    """... and on what describes them."""
    windows = make_global_windows(with_places(make_clean(400, vds=3, missing=missing)))
    forecast = forecast_test(windows, [10.0])
    parts = windows.parts("global")
    x, y, _ = map(
        np.concatenate,
        zip(*(inputs_and_changes(windows, vds, "train") for vds in parts), strict=True),
    )
    for vds in parts:
        x_test, _, last = inputs_and_changes(windows, vds, "test")
        for k in range(y.shape[1]):
            seen = np.isfinite(y[:, k])
            model = Ridge(alpha=10.0, solver="svd").fit(x[seen], y[seen, k])
            own = forecast[:, :, vds].reshape(len(x_test), -1)[:, k]
            np.testing.assert_allclose(
                own, model.predict(x_test) + last[:, k], rtol=1e-4, atol=1e-5
            )


def test_almost_no_penalty_is_least_squares() -> None:
    windows = make_joint_windows(make_clean(400, vds=2, missing=0.1))
    weights = NormalEquations(windows, [PART]).solve([1e-6], np.arange(12))[0]
    x, y, _ = inputs_and_changes(windows, ALL, "train")
    x = np.hstack([x, np.ones((len(x), 1))])
    x_test = inputs_and_changes(windows, ALL, "test")[0]
    x_test = np.hstack([x_test, np.ones((len(x_test), 1))])
    for k in range(12):
        seen = np.isfinite(y[:, k])
        fitted = ridge_predictions(windows, weights[:, k])
        expected = x_test @ np.linalg.lstsq(x[seen], y[seen, k], rcond=None)[0]
        np.testing.assert_allclose(fitted, expected, rtol=1e-4, atol=1e-4)


def ridge_predictions(windows: WindowSet, weights: np.ndarray) -> np.ndarray:
    at = windows.origins("test")
    [series] = ridge.series_of(windows, [PART])
    return np.concatenate([x @ weights for x in ridge.input_blocks(windows, series, at)])


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = make_joint_windows(make_clean(400, vds=2, missing=0.1))
    whole = forecast_test(windows, [10.0])
    monkeypatch.setattr(ridge, "BLOCK", 7)
    np.testing.assert_allclose(forecast_test(windows, [10.0]), whole, rtol=1e-4, atol=1e-5)


def test_a_linear_series_is_forecast_almost_exactly() -> None:
    """A wave is a linear function of its last two values, for every horizon."""
    clean = make_clean(600, vds=2, missing=0.0)
    steps = np.arange(600)
    for n in range(2):
        for f in range(3):
            clean[:, n, f] = 50 + 20 * np.sin(2 * np.pi * steps / (17 + 5 * n + 3 * f))
    windows = make_joint_windows(clean)
    forecast = physical(windows, forecast_test(windows, [1e-6]))
    truth = clean.to_numpy()[windows.target_steps(windows.origins("test"))][..., :2]
    np.testing.assert_allclose(forecast, truth, atol=0.01)


def test_a_target_that_was_not_observed_is_never_used() -> None:
    windows = make_joint_windows(make_clean(400, vds=2, missing=0.0))
    end = windows.ends["train"]
    windows.data["observed"][end - 2 : end] = False  # targets of training windows, inputs of none
    wild = WindowSet(windows.data.copy(deep=True))
    wild.values[end - 2 : end] = 1e3
    np.testing.assert_array_equal(forecast_test(windows, [10.0]), forecast_test(wild, [10.0]))
    wild.observed[end - 2 : end] = True
    assert not np.array_equal(forecast_test(windows, [10.0]), forecast_test(wild, [10.0]))


def test_an_output_never_observed_stays_at_the_last_value() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    windows.data["observed"][: windows.ends["train"], 1, 0] = False
    forecast = forecast_test(windows, [10.0])
    np.testing.assert_array_equal(
        forecast[:, :, 1, 0], windows.last_values(windows.origins("test"))[:, :, 1, 0]
    )
    assert not np.array_equal(
        forecast[:, :, 0, 0], windows.last_values(windows.origins("test"))[:, :, 0, 0]
    )


def test_a_constant_input_is_harmless() -> None:
    clean = make_clean(400, vds=2)
    clean[:, :, 2] = 3.0
    assert np.isfinite(forecast_test(make_joint_windows(clean), [10.0])).all()


def test_alpha_is_the_best_on_validation() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    alphas = [1e-3, 10.0, 1e7]
    chosen = choose_alpha(NormalEquations(windows, [PART]), alphas)
    x, y, _ = inputs_and_changes(windows, ALL, "train")
    x_val, y_val, _ = inputs_and_changes(windows, ALL, "val")
    errors = []
    for alpha in alphas:
        total = 0.0
        for k in (0, 1, 2, 3, 8, 9, 10, 11):  # horizons 1 and 3
            seen, judged = np.isfinite(y[:, k]), np.isfinite(y_val[:, k])
            model = Ridge(alpha=alpha).fit(x[seen], y[seen, k])
            total += abs(model.predict(x_val[judged]) - y_val[judged, k]).sum()
        errors.append(total)
    assert chosen == alphas[int(np.argmin(errors))]
    assert len(set(errors)) == 3


def test_independent_models_do_not_know_each_other() -> None:
    clean = make_clean(400, vds=2)
    changed = clean.copy()
    changed[:, 1] *= 1.5
    changed[::3, 1] = np.nan
    before = forecast_test(make_independent_windows(clean), [10.0])
    after = forecast_test(make_independent_windows(changed), [10.0])
    np.testing.assert_array_equal(before[:, :, 0], after[:, :, 0])
    assert not np.array_equal(before[:, :, 1], after[:, :, 1])


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.7])
def test_with_few_neighbours_ridge_is_scikit_learns_on_what_each_vd_sees(missing: float) -> None:
    windows = make_joint_windows(make_clean(400, vds=5, missing=missing), num_vds=5)
    nearest = nearest_vds(windows, 2)
    forecast = forecast_test(windows, [10.0], neighbours=2)
    number = len(windows.features)
    for n, near in enumerate(nearest):
        seen = [
            channel for vd in sorted([n, *near]) for channel in range(number * vd, number * vd + 3)
        ]
        lags = 6 * 5 * number
        chosen = [number * 5 * lag + channel for lag in range(6) for channel in seen]
        chosen += range(lags, lags + windows.calendar.shape[1])
        x, y, _ = inputs_and_changes(windows, slice(0, 5), "train")
        x_test, _, last = inputs_and_changes(windows, slice(0, 5), "test")
        for k in range(y.shape[1]):
            horizon, vd, feature = np.unravel_index(k, (3, 5, 2))
            if vd == n:
                known = np.isfinite(y[:, k])
                model = Ridge(alpha=10.0, solver="svd").fit(x[known][:, chosen], y[known, k])
                expected = model.predict(x_test[:, chosen]) + last[:, k]
                own = forecast[:, horizon, n, feature]
                np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_few_joint_detectors_still_see_each_other() -> None:
    windows = make_joint_windows(make_clean(400, vds=4), num_vds=4)
    everything = forecast_test(windows, [10.0], neighbours=3)
    np.testing.assert_array_equal(everything, forecast_test(windows, [10.0], neighbours=100))
    assert not np.allclose(everything, forecast_test(windows, [10.0], neighbours=2))
    independent = make_independent_windows(make_clean(400, vds=4), num_vds=4)
    alone = forecast_test(windows, [10.0], neighbours=0)
    np.testing.assert_array_equal(alone, forecast_test(independent, [10.0]))


def test_real_traffic_comes_out_as_elsewhere(real_data: Path) -> None:
    """Mean absolute errors at horizon 12 that another implementation gave on the same file."""
    configured = yaml.safe_load((PROJECT / "conf/base/parameters.yml").read_text())
    raw = VDHDF5Dataset(filepath=str(real_data / "taiwan_n5_5weeks_5min.h5")).load()
    clean, _ = clean_vd(raw, Cleaning.model_validate(configured["cleaning"]))
    parameters = MultiVDWindows(
        sequence_length=20,
        prediction_length=12,
        input_features=None,
        target_features=None,
        num_vds=2,
    )
    windows = make_multi_vd_windows(clean, parameters, SPLIT, CLEANING, CALENDAR)
    forecast = physical(windows, forecast_test(windows, configured["baselines"]["ridge_alphas"]))
    truth = clean.to_numpy()[windows.target_steps(windows.origins("test"))[:, -1]]
    mae = np.nanmean(abs(forecast[:, -1] - truth), axis=(0, 1))
    np.testing.assert_allclose(mae, [4.169, 20.40, 2.797], rtol=0.02)
