import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests import PROJECT
from tests.make.trainings import TRAINING
from vd_forecasting.language import languages
from vd_forecasting.parameters import (
    Budget,
    Calendar,
    Cleaning,
    Intervals,
    LSTMModel,
    LSTMSpace,
    Range,
    Report,
    Space,
    Split,
    Training,
    XLSTMModel,
    XLSTMSpace,
)
from vd_forecasting.running.config_loader import ConfigLoader
from vd_forecasting.settings import CONFIG_LOADER_ARGS
from vd_forecasting.vocabulary import EVERY_EXPERIMENT, EXPERIMENTS
from vd_forecasting.wording import listed


def parameters(env: str | None = None) -> dict[str, Any]:
    loader = ConfigLoader(PROJECT / "conf", env=env, **CONFIG_LOADER_ARGS)
    found: dict[str, Any] = loader["parameters"]
    return found


XLSTM = {
    "embedding_dim": 128,
    "num_blocks": 6,
    "slstm_at": [1, 3],
    "slstm_backend": "fused",
    "mlstm_backend": "fused",
    "dropout": 0.1,
    "context_length": 256,
}


def test_base_values_are_the_ones_agreed() -> None:
    base = parameters()
    for mode in ("single_vd", "multi_vd", "independent_multi_vd"):
        lstm = base[f"{mode}_lstm"]
        assert lstm["model"] == {"hidden_size": 256, "num_layers": 3, "dropout": 0.3}
        assert (lstm["training"]["epochs"], lstm["training"]["batch_size"]) == (100, 32)
        xlstm = base[f"{mode}_xlstm"]
        blocks = [1, 3, 5] if mode == "multi_vd" else [1, 3]
        assert xlstm["model"] == {**XLSTM, "slstm_at": blocks}
        assert xlstm["training"]["epochs"] == 100
        assert xlstm["training"]["batch_size"] == (32 if mode == "single_vd" else 16)
        for block in (lstm, xlstm):
            assert block["windows"]["sequence_length"] == 20
            assert block["windows"]["prediction_length"] == 12
            assert block["windows"].get("num_vds", 10) == 10


def test_the_models_of_a_mode_train_on_the_same_terms() -> None:
    base = parameters()
    for mode in ("single_vd", "multi_vd", "independent_multi_vd"):
        lstm, xlstm = base[f"{mode}_lstm"], base[f"{mode}_xlstm"]
        assert lstm["windows"] == xlstm["windows"]
        assert {**lstm["training"], "batch_size": 0} == {**xlstm["training"], "batch_size": 0}


@pytest.mark.parametrize(("env", "rate"), [(None, 36_000), ("long_table", 36_000), ("pems", None)])
def test_a_range_of_an_environment_replaces_the_rate_of_volume(
    env: str | None, rate: float | None
) -> None:
    volume = Cleaning.model_validate(parameters(env)["cleaning"]).features["total_volume"]
    assert (volume.range, volume.max_rate) == (None, rate)


@pytest.mark.parametrize("env", [None, "long_table", "pems", "metr_la", "taiwan"])
def test_rules_of_cleaning_are_the_same_when_read_back_from_their_text(env: str | None) -> None:
    rules = Cleaning.model_validate(parameters(env)["cleaning"])
    assert Cleaning.model_validate_json(rules.text) == rules


@pytest.mark.parametrize(("family", "other"), [("lstm", "xlstm"), ("xlstm", "lstm")])
def test_a_family_has_its_own_file(family: str, other: str) -> None:
    text = (PROJECT / "conf" / "base" / f"parameters_{family}.yml").read_text()
    blocks = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    assert [name for name in blocks if name in EXPERIMENTS] == [
        name for name in EXPERIMENTS if name.endswith(f"_{family}")
    ]
    assert not any(name.endswith(f"_{other}") for name in blocks)


def test_quick_changes_single_keys_and_keeps_the_rest() -> None:
    base, quick = parameters(), parameters("quick")
    for name in EXPERIMENTS:
        assert quick[name]["windows"] == base[name]["windows"]
        assert quick[name]["training"]["epochs"] < base[name]["training"]["epochs"]
        assert quick[name]["training"]["weight_decay"] == base[name]["training"]["weight_decay"]


