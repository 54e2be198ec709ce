"""``global_vd`` beside the six experiments: taken in if made of the same data, else named."""

from typing import Any

import pandas as pd
import pytest
import xarray as xr

from tests.make.artefacts import make_baselines, make_outcome, make_predictions, make_validation
from tests.make.parameters import INTERVALS, REPORT, make_evaluation
from vd_forecasting.artefacts import BaselineForecasts, Outcome
from vd_forecasting.datasets import Frames
from vd_forecasting.pipelines.reporting.across_modes import Found, compare_modes, concatenate_scores
from vd_forecasting.pipelines.reporting.global_mode import (
    ARTEFACTS,
    gather_global,
    take_in_global,
)
from vd_forecasting.pipelines.reporting.pages.comprehensive import write_comprehensive
from vd_forecasting.running.failure import NOT_RUN, Failure
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS

SHAPE: dict[str, Any] = {"origins": 48, "interval_minutes": 60.0, "horizons": 2}
ALL_VDIDS = ["A", "B", "C"]
AGAIN = "make it anew: `kedro run --pipeline compare_global_vd`"
NEVER = Failure("global_vd", "kedro run --namespace compare_global_vd", NOT_RUN)


def outcome(name: str, vdids: list[str], **shape: Any) -> Outcome:
    return make_outcome(make_predictions(*name.rsplit("_", 1), vdids=vdids, **SHAPE | shape))


@pytest.fixture(scope="module")
def six() -> Found:
    outcomes = {
        name: outcome(name, ["B"] if name.startswith("single_vd") else ["A", "B"])
        for name in EXPERIMENTS
    }
    return Found(
        outcomes, {}, {}, {"single_vd": Frames.joined([[pd.DataFrame({"mode": ["single_vd"]})]])}
    )


def parts_of(vdids: list[str], **shape: Any) -> dict[str, Any]:
    """What a node gets of the files of ``global_vd``."""
    parts: dict[str, Any] = {}
    for model in MODELS:
        found = outcome(f"global_vd_{model}", vdids, **shape)
        of_model = (
            *(found.config, found.history, found.cost, found.fit_errors),
            *(found.forecasts, found.validation),
        )
        parts |= {f"{model}_{name}": part for name, part in zip(ARTEFACTS, of_model, strict=True)}
    baselines = make_baselines(parts["lstm_predictions"].data.isel(block=0, drop=True))
    return parts | {
        "baselines": BaselineForecasts.from_xarray(baselines),
        "baselines_validation": BaselineForecasts.from_xarray(make_validation(baselines)),
    }


def taken(six: Found, parts: dict[str, Any]) -> Found:
    return take_in_global(six, gather_global(make_evaluation(), INTERVALS, **parts))


def reason(six: Found, parts: dict[str, Any]) -> str:
    """Why it is left out, as the page says in one line; the six stay as they are."""
    found = taken(six, parts)
    assert found.outcomes == six.outcomes
    assert found.scores == six.scores
    page = write_comprehensive(found, compare_modes(found, make_evaluation()), REPORT).text
    assert found.left_out in page.splitlines()
    assert page.count("global_vd") == found.left_out.count("global_vd")
    return found.left_out.removeprefix("`global_vd` is not compared here: ")


def test_one_of_the_same_data_stands_in_every_table_on_the_detectors_of_all(six: Found) -> None:
    found = taken(six, parts_of(ALL_VDIDS))
    across = compare_modes(found, make_evaluation())
    assert {of_mode.vdids[0] for of_mode in across.modes.by_mode.values()} == {"B"}
    own = found.outcomes["global_vd_lstm"].forecasts.data.sel(vd="B", feature="avg_speed")
    by_hand = abs(own["prediction"] - own["truth"]).mean().item()
    assert across.errors["global_vd"].at("mae", "lstm", "avg_speed") == pytest.approx(by_hand)
    page = write_comprehensive(found, across, REPORT).text
    for row in ("| global_vd LSTM |", "| global_vd xLSTM |", "| global_vd ridge |"):
        assert row in page
    for path in ("global_vd_lstm_vs_xlstm.md", "../global_vd_xlstm/training_report.md"):
        assert f"]({path})" in page
    assert "of 12 pairs of mode and feature" in page
    assert found.left_out == ""
    scores = pd.concat(concatenate_scores(found))
    assert set(scores["mode"]) == {"single_vd", "global_vd"}
    assert set(scores.query("mode == 'global_vd'")["vdid"].dropna()) == {*ALL_VDIDS}


