"""Files are whole or not there."""

import errno
import json
import os
import pickle
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError, Version

from vd_forecasting.datasets import PandasHDF5Dataset, TrainingStateDataset, VDHDF5Dataset
from vd_forecasting.datasets.atomic import (
    AtomicBytesDataset,
    AtomicCSVDataset,
    AtomicJSONDataset,
    AtomicTableDataset,
    AtomicTextDataset,
    replacing,
    write_problem,
)
from vd_forecasting.running.failure import in_one_line
from vd_forecasting.running.kedro_private import file_of

EXAMPLES: dict[str, tuple[type[Any], Any]] = {
    "json": (AtomicJSONDataset, {"a": [1, None, "é"]}),
    "csv": (AtomicCSVDataset, pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
    "txt": (AtomicTextDataset, "line\nanother\n"),
    "onnx": (AtomicBytesDataset, b"\x08\x00\xff"),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.parent == path.parent  # a rename within one file system
            assert temporary.name.startswith(".")  # hidden from globs
            assert temporary.suffix == path.suffix
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert names(path.parent) == ["a.txt"]


def test_after_a_failure_the_old_file_stands_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="file permissions are those of POSIX")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "replaced") as temporary:
        temporary.touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "replaced")}
    assert len(modes) == 1


@pytest.mark.parametrize("kind", EXAMPLES)
def test_datasets_round_trip_and_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    cls, data = EXAMPLES[kind]
    path = tmp_path / "folder" / f"a.{kind}"
    dataset = cls(filepath=str(path))
    assert not dataset.exists()
    dataset.save(data)
    dataset.save(data)
    assert dataset.exists()
    assert names(tmp_path / "folder") == [f"a.{kind}"]
    if kind == "csv":
        dataset = cls(filepath=str(path), save_args={"index": False})
        dataset.save(data)
        pd.testing.assert_frame_equal(dataset.load(), data)
    else:
        assert dataset.load() == data


@pytest.mark.parametrize(
    ("cls", "unfit"),
    [(AtomicJSONDataset, {"a": 1, "b": object()}), (AtomicTextDataset, 3), (AtomicCSVDataset, 3)],
)
def test_a_failed_save_keeps_the_old_file(tmp_path: Path, cls: type[Any], unfit: object) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    dataset = cls(filepath=str(path))
    with pytest.raises(DatasetError, match=r"Failed while saving .*tmp.*/a'"):
        dataset.save(unfit)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_one_dataset_can_be_saved_and_loaded_by_several_threads(tmp_path: Path) -> None:
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "a.json"))
    values = [list(range(1000)), list(range(2000))]
    dataset.save(values[0])

    def work(index: int) -> list[int]:
        dataset.save(values[index % 2])
        found: list[int] = dataset.load()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert all(found in values for found in pool.map(work, range(100)))
    assert names(tmp_path) == ["a.json"]


def test_a_versioned_dataset_keeps_its_versions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for version in ("1", "2"):
        dataset = AtomicJSONDataset(filepath=str(path), version=Version(None, version))
        dataset.save({"version": version})
    assert AtomicJSONDataset(filepath=str(path), version=Version("1", None)).load() == {
        "version": "1"
    }
    assert json.loads((path / "2" / "a.json").read_text()) == {"version": "2"}


