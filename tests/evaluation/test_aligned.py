"""Forecasts side by side, on what all have in common, and what they are relabelled to."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.artefacts import BASELINES, MAPE_MIN_TRUTH, make_baselines, make_predictions
from tests.make.catalogs import catalog_entries
from tests.make.parameters import make_evaluation
from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.datasets import Frames, FramesDataset
from vd_forecasting.evaluation.aligned import (
    AlignedForecasts,
    Member,
    align,
    by_target_time,
    deviation_over_seeds,
    mean_over_seeds,
    most_congested_day,
)
from vd_forecasting.evaluation.errors import errors_of, sum_errors
from vd_forecasting.evaluation.metrics import ERRORS, score
from vd_forecasting.pipelines.reporting.across_modes import (
    Compared,
    align_modes,
    concatenate_scores,
    gather,
)
from vd_forecasting.pipelines.reporting.scores import (
    SCORE_COLUMNS,
    score_forecasts,
)
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import EXPERIMENTS, MODES

VDS = ("A", "B", "C")
EVALUATION = make_evaluation()
MODELS_AND_BASELINES = ["lstm", "xlstm", "persistence", *BASELINES]


def aligned_of(
    lstm: xr.Dataset, xlstm: xr.Dataset, baselines: xr.Dataset | None = None
) -> AlignedForecasts:
    """With baselines that forecast what the LSTM does, unless they are given."""
    baselines = make_baselines(lstm) if baselines is None else baselines
    networks = {"lstm": Forecasts.from_xarray(lstm), "xlstm": Forecasts.from_xarray(xlstm)}
    return align(networks, {"": BaselineForecasts.from_xarray(baselines)})


def forecast_of(aligned: AlignedForecasts, model: str) -> xr.DataArray:
    """The only member of a model."""
    of_model = aligned.forecast.isel(member=aligned.data["model"].values == model)
    found: list[xr.DataArray] = [*of_model]
    [forecast] = found
    return forecast


def test_forecasts_of_the_same_truths_are_compared_as_they_are() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    baselines = make_baselines(lstm)
    aligned = aligned_of(lstm, xlstm, baselines)
    assert aligned.left_out == []
    assert (aligned.mode, aligned.source) == ("multi_vd", "vd_sample.h5")
    assert aligned.models == MODELS_AND_BASELINES
    assert [member.model for member in aligned.members] == MODELS_AND_BASELINES
    xr.testing.assert_identical(aligned.truth.drop_vars("test_block"), lstm["truth"])
    for name in ("mase_scale", "free_flow_speed"):
        xr.testing.assert_identical(aligned.data[name].sel(block=1, drop=True), lstm[name])
    np.testing.assert_array_equal(forecast_of(aligned, "xlstm"), xlstm["prediction"].sel(seed=42))
    for name in BASELINES:
        expected = baselines["prediction"].sel(model=name)
        np.testing.assert_array_equal(forecast_of(aligned, name), expected)
    assert aligned.fit_seconds == dict(zip(BASELINES, (0.01, 0.02, 0.5, 20.0), strict=True))
    persistence = forecast_of(aligned, "persistence")
    for step in (1, 12):
        np.testing.assert_array_equal(persistence.sel(horizon=step), lstm["persistence"])


def test_differing_forecasts_are_cut_to_what_they_have_in_common_and_told() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=60)
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=60)
    xlstm = xlstm.isel(origin=slice(5, None), horizon=slice(0, 6)).sel(
        vd=["C", "B"], feature=["avg_occupancy", "avg_speed"]
    )
    aligned = aligned_of(lstm, xlstm)
    assert dict(aligned.truth.sizes) == {"origin": 55, "horizon": 6, "vd": 2, "feature": 2}
    for vd in ("B", "C"):
        np.testing.assert_array_equal(
            forecast_of(aligned, "xlstm").sel(vd=vd, feature="avg_speed"),
            xlstm["prediction"].sel(seed=42, vd=vd, feature="avg_speed"),
        )
        np.testing.assert_array_equal(
            forecast_of(aligned, "ridge").sel(vd=vd, feature="avg_speed"),
            make_baselines(lstm)["prediction"].sel(
                model="ridge",
                vd=vd,
                feature="avg_speed",
                origin=xlstm["origin"],
                horizon=range(1, 7),
            ),
        )
    text = " ".join(aligned.left_out)
    assert (
        "multi_vd_lstm has 60 forecast origins and multi_vd_xlstm has 55 forecast origins" in text
    )
    assert "compared on the 55 in common" in text
    assert all(word in text for word in ("horizon", "VD", "target feature"))


def test_a_truth_that_only_one_observed_is_not_scored() -> None:
    lstm = make_predictions(origins=40, missing=0.0)
    xlstm = make_predictions(model="xlstm", origins=40, missing=0.0).copy(deep=True)
    xlstm["truth"][3, 4, 0, 1] = np.nan
    aligned = aligned_of(lstm, xlstm)
    assert int(aligned.truth.isnull().sum()) == 1
    assert "1 value observed for only some" in aligned.left_out[0]


def test_nothing_in_common_is_an_error_that_names_both_sides() -> None:
    with pytest.raises(
        ValueError, match=r"no VD in common \(single_vd_lstm: A, single_vd_xlstm: B\)"
    ):
        aligned_of(
            make_predictions(vdids=["A"], origins=20),
            make_predictions(model="xlstm", vdids=["B"], origins=20),
        )


def test_forecasts_of_different_data_are_not_compared() -> None:
    other = make_predictions(model="xlstm", origins=20, source="other.h5").copy(deep=True)
    other["truth"] += 1
    with pytest.raises(ValueError, match=r"vd_sample.h5 and other.h5.*train both again"):
        aligned_of(make_predictions(origins=20), other)


def test_baselines_are_cut_to_what_the_networks_forecast_and_the_reverse() -> None:
    lstm = make_predictions(vdids=VDS, origins=30, horizons=3)
    xlstm = make_predictions(model="xlstm", vdids=VDS, origins=30, horizons=3)
    baselines = make_baselines(lstm).isel(origin=slice(4, None), vd=[2, 0, 1])
    aligned = aligned_of(lstm, xlstm, baselines)
    assert len(aligned.origins) == 26
    assert aligned.vdids == list(VDS)
    np.testing.assert_array_equal(
        forecast_of(aligned, "ridge"), baselines["prediction"].sel(model="ridge", vd=list(VDS))
    )
    assert "compared on the 26 in common" in aligned.left_out[0]


def test_a_member_is_one_seed_of_a_network_or_a_baseline() -> None:
    lstm = make_predictions(origins=20, horizons=2, seeds=(3, 1, 2)).assign_attrs(best_seed=1)
    xlstm = make_predictions(model="xlstm", origins=20, horizons=2, seeds=(7, 5))
    aligned = aligned_of(lstm, xlstm)
    assert aligned.members == [
        Member("lstm", 3, best=False),
        Member("lstm", 1, best=True),
        Member("lstm", 2, best=False),
        Member("xlstm", 7, best=False),
        Member("xlstm", 5, best=True),
        *(Member(name, None, best=True) for name in ("persistence", *BASELINES)),
    ]
    for position, seed in enumerate((3, 1, 2)):
        np.testing.assert_array_equal(
            aligned.forecast.isel(member=position), lstm["prediction"].sel(seed=seed)
        )
    shown = aligned.shown
    assert list(shown["model"].values) == MODELS_AND_BASELINES
    np.testing.assert_array_equal(shown.sel(model="lstm"), lstm["prediction"].sel(seed=1))
    np.testing.assert_array_equal(shown.sel(model="xlstm"), xlstm["prediction"].sel(seed=5))


def test_baselines_have_the_name_of_their_mode_before_theirs() -> None:
    forecasts = Forecasts.from_xarray(make_predictions(origins=20, horizons=2))
    baselines = BaselineForecasts.from_xarray(make_baselines(forecasts.data))
    aligned = align(
        {"single_vd_lstm": forecasts, "multi_vd_lstm": forecasts},
        {"single_vd": baselines, "multi_vd": baselines},
    )
    names = [f"{mode}_{name}" for mode in ("single_vd", "multi_vd") for name in BASELINES]
    assert aligned.models == ["single_vd_lstm", "multi_vd_lstm", "persistence", *names]
    assert list(aligned.fit_seconds) == names
    assert aligned.fit_seconds["multi_vd_ridge"] == 0.5
    assert align({"lstm": forecasts}).models == ["lstm", "persistence"]


def members_of(values: list[list[float]], models: list[str]) -> xr.DataArray:
    """Made-up values ``[member, feature]``."""
    return xr.DataArray(
        values,
        dims=("member", "feature"),
        coords={
            "model": ("member", models),
            "seed": ("member", range(len(models))),
            "best": ("member", [True] * len(models)),
            "feature": ["a", "b"],
        },
    )


def test_mean_and_deviation_over_seeds_by_hand() -> None:
    values = members_of(
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
    data = xr.Dataset(
        {
            "truth": (("origin", "horizon", "vd", "feature"), truth),
            "free_flow_speed": (("block", "vd"), [[100.0]]),
        },
        coords={
            "feature": ["avg_speed", "total_volume"],
            "block": [1],
            "test_block": ("origin", [1] * 5),
        },
    )
    aligned = AlignedForecasts(data, "single_vd", "made.h5", 5.0)
    kept = aligned.congested(0.6).truth.values[:, 0, 0]
    nan = np.nan
    np.testing.assert_array_equal(kept, [[59, 0], [nan, nan], [nan, nan], [nan, nan], [10, 4]])
    unknown = replace(aligned, data=data.assign(free_flow_speed=(("block", "vd"), [[nan]])))
    assert unknown.congested(0.6).truth.isnull().all()
    assert aligned.sel(feature=["total_volume"]).congested(0.6).truth.isnull().all()


def test_scores_are_those_of_the_metrics_module_on_the_common_truths() -> None:
    lstm = make_predictions("multi_vd", "lstm", vdids=VDS, origins=80, seeds=(7, 9))
    xlstm = make_predictions("multi_vd", "xlstm", vdids=VDS, origins=70, seeds=(8,))
    baselines = make_baselines(lstm)
    errors, congested, _, _, frames = score_forecasts(
        aligned_of(lstm, xlstm, baselines), make_evaluation(congestion_speed=0.98)
    )
    scores = pd.concat(frames, ignore_index=True)
    assert list(scores.columns) == SCORE_COLUMNS
    assert set(scores["model"]) == set(MODELS_AND_BASELINES)
    seeds = scores.groupby("model")["seed"].unique()
    assert (list(seeds["lstm"]), list(seeds["xlstm"])) == (["7", "9", "joined"], ["8"])
    assert all(seeds[name].isna().all() for name in ("persistence", *BASELINES))
    metrics = [*ERRORS, "n"]
    events = ["precision", "recall", "f1", "accuracy", "announced", "lead_minutes", "queues"]
    assert set(scores["metric"]) == {
        *(*metrics, *(f"{name}_congested" for name in metrics)),
        *(f"{name}_congestion" for name in events),
    }
    # VDs × features × horizons × metrics × members, on all steps and on congested ones; events
    assert len(scores) == 3 * 3 * 12 * 7 * 9 * 2 + (4 * 12 + 3) * 9
    of_events = scores["metric"].str.endswith("_congestion")
    assert scores["vdid"].isna().equals(of_events)
    of_queues = scores["horizon"].isna()
    assert set(scores["metric"][of_queues]) == {f"{name}_congestion" for name in events[4:]}
    assert not scores.duplicated(SCORE_COLUMNS[:-1]).any()
    rows = scores.fillna({"seed": ""}).set_index(SCORE_COLUMNS[:-1])["value"].sort_index()

    def value(model: str, seed: int | str, metric: str) -> float:
        return float(rows["multi_vd", model, str(seed), "all", "B", "avg_speed", 3, metric])

    cut = lstm.isel(origin=slice(0, 70))
    at = {"vd": "B", "feature": "avg_speed", "horizon": 3}
    for seed in (7, 9):
        expected = score(cut["truth"], cut["prediction"].sel(seed=seed, drop=True), MAPE_MIN_TRUTH)
        for metric in ("mae", "rmse", "mape", "r2", "n"):
            one = expected[metric].sel(at).item()
            assert value("lstm", seed, metric) == pytest.approx(one)
        scale = lstm["mase_scale"].sel(vd="B", feature="avg_speed").item()
        assert value("lstm", seed, "mase") == pytest.approx(value("lstm", seed, "mae") / scale)
    joined = score(cut["truth"], cut["prediction"].mean("seed"), MAPE_MIN_TRUTH)
    assert value("lstm", "joined", "mae") == pytest.approx(joined["mae"].sel(at).item())
    truth, ridge = cut["truth"].sel(at), baselines["prediction"].sel(at).sel(model="ridge")
    error = abs(ridge - truth)
    assert value("ridge", "", "mae") == pytest.approx(error.mean().item(), rel=1e-5)
    slow = truth < 0.98 * lstm["free_flow_speed"].sel(vd="B")
    assert value("ridge", "", "n_congested") == int(slow.sum()) > 0
    assert value("ridge", "", "mae_congested") == pytest.approx(
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
    entry = catalog_entries()["compare_{mode}.scores"]
    arguments = {name: entry[name] for name in ("load_args", "save_args")}
    stored = FramesDataset(filepath=str(path), **arguments)
    frame = pd.DataFrame(
        [
            ["single_vd", "lstm", "42", "all", "0773869", "avg_speed", 1, "mae", 2.0],
            ["single_vd", "lstm", "joined", "all", "0773869", "avg_speed", 1, "mae", 1.9],
            ["single_vd", "persistence", None, "all", "0773869", "avg_speed", 1, "mae", 3.0],
        ],
        columns=SCORE_COLUMNS,
    )
    made = Frames.joined([[frame[:2]], [frame[2:]]])
    stored.save(made)
    assert path.read_text() == frame.to_csv(index=False)
    failed = Failure("node", "reason")
    found = gather(
        compare_single_vd=Compared(made, failed),
        compare_multi_vd=failed,
        compare_independent_multi_vd=Compared(stored.load(), failed),
    )
    both = pd.concat(concatenate_scores(found))
    lines = both.to_csv(index=False).splitlines()
    assert lines[1] == "single_vd,lstm,42,all,0773869,avg_speed,1,mae,2.0"
    assert lines[1:4] == lines[4:]
    assert both["seed"].isna().tolist() == [False, False, True] * 2


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


def truth_of(speeds: np.ndarray, feature: str = "avg_speed") -> AlignedForecasts:
    """Hand-made truths ``[time, vd]`` at 5 min, one horizon."""
    steps, vds = speeds.shape
    truth = xr.DataArray(
        speeds[:, None, :, None],
        coords={
            "origin": pd.date_range("2026-03-22 23:55", periods=steps, freq="5min"),
            "horizon": [1],
            "vd": [f"VD{n}" for n in range(vds)],
            "feature": [feature],
        },
        dims=("origin", "horizon", "vd", "feature"),
    )
    return AlignedForecasts(truth.to_dataset(name="truth"), "multi_vd", "made.h5", 5.0)


def test_the_most_congested_day_is_that_of_the_lowest_hour_not_of_one_reading() -> None:
    speeds = np.full((3 * 288, 2), 90.0)
    speeds[288 + 100 : 288 + 124, 1] = 30.0  # two hours on the second day
    speeds[50, 0] = 1.0  # one odd reading
    speeds[600:605, 0] = 2.0  # an hour that is mostly missing
    speeds[605:612, 0] = np.nan
    day = most_congested_day(truth_of(speeds))
    assert (day.vdid, str(day.day.date()), day.feature) == ("VD1", "2026-03-24", "avg_speed")
    assert day.value == pytest.approx(30.0)


def test_without_speeds_the_highest_value_chooses_the_day() -> None:
    volumes = np.full((2 * 288, 1), 50.0)
    volumes[300:330] = 200.0
    day = most_congested_day(truth_of(volumes, "total_volume"))
    assert str(day.day.date()) == "2026-03-24"
    assert day.value == pytest.approx(200.0)
    assert not day.is_congestion


def test_without_any_truth_the_first_day_is_shown() -> None:
    day = most_congested_day(truth_of(np.full((288, 1), np.nan)))
    assert day.vdid == "VD0"
    assert np.isnan(day.value)


@pytest.mark.parametrize("interval", [5.0, 7.0, 60.0, 180.0])
def test_errors_by_hour_are_means_over_the_hour_that_was_forecast(interval: float) -> None:
    predictions = make_predictions(
        vdids=["A", "B"], features=["avg_speed"], horizons=3, origins=100, interval_minutes=interval
    )
    aligned = align({"lstm": Forecasts.from_xarray(predictions)})
    step = pd.Timedelta(minutes=interval)
    by_hand: dict[int, list[float]] = {}
    for origin in predictions["origin"].values:
        for horizon in (1, 2, 3):
            hour = (pd.Timestamp(origin) + horizon * step).hour
            at = predictions.sel(origin=origin, horizon=horizon)
            by_hand.setdefault(hour, []).extend(abs(at["prediction"] - at["truth"]).values.flat)
    by_hour = errors_of(sum_errors(aligned, MAPE_MIN_TRUTH)).by_hour.sel(
        model="lstm", feature="avg_speed"
    )
    assert list(by_hour["hour"].values) == list(range(24))
    for hour in range(24):
        expected = np.nanmean(by_hand[hour]) if hour in by_hand else np.nan
        np.testing.assert_allclose(by_hour.sel(hour=hour).item(), expected, rtol=1e-5)


def six(
    single: list[str], multi: list[str], independent: list[str], **settings: int
) -> tuple[dict[str, Forecasts], dict[str, BaselineForecasts]]:
    """Forecasts by experiment, and of the baselines by mode."""
    vdids = {"single_vd": single, "multi_vd": multi, "independent_multi_vd": independent}
    found = {
        name: Forecasts.from_xarray(
            make_predictions(mode, model, vdids=vdids[mode], origins=settings.get(name, 50))
        )
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }
    return found, {
        mode: BaselineForecasts.from_xarray(make_baselines(found[f"{mode}_lstm"].data))
        for mode in MODES
    }


def test_modes_are_compared_on_the_vd_and_truths_of_all_six() -> None:
    found, baselines = six(["B"], ["A", "B", "C"], ["A", "B"], multi_vd_xlstm=45, single_vd_lstm=48)
    modes = align_modes(found, baselines)
    assert modes.comparable
    assert list(modes.by_mode) == [*MODES]
    for mode, aligned in modes.by_mode.items():
        assert aligned.mode == mode
        assert aligned.vdids == ["B"]
        assert len(aligned.origins) == 45
        xr.testing.assert_equal(aligned.truth, modes.first.truth)
        assert [member.model for member in aligned.members] == MODELS_AND_BASELINES
        assert list(aligned.fit_seconds) == list(BASELINES)
        cut = found[f"{mode}_lstm"].prediction.sel(vd=["B"], seed=42, origin=aligned.origins)
        np.testing.assert_array_equal(forecast_of(aligned, "lstm"), cut)
        ridge = baselines[mode].prediction.sel(vd=["B"], model="ridge")
        np.testing.assert_array_equal(
            forecast_of(aligned, "ridge"), ridge.sel(origin=aligned.origins)
        )
    assert "45 in common" in modes.first.left_out[0]


def test_without_a_common_vd_each_mode_stays_on_its_own() -> None:
    modes = align_modes(*six(["A"], ["B", "C"], ["C"]))
    assert not modes.comparable
    assert modes.by_mode["multi_vd"].vdids == ["B", "C"]
    assert all(aligned.models == MODELS_AND_BASELINES for aligned in modes.by_mode.values())