def test_unknown_key() -> None:
    with pytest.raises(ValidationError, match="hidden_sise"):
        LSTMModel.model_validate({"hidden_sise": 1, "num_layers": 1, "dropout": 0})


def test_slstm_beyond_the_blocks() -> None:
    with pytest.raises(ValidationError, match=r"slstm_at names block 6, .* the blocks are 0 to 5"):
        XLSTMModel.model_validate({**XLSTM, "slstm_at": [1, 6]})


@pytest.mark.parametrize("width", [4, 126])
def test_width_that_four_heads_cannot_share(width: int) -> None:
    with pytest.raises(ValidationError, match="embedding_dim"):
        XLSTMModel.model_validate({**XLSTM, "embedding_dim": width})


def test_split_must_add_up() -> None:
    with pytest.raises(ValidationError, match=r"train \+ val \+ test is 0.9, must be 1"):
        Split.model_validate({"train": 0.6, "val": 0.1, "test": 0.2})


def test_holidays_are_dates_or_a_country() -> None:
    assert Calendar.model_validate(parameters()["calendar"]).text == ""
    dates = Calendar.model_validate({"holidays": ["2024-04-04", "2024-04-05"]})
    assert dates.text == "2024-04-04 2024-04-05"
    pytest.importorskip("holidays", reason="holidays, of the extra of that name, is not there")
    assert Calendar.model_validate({"holidays": "TW"}).text == "TW"
    with pytest.raises(ValidationError, match="no holidays are known of 'Atlantis'"):
        Calendar.model_validate({"holidays": "Atlantis"})


@pytest.mark.parametrize("holidays", [["2024-02-30"], "2024-04-04", None])
def test_holidays_that_are_neither(holidays: object) -> None:
    with pytest.raises(ValidationError, match="holidays"):
        Calendar.model_validate({"holidays": holidays})


@pytest.mark.parametrize("levels", [[], [0.9, 0.5], [0.5, 0.5], [0.0], [1.0], [90], 0.9])
def test_levels_of_intervals_are_increasing_shares(levels: object) -> None:
    block = parameters()["intervals"]
    assert Intervals.model_validate(block).levels == (0.5, 0.9)
    with pytest.raises(ValidationError, match="levels"):
        Intervals.model_validate(block | {"levels": levels})


@pytest.mark.parametrize("interval", ["-5min", "0s", "often"])
def test_interval_must_be_a_positive_duration(interval: str) -> None:
    with pytest.raises(ValidationError):
        Cleaning.model_validate(
            {"interval": interval, "error_codes": [], "min_observed": 0.5, "features": {}}
        )


def test_an_unknown_language_of_pages_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=f"no language of pages; these are {listed(languages())}"):
        Report(language="tlh")


def test_training_needs_an_epoch() -> None:
    values = parameters()["single_vd_lstm"]["training"]
    with pytest.raises(ValidationError, match="epochs"):
        Training.model_validate({**values, "epochs": 0})


def test_the_learning_rate_falls_linearly_to_zero_behind_the_last_epoch() -> None:
    training = TRAINING.model_copy(update={"learning_rate": 0.8})
    rates = [training.rate_of(epoch, 4) for epoch in range(1, 6)]
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2, 0])


@pytest.mark.parametrize(
    ("steps", "epochs"), [(1000, 8), (175, 8), (174, 9), (100, 14), (1, 1400), (0, 1400)]
)
def test_little_data_is_gone_through_more_often(steps: int, epochs: int) -> None:
    """175 steps, eight times, are 1,400."""
    training = TRAINING.model_copy(update={"decay_epochs": 8, "decay_steps": 1400})
    assert training.decays_in(steps) == epochs


