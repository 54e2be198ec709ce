"""A checkpoint from anywhere is either whole or refused in one line."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError

from tests.make.checkpoints import make_checkpoint
from tests.make.parameters import CLEANING
from vd_forecasting.datasets import CheckpointDataset
from vd_forecasting.models.checkpoint import (
    FORMAT,
    check_checkpoint,
    check_checkpoints,
    load_forecasters,
)


@pytest.mark.parametrize("model", ["lstm", "xlstm"])
def test_a_whole_checkpoint_passes(tmp_path: Path, model: str) -> None:
    whole = make_checkpoint(model)
    state = torch.get_rng_state()
    assert check_checkpoint(whole) is whole
    assert torch.equal(state, torch.get_rng_state())
    assert check_checkpoints({"42": whole}) == {"42": whole}
    dataset = CheckpointDataset(filepath=str(tmp_path / "a.pt"))
    dataset.save(whole)
    assert list(load_forecasters(dataset.load())) == ["joint"]


def test_of_some_models_no_other_weights_are_looked_at() -> None:
    whole = make_checkpoint()
    broken = whole | {"weights": {**whole["weights"], "VD-1": {"none": torch.zeros(1)}}}
    assert list(load_forecasters(broken, ["joint"])) == ["joint"]
    with pytest.raises(ValueError, match="weights of 'VD-1'"):
        load_forecasters(broken)


def test_what_describes_a_vd_may_be_unknown() -> None:
    check_checkpoint(make_checkpoint() | {"static": {"lane_num": torch.tensor([torch.nan])}})


def test_a_checkpoint_without_a_format_has_the_first_one_with_other_inputs() -> None:
    first = make_checkpoint()
    del first["format"], first["holidays"], first["range"]
    for old in (first, first | {"format": 1}):
        with pytest.raises(
            ValueError, match=f"has format 1, this version reads {FORMAT}; delete it"
        ):
            check_checkpoint(old)


def change(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(whole: dict[str, Any]) -> None:
        for key in path[:-1]:
            whole = whole[key]
        whole[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: whole.pop("seed"), "'seed' of the checkpoint is missing"),
        (
            change("format", value=FORMAT + 1),
            f"has format {FORMAT + 1}, this version reads {FORMAT}; update",
        ),
        (change("format", value="new"), "has format 'new', this version reads"),
        (lambda whole: whole.pop("holidays"), "'holidays' .* missing or not of type str"),
        (change("units", value={"avg_speed": "km/h"}), "'units' .* must be text by input feature"),
        (change("units", "avg_speed", value=1), "'units' .* must be text by input feature"),
        (change("cleaning", value=CLEANING.text), "'cleaning' .* they have no interval"),
        (change("cleaning", value="{}"), "'cleaning' of the checkpoint holds no rules: .*interval"),
        (change("vdids", value="VD-1"), "'vdids' .* missing or not of type list"),
        (change("model", value="gru"), "model 'gru' is not known; there are lstm, xlstm"),
        (change("model_parameters", "hidden_size", value=16), "has shape .*, must be"),
        (change("model_parameters", "hidden_size", value=10**15), "shape|network"),
        (change("model_parameters", "num_layers", value=10**9), "fewer weights than layers"),
        (change("model_parameters", "layers", value=1), "the checkpoint describes no network"),
        (change("network", value={}), "the checkpoint describes no network"),
        (change("weights", value={}), "holds no weights"),
        (change("weights", "joint", value=[1]), "weights of 'joint': a list"),
        (change("weights", "joint", "extra", value=1), "extra is not part of the network"),
        (lambda whole: whole["weights"]["joint"].pop("head.bias"), "head.bias is missing"),
        (
            change("weights", "joint", "head.bias", value=torch.zeros(3).double()),
            "head.bias is torch.float64, must be torch.float32",
        ),
        (
            change("weights", "joint", "head.bias", value=torch.full((3,), torch.nan)),
            "head.bias is not finite everywhere",
        ),
        (
            change("scaler", "std", value=torch.tensor([[1.0, 0.0]])),
            "std is not above 0 everywhere",
        ),
        (
            lambda whole: whole.pop("range"),
            "'range' of the checkpoint is missing or not of type dict",
        ),
        (change("range", "low", value=torch.full((1, 2), torch.nan)), "low is not a number every"),
        (change("range", "high", value=torch.full((1, 2), -1.0)), "range: low is above high"),
        (change("scaler", "mean", value=torch.full((1, 2), torch.inf)), "mean is not finite"),
        (
            change("scaler", "std", value=torch.ones(1, 2).to_sparse()),
            "std is sparse, must be dense",
        ),
        (change("static", value=[1]), "'static' of the checkpoint is missing or not of type dict"),
        (change("static", value={"lane_num": torch.zeros(2)}), "lane_num has shape .2., must be"),
        (change("static", value={"a": torch.full((1,), torch.inf)}), "static: a is not finite"),
        (change("static", value={"a": torch.ones(1).to_sparse()}), "static: a is sparse"),
        (
            change("static", value={name: torch.zeros(1) for name in "abcde"}),
            "static holds 5 numbers, the network has 4 inputs left",
        ),
        (change("sequence_length", value=0), "'sequence_length' .* is 0, must be above 0"),
        (change("prediction_length", value=True), "'prediction_length' .* must be above 0"),
        (change("interval_minutes", value=float("nan")), "is nan, must be above 0"),
        (change("network", "sequence_length", value=6), "sequence_length is 6, must be 5"),
        (
            change("network", "target_channels", value=[6]),
            r"target_channels is \[6\], must be \[0\]",
        ),
        (change("network", "target_channels", value=[-1]), "target_channels is"),
        (change("network", "target_shape", value=torch.ones(2)), "target_shape is"),
        (change("network", "num_channels", value=1), "1 channels, too few"),
        (change("network", "num_channels", value=6.0), "it has no num_channels"),
        (change("vdids", value=[7]), "'vdids' of the checkpoint must hold strings"),
        (change("vdids", value=["a", "a"]), "'vdids' of the checkpoint holds a name twice"),
        (change("target_features", value=["x"]), "'x' is not among the input features"),
        (change("model_parameters", "hidden_size", value="8"), "no network: hidden_size is '8'"),
        (change("model_parameters", "dropout", value=2), "no network: dropout is 2"),
        (change("weights", value={1: {}}), "weights of 1: a dict"),
        (change("scaler", "std", value=torch.ones(2, 2)), "std has shape .2, 2., must be .1, 2."),
    ],
)
def test_what_is_not_whole_is_told_in_one_line(spoil: Any, message: str) -> None:
    broken = make_checkpoint()
    spoil(broken)
    with pytest.raises(ValueError, match=message) as error:
        load_forecasters(broken)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^seed 42: "):
        check_checkpoints({"42": broken})


def test_a_network_of_any_size_is_refused_without_memory_for_it() -> None:
    broken = make_checkpoint("xlstm")
    broken["model_parameters"]["context_length"] = 200_000
    with pytest.raises(ValueError, match="network of unreasonable size"):
        check_checkpoint(broken)


def test_files_that_would_unfold(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    dataset = CheckpointDataset(filepath=str(path))
    dataset.save({"a": torch.zeros(1).expand(10**12)})
    with pytest.raises(DatasetError, match="its tensors are larger than the file"):
        dataset.load()
    dataset.save({"a": torch.zeros(10**6)})
    with zipfile.ZipFile(path) as stored:
        content = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    with pytest.raises(DatasetError, match=r"it is compressed.*delete it and train again"):
        dataset.load()


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code ran",)


def test_code_in_a_file_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weights": Code()}, path)
    with pytest.raises(DatasetError, match="not a file of plain tensors") as error:
        CheckpointDataset(filepath=str(path)).load()
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
    torch.save([1], path)
    with pytest.raises(DatasetError, match="holds a list, not a dict"):
        CheckpointDataset(filepath=str(path)).load()
