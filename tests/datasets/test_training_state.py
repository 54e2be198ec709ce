from pathlib import Path

from vd_forecasting.datasets import TrainingStateDataset


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
