"""Verdicts made from errors and differences that are given, so that the right words are known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from vd_forecasting.evaluation.differences import Difference, Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.metrics import ERRORS
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.pipelines.reporting.pages import verdicts
from vd_forecasting.pipelines.reporting.pages.tables import beside_persistence, with_sd
from vd_forecasting.wording import change

UNITS = {"avg_speed": "km/h", "total_volume": "veh/5 min", "avg_occupancy": "%"}
NAN = math.nan


def make_errors(mae: Mapping[str, Mapping[str, Sequence[float]]], days: int = 10) -> Errors:
    """Errors from the MAE by horizon of each model and feature; averages weigh horizons alike."""
    models = list(mae)
    features = list(mae[models[0]])
    values = np.array([[mae[model][feature] for feature in features] for model in models])
    dims = ("model", "feature", "horizon")
    by_horizon = xr.Dataset(
        dict.fromkeys((*ERRORS, "mape_left_out"), (dims, values))
        | {"n": (dims, np.isfinite(values).astype(int))},
        coords={
            "model": models,
            "feature": features,
            "horizon": np.arange(1, values.shape[-1] + 1),
        },
    )
    average = by_horizon.mean("horizon", skipna=False).assign(n=by_horizon["n"].sum("horizon"))
    return Errors(
        by_horizon,
        average,
        by_horizon_sd=by_horizon * np.nan,
        average_sd=average * np.nan,
        by_vd=average.expand_dims(vd=["A"]),
        by_block=average.expand_dims(block=[1]),
        days=dict.fromkeys(features, days),
        spans={1: (pd.Timestamp("2026-03-23"), pd.Timestamp("2026-03-30"))},
        by_origin=xr.Dataset(),
        seeds={},
        units=UNITS,
        interval_minutes=5.0,
    )


def pair(lstm: Sequence[float], xlstm: Sequence[float], persistence: Sequence[float]) -> Errors:
    return make_errors(
        {
            "lstm": {"total_volume": lstm},
            "xlstm": {"total_volume": xlstm},
            "persistence": {"total_volume": persistence},
        }
    )


def by_feature(**mae: Sequence[float]) -> Errors:
    """One horizon, a value per feature."""
    return make_errors(
        {
            model: {f: [value] for f, value in zip(UNITS, values, strict=True)}
            for model, values in mae.items()
        }
    )


def make_differences(
    between: Mapping[tuple[str, int], Difference], *, tested: bool = True, days: int = 14
) -> Differences:
    """Differences that are given; nothing else matters to verdicts."""
    mae = xr.DataArray([[[1.0 if tested else NAN]]], dims=("model", "horizon", "feature"))
    return Differences(between, mae, mae, xr.DataArray(), 0.95, dict.fromkeys(UNITS, days))


def without_intervals(errors: Errors) -> Differences:
    """The differences of the errors themselves, without intervals."""
    between = {
        (feature, step): Difference(
            change(*(errors.at("mae", m, feature, step or None) for m in ("xlstm", "lstm"))),
            NAN, NAN, NAN,
        )
        for feature in errors.features
        for step in (*errors.horizons, AVERAGE)
    }  # fmt: skip
    return make_differences(between, tested=False, days=2)


def with_intervals(errors: Errors, margin: float) -> Differences:
    """The differences of the errors themselves, with intervals this wide on both sides."""
    between = {
        key: Difference(
            d.change,
            d.change - margin,
            d.change + margin,
            0.5 if abs(d.change) <= margin else 0.01,
        )
        for key, d in without_intervals(errors).between.items()
    }
    return make_differences(between)


def sentence_of(difference: Difference, step: int = 12) -> str:
    errors = pair([10.0] * 12, [9.69] * 12, [12.0] * 12)
    return verdicts.difference_sentence(
        errors, make_differences({("total_volume", step): difference}), "total_volume", step
    )


def test_a_difference_with_its_interval_and_test() -> None:
    assert sentence_of(Difference(-0.031, -0.049, -0.012, 0.002)) == (
        "total_volume, 60 min ahead: xLSTM 3.1 % lower MAE than LSTM "
        "(95 % interval 1.2 to 4.9 %, DM p = 0.002)."
    )
    assert sentence_of(Difference(0.25, 0.1, 0.4, 0.00001), AVERAGE) == (
        "total_volume, averaged over horizons: xLSTM 25.0 % higher MAE than LSTM "
        "(95 % interval 10.0 to 40.0 %, DM p < 0.001)."
    )


def test_an_interval_that_holds_zero_is_no_difference_beyond_chance() -> None:
    assert sentence_of(Difference(-0.031, -0.064, 0.002, 0.071)) == (
        "total_volume, 60 min ahead: no difference beyond chance; xLSTM's MAE is 3.1 % lower than "
        "LSTM's (95 % interval −6.4 to +0.2 %, DM p = 0.071)."
    )


def test_without_an_interval_the_sentence_says_so() -> None:
    assert sentence_of(Difference(-0.031, NAN, NAN, 0.2)) == (
        "total_volume, 60 min ahead: xLSTM 3.1 % lower MAE than LSTM "
        "(no interval, the test days are too few)."
    )
    nothing = pair([NAN], [NAN], [NAN])
    assert verdicts.difference_details(nothing, without_intervals(nothing)) == [
        "total_volume, 5 min ahead: not compared, no test value is observed."
    ]


def test_details_have_the_average_and_the_last_horizon() -> None:
    errors = pair([10.0] * 12, [9.0] * 12, [12.0] * 12)
    average, last = verdicts.difference_details(errors, with_intervals(errors, 0.05))
    assert average.startswith("total_volume, averaged over horizons: xLSTM 10.0 % lower")
    assert last.startswith("total_volume, 60 min ahead: xLSTM 10.0 % lower")
    one = pair([10.0], [9.0], [12.0])
    [only] = verdicts.difference_details(one, with_intervals(one, 0.05))
    assert only.startswith("total_volume, 5 min ahead: ")


@pytest.mark.parametrize(
    ("p_value", "words"),
    [(0.002, "= 0.002"), (0.0123, "= 0.012"), (1.0, "= 1"), (0.0, "< 0.001"), (NAN, "undefined")],
)
def test_p_values_in_words(p_value: float, words: str) -> None:
    assert verdicts.p_in_words(p_value) == words


def test_without_enough_test_days_nothing_is_called_better() -> None:
    errors = pair([10.0], [5.0], [20.0])
    assert verdicts.networks_headline(errors, without_intervals(errors)) == (
        "**Too few test days for a verdict**: 2 days with at least half of the origins scored, it "
        "takes 5."
    )


def test_tested_the_interval_decides_however_small_the_difference() -> None:
    errors = pair([10.0], [9.95], [20.0])
    assert verdicts.networks_headline(errors, with_intervals(errors, 0.004)) == (
        "**xLSTM forecasts better than LSTM** on total_volume."
    )
    errors = pair([10.0], [8.0], [20.0])
    assert verdicts.networks_headline(errors, with_intervals(errors, 0.3)) == (
        "**No difference between LSTM and xLSTM is beyond chance**, on any target feature."
    )


def test_a_headline_for_every_outcome() -> None:
    def headline(lstm: Sequence[float], xlstm: Sequence[float], margin: float = 0.2) -> str:
        errors = by_feature(lstm=lstm, xlstm=xlstm, persistence=[10.0] * 3)
        return verdicts.networks_headline(errors, with_intervals(errors, margin))

    assert headline([2, 2, 2], [1, 1, 1]) == (
        "**xLSTM forecasts better than LSTM** on every target feature."
    )
    assert headline([1, 1, 2], [2, 1, 2]) == (
        "**LSTM forecasts better than xLSTM** on avg_speed; "
        "no difference beyond chance on total_volume and avg_occupancy."
    )
    assert headline([1, 2, 2], [2, 1, 2]) == (
        "**Neither is better throughout**: LSTM on avg_speed, xLSTM on total_volume; "
        "no difference beyond chance on avg_occupancy."
    )
    assert headline([1, 2, 2], [2, 1, 1]) == (
        "**Neither is better throughout**: LSTM on avg_speed, xLSTM on total_volume and "
        "avg_occupancy."
    )
    assert headline([1, 2, NAN], [1.1, 2, 3]) == (
        "**No difference between LSTM and xLSTM is beyond chance**, on any target feature."
    )
    nothing = [NAN] * 3
    assert headline(nothing, nothing).startswith("**Nothing could be compared**")


def test_features_without_an_interval_are_named_in_the_headline() -> None:
    errors = by_feature(lstm=[2, 2, 2], xlstm=[1, 1, 2], persistence=[9, 9, 9])
    between = dict(with_intervals(errors, 0.2).between)
    for feature in ("total_volume", "avg_occupancy"):
        between[feature, AVERAGE] = without_intervals(errors).between[feature, AVERAGE]
    found = make_differences(between)
    found = replace(found, days={"avg_speed": 14, "total_volume": 3, "avg_occupancy": 1})
    assert verdicts.networks_headline(errors, found) == (
        "**xLSTM forecasts better than LSTM** on avg_speed. On total_volume and avg_occupancy the "
        "test days are too few for a verdict: 3 days with at least half of the origins scored, it "
        "takes 5."
    )


def test_an_error_of_zero_has_no_relative_difference() -> None:
    errors = pair([0.0], [1.0], [2.0])
    differences = make_differences(
        dict.fromkeys(
            [("total_volume", 1), ("total_volume", AVERAGE)], Difference(NAN, NAN, NAN, 0)
        )
    )
    assert verdicts.networks_headline(errors, differences) == (
        "**Nothing could be compared**: LSTM's error is zero."
    )
    assert verdicts.difference_details(errors, differences) == [
        "total_volume, 5 min ahead: not compared, LSTM's error is zero."
    ]


def test_a_baseline_winning_anywhere_is_said() -> None:
    errors = pair([1.2, 1.0, 1.0], [1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    assert verdicts.baseline_wins(errors) == [
        "total_volume: persistence beats LSTM 5 min ahead (step 1) and xLSTM at every horizon."
    ]
    errors = pair([0.5, 0.5, 9.0], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0])
    assert verdicts.baseline_wins(errors) == [
        "total_volume: persistence beats LSTM averaged over horizons and 15 min ahead (step 3)."
    ]
    assert verdicts.baseline_wins(pair([1.0], [1.0], [2.0])) == []
    errors = by_feature(lstm=[2, 2, 2], xlstm=[1, 3, 2], persistence=[9, 9, 9], ridge=[1.5, 1, 2])
    assert verdicts.baseline_wins(errors) == [
        "avg_speed: ridge beats LSTM averaged over horizons and 5 min ahead (step 1).",
        "total_volume: ridge beats LSTM averaged over horizons and 5 min ahead (step 1) and xLSTM "
        "averaged over horizons and 5 min ahead (step 1).",
    ]


def test_claims_are_not_bold_where_the_test_days_are_too_few() -> None:
    mae = {"lstm": {"avg_speed": [2.0]}, "persistence": {"avg_speed": [1.0]}}
    errors = make_errors(mae, days=4)
    too_few = "but 4 test days are too few for a verdict."
    assert verdicts.baselines_headline(errors) == (
        f"Persistence beats the network on avg_speed, averaged over horizons, {too_few}"
    )
    assert verdicts.against_persistence(errors, "lstm") == (
        f"LSTM does not beat persistence on any target feature, {too_few}"
    )
    assert "**" in verdicts.baselines_headline(make_errors(mae, days=5))


def test_baselines_that_beat_both_networks_make_a_headline() -> None:
    def headline(persistence: Sequence[float], ridge: Sequence[float]) -> str:
        errors = by_feature(lstm=[2, 2, 2], xlstm=[3, 1, 2], persistence=persistence, ridge=ridge)
        return verdicts.baselines_headline(errors)

    assert headline([9, 9, 9], [2.5, 1.5, 1.99]) == ""
    assert headline([9, 9, 9], [1.5, 1.5, 1]) == (
        "**Ridge beats both networks** on avg_speed and avg_occupancy, averaged over horizons."
    )
    # The better one of two that beat both is named.
    assert headline([1.5, 0.5, 9], [1, 0.9, 9]) == (
        "**Ridge beats both networks** on avg_speed, averaged over horizons. "
        "**Persistence beats both networks** on total_volume, averaged over horizons."
    )
    errors = by_feature(lstm=[2, 2, NAN], xlstm=[NAN, NAN, NAN], persistence=[1, 3, 3])
    assert verdicts.baselines_headline(errors) == (
        "**Persistence beats both networks** on avg_speed, averaged over horizons."
    )


def test_seed_noise_is_covered_by_several_seeds_only() -> None:
    once = verdicts.seed_caveat({"LSTM": [42], "xLSTM": [42]})
    assert once.startswith("Each model was trained once (seed 42). Seed noise is not covered")
    assert "(seeds 1 and 2)" in verdicts.seed_caveat({"LSTM": [2], "xLSTM": [1]})
    assert verdicts.seed_caveat({"LSTM": [1, 2, 3], "xLSTM": [1, 2, 3]}).startswith(
        "Each model was trained 3 times (seeds 1, 2 and 3); errors are means over them, ± their "
        "standard deviation."
    )
    mixed = verdicts.seed_caveat({"LSTM": [1, 2], "xLSTM": [1]})
    assert mixed.startswith("Trained with several seeds (LSTM 2 times and xLSTM 1 time); errors")


def test_the_headline_of_an_experiment_names_what_it_does_not_beat() -> None:
    def headline(*values: float) -> str:
        errors = make_errors(
            {
                "lstm": {f: [v] for f, v in zip(UNITS, values, strict=True)},
                "persistence": {f: [v * 0 + 10] for f, v in zip(UNITS, values, strict=True)},
            }
        )
        return verdicts.against_persistence(errors, "lstm")

    assert headline(8, 8, 8) == (
        "**LSTM beats persistence on every target feature**, averaged over all horizons."
    )
    assert headline(8, 11, 10) == (
        "**LSTM beats persistence on avg_speed, but not on total_volume and avg_occupancy**, "
        "averaged over all horizons."
    )
    assert headline(11, 12, 13) == "**LSTM does not beat persistence** on any target feature."
    assert "practically equal to persistence" in headline(10, 10, 10)
    assert headline(8, 8, NAN).endswith(
        "avg_occupancy could not be scored: no test value is observed."
    )
    assert "could not be scored" in headline(NAN, NAN, NAN)


def test_an_experiment_names_the_horizons_it_loses_at() -> None:
    errors = make_errors(
        {
            "xlstm": {"avg_speed": [2.0, 2.0, 2.0, 2.0]},
            "persistence": {"avg_speed": [1.0, 1.5, 3.0, 4.5]},
        }
    )
    assert verdicts.persistence_details(errors, "xlstm") == [
        "avg_speed: MAE 2.00 km/h, 20.0 % lower than persistence's (2.50), averaged over horizons; "
        "persistence has the lower error 5 to 10 min ahead (steps 1 to 2)."
    ]


def test_the_better_network_is_bold_and_a_better_persistence_is_marked() -> None:
    assert beside_persistence([2.0, 1.9], 3.0) == ["2.00", "**1.90**", "3.00"]
    assert beside_persistence([2.0, 1.99], 3.0) == ["2.00", "1.99", "3.00"]
    assert beside_persistence([2.0, 1.9], 1.0) == ["2.00", "**1.90**", "1.00 †"]
    assert beside_persistence([2.0, 0.9], 1.0) == ["2.00", "**0.900**", "1.00"]
    assert beside_persistence([NAN, 1.9], 3.0) == ["–", "1.90", "3.00"]
    assert beside_persistence([NAN, NAN], NAN) == ["–", "–", "–"]


def test_a_deviation_has_the_places_of_its_value() -> None:
    assert with_sd(2.3149, 0.0512) == "2.31 ± 0.05"
    assert with_sd(14.5, 0.0123) == "14.5 ± 0.01"
    assert with_sd(14.5, 0.0) == "14.5 ± 0.0"
    assert with_sd(1234.4, 12.6) == "1,234 ± 13"
    assert with_sd(2.3149, NAN) == "2.31"
    assert with_sd(NAN, NAN) == with_sd(NAN, 0.1) == "–"


errors_of_all = st.floats(min_value=0, max_value=1e6) | st.just(NAN)


@given(
    st.lists(st.tuples(errors_of_all, errors_of_all, errors_of_all), min_size=1, max_size=6),
    st.none() | st.floats(min_value=1e-6, max_value=2),
)
def test_words_agree_with_the_numbers(
    rows: list[tuple[float, float, float]], margin: float | None
) -> None:
    lstm, xlstm, persistence = zip(*rows, strict=True)
    errors = pair(lstm, xlstm, persistence)
    differences = without_intervals(errors) if margin is None else with_intervals(errors, margin)
    details = verdicts.difference_details(errors, differences)
    headline = verdicts.networks_headline(errors, differences)
    wins = verdicts.baseline_wins(errors)
    first = verdicts.baselines_headline(errors)
    one, two, reference = np.mean(lstm), np.mean(xlstm), np.mean(persistence)
    of_average = details[0]
    number_of_both = math.isfinite(change(two, one))
    assert ("not compared" in of_average) == (not number_of_both)
    assert ("Nothing could be compared" in headline) == (not number_of_both)
    if "lower" in of_average:
        assert two <= one
        assert "**LSTM forecasts better" not in headline
    if "higher" in of_average:
        assert two >= one
        assert "**xLSTM forecasts better" not in headline
    if "forecasts better" in headline:
        assert "no difference beyond chance" not in of_average
        better, worse = (two, one) if "**xLSTM" in headline else (one, two)
        assert better < worse
        size = abs(differences.between["total_volume", AVERAGE].change)
        assert size > (0.0099 if margin is None else 0.999 * margin)
    elif number_of_both and margin is not None:
        assert "no difference beyond chance" in of_average
        assert "No difference between LSTM and xLSTM is beyond chance" in headline
    assert ("Too few test days" in headline) == (number_of_both and margin is None)
    for sentence in wins:
        for model, values in (("LSTM", lstm), ("xLSTM", xlstm)):
            if f" {model} " in sentence:
                worse_at = [p < v for v, p in zip(values, persistence, strict=True)]
                assert any(worse_at) or reference < np.mean(values)
    defined = [value for value in (one, two) if math.isfinite(value)]
    if first:
        assert reference < min(defined)
        assert wins
    assert "nan" not in f"{details}{headline}{wins}{first}"


def test_a_diverged_network_is_not_taken_for_missing_truths() -> None:
    errors = pair([NAN], [1.0], [2.0])
    assert errors.count("total_volume") == 1
    diverged = "a network's forecasts are not all numbers, its training diverged"
    # What is left of its losses does not count as a comparison.
    between = dict.fromkeys(without_intervals(errors).between, Difference(-0.5, -0.6, -0.4, 0.01))
    for differences in (without_intervals(errors), make_differences(between)):
        assert verdicts.difference_details(errors, differences) == [
            f"total_volume, 5 min ahead: not compared, {diverged}."
        ]
        assert verdicts.networks_headline(errors, differences) == (
            f"**Nothing could be compared**: {diverged}."
        )
    assert "diverged" in verdicts.against_persistence(errors, "lstm")


def tally_of(margin: float | None, **by_mode: Errors) -> str:
    return verdicts.tally(
        by_mode,
        {
            mode: without_intervals(errors) if margin is None else with_intervals(errors, margin)
            for mode, errors in by_mode.items()
        },
    )


def test_interval_and_test_must_agree() -> None:
    assert verdicts.decided(Difference(-0.03, -0.05, -0.01, 0.04)) == -1
    assert verdicts.decided(Difference(0.03, 0.01, 0.05, 0.04)) == 1
    assert verdicts.decided(Difference(-0.03, -0.05, -0.01, 0.06)) == 0
    assert verdicts.decided(Difference(-0.03, -0.07, 0.01, 0.001)) == 0
    assert verdicts.decided(Difference(-0.03, -0.05, -0.01, NAN)) == 0
    assert verdicts.decided(Difference(-0.03, -0.05, -0.01, 0.06, size=0.1)) == -1


def test_the_tally_counts_pairs_and_identical_modes_once() -> None:
    better = pair([2.0], [1.0], [3.0])
    worse = pair([1.0], [2.0], [3.0])
    assert tally_of(0.1, single_vd=better, multi_vd=worse, independent_multi_vd=better) == (
        "**LSTM and xLSTM are even**: of 2 pairs of mode and feature, each has the lower MAE "
        "beyond chance in 1. independent_multi_vd came out identical to single_vd and is counted "
        "once: where both train a model on the same detector alone with the same settings, they "
        "are the same experiment."
    )
    equal = pair([2.0], [2.0], [3.0])
    assert tally_of(0.1, single_vd=better, multi_vd=equal) == (
        "**xLSTM has the lower MAE beyond chance in 1 of 2 pairs of mode and feature**, LSTM in 0; "
        "in 1 no difference is beyond chance."
    )
    assert tally_of(None, single_vd=better, multi_vd=equal) == (
        "**Too few test days for a verdict**: of 2 pairs of mode and feature, LSTM has the lower "
        "MAE in 0, xLSTM in 1; in 1 they are practically equal."
    )
    assert tally_of(0.1, single_vd=equal) == (
        "**No difference between LSTM and xLSTM is beyond chance**, in 1 pair of mode and feature."
    )
    nothing = pair([NAN], [NAN], [NAN])
    assert tally_of(None, single_vd=nothing).startswith("**Nothing could be compared**")


def test_the_best_of_all_stands_beside_persistence() -> None:
    by_mode = {
        "single_vd": pair([2.0], [1.5], [3.0]),
        "multi_vd": pair([1.51], [2.5], [3.0]),
    }
    assert verdicts.best_of(by_mode, "total_volume") == (
        "total_volume: the lowest MAE is single_vd xLSTM's, 1.50 veh/5 min, 50.0 % lower than "
        "persistence's (3.00); multi_vd LSTM is practically equal; the highest is multi_vd "
        "xLSTM's, 2.50."
    )
    assert "yet persistence's is lower (1.00)" in verdicts.best_of(
        {"single_vd": pair([2.0], [1.5], [1.0])}, "total_volume"
    )
