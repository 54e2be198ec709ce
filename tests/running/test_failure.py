import pytest
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline
from kedro.validation import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from vd_forecasting.parameters import Split, XLSTMModel
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
