"""Checkpoints of many models, whose weights are in files of some models each."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError

from tests.make.checkpoints import make_checkpoint
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    independent_windows,
    without_seconds,
)
from tests.make.trainings import train_lstm as train_one_block
from vd_forecasting.artefacts import WindowBlocks
from vd_forecasting.datasets import CheckpointDataset, TrainingState, chunks
from vd_forecasting.models.checkpoint import check_checkpoint, load_forecasters
from vd_forecasting.pipelines.training.evaluate import evaluate
from vd_forecasting.pipelines.training.train_nodes import train_lstm, train_part
from vd_forecasting.running.shares import Share

VDIDS = [f"VD-{n}" for n in range(1, 6)]


@pytest.fixture(autouse=True)
def two_models_per_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MODELS_PER_FILE", 2)


def checkpoint_of(vdids: list[str], seed: int = 0) -> dict[str, Any]:
    """One network for each detector, all different."""
    made, generator = make_checkpoint(), torch.Generator().manual_seed(seed)
    weights = {
        vdid: {
            name: torch.randn(tensor.shape, generator=generator)
            for name, tensor in made["weights"]["joint"].items()
        }
        for vdid in vdids
    }
    of_all = {
        key: {name: tensor.expand(len(vdids), 2).clone() for name, tensor in made[key].items()}
        for key in ("scaler", "range")
    }
    return {**made, **of_all, "weights": weights, "vdids": vdids}


def assert_same_weights(found: Any, expected: Any) -> None:
    assert [*found] == [*expected]
    for vdid in expected:
        for name, tensor in expected[vdid].items():
            torch.testing.assert_close(found[vdid][name], tensor, rtol=0, atol=0)


def test_weights_come_back_from_their_files(tmp_path: Path) -> None:
    dataset, made = CheckpointDataset(filepath=str(tmp_path / "best.pt")), checkpoint_of(VDIDS)
    dataset.save(made)
    assert len(dataset.chunks()) == 3
    found = dataset.load()
    assert_same_weights(found["weights"], made["weights"])
    assert check_checkpoint(found) is found
    assert load_forecasters(found).keys() == {*VDIDS}
    with pytest.raises(KeyError):
        found["weights"]["VD-9"]


def test_several_checkpoints_share_a_folder_and_leave_nothing_else_in_it(tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "models.pt"))
    both = {"1": checkpoint_of(VDIDS, 1), "2": checkpoint_of(VDIDS, 2)}
    dataset.save(both)
    assert len(dataset.chunks()) == 6
    for seed, of_seed in dataset.load().items():
        assert_same_weights(of_seed["weights"], both[seed]["weights"])
    before = {path: path.read_bytes() for path in dataset.chunks()}
    dataset.save({"2": both["2"]})
    assert len(dataset.chunks()) == 3
    assert {path: path.read_bytes() for path in dataset.chunks()}.items() <= before.items()
    dataset.save({"2": checkpoint_of(VDIDS[:2])})
    assert dataset.chunks() == []


def test_few_models_are_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, few = CheckpointDataset(filepath=str(tmp_path / "a.pt")), checkpoint_of(VDIDS[:2])
    dataset.save(few)
    in_one = (tmp_path / "a.pt").read_bytes()
    assert [*tmp_path.iterdir()] == [tmp_path / "a.pt"]
    monkeypatch.setattr(chunks, "MODELS_PER_FILE", 64)
    dataset.save(few)
    assert (tmp_path / "a.pt").read_bytes() == in_one


def test_a_part_of_the_weights_is_read(tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "best.pt"))
    dataset.save(checkpoint_of(VDIDS))
    missing, *_ = sorted(path for path in dataset.chunks() if path.name.startswith("0001"))
    missing.unlink()
    found = dataset.load()
    assert load_forecasters(found, ["VD-5", "VD-1"]).keys() == {"VD-1", "VD-5"}
    with pytest.raises(DatasetError, match=rf"{missing.name}: no such file; .*train again"):
        load_forecasters(found, ["VD-3"])


def test_altered_weights_are_refused_and_made_anew(tmp_path: Path) -> None:
    dataset, made = CheckpointDataset(filepath=str(tmp_path / "best.pt")), checkpoint_of(VDIDS)
    dataset.save(made)
    first, second, third = sorted(map(str, dataset.chunks()))
    Path(second).write_bytes(Path(third).read_bytes())
    Path(third).write_bytes(b"broken")
    found = dataset.load()
    load_forecasters(found, VDIDS[:2])
    with pytest.raises(DatasetError, match=f"{second}: its weights were altered; train again"):
        load_forecasters(found, ["VD-3"])
    with pytest.raises(DatasetError, match=f"{third}: not a file of plain tensors"):
        load_forecasters(found, ["VD-5"])
    dataset.save(made)
    assert_same_weights(dataset.load()["weights"], made["weights"])
    assert sorted(map(str, dataset.chunks())) == [first, second, third]


def test_weights_that_are_no_numbers_are_found_when_they_are_asked_for(tmp_path: Path) -> None:
    dataset, made = CheckpointDataset(filepath=str(tmp_path / "best.pt")), checkpoint_of(VDIDS)
    next(iter(made["weights"]["VD-4"].values()))[:] = torch.nan
    dataset.save(made)
    found = dataset.load()
    load_forecasters(found, ["VD-1"])
    for names in (["VD-4"], None):
        with pytest.raises(ValueError, match=r"weights of 'VD-4': .* is not finite everywhere"):
            load_forecasters(found, names)


def test_trainings_in_parts_and_in_chunks_make_the_same(tmp_path: Path) -> None:
    windows = independent_windows()
    data = windows.data.sel(vd=windows.vdids * 2).assign_coords(vd=["a", "b", "c", "d"])
    blocks = WindowBlocks.of_one(type(windows)(data))
    inputs = (blocks, LSTM, TRAINING, MAPE_MIN_TRUTH, COMPUTE)
    whole, _, _, history = train_one_block(blocks.last, *inputs[1:])
    state = TrainingState(tmp_path)
    for number in (2, 0, 1):
        train_part(*inputs, state, share=Share(number, 3))
    assert len(list(tmp_path.iterdir())) == 4
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    best, _, _, of_parts = train_lstm(*inputs, state)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept, "all were done"
    assert isinstance(best["weights"], chunks.OnDemand)
    assert_same_weights(best["weights"], whole["weights"])
    assert without_seconds(of_parts.model_dump(mode="json")) == without_seconds(history)
    dataset = CheckpointDataset(filepath=str(tmp_path / "best.pt"))
    dataset.save(best)
    state.clear()
    loaded = dataset.load()
    expected, found = (
        evaluate(one, {"42": one}, blocks, MAPE_MIN_TRUTH, COMPUTE) for one in (whole, loaded)
    )
    assert found[0].data.equals(expected[0].data)
    assert found[1] == expected[1]


def test_shares_are_all_of_it_and_nothing_twice() -> None:
    for count in (1, 2, 3, 11):
        parts = [[*Share(number, count).of(range(10))] for number in range(count)]
        assert sorted(chain(*parts)) == [*range(10)]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
