"""The file of studies."""

import pickle
from pathlib import Path

import pytest
from kedro.io import DatasetError

from vd_forecasting.datasets import Studies, StudyDataset


def test_a_file_elsewhere_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="SQLite needs a disk of this machine"):
        StudyDataset(filepath="s3://bucket/study.db")


def test_a_search_gets_the_file_and_saves_nothing_through_the_catalog(tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(StudyDataset(filepath=str(tmp_path / "study.db"))))
    assert dataset.load() == Studies(tmp_path / "study.db")
    assert not (tmp_path / "study.db").exists()
    with pytest.raises(DatasetError):
        dataset.save(None)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "file").touch()
    studies = Studies(tmp_path / "file" / "study.db")
    with pytest.raises(DatasetError, match=r"study\.db: cannot be written, "), studies.open("one"):
        pass
