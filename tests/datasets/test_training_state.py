import io
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from vd_forecasting.datasets import TrainingState, TrainingStateDataset


def test_states_that_no_fit_may_use_are_removed(tmp_path: Path) -> None:
    dataset = TrainingStateDataset(filepath=str(tmp_path / "training_state"))
    states = dataset.load()
    for name in ("1-joint", "2-joint", "2-VD/7"):
        states.save(name, {"epoch": name})
    dataset.save(["2-joint", "2-VD/7", "3-joint"])
    assert dataset.load().load("1-joint") is None
    assert dataset.load().load("2-joint") == {"epoch": "2-joint"}
    assert dataset.load().load("2-VD/7") == {"epoch": "2-VD/7"}


def test_without_states_there_is_no_folder(tmp_path: Path) -> None:
    dataset = TrainingStateDataset(filepath=str(tmp_path / "training_state"))
    dataset.save(["1-joint"])
    assert not (tmp_path / "training_state").exists()


@pytest.mark.parametrize("number", range(1, 12))
def test_an_interrupt_while_a_state_is_written_stays_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"weights": [torch.arange(5.0), torch.zeros(1000)]}
    states = TrainingState(tmp_path / "states")
    states.save("1-a", state)
    writes = count(1)

    class Interrupted(io.FileIO):
        def write(self, content: Any) -> int:
            if next(writes) == number:
                raise KeyboardInterrupt
            return super().write(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode="rb": Interrupted(path, mode))
        with pytest.raises(KeyboardInterrupt):
            states.save("1-a", {"weights": [torch.ones(7)]})
    found = states.load("1-a")
    assert found is not None
    assert torch.equal(found["weights"][0], state["weights"][0])
    assert len([*states.folder.iterdir()]) == 1
