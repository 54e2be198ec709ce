"""Files on this machine and elsewhere: in an S3 store, and in fsspec's store in memory."""

import io
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import fsspec
import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from kedro.io import DataCatalog, DatasetError

from tests.make.arrays import make_clean
from tests.make.object_store import object_store
from vd_forecasting.datasets import (
    AtomicBytesDataset,
    AtomicCSVDataset,
    AtomicJSONDataset,
    AtomicTableDataset,
    AtomicTextDataset,
    CheckpointDataset,
    PageDataset,
    VDHDF5Dataset,
    XarrayDataset,
    frames,
)
from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.frames import Frames, FramesDataset
from vd_forecasting.datasets.places import (
    BLOCK_BYTES,
    RemoteFile,
    folder,
    local_folder,
    place,
    written,
)
from vd_forecasting.rendering.page import Page
from vd_forecasting.running.failure import in_one_line
from vd_forecasting.running.kedro_private import file_of
from vd_forecasting.running.staleness.fingerprint import content_hash


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store() as address:
        yield address


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a folder that is empty."""
    if request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/{token_hex(8)}"
    else:
        yield "memory:///traffic"
        fsspec.filesystem("memory").store.clear()


def names(address: str) -> set[str]:
    """The files in a folder, whatever wrote them."""
    store, path = fsspec.url_to_fs(address, use_listings_cache=False)
    return {found.removeprefix(f"{path}/") for found in store.find(path)}


def figure() -> Any:
    drawn, axes = plt.subplots(figsize=(2, 1))
    axes.plot([0, 1])
    plt.close(drawn)
    return drawn


# --- every dataset --------------------------------------------------------------------------------

TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "=y"]})
SAVED: dict[str, tuple[Callable[..., Any], Any]] = {
    "a.json": (AtomicJSONDataset, {"a": [1, None, "é"]}),
    "a.csv": (AtomicCSVDataset, TABLE),
    "a.txt": (AtomicTextDataset, "line\nanother\n"),
    "a.onnx": (AtomicBytesDataset, b"\x08\x00\xff"),
    "a.pt": (CheckpointDataset, {"w": torch.arange(3.0), "n": [1, "a"]}),
    "a.nc": (XarrayDataset, xr.Dataset({"v": ("x", np.arange(3.0))}, {"x": ["a", "b", "c"]})),
    "a.h5": (VDHDF5Dataset, make_clean(50, vds=2)),
}


@pytest.mark.parametrize("name", SAVED)
def test_what_is_saved_there_is_loaded_again(store: str, name: str) -> None:
    cls, data = SAVED[name]
    dataset = pickle.loads(pickle.dumps(cls(filepath=f"{store}/folder/{name}")))
    assert not dataset.exists()
    dataset.save(data)
    assert dataset.exists()
    assert names(store) == {f"folder/{name}"}
    loaded = dataset.load()
    if isinstance(data, xr.DataArray | xr.Dataset):
        xr.testing.assert_equal(loaded.load(), data)
    elif isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(loaded, data)
    elif name == "a.pt":
        assert torch.equal(loaded.pop("w"), data["w"])
        assert loaded == {"n": [1, "a"]}
    else:
        assert loaded == data


@pytest.mark.parametrize("name", SAVED)
def test_bytes_are_those_of_a_file_on_a_disk(store: str, name: str, tmp_path: Path) -> None:
    cls, data = SAVED[name]
    cls(filepath=f"{store}/{name}").save(data)
    cls(filepath=str(tmp_path / name)).save(data)
    assert RemoteFile(f"{store}/{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_page_has_its_figures_there_and_loses_those_of_an_earlier_one(store: str) -> None:
    page = PageDataset(filepath=f"{store}/page.md", figures="plots/")
    assert page.figures() == []
    page.save(Page("![a](figure:a) ![b](figure:b)", {"a": figure(), "b": figure()}))
    assert names(store) == {"page.md", "plots/a.png", "plots/b.png"}
    page.save(Page("![b](figure:b)", {"b": figure()}))
    assert names(store) == {"page.md", "plots/b.png"}
    assert page.load().figures["b"] == RemoteFile(f"{store}/plots/b.png").read_bytes()
    assert page.exists()


def test_weights_of_many_models_are_files_there_and_go_with_them(store: str) -> None:
    dataset = CheckpointDataset(filepath=f"{store}/many.pt")
    many = {f"VD-{n}": {"w": torch.full((2,), float(n))} for n in range(70)}
    dataset.save({"weights": many})
    assert len(names(store)) == 3
    assert set(map(str, dataset.chunks())) == {f"{store}/{n}" for n in names(store) - {"many.pt"}}
    loaded = dataset.load()["weights"]
    assert torch.equal(loaded["VD-69"]["w"], many["VD-69"]["w"])
    dataset.save({"weights": {"VD-0": many["VD-0"]}})
    assert names(store) == {"many.pt"}


def test_a_long_table_is_read_there_in_frames(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "ROWS_AT_ONCE", 3)
    table = pd.DataFrame({"a": range(8), "b": ["x", "=y"] * 4})
    dataset = FramesDataset(filepath=f"{store}/t.csv", save_args={"index": False})
    dataset.save(Frames(lambda: [table[:5], table[5:]]))
    read = list(dataset.load())
    assert [len(frame) for frame in read] == [3, 3, 2]
    pd.testing.assert_frame_equal(pd.concat(read), table)


def test_a_table_has_its_parquet_file_there(store: str) -> None:
    AtomicTableDataset(filepath=f"{store}/t.csv", save_args={"index": False}).save(TABLE)
    assert names(store) == {"t.csv", "t.parquet"}
    with RemoteFile(f"{store}/t.parquet").open("rb") as file:
        pd.testing.assert_frame_equal(pd.read_parquet(file), TABLE)


def test_a_writing_that_fails_leaves_what_is_there(store: str) -> None:
    dataset = AtomicJSONDataset(filepath=f"{store}/a.json")
    dataset.save({"a": 1})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset.save({"a": [1] * 100, "b": object()})
    assert dataset.load() == {"a": 1}


def test_an_interrupted_writing_leaves_what_is_there(store: str) -> None:
    file = RemoteFile(f"{store}/a.txt")
    with replacing(file) as temporary:
        temporary.write_text("whole")
    with suppress(KeyboardInterrupt), replacing(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"whole"
    assert not temporary.parent.exists()


# --- lazily ---------------------------------------------------------------------------------------


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every request for a part of an object."""
    from s3fs import S3File  # noqa: PLC0415  (of the extra)

    sizes: list[int] = []
    fetch = S3File._fetch_range

    def counted(self: Any, start: int, end: int) -> bytes:
        content: bytes = fetch(self, start, end)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(S3File, "_fetch_range", counted)
    return sizes


