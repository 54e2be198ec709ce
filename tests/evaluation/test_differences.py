"""Losses over time and the tests on them, against differences that were planted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.parameters import make_evaluation
from vd_forecasting.evaluation.aligned import NO_SEED, AlignedForecasts
from vd_forecasting.evaluation.differences import (
    Differences,
    find_confidence_sets,
    find_differences,
    model_labels,
)
from vd_forecasting.evaluation.errors import SummedErrors, errors_of, sum_errors
from vd_forecasting.evaluation.significance import diebold_mariano, holm
from vd_forecasting.evaluation.sums_over_time import AVERAGE

STEPS_PER_DAY = 24
FEATURES = ("avg_speed", "total_volume")
EVALUATION = make_evaluation()


def make_aligned(
    forecasts: Mapping[tuple[str, int], np.ndarray],
    truth: np.ndarray,
    origins: Sequence[int] | None = None,
) -> AlignedForecasts:
    """Forecasts of members (model, seed) from arrays ``[origin, horizon, vd, feature]``, hourly.

    Args:
        forecasts: by model and seed.
        truth: the same shape.
        origins: which hours the origins are at; all without gaps if not given.
    """
    hours = np.arange(len(truth)) if origins is None else np.asarray(origins)
    dims = ("origin", "horizon", "vd", "feature")
    data = xr.Dataset(
        {
            "truth": (dims, truth),
            "forecast": (("member", *dims), np.stack(list(forecasts.values()))),
            "mase_scale": (("block", "vd", "feature"), np.ones((1, *truth.shape[2:]))),
        },
        coords={
            "origin": pd.Timestamp("2026-03-23") + pd.to_timedelta(hours, unit="h"),
            "horizon": range(1, truth.shape[1] + 1),
            "vd": [f"VD{n}" for n in range(truth.shape[2])],
            "feature": list(FEATURES[: truth.shape[3]]),
            "unit": ("feature", ["km/h", "veh"][: truth.shape[3]]),
            "model": ("member", [model for model, _ in forecasts]),
            "seed": ("member", [seed for _, seed in forecasts]),
            "best": ("member", [True] * len(forecasts)),
            "block": [1],
            "test_block": ("origin", [1] * len(truth)),
        },
    )
    return AlignedForecasts(data, "multi_vd", "made.h5", 60.0)


def summed(aligned: AlignedForecasts) -> SummedErrors:
    return sum_errors(aligned, mape_min_truth=1.0)


def noise(
    sizes: Mapping[str, float], *, days: int = 8, horizons: int = 3, seed: int = 0, share: float = 1
) -> AlignedForecasts:
    """Forecasts of zeros whose absolute errors are so large on average, on both VDs and features.

    Args:
        sizes: of the errors by model.
        days: of hourly origins.
        horizons: of the forecasts.
        seed: of the noise.
        share: how much of the errors is the models' own and not common to all.
    """
    rng = np.random.default_rng(seed)
    shape = (days * STEPS_PER_DAY, horizons, 2, 2)
    common = rng.uniform(0.2, 1.8, shape)
    return make_aligned(
        {
            (model, 1 if model in ("lstm", "xlstm") else NO_SEED): size
            * ((1 - share) * common + share * rng.uniform(0.2, 1.8, shape))
            for model, size in sizes.items()
        },
        np.zeros(shape),
    )


@pytest.fixture(scope="module")
def planted() -> Differences:
    """xLSTM's errors are 10 % smaller, and both beat persistence."""
    aligned = noise({"lstm": 1.0, "xlstm": 0.9, "persistence": 1.5}, days=14, share=0.3)
    return find_differences(summed(aligned), EVALUATION)


def test_a_planted_difference_is_found_with_its_sign_and_size(planted: Differences) -> None:
    assert planted.is_tested
    assert planted.days == {"avg_speed": 14, "total_volume": 14}
    assert planted.has_set
    assert planted.confidence == 0.95
    assert set(planted.between) == {(f, step) for f in FEATURES for step in (1, 2, 3, AVERAGE)}
    for difference in planted.between.values():
        assert difference.is_tested
        assert not difference.spans_zero
        assert difference.low < difference.change < difference.high < 0
        assert difference.change == pytest.approx(-0.1, abs=0.03)
        assert difference.p_value < 0.05


def test_swapped_the_difference_has_the_other_sign() -> None:
    found = find_differences(summed(noise({"lstm": 0.9, "xlstm": 1.0}, share=0.3)), EVALUATION)
    for difference in found.between.values():
        assert 0 < difference.low < difference.high
        assert difference.change == pytest.approx(1 / 0.9 - 1, abs=0.04)


