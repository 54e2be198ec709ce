"""Verdicts made from errors that are given, so that the right words are known."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from vd_forecasting.metrics import METRICS
from vd_forecasting.pipelines.reporting import verdicts
from vd_forecasting.pipelines.reporting.comprehensive_page import best_of, tally
from vd_forecasting.pipelines.reporting.errors import Errors
from vd_forecasting.pipelines.reporting.style import NAMES
from vd_forecasting.pipelines.reporting.tables import beside_persistence

UNITS = {"avg_speed": "km/h", "total_volume": "veh/5 min", "avg_occupancy": "%"}


def make_errors(mae: Mapping[str, Mapping[str, Sequence[float]]]) -> Errors:
    """Errors from the MAE by horizon of each model and feature; averages weigh horizons alike."""
    models = list(mae)
    features = list(mae[models[0]])
    values = np.array([[mae[model][feature] for feature in features] for model in models])
    dims = ("model", "feature", "horizon")
    by_horizon = xr.Dataset(
        dict.fromkeys((*METRICS, "mape_left_out"), (dims, values))
        | {"n": (dims, np.isfinite(values).astype(int))},
        coords={
            "model": models,
            "feature": features,
            "horizon": np.arange(1, values.shape[-1] + 1),
        },
    )
    average = by_horizon.mean("horizon", skipna=False).assign(n=by_horizon["n"].sum("horizon"))
    return Errors(by_horizon, average, UNITS, 5.0)


def pair(lstm: Sequence[float], xlstm: Sequence[float], persistence: Sequence[float]) -> Errors:
    return make_errors(
        {
            "lstm": {"total_volume": lstm},
            "xlstm": {"total_volume": xlstm},
            "persistence": {"total_volume": persistence},
        }
    )


def test_the_difference_of_both_networks_and_both_against_persistence() -> None:
    [sentence] = verdicts.network_details(pair([10.0, 20.0], [9.69, 19.38], [12.0, 24.0]))
    assert sentence == (
        "total_volume: xLSTM's MAE is 3.1 % lower than LSTM's, averaged over horizons "
        "(14.5 against 15.0 veh/5 min); both beat persistence (18.0)."
    )


@pytest.mark.parametrize(
    ("lstm", "xlstm", "words"),
    [
        (8.0, 12.0, "LSTM beats persistence, xLSTM loses to it (10.0)."),
        (12.0, 13.0, "both lose to persistence (10.0)."),
        (10.05, 9.95, "both are practically equal to persistence (10.0)."),
        (10.05, 5.0, "LSTM is practically equal to persistence, xLSTM beats it (10.0)."),
    ],
)
def test_networks_against_persistence(lstm: float, xlstm: float, words: str) -> None:
    [sentence] = verdicts.network_details(pair([lstm], [xlstm], [10.0]))
    assert sentence.endswith(words)


def test_a_difference_below_one_percent_is_practically_equal() -> None:
    errors = pair([10.0], [9.91], [20.0])
    assert "practically equal to LSTM's" in verdicts.network_details(errors)[0]
    assert "LSTM and xLSTM are practically equal" in verdicts.networks_headline(errors)
    assert "forecasts better" in verdicts.networks_headline(pair([10.0], [9.89], [20.0]))


def test_a_headline_for_every_outcome() -> None:
    def headline(lstm: Sequence[float], xlstm: Sequence[float]) -> str:
        features = list(UNITS)
        return verdicts.networks_headline(
            make_errors(
                {
                    "lstm": {f: [value] for f, value in zip(features, lstm, strict=True)},
                    "xlstm": {f: [value] for f, value in zip(features, xlstm, strict=True)},
                    "persistence": {f: [10.0] for f in features},
                }
            )
        )

    assert headline([2, 2, 2], [1, 1, 1]) == (
        "**xLSTM forecasts better than LSTM** on every target feature."
    )
    assert headline([1, 1, 2], [2, 1, 2]) == (
        "**LSTM forecasts better than xLSTM** on avg_speed; "
        "practically equal on total_volume and avg_occupancy."
    )
    assert headline([1, 2, 2], [2, 1, 2]) == (
        "**Neither is better throughout**: LSTM on avg_speed, xLSTM on total_volume; "
        "practically equal on avg_occupancy."
    )
    assert headline([12, 12, 12], [11, 11, 11]).startswith("**Neither network beats persistence**")
    nothing = [math.nan] * 3
    assert headline(nothing, nothing).startswith("**Nothing could be compared**")


def test_persistence_winning_anywhere_is_said() -> None:
    errors = pair([1.2, 1.0, 1.0], [1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    assert verdicts.persistence_wins(errors) == [
        "total_volume: persistence beats LSTM 5 min ahead (step 1).",
        "total_volume: persistence beats xLSTM at every horizon.",
    ]
    errors = pair([0.5, 0.5, 9.0], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0])
    assert verdicts.persistence_wins(errors) == [
        "total_volume: persistence beats LSTM averaged over horizons and 15 min ahead (step 3)."
    ]
    assert verdicts.persistence_wins(pair([1.0], [1.0], [2.0])) == []


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
    assert headline(8, 8, math.nan).endswith(
        "avg_occupancy could not be scored: no test value is observed."
    )
    assert "could not be scored" in headline(math.nan, math.nan, math.nan)


def test_an_experiment_tells_the_horizons_it_loses_at() -> None:
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
    assert beside_persistence([math.nan, 1.9], 3.0) == ["–", "1.90", "3.00"]
    assert beside_persistence([math.nan, math.nan], math.nan) == ["–", "–", "–"]


errors_of_all = st.floats(min_value=0, max_value=1e6) | st.just(math.nan)


@given(st.lists(st.tuples(errors_of_all, errors_of_all, errors_of_all), min_size=1, max_size=6))
def test_words_agree_with_the_numbers(rows: list[tuple[float, float, float]]) -> None:
    lstm, xlstm, persistence = zip(*rows, strict=True)
    errors = pair(lstm, xlstm, persistence)
    [details] = verdicts.network_details(errors)
    headline = verdicts.networks_headline(errors)
    wins = verdicts.persistence_wins(errors)
    one, two = np.mean(lstm), np.mean(xlstm)
    assert ("not compared" in details) == (math.isnan(one) or math.isnan(two))
    if "lower than LSTM's" in details:
        assert two < one
        assert "**xLSTM forecasts better" in headline
    if "higher than LSTM's" in details:
        assert two > one
        assert "**LSTM forecasts better" in headline
    for sentence in wins:
        model = next(m for m in ("xlstm", "lstm") if f"beats {NAMES[m]} " in sentence)
        values = lstm if model == "lstm" else xlstm
        worse = [p < v for v, p in zip(values, persistence, strict=True)]
        assert any(worse) or np.mean(persistence) < np.mean(values)
    assert "nan" not in f"{details}{headline}{wins}"


def test_a_diverged_network_is_not_taken_for_missing_truths() -> None:
    errors = pair([math.nan], [1.0], [2.0])
    assert errors.count("total_volume") == 1
    assert "diverged" in verdicts.network_details(errors)[0]
    assert "diverged" in verdicts.networks_headline(errors)
    assert "diverged" in verdicts.against_persistence(errors, "lstm")


def test_the_tally_counts_pairs_and_identical_modes_once() -> None:
    better = pair([2.0], [1.0], [3.0])
    worse = pair([1.0], [2.0], [3.0])
    assert tally({"single_vd": better, "multi_vd": worse, "independent_multi_vd": better}) == (
        "**LSTM and xLSTM are even**: of 2 pairs of mode and feature, each has the lower MAE in 1. "
        "independent_multi_vd came out identical to single_vd and is counted once: where both "
        "train a model on the same VD alone with the same settings, they are the same experiment."
    )
    equal = pair([2.0], [2.0], [3.0])
    assert tally({"single_vd": better, "multi_vd": equal}) == (
        "**xLSTM has the lower MAE in 1 of 2 pairs of mode and feature**, LSTM in 0; "
        "in 1 they are practically equal."
    )


def test_the_best_of_all_is_told_with_its_gain() -> None:
    by_mode = {
        "single_vd": pair([2.0], [1.5], [3.0]),
        "multi_vd": pair([1.51], [2.5], [3.0]),
    }
    assert best_of(by_mode, "total_volume") == (
        "total_volume: the lowest MAE is single_vd xLSTM's, 1.50 veh/5 min, 50.0 % lower than "
        "persistence's (3.00); multi_vd LSTM is practically equal; the highest is multi_vd "
        "xLSTM's, 2.50."
    )
    assert "yet persistence's is lower (1.00)" in best_of(
        {"single_vd": pair([2.0], [1.5], [1.0])}, "total_volume"
    )