def test_the_file_of_a_versioned_dataset_is_its_newest_version(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert file_of(AtomicJSONDataset(filepath=str(path), version=Version(None, "1"))) == path
    for version in ("1", "2"):
        dataset = AtomicJSONDataset(filepath=str(path), version=Version(None, version))
        file_of(dataset)
        dataset.save(version)
        assert file_of(dataset) == path / version / "a.json"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_datasets_come_from_the_catalog_and_pickle(tmp_path: Path, kind: str) -> None:
    cls, data = EXAMPLES[kind]
    catalog = DataCatalog.from_config(
        {"a": {"type": f"vd_forecasting.datasets.{cls.__name__}", "filepath": f"{tmp_path}/a"}}
    )
    dataset = pickle.loads(pickle.dumps(catalog["a"]))
    assert not getattr(dataset, "_SINGLE_PROCESS", False)
    dataset.save(data)
    assert np.all([name == "a" for name in names(tmp_path)])


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "a.json")
    dataset = AtomicJSONDataset(filepath=str(tmp_path / "link"))
    for number in (1, 2):
        dataset.save(number)
        assert (tmp_path / "link").is_symlink()
        assert json.loads((tmp_path / "elsewhere" / "a.json").read_text()) == number
    assert names(tmp_path / "elsewhere") == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there are no devices that are files")
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=r"link: cannot be written, /dev/full is no file"):
        AtomicJSONDataset(filepath=str(tmp_path / "link")).save(1)


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (PandasHDF5Dataset, "sources are read from disks only; copy it here"),
        (TrainingStateDataset, "states of trainings are kept on disks; name a folder"),
    ],
)
def test_what_needs_a_disk_refuses_an_address(cls: type[Any], problem: str) -> None:
    entry = {"type": f"vd_forecasting.datasets.{cls.__name__}", "filepath": "memory://a/b"}
    entry |= {"feature": "avg_speed"} if cls is PandasHDF5Dataset else {}
    with pytest.raises(DatasetError) as error:
        DataCatalog.from_config({"vd_raw": entry}).get("vd_raw")
    assert in_one_line(error.value) == f"vd_raw: memory://a/b: {problem}"


def test_a_name_may_be_a_number() -> None:
    assert VDHDF5Dataset(filepath=20240304).filepath == Path("20240304")


# --- killed, refused ------------------------------------------------------------------------------

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from vd_forecasting.datasets.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, path], check=False)
    assert len(names(tmp_path)) == 2
    assert path.read_text() == "old"
    with replacing(tmp_path / "another") as temporary:
        temporary.touch()
    assert names(tmp_path) == ["a.txt", "another"]


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / f".00000000-{os.getpid()}-00000000.a"  # of another machine
    elsewhere.touch()
    (tmp_path / ".hidden").touch()
    with replacing(tmp_path / "a") as outer:
        outer.touch()
        with replacing(tmp_path / "b") as inner:
            inner.touch()
        assert outer.exists()
    assert names(tmp_path) == [elsewhere.name, ".hidden", "a", "b"]
    day_before_yesterday = time.time() - 48 * 3600
    os.utime(elsewhere, (day_before_yesterday, day_before_yesterday))
    with replacing(tmp_path / "a") as temporary:
        temporary.touch()
    assert names(tmp_path) == [".hidden", "a", "b"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
    ],
)
def test_why_nothing_can_be_written_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, problem: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DatasetError) as error:
        AtomicTextDataset(filepath=str(path)).save("new")
    assert str(error.value) == f"{path}: cannot be written, {problem}"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(DatasetError, match=r"a/b/c.txt: cannot be written, a part of its folder"):
        AtomicTextDataset(filepath=str(tmp_path / "a" / "b" / "c.txt")).save("new")


def test_other_errors_are_not_blamed_on_the_disk() -> None:
    assert write_problem(ValueError("errno = 28")) == "the disk is full"  # as HDF5 tells it
    assert write_problem(ValueError("28")) is None
    assert write_problem(FileNotFoundError(errno.ENOENT, "no such file")) is None


def test_a_text_is_no_formula_in_a_csv_file(tmp_path: Path) -> None:
    dataset = AtomicCSVDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False})
    texts = ["=1+1", "+a", "-a", "@a", "'=a", "''", "a=b", "a"]
    data = pd.DataFrame({"vdid": texts, "value": [-1.5] * len(texts)})
    dataset.save(data)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[1:4] == ["'=1+1,-1.5", "'+a,-1.5", "'-a,-1.5"]
    pd.testing.assert_frame_equal(dataset.load(), data)


def test_a_table_has_a_copy_as_parquet_where_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = AtomicTableDataset(filepath=str(tmp_path / "a.csv"), save_args={"index": False})
    table = pd.DataFrame({"vdid": ["=1+1", "b"], "value": [1.5, None]})
    dataset.save(table)
    pd.testing.assert_frame_equal(dataset.load(), table)
    copy = tmp_path / "a.parquet"
    if find_spec("pyarrow"):
        pd.testing.assert_frame_equal(pd.read_parquet(copy), table)
    monkeypatch.setattr("vd_forecasting.datasets.atomic.find_spec", lambda name: None)
    dataset.save(table[:1])
    assert not copy.exists()