def test_equal_networks_are_mostly_told_equal() -> None:
    wrong = 0
    for seed in range(8):
        aligned = noise({"lstm": 1.0, "xlstm": 1.0}, days=6, horizons=1, seed=seed)
        found = find_differences(summed(aligned.sel(feature=["avg_speed"], vd=["VD0"])), EVALUATION)
        wrong += not found.between["avg_speed", AVERAGE].spans_zero
    assert wrong <= 2


def test_intervals_hold_the_mae_and_baselines_have_none(planted: Differences) -> None:
    low, high = planted.mae_low, planted.mae_high
    assert low.sizes == {"model": 3, "horizon": 3, "feature": 2}
    sizes = xr.DataArray([1.0, 0.9], {"model": ["lstm", "xlstm"]})
    networks = {"model": ["lstm", "xlstm"]}
    assert ((low.sel(networks) < sizes) & (sizes < high.sel(networks))).mean() > 0.8
    assert (high.sel(networks) - low.sel(networks) < 0.2).all()
    assert low.sel(model="persistence").isnull().all()


def test_p_values_are_adjusted_across_the_horizons_of_a_feature() -> None:
    aligned = noise({"lstm": 1.0, "xlstm": 0.97}, horizons=4)
    found = find_differences(summed(aligned), EVALUATION)
    absolute = summed(aligned).by_origin["loss"].swap_dims(member="model")
    for feature in FEATURES:
        of_feature = absolute.sel(feature=feature)
        raw = [
            diebold_mariano(of_step.sel(model="lstm"), of_step.sel(model="xlstm"), step).p_value
            for step in range(1, 5)
            for of_step in [of_feature.sel(horizon=step)]
        ]
        adjusted = [found.between[feature, step].p_value for step in range(1, 5)]
        np.testing.assert_allclose(adjusted, holm(raw))
        assert min(adjusted) == pytest.approx(min(1.0, 4 * min(raw)))
        average = of_feature.sum("horizon")
        alone = diebold_mariano(average.sel(model="lstm"), average.sel(model="xlstm"), 4)
        assert found.between[feature, AVERAGE].p_value == pytest.approx(alone.p_value)


def test_too_few_days_are_not_tested() -> None:
    aligned = noise({"lstm": 1.0, "xlstm": 0.8, "persistence": 2.0}, days=4)
    found = find_differences(summed(aligned), EVALUATION)
    assert not found.is_tested
    assert found.most_days == 4
    assert all(np.isnan(difference.p_value) for difference in found.between.values())
    assert found.confidence_set.isnull().all()
    assert not found.in_set("xlstm", "avg_speed")
    average = found.between["avg_speed", AVERAGE]
    assert not average.is_tested
    assert average.change == pytest.approx(-0.2, abs=0.05)


def test_a_day_counts_if_half_of_its_origins_are_scored() -> None:
    def days(observed_hours: int) -> tuple[int, bool]:
        aligned = noise({"lstm": 1.0, "xlstm": 0.9}, days=5, horizons=1)
        hour = aligned.truth["origin"].dt.hour
        first = aligned.truth["origin"] < aligned.truth["origin"][STEPS_PER_DAY]
        kept = aligned.truth.where(~first | (hour < observed_hours))
        found = find_differences(
            summed(replace(aligned, data=aligned.data.assign(truth=kept))), EVALUATION
        )
        return found.days["avg_speed"], found.is_tested

    assert days(12) == (5, True)
    assert days(11) == (4, False)


def test_differences_are_those_of_the_tables_however_little_a_detector_observes() -> None:
    """One detector is complete and suits xLSTM, half of the other's values are there and do not."""
    rng = np.random.default_rng(0)
    shape = (28 * STEPS_PER_DAY, 1, 2, 1)
    size = rng.uniform(0.5, 1.5, shape) * np.array([7.0, 10.0])[:, None]
    truth = np.zeros(shape)
    truth[rng.random(shape[0]) < 0.5, 0, 1] = np.nan
    better = np.array([0.92, 1.2])[:, None]
    aligned = make_aligned({("lstm", 1): size, ("xlstm", 1): size * better}, truth)
    of_all = summed(aligned)
    maes = errors_of(of_all).average["mae"].sel(feature="avg_speed")
    found = find_differences(of_all, EVALUATION)
    ratio = float(maes.sel(model="xlstm") / maes.sel(model="lstm"))
    assert ratio > 1
    for step in (1, AVERAGE):
        assert found.between["avg_speed", step].change == pytest.approx(ratio - 1)
    by_horizon = errors_of(of_all).by_horizon["mae"]
    for model in ("lstm", "xlstm"):
        at = {"model": model, "horizon": 1, "feature": "avg_speed"}
        assert found.mae_low.sel(at) < by_horizon.sel(at) < found.mae_high.sel(at)


def test_with_one_network_nothing_is_between() -> None:
    found = find_differences(
        summed(noise({"lstm": 1.0, "persistence": 2.0}, horizons=1)), EVALUATION
    )
    assert found.between == {}
    assert found.is_tested


