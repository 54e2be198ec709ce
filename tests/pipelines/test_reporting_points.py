"""The points that several forecasts have in common, and what they are relabelled to."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.pipelines.artefacts import MAPE_MIN_TRUTH, make_config, make_predictions
from vd_forecasting.metrics import score
from vd_forecasting.parameters import EXPERIMENTS, Evaluation
from vd_forecasting.pipelines.reporting.comparison_scores import (
    SCORE_COLUMNS,
    find_common_points,
    score_common_points,
)
from vd_forecasting.pipelines.reporting.comprehensive_points import (
    concatenate_scores,
    find_common_target,
)
from vd_forecasting.pipelines.reporting.error_plots import mae_by_hour
from vd_forecasting.pipelines.reporting.points import (
    by_target_time,
    common_points,
    most_congested_day,
)

VDS = ("A", "B", "C")
EVALUATION = Evaluation(mape_min_truth=MAPE_MIN_TRUTH)


def test_the_same_points_are_compared_as_they_are() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    points = find_common_points(lstm, xlstm)
    assert points.attrs["left_out"] == []
    assert list(points["model"].values) == ["lstm", "xlstm", "persistence"]
    xr.testing.assert_identical(points["truth"], lstm["truth"])
    np.testing.assert_array_equal(points["forecast"].sel(model="xlstm"), xlstm["prediction"])
    persistence = points["forecast"].sel(model="persistence")
    for step in (1, 12):
        np.testing.assert_array_equal(persistence.sel(horizon=step), lstm["persistence"])


def test_differing_points_are_cut_to_the_common_ones_and_told() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    xlstm = xlstm.isel(origin=slice(5, None), horizon=slice(0, 6)).sel(
        vd=["C", "B"], feature=["avg_occupancy", "avg_speed"]
    )
    points = find_common_points(lstm, xlstm)
    assert dict(points["truth"].sizes) == {"origin": 55, "horizon": 6, "vd": 2, "feature": 2}
    for vd in ("B", "C"):
        np.testing.assert_array_equal(
            points["forecast"].sel(model="xlstm", vd=vd, feature="avg_speed"),
            xlstm["prediction"].sel(vd=vd, feature="avg_speed"),
        )
    text = " ".join(points.attrs["left_out"])
    assert (
        "multi_vd_lstm has 60 forecast origins and multi_vd_xlstm has 55 forecast origins" in text
    )
    assert "compared on the 55 in common" in text
    assert all(word in text for word in ("horizon", "VD", "target feature"))


def test_a_truth_that_only_one_observed_is_not_scored() -> None:
    lstm = make_predictions(origins=40, missing=0.0)
    xlstm = make_predictions(model="xlstm", origins=40, missing=0.0).copy(deep=True)
    xlstm["truth"][3, 4, 0, 1] = np.nan
    points = find_common_points(lstm, xlstm)
    assert int(points["truth"].isnull().sum()) == 1
    assert "1 value observed for only some" in points.attrs["left_out"][0]


def test_nothing_in_common_is_an_error_that_names_both_sides() -> None:
    with pytest.raises(
        ValueError, match=r"no VD in common \(single_vd_lstm: A, single_vd_xlstm: B\)"
    ):
        find_common_points(
            make_predictions(vdids=["A"], origins=20),
            make_predictions(model="xlstm", vdids=["B"], origins=20),
        )


def test_forecasts_of_different_data_are_not_compared() -> None:
    other = make_predictions(model="xlstm", origins=20, source="other.h5").copy(deep=True)
    other["truth"] += 1
    with pytest.raises(ValueError, match=r"vd_sample.h5 and other.h5.*train both again"):
        find_common_points(make_predictions(origins=20), other)


def test_scores_are_those_of_the_metrics_module_on_the_common_points() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=80)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=70)
    points = find_common_points(lstm, xlstm)
    errors, scores = score_common_points(
        points, EVALUATION, make_config(lstm, seed=7), make_config(xlstm, seed=8)
    )
    assert list(scores.columns) == SCORE_COLUMNS
    assert set(scores["model"]) == {"lstm", "xlstm", "persistence"}
    seeds = scores.groupby("model")["seed"].first()
    assert (seeds["lstm"], seeds["xlstm"]) == (7, 8)
    assert pd.isna(seeds["persistence"])
    rows = scores.set_index(["model", "vdid", "feature", "horizon", "metric"])["value"]
    cut = lstm.isel(origin=slice(0, 70))
    expected = score(cut["truth"], cut["prediction"], MAPE_MIN_TRUTH)
    for metric in ("mae", "rmse", "mape", "r2", "n"):
        one = expected[metric].sel(vd="B", feature="avg_speed", horizon=3).item()
        assert rows["lstm", "B", "avg_speed", 3, metric] == pytest.approx(one)
    by_hand = np.abs(cut["prediction"] - cut["truth"]).sel(feature="avg_speed").mean().item()
    assert errors.at("mae", "lstm", "avg_speed") == pytest.approx(by_hand, rel=1e-5)
    last = np.abs(cut["persistence"] - cut["truth"]).sel(horizon=12, feature="avg_speed")
    assert errors.at("mae", "persistence", "avg_speed", 12) == pytest.approx(
        last.mean().item(), rel=1e-5
    )


def test_scores_read_back_from_csv_are_put_together(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    frame = pd.DataFrame(
        [
            ["single_vd", "lstm", 42, "773869", "avg_speed", 1, "mae", 2.0],
            ["single_vd", "persistence", None, "773869", "avg_speed", 1, "mae", 3.0],
        ],
        columns=SCORE_COLUMNS,
    )
    frame.to_csv(path, index=False)
    both = concatenate_scores(frame, pd.read_csv(path))
    assert list(both["vdid"]) == ["773869"] * 4
    assert both.to_csv(index=False).splitlines()[1] == (
        "single_vd,lstm,42,773869,avg_speed,1,mae,2.0"
    )
    assert both["seed"].isna().tolist() == [False, True, False, True]


def test_forecasts_by_the_time_they_are_for() -> None:
    origins = pd.date_range("2026-03-23 10:00", periods=3, freq="5min")
    values = xr.DataArray(
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        coords={"origin": origins, "horizon": [1, 2]},
        dims=("origin", "horizon"),
    )
    moved = by_target_time(values, 5.0).transpose("horizon", "time")
    assert list(moved["time"].dt.strftime("%H:%M").values) == ["10:05", "10:10", "10:15", "10:20"]
    np.testing.assert_array_equal(moved.values, [[1.0, 3.0, 5.0, np.nan], [np.nan, 2.0, 4.0, 6.0]])


def truth_of(speeds: np.ndarray, feature: str = "avg_speed") -> xr.DataArray:
    """Hand-made truths ``[time, vd]`` at 5 min, one horizon."""
    steps, vds = speeds.shape
    return xr.DataArray(
        speeds[:, None, :, None],
        coords={
            "origin": pd.date_range("2026-03-22 23:55", periods=steps, freq="5min"),
            "horizon": [1],
            "vd": [f"VD{n}" for n in range(vds)],
            "feature": [feature],
        },
        dims=("origin", "horizon", "vd", "feature"),
    )


def test_the_most_congested_day_is_that_of_the_lowest_hour_not_of_one_reading() -> None:
    speeds = np.full((3 * 288, 2), 90.0)
    speeds[288 + 100 : 288 + 124, 1] = 30.0  # two hours on the second day
    speeds[50, 0] = 1.0  # one odd reading
    speeds[600:605, 0] = 2.0  # an hour that is mostly missing
    speeds[605:612, 0] = np.nan
    day = most_congested_day(truth_of(speeds), 5.0)
    assert (day.vdid, str(day.day.date()), day.feature) == ("VD1", "2026-03-24", "avg_speed")
    assert day.value == pytest.approx(30.0)


def test_without_speeds_the_highest_value_chooses_the_day() -> None:
    volumes = np.full((2 * 288, 1), 50.0)
    volumes[300:330] = 200.0
    day = most_congested_day(truth_of(volumes, "total_volume"), 5.0)
    assert str(day.day.date()) == "2026-03-24"
    assert day.value == pytest.approx(200.0)
    assert not day.is_congestion


def test_without_any_truth_the_first_day_is_shown() -> None:
    day = most_congested_day(truth_of(np.full((288, 1), np.nan)), 5.0)
    assert day.vdid == "VD0"
    assert np.isnan(day.value)


@pytest.mark.parametrize("interval", [5.0, 7.0, 60.0, 180.0])
def test_errors_by_hour_are_means_over_the_hour_that_was_forecast(interval: float) -> None:
    predictions = make_predictions(
        vdids=["A", "B"], features=["avg_speed"], horizons=3, origins=100, interval_minutes=interval
    )
    points = common_points({"lstm": predictions})
    step = pd.Timedelta(minutes=interval)
    errors: dict[int, list[float]] = {}
    for origin in predictions["origin"].values:
        for horizon in (1, 2, 3):
            hour = (pd.Timestamp(origin) + horizon * step).hour
            at = predictions.sel(origin=origin, horizon=horizon)
            errors.setdefault(hour, []).extend(np.abs(at["prediction"] - at["truth"]).values.flat)
    by_hour = mae_by_hour(points).sel(model="lstm", feature="avg_speed")
    assert list(by_hour["hour"].values) == list(range(24))
    for hour in range(24):
        expected = np.nanmean(errors[hour]) if hour in errors else np.nan
        np.testing.assert_allclose(by_hour.sel(hour=hour).item(), expected, rtol=1e-5)


def six(
    single: list[str], multi: list[str], independent: list[str], **settings: int
) -> dict[str, xr.Dataset]:
    vdids = {"single_vd": single, "multi_vd": multi, "independent_multi_vd": independent}
    return {
        name: make_predictions(mode, model, vdids=vdids[mode], origins=settings.get(name, 50))
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }


def test_modes_are_compared_on_the_vd_and_points_all_six_forecast() -> None:
    by_mode = find_common_target(
        **six(["B"], ["A", "B", "C"], ["A", "B"], multi_vd_xlstm=45, single_vd_lstm=48)
    )
    for points in by_mode.values():
        assert points.attrs["comparable"]
        assert list(points["vd"].values) == ["B"]
        assert points.sizes["origin"] == 45
        xr.testing.assert_equal(points["truth"], by_mode["single_vd"]["truth"])
        assert list(points["model"].values) == ["lstm", "xlstm", "persistence"]
    assert "45 in common" in by_mode["single_vd"].attrs["left_out"][0]


def test_without_a_common_vd_each_mode_stays_on_its_own() -> None:
    by_mode = find_common_target(**six(["A"], ["B", "C"], ["C"]))
    assert not any(points.attrs["comparable"] for points in by_mode.values())
    assert list(by_mode["multi_vd"]["vd"].values) == ["B", "C"]