def test_what_never_ran_is_not_mentioned(six: Found) -> None:
    found = taken(six, dict.fromkeys(parts_of(ALL_VDIDS), NEVER))
    assert found == six


def test_what_is_not_whole_is_named_with_the_command(six: Found) -> None:
    missing = Failure("global_vd_xlstm.train", "kedro run --namespace global_vd_xlstm", NOT_RUN)
    parts = {
        name: missing if name.startswith("xlstm") else part
        for name, part in parts_of(ALL_VDIDS).items()
    }
    told = "`global_vd_xlstm.train` has not run, `kedro run --namespace global_vd_xlstm`."
    assert reason(six, parts) == told


def test_a_training_that_failed_is_named_though_nothing_of_it_is_there(six: Found) -> None:
    failed = Failure("global_vd_lstm.train", "out of memory")
    parts = {name: failed if name.startswith("lstm") else NEVER for name in parts_of(ALL_VDIDS)}
    assert reason(six, parts) == "`global_vd_lstm.train` failed, `out of memory`."


def test_parts_of_different_runs_are_named(six: Found) -> None:
    parts = parts_of(ALL_VDIDS) | {"lstm_predictions": parts_of(["A"])["lstm_predictions"]}
    assert "are of different runs: vdids" in reason(six, parts)


def with_config(parts: dict[str, Any], **changed: Any) -> dict[str, Any]:
    configs = {
        name: part.model_copy(update=changed)
        for name, part in parts.items()
        if name.endswith("config")
    }
    return parts | configs


def test_another_detector_file_is_named(six: Found) -> None:
    told = f"its detector file is other.h5, that of the other modes vd_sample.h5; {AGAIN}."
    assert reason(six, parts_of(ALL_VDIDS, source="other.h5")) == told


def test_another_split_is_named(six: Found) -> None:
    split = six.outcomes["single_vd_lstm"].config.split
    earlier = split["test"].model_copy(update={"start": "2026-03-23T00:00:00"})
    parts = with_config(parts_of(ALL_VDIDS), split=split | {"test": earlier})
    told = "its test split is 2026-03-23T00:00:00 to 2026-03-29T23:55:00, that of the other modes"
    assert reason(six, parts).startswith(told)


def test_another_number_of_test_blocks_is_named(six: Found) -> None:
    split = six.outcomes["single_vd_lstm"].config.split
    parts = with_config(parts_of(ALL_VDIDS), earlier={1: split})
    told = f"its number of test blocks is 2, that of the other modes 1; {AGAIN}."
    assert reason(six, parts) == told


def changed(parts: dict[str, Any], name: str, by: xr.DataArray | float) -> dict[str, Any]:
    """The same with other values in the forecasts' file of both networks."""
    return parts | {
        f"{model}_predictions": type(of)(of.data.assign({name: of.data[name] + by}))
        for model in MODELS
        for of in [parts[f"{model}_predictions"]]
    }


def test_other_training_values_of_a_shared_detector_are_found(six: Found) -> None:
    vd = xr.DataArray([0.0, 1e-4, 0.0], coords={"vd": ALL_VDIDS})
    told = f"its cleaned data are others: another mase_scale in the training split; {AGAIN}."
    assert reason(six, changed(parts_of(ALL_VDIDS), "mase_scale", vd)) == told
    elsewhere = xr.DataArray([0.0, 0.0, 1.0], coords={"vd": ALL_VDIDS})
    found = taken(six, changed(parts_of(ALL_VDIDS), "mase_scale", elsewhere))
    assert found.left_out == "", "no other mode forecasts that detector"


def test_other_truths_are_found(six: Found) -> None:
    told = "single_vd_lstm and global_vd_lstm were tested on different data"
    assert reason(six, changed(parts_of(ALL_VDIDS), "truth", 1.0)).startswith(told)


def test_it_does_not_take_away_the_detector_that_the_six_share(six: Found) -> None:
    told = "it forecasts none of the detectors that the other modes share."
    assert reason(six, parts_of(["A", "C"])) == told


def test_without_the_six_there_is_nothing_to_stand_beside() -> None:
    nothing = Found({}, {}, {})
    assert taken(nothing, parts_of(ALL_VDIDS)) == nothing
