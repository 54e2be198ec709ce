"""Settings of trials, and the parameters that follow from them."""

import pytest

from tests.make.trainings import LSTM, TRAINING, XLSTM
from vd_forecasting.parameters import LSTMSpace, Range, XLSTMSpace
from vd_forecasting.pipelines.tune.settings import (
    in_blocks,
    is_offered,
    settings_of,
    with_settings,
    without_absent_blocks,
)


@pytest.mark.parametrize(
    ("settings", "at"),
    [
        ({"model.num_blocks": 2, "model.slstm_at": [1, 3, 5]}, [1]),
        ({"model.num_blocks": 6, "model.slstm_at": [1, 3, 5]}, [1, 3, 5]),
        ({"model.num_blocks": 1}, []),
        ({"model.num_blocks": 4}, [1]),
    ],
)
def test_blocks_that_a_trial_does_not_have_are_left_out(
    settings: dict[str, object], at: list[int]
) -> None:
    complete = without_absent_blocks(settings, XLSTM)
    assert complete["model.slstm_at"] == at
    model, _ = with_settings(XLSTM, TRAINING, complete)
    assert model.model_dump(mode="json")["slstm_at"] == at


def test_settings_of_an_experiment_are_those_that_are_searched() -> None:
    space = LSTMSpace.model_validate(
        {"model": {"hidden_size": [16, 32]}, "training": {"batch_size": [8]}}
    )
    found = settings_of(space, LSTM, TRAINING)
    assert found == {"model.hidden_size": 8, "training.batch_size": 32}
    assert with_settings(LSTM, TRAINING, found) == (LSTM, TRAINING)
    blocks = XLSTMSpace.model_validate({"model": {"num_blocks": [1, 2]}})
    of_xlstm = settings_of(blocks, XLSTM, TRAINING)
    assert of_xlstm == {"model.num_blocks": 2, "model.slstm_at": [1]}


def test_a_space_offers_choices_and_what_lies_within_a_range() -> None:
    assert is_offered(([], [1]), [1])
    assert not is_offered((8, 16), 9)
    assert is_offered(Range(low=0, high=0.5), 0.5)
    assert not is_offered(Range(low=0, high=0.5), 0.6)


def test_settings_that_make_no_network_are_named_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^slstm_at names block 1, but with num_blocks 1 .*$"):
        with_settings(XLSTM, TRAINING, {"model.num_blocks": 1})


def test_blocks_are_as_an_experiment_has_them() -> None:
    settings = {"model.dropout": 0.1, "training.batch_size": 8}
    assert in_blocks(settings) == {"model": {"dropout": 0.1}, "training": {"batch_size": 8}}