def test_the_average_uses_every_observed_horizon() -> None:
    aligned = noise({"lstm": 1.0, "xlstm": 0.9}, share=0.3)
    gone = np.random.default_rng(0).random(aligned.truth.shape) < 0.4
    aligned = replace(aligned, data=aligned.data.assign(truth=aligned.truth.where(~gone)))
    found = find_differences(summed(aligned), EVALUATION).between["avg_speed", AVERAGE]
    assert found.is_tested
    assert found.change == pytest.approx(-0.1, abs=0.05)


def test_the_confidence_set_holds_the_best_and_not_the_worse(planted: Differences) -> None:
    assert planted.confidence_set.sizes == {"model": 3, "feature": 2}
    for feature in FEATURES:
        assert planted.in_set("xlstm", feature)
        assert not planted.in_set("lstm", feature)
        assert not planted.in_set("persistence", feature)


def test_a_diverged_network_does_not_void_the_others() -> None:
    aligned = noise({"lstm": 1.0, "xlstm": 0.9, "persistence": 1.5}, days=14)
    aligned.forecast[0, 5, 1] = np.nan
    found = find_differences(summed(aligned), EVALUATION)
    assert found.in_set("xlstm", "avg_speed")
    assert not found.in_set("persistence", "avg_speed")
    assert not found.in_set("lstm", "avg_speed")
    assert found.confidence_set.sel(model="lstm").isnull().all()


def modes() -> dict[str, AlignedForecasts]:
    """Two modes with the same persistence; ridge is another in the second."""
    shape = {"horizons": 2, "days": 14}
    one = noise({"lstm": 1.0, "xlstm": 0.8, "persistence": 2.0, "ridge": 1.6}, **shape)
    two = noise({"lstm": 1.3, "xlstm": 1.2, "persistence": 2.0, "ridge": 1.7}, seed=1, **shape)
    two.forecast[2] = one.forecast[2]
    return {"single_vd": one, "multi_vd": two}


def confidence_sets(
    by_mode: dict[str, AlignedForecasts], *, comparable: bool = True
) -> xr.DataArray:
    of_modes = {mode: summed(aligned) for mode, aligned in by_mode.items()}
    return find_confidence_sets(of_modes, EVALUATION, comparable=comparable)


def test_a_confidence_set_across_modes_has_equal_baselines_once() -> None:
    found = confidence_sets(modes())
    assert list(found["model"].values) == [
        *(f"single_vd_{name}" for name in ("lstm", "xlstm", "persistence", "ridge")),
        *(f"multi_vd_{name}" for name in ("lstm", "xlstm", "ridge")),
    ]
    assert list(found["feature"].values) == list(FEATURES)
    inside = found > 0.05
    assert inside.sel(model="single_vd_xlstm").all()
    assert not inside.drop_sel(model="single_vd_xlstm").any()


def test_identical_networks_of_two_modes_both_stand_in_the_set() -> None:
    found = modes()
    found["multi_vd"].forecast[:] = found["single_vd"].forecast
    sets = confidence_sets(found)
    assert list(sets["model"].values)[4:] == ["multi_vd_lstm", "multi_vd_xlstm"]
    assert (sets.sel(model=["single_vd_xlstm", "multi_vd_xlstm"]) == 1).all()


def test_modes_that_cannot_be_compared_have_a_set_each() -> None:
    found = modes()
    sets = confidence_sets(found, comparable=False)
    assert sets.sizes == {"model": 8, "feature": 2}
    for mode, aligned in found.items():
        differences = find_differences(summed(aligned), EVALUATION)
        for model in ("lstm", "xlstm", "persistence", "ridge"):
            alone = differences.confidence_set.sel(model=model)
            np.testing.assert_array_equal(sets.sel(model=f"{mode}_{model}"), alone)
    assert (sets.sel(model=["single_vd_xlstm", "multi_vd_xlstm"]) > 0.05).all()
    found["multi_vd"] = found["multi_vd"].sel(feature=["total_volume"])
    fewer = confidence_sets(found, comparable=False)
    assert fewer.sel(model="multi_vd_xlstm", feature="avg_speed").isnull()
    assert fewer.sel(model="single_vd_xlstm", feature="avg_speed") > 0.05


def test_labels_tell_models_of_several_modes_apart() -> None:
    models = [
        ("single_vd", "lstm"),
        ("single_vd", "persistence"),
        ("single_vd", "seasonal_naive"),
        ("single_vd", "ridge"),
        ("multi_vd", "seasonal_naive"),
    ]
    assert model_labels(models) == [
        "single_vd LSTM",
        "persistence",
        "single_vd seasonal naive",
        "single_vd ridge",
        "multi_vd seasonal naive",
    ]