@pytest.mark.parametrize("env", [None, "quick"])
@pytest.mark.parametrize("experiment", EVERY_EXPERIMENT)
def test_every_experiment_has_a_space_that_its_models_can_take(
    env: str | None, experiment: str
) -> None:
    kind = XLSTMSpace if experiment.endswith("xlstm") else LSTMSpace
    block = parameters(env)[experiment]
    assert kind.model_validate(block["space"]).searched.keys() >= {
        "model.dropout",
        "training.learning_rate",
        "training.batch_size",
    }
    assert block["tuned"] is False


REFUSED_SPACES: dict[str, tuple[type[Space], dict[str, Any]]] = {
    "model has no hiden_size; did you mean hidden_size?": (
        LSTMSpace,
        {"model": {"hiden_size": [8]}},
    ),
    "model has no embedding_dim": (LSTMSpace, {"model": {"embedding_dim": [8]}}),
    "model.hidden_size -3: Input should be greater than 0": (
        LSTMSpace,
        {"model": {"hidden_size": [8, -3]}},
    ),
    "model.dropout 1.0: Input should be less than 1": (
        LSTMSpace,
        {"model": {"dropout": {"low": 0, "high": 1}}},
    ),
    "model.embedding_dim 9.0: Input should be a multiple of 4": (
        XLSTMSpace,
        {"model": {"embedding_dim": {"low": 8, "high": 64}}},
    ),
    "model.slstm_at 1: Input should be a valid tuple": (XLSTMSpace, {"model": {"slstm_at": [1]}}),
    "model.slstm_backend cannot be searched": (
        XLSTMSpace,
        {"model": {"slstm_backend": ["fused"]}},
    ),
    "training.seeds cannot be searched": (LSTMSpace, {"training": {"seeds": [[1], [2]]}}),
    "training.epochs cannot be searched": (LSTMSpace, {"training": {"epochs": [1, 2]}}),
    "training.windows_per_epoch cannot be searched": (
        LSTMSpace,
        {"training": {"windows_per_epoch": [100]}},
    ),
    "windows\n  Extra inputs are not permitted": (
        LSTMSpace,
        {"windows": {"sequence_length": [20]}, "model": {"num_layers": [1]}},
    ),
    "high: Field required": (LSTMSpace, {"model": {"dropout": {"low": 0.1}}}),
    "low 0.5 must be below high 0.1": (
        LSTMSpace,
        {"model": {"dropout": {"low": 0.5, "high": 0.1}}},
    ),
    "low 0 must be above 0 where log is true": (
        LSTMSpace,
        {"model": {"dropout": {"low": 0, "high": 0.1, "log": True}}},
    ),
    "must be a list of choices": (LSTMSpace, {"model": {"hidden_size": 8}}),
    "is empty; name at least one parameter": (LSTMSpace, {"model": {"hidden_size": None}}),
}


@pytest.mark.parametrize(("problem", "case"), REFUSED_SPACES.items())
def test_a_space_says_what_of_it_cannot_be_searched(
    problem: str, case: tuple[type[Space], dict[str, Any]]
) -> None:
    kind, given = case
    with pytest.raises(ValidationError, match=re.escape(problem)):
        kind.model_validate(given)


def test_a_space_has_choices_and_ranges_and_leaves_out_what_is_null() -> None:
    model = {"hidden_size": [8, 16], "num_layers": None}
    training = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    space = LSTMSpace.model_validate({"model": model, "training": training})
    assert space.searched == {
        "model.hidden_size": (8, 16),
        "training.learning_rate": Range(low=0.001, high=0.1, log=True),
    }


def test_trials_that_are_given_take_the_place_of_seconds() -> None:
    assert Budget.model_validate({"seconds": 3600, "trials": 30}) == Budget(trials=30)
    assert Budget.model_validate({"seconds": 3600, "trials": None}) == Budget(seconds=3600)
    with pytest.raises(ValidationError, match="give seconds of training, or trials"):
        Budget(seconds=None)


def test_every_parameter_file_is_read(tmp_path: Path) -> None:
    names = {path.name for path in (PROJECT / "conf" / "base").glob("parameters*.yml")}
    assert names == {
        "parameters.yml",
        "parameters_lstm.yml",
        "parameters_simulate.yml",
        "parameters_xlstm.yml",
    }
