"""Sums by day give the intervals that whole forecasts give."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr

from tests.make.artefacts import make_predictions
from tests.make.parameters import make_evaluation
from vd_forecasting.artefacts import Forecasts
from vd_forecasting.evaluation.aligned import align
from vd_forecasting.evaluation.daily_errors import DailyErrors, changes, daily_errors
from vd_forecasting.evaluation.differences import find_differences
from vd_forecasting.evaluation.errors import errors_of, sum_errors
from vd_forecasting.evaluation.sums_over_time import AVERAGE

DAYS = 8
ORIGINS = 24 * DAYS


def made(error: float, *, origins: int = ORIGINS, seeds: Sequence[int] = (42,)) -> xr.Dataset:
    """Hourly forecasts of two detectors, from midnight on."""
    return make_predictions(
        vdids=("VD-1", "VD-2"),
        horizons=3,
        origins=origins,
        interval_minutes=60.0,
        error=error,
        seeds=seeds,
    )


def daily(predictions: xr.Dataset) -> DailyErrors:
    """As they come back from a file."""
    forecasts = align({"lstm": Forecasts.from_xarray(predictions)})
    kept = daily_errors(sum_errors(forecasts, mape_min_truth=1.0), "lstm")
    return DailyErrors.model_validate_json(kept.model_dump_json())


@pytest.mark.parametrize("seeds", [(42,), (1, 2, 3)])
def test_the_interval_is_that_of_the_whole_forecasts(seeds: tuple[int, ...]) -> None:
    """... as of two networks in a comparison."""
    before, after = made(0.6), made(0.5, seeds=seeds)
    found = changes(daily(before), daily(after), confidence=0.9)
    whole = align({"lstm": Forecasts.from_xarray(before), "xlstm": Forecasts.from_xarray(after)})
    expected = find_differences(sum_errors(whole, 1.0), make_evaluation(confidence=0.9)).between
    assert found.keys() == expected.keys()
    for pair, change in found.items():
        relative = change.relative
        whole_ = expected[pair]
        ends = [relative.estimate, relative.low, relative.high]
        np.testing.assert_allclose(ends, [whole_.change, whole_.low, whole_.high], rtol=1e-6)
        assert (change.days, change.left_out) == (DAYS, 0)
        assert relative.high < 0, "it is better by far"


def test_errors_are_those_of_the_tables() -> None:
    predictions = made(0.6, seeds=(1, 2))
    forecasts = Forecasts.from_xarray(predictions)
    errors = errors_of(sum_errors(align({"lstm": forecasts}), 1.0))
    kept = daily(predictions)
    for feature in errors.features:
        mae, reference = (errors.at("mae", name, feature) for name in ("lstm", "persistence"))
        assert kept.mae(feature) == pytest.approx(mae, rel=1e-8)
        assert kept.skill(feature) == pytest.approx(1 - mae / reference, rel=1e-7)
    error = abs(predictions["prediction"].astype("float64") - predictions["truth"])
    of_day = error.mean("seed").groupby(error["origin"].dt.floor("D").rename("day")).sum()
    sums = of_day.sum(["vd", "horizon"]).sel(feature="avg_speed").values
    column = kept.pairs.index(("avg_speed", AVERAGE))
    assert [row[column] for row in kept.losses] == pytest.approx(sums.tolist(), rel=1e-8)


def test_a_change_by_hand() -> None:
    """Errors of 2 and of 1 on every day, then of 2 and 1.5."""
    before = made(0.0).isel(feature=[0], horizon=[0])
    truth = before["truth"]
    before["prediction"] = (truth + 2).expand_dims("seed").fillna(0).astype("float64")
    after = before.assign(prediction=before["prediction"] - 0.5)
    change = changes(daily(before), daily(after), 0.95)["avg_speed", 1]
    relative = change.relative
    found = (change.before, change.after, relative.estimate, relative.low, relative.high)
    assert found == pytest.approx((2, 1.5, -0.25, -0.25, -0.25), abs=1e-6)


def test_only_days_with_the_same_truths_are_compared() -> None:
    before, after = made(0.6), made(0.5)
    changed = after["truth"].copy()
    changed[30:35, :, :, 0] += 1  # speeds of the second day
    after = after.assign(truth=changed)
    found = changes(daily(before), daily(after), 0.95)
    assert (found["avg_speed", AVERAGE].days, found["avg_speed", AVERAGE].left_out) == (7, 1)
    assert found["total_volume", AVERAGE].left_out == 0

    kept = np.r_[0:24, 48:ORIGINS]
    rest = changes(daily(before.isel(origin=kept)), daily(after.isel(origin=kept)), 0.95)
    assert rest["avg_speed", 2].relative == found["avg_speed", 2].relative
    assert rest["avg_speed", 2].before == found["avg_speed", 2].before


def test_other_origins_are_left_out() -> None:
    """... a day on which a run begins later, and the one that it does not have."""
    before, after = made(0.6), made(0.5).isel(origin=slice(3, -24))
    change = changes(daily(before), daily(after), 0.95)["avg_speed", AVERAGE]
    assert (change.days, change.left_out) == (DAYS - 2, 2)


def test_the_last_bits_of_truths_do_not_matter() -> None:
    """... which come back from scaled values."""
    before, after = made(0.6), made(0.5)
    after = after.assign(truth=after["truth"] * (1 + 1e-7))
    assert changes(daily(before), daily(after), 0.95)["avg_speed", AVERAGE].left_out == 0


@pytest.mark.parametrize(
    "other",
    [
        made(0.5).isel(horizon=slice(2)),
        made(0.5).assign_attrs(interval_minutes=30.0),
        made(0.5).assign_coords(origin=made(0.5)["origin"] + np.timedelta64(30, "D")),
        made(0.5).assign(truth=made(0.5)["truth"] * 0.62),
    ],
    ids=["horizons", "interval", "days", "units"],
)
def test_other_test_data_are_not_compared(other: xr.Dataset) -> None:
    assert changes(daily(made(0.6)), daily(other), 0.95) == {}


def test_features_of_one_alone_are_not_compared() -> None:
    found = changes(daily(made(0.6)), daily(made(0.5).isel(feature=[1, 2])), 0.95)
    assert {feature for feature, _ in found} == {"total_volume", "avg_occupancy"}


def test_few_days_have_no_interval() -> None:
    few = 4 * 24
    found = changes(daily(made(0.6, origins=few)), daily(made(0.5, origins=few)), 0.95)
    change = found["avg_speed", AVERAGE]
    assert change.days == 4
    assert change.relative.estimate < 0
    assert math.isnan(change.relative.low)


def test_a_feature_without_any_truth_has_no_error() -> None:
    """... and what is no number stays undefined in a file."""
    predictions = made(0.6)
    nothing = predictions["truth"].where(predictions["feature"] != "avg_speed")
    predictions = predictions.assign(truth=nothing)
    predictions["prediction"][..., 1] = np.nan
    kept = daily(predictions)
    assert math.isnan(kept.mae("avg_speed"))
    assert math.isnan(kept.mae("total_volume"))
    found = changes(kept, kept, 0.95)
    assert {feature for feature, _ in found} == {"total_volume", "avg_occupancy"}
    assert math.isnan(found["total_volume", AVERAGE].relative.estimate)