def random_file(path: Path, vds: int, steps: int = 5000) -> Path:
    """Values that compression cannot make smaller: 100 kB of a detector and a feature."""
    values = np.random.default_rng(0).random((steps, vds, 3), dtype=np.float32)
    clean = make_clean(steps, vds=vds)
    VDHDF5Dataset(filepath=str(path)).save(clean.copy(data=values[:, :, : clean.shape[2]]))
    return path


def test_of_a_detector_file_only_what_is_used_is_fetched(
    bucket: str, fetched: list[int], tmp_path: Path
) -> None:
    path = random_file(tmp_path / "a.h5", vds=400)
    size = path.stat().st_size
    assert size > 12 * 2**20
    RemoteFile(f"{bucket}/lazy/a.h5").put(path)
    dataset = VDHDF5Dataset(filepath=f"{bucket}/lazy/a.h5")
    data = dataset.load()
    fetched.clear()
    part = data.isel(vd=[7], time=slice(0, 1000)).load()
    assert 0 < sum(fetched) <= 4 * BLOCK_BYTES < size / 5
    fetched.clear()
    for first in range(0, 400, 8):  # as cleaning does
        data.isel(vd=slice(first, first + 8)).load()
    assert sum(fetched) <= size
    whole = VDHDF5Dataset(filepath=str(path)).load()
    xr.testing.assert_equal(part, whole.isel(vd=[7], time=slice(0, 1000)).load())


def test_any_part_of_a_file_is_read_at_any_place(store: str, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3 * BLOCK_BYTES + 7)
    (tmp_path / "a").write_bytes(content)
    file = RemoteFile(f"{store}/a")
    file.put(tmp_path / "a")
    with file.open("rb") as opened:
        assert opened.read() == content
        for begin, size in ((0, 5), (BLOCK_BYTES - 2, 4), (10, 2 * BLOCK_BYTES)):
            assert opened.seek(begin) == begin
            assert opened.read(size) == content[begin : begin + size]
            assert opened.tell() == begin + size
        assert opened.seek(-3, io.SEEK_END) == len(content) - 3
        assert opened.read(10) == content[-3:]
        opened.seek(10, io.SEEK_END)
        assert opened.read(1) == b""


def test_a_file_that_changes_while_it_is_used_is_refused(store: str, tmp_path: Path) -> None:
    dataset = VDHDF5Dataset(filepath=f"{store}/a.h5")
    dataset.save(make_clean(50, vds=2))
    data = dataset.load()
    dataset.save(make_clean(60, vds=2))
    with pytest.raises(DatasetError, match=rf"^{store}/a.h5: has changed since it was loaded"):
        data.load()


# --- content --------------------------------------------------------------------------------------


def test_the_hash_of_a_file_follows_its_content(bucket: str) -> None:
    file = RemoteFile(f"{bucket}/hash/a.txt")
    dataset = AtomicTextDataset(filepath=str(file))
    assert content_hash(file, {}) is None
    dataset.save("one")
    # The ETag of S3 is the MD5 sum of an object that was sent in one part.
    assert content_hash(file, {}) == "f97c5d29941bfb1b2fdab0874906ab82"
    dataset.save("two")
    other = content_hash(file, {})
    dataset.save("one")
    assert content_hash(file, {}) == "f97c5d29941bfb1b2fdab0874906ab82" != other


