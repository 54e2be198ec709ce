import re

import pytest
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline
from kedro.validation import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from vd_forecasting.parameters import Calendar, IndependentMultiVDWindows, Split, XLSTMModel
from vd_forecasting.running.failure import in_one_line


def split_node(split: Split, model: XLSTMModel) -> int:
    return 0


def test_parameter_errors_name_the_key_in_one_line() -> None:
    pipeline = Pipeline([Node(split_node, ["params:split", "params:a.model"], "out")])
    values = {
        "split": {"train": 0.7, "vall": 0.1, "test": 0.2},
        "a": {
            "model": {
                "embedding_dim": 128,
                "num_blocks": 2,
                "slstm_at": [4],
                "slstm_backend": "fused",
                "mlstm_backend": "fused",
                "dropout": 1.5,
                "context_length": 256,
            }
        },
    }
    with pytest.raises(ParameterValidationError) as caught:
        ParameterValidator({"p": pipeline}).validate_raw_params(values)
    line = in_one_line(caught.value)
    assert "\n" not in line
    assert "split.vall: no such parameter; check its spelling" in line
    assert "split.val: Field required" in line
    assert "a.model.dropout: Input should be less than 1 (found 1.5)" in line


def calendar_node(calendar: Calendar, windows: IndependentMultiVDWindows) -> int:
    return 0


@pytest.mark.parametrize(
    ("holidays", "line"),
    [
        (
            "Atlantis",
            "no holidays are known of 'Atlantis'; use a country's code, such as TW",
        ),
        (["2024-04-04", "2024-02-30"], "Input should be a valid date .* (found '2024-02-30')"),
        (20240404, "must be a list, in brackets (found 20240404)"),
        (None, "must be a list, in brackets (found None)"),
    ],
)
def test_holidays_that_are_none_are_one_line_with_the_key_as_written(
    holidays: object, line: str
) -> None:
    if holidays == "Atlantis":
        pytest.importorskip("holidays", reason="holidays, of the extra of that name, is not there")
    assert re.match(
        f"calendar.holidays: {re.escape(line).replace(re.escape('.*'), '.*')}",
        problems_of({"holidays": holidays}, target_vd_index=0),
    )


@pytest.mark.parametrize("index", [-1, "al", [0, -1], None])
def test_a_wrong_detector_to_train_is_one_sentence(index: object) -> None:
    assert problems_of({"holidays": []}, target_vd_index=index) == (
        "windows.target_vd_index: must be an index from 0, a list of these, or all "
        f"(found {index!r})"
    )


def problems_of(calendar: dict[str, object], target_vd_index: object) -> str:
    """The line about a calendar and about what to train."""
    pipeline = Pipeline([Node(calendar_node, ["params:calendar", "params:windows"], "out")])
    windows = {
        "sequence_length": 20,
        "prediction_length": 12,
        "input_features": None,
        "target_features": None,
        "num_vds": 10,
        "target_vd_index": target_vd_index,
    }
    with pytest.raises(ParameterValidationError) as caught:
        ParameterValidator({"p": pipeline}).validate_raw_params(
            {"calendar": calendar, "windows": windows}
        )
    return in_one_line(caught.value)


def test_a_multi_line_message_becomes_one_line() -> None:
    assert in_one_line(ValueError("first\n  second\n\n")) == "first second"


def test_a_long_message_loses_its_middle_and_control_characters() -> None:
    line = in_one_line(ValueError(f"a.h5: \x1b[2J{'x' * 5000}\u202e; do this"))
    assert len(line) == 300
    assert line.startswith("a.h5: [2Jxxx")
    assert line.endswith("xxx ; do this")


def test_an_error_of_the_system_names_the_file_first() -> None:
    error = PermissionError(13, "Permission denied", "/data/training.log")
    assert in_one_line(error) == "/data/training.log: permission denied"


def test_only_the_words_of_kedro_are_taken_off() -> None:
    ours = DatasetError("a.txt: cannot be written, the disk is full")
    ours.__cause__ = OSError(28, "No space left on device")
    assert in_one_line(ours) == "a.txt: cannot be written, the disk is full"
    kedros = DatasetError("Failed while loading data from dataset D(filepath=a).\na: broken")
    kedros.__cause__ = DatasetError("a: broken")
    assert in_one_line(kedros) == "a: broken"


def test_what_no_user_can_help_is_told_with_its_kind() -> None:
    assert in_one_line(MemoryError()) == "MemoryError"
    assert (
        in_one_line(RuntimeError("\nout of memory\n at tensor.cpp:1"))
        == "RuntimeError: out of memory"
    )
    assert in_one_line(ValueError("a: is wrong")) == "a: is wrong"
