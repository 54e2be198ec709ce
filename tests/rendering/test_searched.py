"""Pages say which settings were searched, and for how long."""

from dataclasses import replace
from typing import Any

import pytest

from tests.make.artefacts import make_outcome, make_predictions
from tests.make.searches import make_tuned
from vd_forecasting.artefacts import Outcome, Tuned
from vd_forecasting.pipelines.reporting.scores import gather_outcome
from vd_forecasting.rendering import searched


def outcome(model: str, tuned: dict[str, Any] | None = None, mode: str = "single_vd") -> Outcome:
    """Of an experiment whose settings were given, or are the best of a search."""
    predictions = make_predictions(mode, model, vdids=["A"], origins=30, horizons=2)
    made = make_outcome(predictions, epochs=2)
    return made if tuned is None else replace(made, tuned=make_tuned(f"{mode}_{model}", **tuned))


def of_experiment(tuned: dict[str, Any] | None = None) -> str:
    made = outcome("lstm", tuned)
    return searched.of_experiment(made.config, made.tuned)


def of_mode(lstm: dict[str, Any] | None, xlstm: dict[str, Any] | None) -> str:
    return searched.of_mode({"lstm": outcome("lstm", lstm), "xlstm": outcome("xlstm", xlstm)})


FEWER = {"complete": 5, "pruned": 7, "failed": 0, "seconds": 1201.0}


def test_nothing_is_said_where_settings_were_given() -> None:
    assert of_mode(None, None) == ""
    assert of_experiment() == ""
    assert searched.of_modes({"single_vd_lstm": outcome("lstm")}) == []


def test_trials_and_time_of_both_are_named_and_which_of_them_was_equal() -> None:
    assert of_mode({}, FEWER) == (
        "Settings: LSTM best of 40 trials (19 min 50 s of training); xLSTM best of 12 trials "
        "(20 min 1 s of training), by validation loss; both had the same time, 20 min."
    )
    trials = {"budget": {"trials": 40}}
    assert of_mode(trials, trials).endswith(
        "both had the same number of trials, whatever time these take."
    )


def test_a_budget_that_differs_and_a_search_of_one_alone_are_unfair_and_named() -> None:
    assert "**they had different budgets**" in of_mode({}, {"budget": {"seconds": 60}})
    only = of_mode(None, FEWER)
    assert only.startswith(
        "**Only the settings of xLSTM are known to have been searched** (xLSTM best of 12 trials"
    )
    assert "those of LSTM were given" in only


@pytest.mark.parametrize(
    "other",
    [
        {"seconds": 600.0},
        {"seconds": 1400.0},  # such as of the settings given, which have no limit
        {"budget": {"trials": 41}},
    ],
)
def test_a_budget_that_was_not_what_was_used_is_no_equal_one(other: dict[str, Any]) -> None:
    same = {"budget": other["budget"]} if "budget" in other else {}
    assert "**they had different budgets**" in of_mode(same, other)


def test_days_of_the_test_split_that_the_search_has_seen_stand_in_bold() -> None:
    """Its first window begins at 9:35 and has 20 steps of 5 min; then comes what is forecast."""
    assert of_experiment({"until": "2026-03-24T11:10:00"}).endswith("`.")
    seen = {"until": "2026-03-24T11:15:00"}
    bold = "**The search for the settings of LSTM has seen a part of the test split**"
    assert bold in of_experiment(seen)
    assert bold in of_mode(seen, {})
    assert bold not in of_mode({}, {})


def test_another_file_that_was_searched_is_named() -> None:
    text = of_mode({}, {"source": "other.h5", "until": "2026-12-31T00:00:00"})
    assert text.endswith("The settings of xLSTM were searched on `other.h5`.")


def test_modes_that_were_not_searched_stand_beside_those_that_were() -> None:
    outcomes = {
        "single_vd_lstm": outcome("lstm", {}),
        "single_vd_xlstm": outcome("xlstm", {}),
        "multi_vd_lstm": outcome("lstm", mode="multi_vd"),
    }
    first, second = searched.of_modes(outcomes)
    assert first.startswith("`single_vd`: Settings: LSTM best of 40 trials")
    assert second == "`multi_vd`: the settings were given, not searched."


@pytest.mark.parametrize("rate", [0.002, 0.003])
def test_a_search_counts_only_if_the_network_was_trained_with_its_settings(rate: float) -> None:
    made = outcome("lstm")
    config = made.config.model_copy(
        update={
            "model_parameters": {**made.config.model_parameters, "dropout": 0.2},
            "training": made.config.training.model_copy(update={"learning_rate": rate}),
        }
    )
    record: Tuned = make_tuned(config.experiment)
    parts = (made.history, made.cost, made.fit_errors, made.forecasts, made.validation)
    assert gather_outcome(config, *parts, True).tuned is None
    found = gather_outcome(config, *parts, record.model_dump(mode="json")).tuned
    assert found == (record if rate == 0.002 else None)
