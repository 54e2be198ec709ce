"""The points that several forecasts have in common, and what they are relabelled to."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.artefacts import BASELINES, MAPE_MIN_TRUTH, make_baselines, make_predictions
from tests.make.parameters import make_evaluation
from vd_forecasting.evaluation.aligned import (
    NO_SEED,
    by_target_time,
    common_points,
    congested_only,
    deviation_over_seeds,
    mean_over_seeds,
    models_in,
    most_congested_day,
    shown_forecasts,
)
from vd_forecasting.evaluation.metrics import METRICS, score
from vd_forecasting.pipelines.reporting.comparison_scores import (
    SCORE_COLUMNS,
    find_common_points,
    score_common_points,
)
from vd_forecasting.pipelines.reporting.comprehensive_points import (
    concatenate_scores,
    find_common_target,
)
from vd_forecasting.pipelines.reporting.plots.error_plots import mae_by_hour
from vd_forecasting.vocabulary import EXPERIMENTS, MODES

VDS = ("A", "B", "C")
EVALUATION = make_evaluation()
MODELS_AND_BASELINES = ["lstm", "xlstm", "persistence", *BASELINES]


def points_of(lstm: xr.Dataset, xlstm: xr.Dataset) -> xr.Dataset:
    """With baselines that forecast what the LSTM does."""
    return find_common_points(lstm, xlstm, make_baselines(lstm))


def forecast_of(points: xr.Dataset, model: str) -> xr.DataArray:
    """The only run of a model."""
    found: list[xr.DataArray] = [*points["forecast"].isel(run=points["model"].values == model)]
    [forecast] = found
    return forecast


def test_the_same_points_are_compared_as_they_are() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    baselines = make_baselines(lstm)
    points = find_common_points(lstm, xlstm, baselines)
    assert points.attrs["left_out"] == []
    assert points.attrs["mode"] == "multi_vd"
    assert models_in(points) == list(points["model"].values) == MODELS_AND_BASELINES
    xr.testing.assert_identical(points["truth"], lstm["truth"])
    xr.testing.assert_identical(points["mase_scale"], lstm["mase_scale"])
    xr.testing.assert_identical(points["free_flow_speed"], lstm["free_flow_speed"])
    np.testing.assert_array_equal(forecast_of(points, "xlstm"), xlstm["prediction"].sel(seed=42))
    for name in BASELINES:
        expected = baselines["prediction"].sel(model=name)
        np.testing.assert_array_equal(forecast_of(points, name), expected)
    assert points.attrs["fit_seconds"] == dict(zip(BASELINES, (0.01, 0.02, 0.5, 20.0), strict=True))
    persistence = forecast_of(points, "persistence")
    for step in (1, 12):
        np.testing.assert_array_equal(persistence.sel(horizon=step), lstm["persistence"])


def test_differing_points_are_cut_to_the_common_ones_and_told() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    xlstm = xlstm.isel(origin=slice(5, None), horizon=slice(0, 6)).sel(
        vd=["C", "B"], feature=["avg_occupancy", "avg_speed"]
    )
    points = points_of(lstm, xlstm)
    assert dict(points["truth"].sizes) == {"origin": 55, "horizon": 6, "vd": 2, "feature": 2}
    for vd in ("B", "C"):
        np.testing.assert_array_equal(
            forecast_of(points, "xlstm").sel(vd=vd, feature="avg_speed"),
            xlstm["prediction"].sel(seed=42, vd=vd, feature="avg_speed"),
        )
        np.testing.assert_array_equal(
            forecast_of(points, "ridge").sel(vd=vd, feature="avg_speed"),
            make_baselines(lstm)["prediction"].sel(
                model="ridge",
                vd=vd,
                feature="avg_speed",
                origin=xlstm["origin"],
                horizon=range(1, 7),
            ),
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
    points = points_of(lstm, xlstm)
    assert int(points["truth"].isnull().sum()) == 1
    assert "1 value observed for only some" in points.attrs["left_out"][0]


def test_nothing_in_common_is_an_error_that_names_both_sides() -> None:
    with pytest.raises(
        ValueError, match=r"no VD in common \(single_vd_lstm: A, single_vd_xlstm: B\)"
    ):
        points_of(
            make_predictions(vdids=["A"], origins=20),
            make_predictions(model="xlstm", vdids=["B"], origins=20),
        )


def test_forecasts_of_different_data_are_not_compared() -> None:
    other = make_predictions(model="xlstm", origins=20, source="other.h5").copy(deep=True)
    other["truth"] += 1
    with pytest.raises(ValueError, match=r"vd_sample.h5 and other.h5.*train both again"):
        points_of(make_predictions(origins=20), other)


def test_baselines_are_cut_to_the_points_of_the_networks_and_the_reverse() -> None:
    lstm = make_predictions(vdids=VDS, origins=30, horizons=3)
    xlstm = make_predictions(model="xlstm", vdids=VDS, origins=30, horizons=3)
    baselines = make_baselines(lstm).isel(origin=slice(4, None), vd=[2, 0, 1])
    points = find_common_points(lstm, xlstm, baselines)
    assert points.sizes["origin"] == 26
    assert list(points["vd"].values) == list(VDS)
    np.testing.assert_array_equal(
        forecast_of(points, "ridge"), baselines["prediction"].sel(model="ridge", vd=list(VDS))
    )
    assert "compared on the 26 in common" in points.attrs["left_out"][0]


def test_a_run_is_one_seed_of_a_network_or_a_baseline() -> None:
    lstm = make_predictions(origins=20, horizons=2, seeds=(3, 1, 2)).assign_attrs(best_seed=1)
    xlstm = make_predictions(model="xlstm", origins=20, horizons=2, seeds=(7, 5))
    points = points_of(lstm, xlstm)
    runs = list(
        zip(points["model"].values, points["seed"].values, points["best"].values, strict=True)
    )
    assert runs == [
        ("lstm", 3, False),
        ("lstm", 1, True),
        ("lstm", 2, False),
        ("xlstm", 7, False),
        ("xlstm", 5, True),
        *((name, NO_SEED, True) for name in ("persistence", *BASELINES)),
    ]
    for run, seed in enumerate((3, 1, 2)):
        np.testing.assert_array_equal(
            points["forecast"].isel(run=run), lstm["prediction"].sel(seed=seed)
        )
    shown = shown_forecasts(points)
    assert list(shown["model"].values) == MODELS_AND_BASELINES
    np.testing.assert_array_equal(shown.sel(model="lstm"), lstm["prediction"].sel(seed=1))
    np.testing.assert_array_equal(shown.sel(model="xlstm"), xlstm["prediction"].sel(seed=5))


def test_baselines_have_the_name_of_their_mode_before_theirs() -> None:
    predictions = make_predictions(origins=20, horizons=2)
    baselines = make_baselines(predictions)
    points = common_points(
        {"single_vd_lstm": predictions, "multi_vd_lstm": predictions},
        {"single_vd": baselines, "multi_vd": baselines},
    )
    names = [f"{mode}_{name}" for mode in ("single_vd", "multi_vd") for name in BASELINES]
    assert models_in(points) == ["single_vd_lstm", "multi_vd_lstm", "persistence", *names]
    assert list(points.attrs["fit_seconds"]) == names
    assert points.attrs["fit_seconds"]["multi_vd_ridge"] == 0.5
    assert models_in(common_points({"lstm": predictions})) == ["lstm", "persistence"]


def runs_of(values: list[list[float]], models: list[str]) -> xr.DataArray:
    """Made-up values ``[run, feature]``."""
    return xr.DataArray(
        values,
        dims=("run", "feature"),
        coords={
            "model": ("run", models),
            "seed": ("run", range(len(models))),
            "best": ("run", [True] * len(models)),
            "feature": ["a", "b"],
        },
    )


def test_mean_and_deviation_over_seeds_by_hand() -> None:
    values = runs_of(
        [[1.0, 4.0], [7.0, 1.0], [2.0, np.nan], [6.0, 4.0]], ["lstm", "naive", "lstm", "lstm"]
    )
    mean, deviation = mean_over_seeds(values), deviation_over_seeds(values)
    assert list(mean["model"].values) == list(deviation["model"].values) == ["lstm", "naive"]
    np.testing.assert_array_equal(mean, [[3.0, np.nan], [7.0, 1.0]])
    # Sample deviation of 1, 2, 6: squares of 2, 1 and 3 over two degrees of freedom.
    np.testing.assert_allclose(deviation, [[7**0.5, np.nan], [np.nan, np.nan]])
    assert "seed" not in mean.coords
    both = mean_over_seeds(xr.Dataset({"mae": values, "n": values * 2}))
    np.testing.assert_array_equal(both["n"], 2 * mean)


def test_congested_is_what_is_slower_than_a_share_of_free_flow() -> None:
    speeds = [59.0, 60.0, 61.0, np.nan, 10.0]
    truth = np.stack([speeds, np.arange(5.0)], axis=-1)[:, None, None, :]
    points = xr.Dataset(
        {
            "truth": (("origin", "horizon", "vd", "feature"), truth),
            "free_flow_speed": ("vd", [100.0]),
        },
        coords={"feature": ["avg_speed", "total_volume"]},
    )
    kept = congested_only(points, 0.6)["truth"].values[:, 0, 0]
    nan = np.nan
    np.testing.assert_array_equal(kept, [[59, 0], [nan, nan], [nan, nan], [nan, nan], [10, 4]])
    unknown = points.assign(free_flow_speed=("vd", [nan]))
    assert congested_only(unknown, 0.6)["truth"].isnull().all()
    assert congested_only(points.sel(feature=["total_volume"]), 0.6)["truth"].isnull().all()


def test_scores_are_those_of_the_metrics_module_on_the_common_points() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=80, seeds=(7, 9))
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=70, seeds=(8,))
    baselines = make_baselines(lstm)
    errors, congested, scores = score_common_points(
        find_common_points(lstm, xlstm, baselines), make_evaluation(congestion_speed=0.98)
    )
    assert list(scores.columns) == SCORE_COLUMNS
    assert set(scores["model"]) == set(MODELS_AND_BASELINES)
    seeds = scores.groupby("model")["seed"].unique()
    assert (list(seeds["lstm"]), list(seeds["xlstm"])) == ([7, 9], [8])
    assert all(seeds[name].isna().all() for name in ("persistence", *BASELINES))
    metrics = [*METRICS, "mase", "n"]
    assert set(scores["metric"]) == {*metrics, *(f"{name}_congested" for name in metrics)}
    # VDs × features × horizons × metrics × runs, on all steps and on congested ones
    assert len(scores) == 3 * 3 * 12 * 7 * 8 * 2
    assert not scores.duplicated(SCORE_COLUMNS[:-1]).any()
    rows = scores.fillna({"seed": NO_SEED}).set_index(SCORE_COLUMNS[:-1])["value"].sort_index()

    def value(model: str, seed: int, metric: str) -> float:
        return float(rows["multi_vd", model, seed, "B", "avg_speed", 3, metric])

    cut = lstm.isel(origin=slice(0, 70))
    at = {"vd": "B", "feature": "avg_speed", "horizon": 3}
    for seed in (7, 9):
        expected = score(cut["truth"], cut["prediction"].sel(seed=seed, drop=True), MAPE_MIN_TRUTH)
        for metric in ("mae", "rmse", "mape", "r2", "n"):
            one = expected[metric].sel(at).item()
            assert value("lstm", seed, metric) == pytest.approx(one)
        scale = lstm["mase_scale"].sel(vd="B", feature="avg_speed").item()
        assert value("lstm", seed, "mase") == pytest.approx(value("lstm", seed, "mae") / scale)
    truth, ridge = cut["truth"].sel(at), baselines["prediction"].sel(at).sel(model="ridge")
    error = abs(ridge - truth)
    assert value("ridge", NO_SEED, "mae") == pytest.approx(error.mean().item(), rel=1e-5)
    slow = truth < 0.98 * lstm["free_flow_speed"].sel(vd="B")
    assert value("ridge", NO_SEED, "n_congested") == int(slow.sum()) > 0
    assert value("ridge", NO_SEED, "mae_congested") == pytest.approx(
        error.where(slow).mean().item(), rel=1e-5
    )
    by_hand = abs(cut["prediction"] - cut["truth"]).sel(feature="avg_speed")
    of_seeds = by_hand.mean(["origin", "horizon", "vd"]).values
    assert errors.at("mae", "lstm", "avg_speed") == pytest.approx(of_seeds.mean(), rel=1e-5)
    assert errors.sd("mae", "lstm", "avg_speed") == pytest.approx(
        abs(of_seeds[0] - of_seeds[1]) / 2**0.5, rel=1e-3
    )
    assert np.isnan(errors.sd("mae", "xlstm", "avg_speed"))
    last = abs(cut["persistence"] - cut["truth"]).sel(horizon=12, feature="avg_speed")
    assert errors.at("mae", "persistence", "avg_speed", 12) == pytest.approx(
        last.mean().item(), rel=1e-5
    )
    speed = cut["truth"].sel(feature="avg_speed")
    all_slow = speed < 0.98 * lstm["free_flow_speed"]
    assert congested.count("avg_speed") == int(all_slow.sum())
    assert congested.at("mae", "lstm", "avg_speed") == pytest.approx(
        by_hand.where(all_slow).mean().item(), rel=1e-5
    )
    assert errors.networks == ["lstm", "xlstm"]
    assert errors.baselines == ["persistence", *BASELINES]


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
            errors.setdefault(hour, []).extend(abs(at["prediction"] - at["truth"]).values.flat)
    by_hour = mae_by_hour(points).sel(model="lstm", feature="avg_speed")
    assert list(by_hour["hour"].values) == list(range(24))
    for hour in range(24):
        expected = np.nanmean(errors[hour]) if hour in errors else np.nan
        np.testing.assert_allclose(by_hour.sel(hour=hour).item(), expected, rtol=1e-5)


def six(
    single: list[str], multi: list[str], independent: list[str], **settings: int
) -> dict[str, xr.Dataset]:
    vdids = {"single_vd": single, "multi_vd": multi, "independent_multi_vd": independent}
    found = {
        name: make_predictions(mode, model, vdids=vdids[mode], origins=settings.get(name, 50))
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }
    return found | {f"{mode}_baselines": make_baselines(found[f"{mode}_lstm"]) for mode in MODES}


def test_modes_are_compared_on_the_vd_and_points_all_six_forecast() -> None:
    found = six(["B"], ["A", "B", "C"], ["A", "B"], multi_vd_xlstm=45, single_vd_lstm=48)
    by_mode = find_common_target(**found)
    for mode, points in by_mode.items():
        assert points.attrs["comparable"]
        assert list(points["vd"].values) == ["B"]
        assert points.sizes["origin"] == 45
        xr.testing.assert_equal(points["truth"], by_mode["single_vd"]["truth"])
        assert list(points["model"].values) == MODELS_AND_BASELINES
        assert list(points.attrs["fit_seconds"]) == list(BASELINES)
        cut = found[f"{mode}_lstm"]["prediction"].sel(vd=["B"], seed=42, origin=points["origin"])
        np.testing.assert_array_equal(forecast_of(points, "lstm"), cut)
        ridge = found[f"{mode}_baselines"]["prediction"].sel(vd=["B"], model="ridge")
        np.testing.assert_array_equal(
            forecast_of(points, "ridge"), ridge.sel(origin=points["origin"])
        )
    assert "45 in common" in by_mode["single_vd"].attrs["left_out"][0]


def test_without_a_common_vd_each_mode_stays_on_its_own() -> None:
    by_mode = find_common_target(**six(["A"], ["B", "C"], ["C"]))
    assert not any(points.attrs["comparable"] for points in by_mode.values())
    assert list(by_mode["multi_vd"]["vd"].values) == ["B", "C"]
    assert all(models_in(points) == MODELS_AND_BASELINES for points in by_mode.values())
