"""The file of studies."""

import pickle
import re
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


@pytest.mark.parametrize("is_file", [True, False])
def test_a_file_that_is_no_database_is_to_be_deleted_and_one_that_cannot_be_opened_is_not(
    is_file: bool, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    path = tmp_path / "study.db"
    if is_file:
        path.write_text("no database " * 100)
    else:
        path.mkdir()
    with pytest.raises(DatasetError) as error, Studies(path).open("one"):
        pass
    assert ("delete it and tune again" in str(error.value)) == is_file
    assert ("cannot be opened" in str(error.value)) != is_file


def test_a_database_of_another_optuna_names_its_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = pytest.importorskip("optuna").storages

    def refuse(url: str) -> None:
        raise RuntimeError("Execute `$ optuna storage upgrade --storage $STORAGE_URL`.")

    monkeypatch.setattr(storages, "RDBStorage", refuse)
    path = tmp_path / "study.db"
    upgrade = re.escape(f"upgrade --storage sqlite:///{path}`.")
    with pytest.raises(DatasetError, match=upgrade), Studies(path).open("one"):
        pass
