import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vd_forecasting.evaluation.metrics import METRICS, score, tidy

DIMS = ("origin", "horizon", "vd", "feature")


def labelled(values: np.ndarray) -> xr.DataArray:
    sizes = dict(zip(DIMS, values.shape, strict=True))
    return xr.DataArray(
        values,
        dims=DIMS,
        coords={
            "horizon": np.arange(1, sizes["horizon"] + 1),
            "vd": [f"VD-{n}" for n in range(sizes["vd"])],
            "feature": [f"feature_{f}" for f in range(sizes["feature"])],
        },
    )


def column(values: list[float]) -> xr.DataArray:
    return labelled(np.array(values, dtype="float64").reshape(-1, 1, 1, 1))


def test_hand_computed_case() -> None:
    truth = column([1, 2, 3, np.nan, 0.5])
    forecast = column([2, 2, 1, 100, 1.0])
    scores = score(truth, forecast, mape_min_truth=1.0).squeeze()
    # errors 1, 0, -2, 0.5; the truth 0.5 is too small for MAPE; mean of the truths 1.625
    assert scores["n"] == 4
    assert scores["mae"] == pytest.approx(3.5 / 4)
    assert scores["mse"] == pytest.approx(5.25 / 4)
    assert scores["rmse"] == pytest.approx((5.25 / 4) ** 0.5)
    assert scores["mape"] == pytest.approx(100 * (1 + 0 + 2 / 3) / 3)
    assert scores["mape_left_out"] == pytest.approx(1 / 4)
    variation = sum((y - 1.625) ** 2 for y in (1, 2, 3, 0.5))
    assert scores["r2"] == pytest.approx(1 - 5.25 / variation)


def test_mape_never_divides_by_zero() -> None:
    scores = score(column([0, 4]), column([1, 3]), mape_min_truth=0.0).squeeze()
    assert scores["mape"] == pytest.approx(25.0)
    assert scores["mape_left_out"] == pytest.approx(0.5)


def test_r2_of_a_constant_truth_is_undefined() -> None:
    assert np.isnan(score(column([3, 3, 3]), column([3, 3, 4]), 1.0)["r2"]).all()


def test_nothing_observed_is_undefined_not_zero() -> None:
    scores = score(column([np.nan, np.nan]), column([1, 2]), 1.0).squeeze()
    assert scores["n"] == 0
    assert all(np.isnan(scores[name]) for name in METRICS)


def test_average_weighs_observed_points_not_horizons() -> None:
    truth = labelled(np.array([[1.0, 1.0], [1.0, np.nan], [1.0, np.nan]]).reshape(3, 2, 1, 1))
    forecast = labelled(np.array([[2.0, 5.0], [2.0, 9.0], [2.0, 9.0]]).reshape(3, 2, 1, 1))
    pooled = score(truth, forecast, 1.0, pool=["horizon"]).squeeze()
    assert pooled["mae"] == pytest.approx((1 + 1 + 1 + 4) / 4)


def test_pooled_r2_gives_no_credit_for_telling_detectors_apart() -> None:
    truth = np.array([[0.0, 100.0], [1.0, 101.0]]).reshape(2, 1, 2, 1)
    mean_of_each = np.array([[0.5, 100.5], [0.5, 100.5]]).reshape(2, 1, 2, 1)
    pooled = score(labelled(truth), labelled(mean_of_each), 1.0, pool=["vd"]).squeeze()
    assert pooled["r2"] == pytest.approx(0.0)


def test_a_forecast_for_all_horizons_is_broadcast() -> None:
    truth = labelled(np.arange(6.0).reshape(3, 2, 1, 1))
    last = truth.isel(horizon=0, drop=True)
    mae = score(truth, last, 1.0)["mae"].squeeze()
    np.testing.assert_allclose(mae, [0, 1])


@settings(deadline=None)  # a busy machine is not an error
@given(
    values=arrays("float64", (5, 2, 2, 1), elements=st.floats(-1e3, 1e3)),
    hidden=arrays("bool", (5, 2, 2, 1)),
    wrong=st.floats(allow_nan=True),
)
def test_what_is_not_observed_is_never_scored(
    values: np.ndarray, hidden: np.ndarray, wrong: float
) -> None:
    truth = labelled(np.where(hidden, np.nan, values))
    forecast = values + 1.0
    spoilt = np.where(hidden, wrong, forecast)
    clean = score(truth, labelled(forecast), 1.0)
    xr.testing.assert_equal(clean, score(truth, labelled(spoilt), 1.0))


def test_tidy_has_one_row_per_score() -> None:
    truth = labelled(np.arange(24.0).reshape(3, 2, 2, 2))
    table = tidy(score(truth, truth + 1, 1.0))
    assert {*table.columns} == {"vdid", "feature", "horizon", "metric", "value"}
    assert len(table) == 2 * 2 * 2 * (len(METRICS) + 1)
    assert (table.query("metric == 'mae'")["value"] == 1).all()
    assert (table.query("metric == 'n'")["value"] == 3).all()