def test_a_store_is_asked_once_for_the_content_of_a_file(store: str) -> None:
    file, known = RemoteFile(f"{store}/a.txt"), dict[str, list[int | str]]()
    assert content_hash(file, known) is None
    AtomicTextDataset(filepath=str(file)).save("one")
    assert content_hash(file, known) is None
    assert content_hash(file, {}) is not None


def test_the_file_of_every_dataset_is_known(store: str) -> None:
    for name, (cls, _) in SAVED.items():
        assert file_of(cls(filepath=f"{store}/{name}")) == RemoteFile(f"{store}/{name}")


# --- in one line ----------------------------------------------------------------------------------


def problem(dataset: Any) -> str:
    with pytest.raises((DatasetError, OSError)) as error:
        dataset.load()
    line = in_one_line(error.value)
    assert "\n" not in line
    return line


def test_what_is_not_there_is_named(store: str) -> None:
    path = f"{store}/a.h5"
    assert problem(VDHDF5Dataset(filepath=path)) == f"{path}: no such file"
    assert problem(XarrayDataset(filepath=path)) == f"{path}: no such file"
    training = "no such file; run the training that makes it"
    assert problem(CheckpointDataset(filepath=path)) == f"{path}: {training}"
    assert problem(AtomicBytesDataset(filepath=path)) == f"{path}: no such file or directory"


def test_a_damaged_file_is_named(store: str) -> None:
    path = f"{store}/a.h5"
    AtomicTextDataset(filepath=path).save("nothing of the kind" * 100)
    assert problem(VDHDF5Dataset(filepath=path)) == f"{path}: not an HDF5 file"
    assert problem(CheckpointDataset(filepath=path)).startswith(f"{path}: not a file of plain")


def test_a_list_of_strings_without_an_end_is_found_there_too(store: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    VDHDF5Dataset(filepath=str(path)).save(make_clean(50, vds=2).assign_attrs(description="x"))
    content = bytearray(path.read_bytes())
    begin = content.find(b"GCOL\1\0\0\0")
    assert begin > 0
    content[begin + 16 : begin + 32] = bytes(16)  # an entry that leads to itself
    path.write_bytes(content)
    RemoteFile(f"{store}/a.h5").put(path)
    assert "a list of strings has no end" in problem(VDHDF5Dataset(filepath=f"{store}/a.h5"))


def test_a_store_that_refuses_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, path: str, **settings: Any) -> None:
        raise PermissionError("access\ndenied")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "info", refuse)
    for cls in (VDHDF5Dataset, XarrayDataset, CheckpointDataset):
        assert problem(cls(filepath="memory:///a")) == "memory:///a: access denied"


def test_a_store_that_fails_while_a_file_is_read_is_named(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3File  # noqa: PLC0415  (of the extra)

    path = f"{bucket}/fails/{token_hex(8)}.h5"
    dataset = VDHDF5Dataset(filepath=path)
    dataset.save(make_clean(50, vds=2))

    def fail(self: Any, start: int, end: int) -> bytes:
        raise TimeoutError("the store\ndoes not answer")

    monkeypatch.setattr(S3File, "_fetch_range", fail)
    assert problem(dataset) == f"{path}: the store does not answer"


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    dataset = AtomicBytesDataset(filepath="s3://nobody/a")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"^s3://nobody/a: cannot be written, there is no such"):
        dataset.save(b"x")


def test_an_address_of_no_known_kind() -> None:
    entry = {"type": "vd_forecasting.datasets.VDHDF5Dataset", "filepath": "s4://a/b"}
    with pytest.raises(DatasetError) as error:
        DataCatalog.from_config({"vd_raw": entry}).get("vd_raw")
    assert in_one_line(error.value) == "vd_raw: s4://a/b: Protocol not known: s4"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(ImportError, match=r"^s3://a/b: .* missing for s3://; pip install -e "):
        place("s3://a/b")


# --- folders --------------------------------------------------------------------------------------


def test_states_of_runs_stay_on_a_disk() -> None:
    assert local_folder("s3://bucket/folder") == "data"
    assert local_folder("/mnt/large") == "/mnt/large"


def test_a_slash_at_the_end_names_the_same_folder() -> None:
    assert folder("s3://bucket/folder/") == "s3://bucket/folder"
    assert folder("/") == "/"
    assert folder("file:///mnt/large/") == "/mnt/large"
    assert place("file:///mnt/a.h5") == Path("/mnt/a.h5")


def test_h5py_is_given_a_path_where_there_is_one(tmp_path: Path) -> None:
    with h5py.File(random_file(tmp_path / "a.h5", vds=1, steps=50)) as file:
        assert file.driver == "sec2"


def test_a_file_written_again_with_the_same_content_is_another_one(
    store: str, tmp_path: Path
) -> None:
    for address in (str(tmp_path), store):
        dataset = AtomicTextDataset(filepath=f"{address}/a.txt")
        dataset.save("same")
        file = place(f"{address}/a.txt")
        before = written(file)
        assert written(file) == before
        time.sleep(1.1)  # S3 counts whole seconds
        dataset.save("same")
        assert written(file) != before
