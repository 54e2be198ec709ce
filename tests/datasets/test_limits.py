"""Small files that declare much are refused in one line, before anything is allocated."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from kedro.io import DatasetError

from tests.make.vd_files import VALUES, VDIDS, write
from vd_forecasting.datasets import CheckpointDataset, VDHDF5Dataset, XarrayDataset
from vd_forecasting.datasets.limits import count_nodes

MOST_PEAK = 200 * 2**20


def load(path: Path) -> xr.DataArray:
    return VDHDF5Dataset(filepath=str(path)).load()


def refusal(read: Callable[[], object], path: Path) -> str:
    tracemalloc.start()
    with pytest.raises(DatasetError) as error:
        read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert peak < MOST_PEAK
    return text


def wide(path: Path, vds: int, **changes: Any) -> Path:
    return write(
        path,
        data__features=np.zeros((4, vds, 2), np.float32),
        metadata__vdids=[f"{n}" for n in range(vds)],
        **changes,
    )


def same_string_everywhere(path: Path, vds: int, length: int) -> None:
    """VDIDs that all refer to one long string."""
    wide(path, vds)
    with h5py.File(path, "a") as file:
        vdids = file["metadata/vdids"]
        vdids[0] = "x" * length
        place = vdids.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * vds] = bytes(content[place : place + 16]) * vds
    path.write_bytes(content)


def long_road_name(path: Path) -> None:
    with h5py.File(wide(path, 20_000), "a") as file:
        file.create_group("metadata/vd_info/0").attrs["road_name"] = "x" * 60_000


def large_chunk(path: Path) -> None:
    with h5py.File(write(path, data__features=None), "a") as file:
        chunks = (30_000, 30_000, 1)
        limits = (None, None, None)
        file.create_dataset("data/features", VALUES.shape, "f4", maxshape=limits, chunks=chunks)


def sparse_values(path: Path) -> None:
    stamps = np.datetime64("2024-01-01T00:00") + np.arange(100_000)
    with h5py.File(wide(path, 30_000, metadata__timestamps=None), "a") as file:
        del file["data/features"]
        texts = np.datetime_as_string(stamps).astype("S16")
        file.create_dataset("metadata/timestamps", data=texts, compression="gzip")
        shape, chunks = (len(stamps), 30_000, 2), (1000, 8, 2)
        file.create_dataset("data/features", shape, "f4", chunks=chunks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (long_road_name, "/metadata/vd_info/0: road_id or road_name has 60,000 characters"),
        (lambda path: same_string_everywhere(path, 500, 2_000_000), "refers to long strings"),
        (large_chunk, r"/data/features has chunks of \(30000, 30000, 1\)"),
        (sparse_values, r"/data/features declares the shape \(100000, 30000, 2\)"),
    ],
)
def test_a_vd_file_that_unfolds(tmp_path: Path, make: Any, message: str) -> None:
    path = tmp_path / "a.h5"
    make(path)
    text = refusal(lambda: load(path), path)
    assert "MB of memory, more than" in text
    assert "set memory_mb in its catalog entry" in text
    with pytest.raises(DatasetError, match=message):
        load(path)


def test_the_key_raises_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    long_road_name(path)
    data = VDHDF5Dataset(filepath=str(path), memory_mb=6_000)
    assert data.limit.most_bytes == 6 * 10**9


def test_attributes_that_share_a_long_string(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    kind = h5py.string_dtype()
    with h5py.File(write(path), "a") as file:
        for n in range(300):
            file.attrs.create(f"a{n}", "z" * (2_000_000 if n == 0 else 7), dtype=kind)
    content = bytearray(path.read_bytes())
    long = content.find(struct.pack("<I", 2_000_000))
    short, reference = struct.pack("<I", 7), bytes(content[long : long + 16])
    place = content.find(short)
    while place >= 0:
        address = int.from_bytes(content[place + 4 : place + 12], "little")
        if content[address : address + 4] == b"GCOL":
            content[place : place + 16] = reference
        place = content.find(short, place + 4)
    path.write_bytes(content)
    assert "attributes of /" in refusal(lambda: load(path), path)


def test_a_list_of_strings_without_an_end(tmp_path: Path) -> None:
    """HDF5 itself would never return."""
    path = write(tmp_path / "a.h5", metadata__vdids=["a", "b", "c"])
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL") + 16
    while content[place] or content[place + 1]:  # the number of an entry; that of what is free is 0
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], "little") + 7) // 8 * 8
    content[place + 8 : place + 16] = bytes(8)
    path.write_bytes(content)
    assert "a list of strings has no end" in refusal(lambda: load(path), path)


def test_control_characters_in_names_become_spaces_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.h5"
    data = load(write(path, metadata__vdids=["a\n20:00:00  ERROR", VDIDS[1], "b\x1b[31m"]))
    assert data["vd"].values.tolist() == ["a 20:00:00  ERROR", VDIDS[1], "b [31m"]
    [record] = caplog.records
    assert "control characters in 2 of /metadata/vdids, such as 'a\\n20" in record.getMessage()


# netCDF


def stored(path: Path) -> XarrayDataset:
    dataset = XarrayDataset(filepath=str(path))
    dataset.save(xr.Dataset({"v": ("x", np.arange(3.0))}, {"x": ["a", "b", "c"]}, {"mode": "m"}))
    return dataset


def test_a_variable_larger_than_its_file(tmp_path: Path) -> None:
    dataset = stored(tmp_path / "a.nc")
    with h5py.File(dataset.filepath, "a") as file:
        file.create_dataset("huge", (900_000_000,), "f8", chunks=(1_000_000,), compression="gzip")
    text = refusal(dataset.load, tmp_path / "a.nc")
    assert "huge declares the shape (900000000,): 7,200 MB of memory" in text


def _external(file: h5py.File, folder: Path) -> None:
    file.create_dataset("w", (4,), "i1", external=[(str(folder / "secret"), 0, 4)])


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(folder / "b.nc", "v", (3,))
    file.create_virtual_dataset("w", layout)


def _linked(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.ExternalLink(str(folder / "b.nc"), "/v")


def _soft(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.SoftLink("/v")


@pytest.mark.parametrize(
    ("add", "kind"),
    [
        (_external, "stored in another file"),
        (_virtual, "a virtual data set"),
        (_linked, "a link to another file"),
        (_soft, "a soft link"),
        (lambda file, _: file.create_group("w"), "a group"),
    ],
)
def test_a_file_must_hold_its_own_values(tmp_path: Path, add: Any, kind: str) -> None:
    (tmp_path / "secret").write_bytes(b"1234")
    stored(tmp_path / "b.nc")
    dataset = stored(tmp_path / "a.nc")
    with h5py.File(dataset.filepath, "a") as file:
        add(file, tmp_path)
    assert kind in refusal(dataset.load, tmp_path / "a.nc")


# Checkpoints


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(bytearray, 2**32),
        Call(complex, 1),
        Call(torch.storage.UntypedStorage, 2**33),
        torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (9,), check_invariants=True),
        torch.nn.Parameter(torch.ones(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_checkpoint_holds_plain_tensors_alone(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": value}, path)
    text = refusal(CheckpointDataset(filepath=str(path)).load, path)
    assert "not a file of plain tensors (it holds a " in text


def test_tensors_are_no_larger_than_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    dataset = CheckpointDataset(filepath=str(path))
    dataset.save({"a": torch.arange(300, dtype=torch.float32)})
    content = path.read_bytes()
    declared = b"M" + struct.pack("<H", 300)
    assert content.count(declared) >= 1
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    more = b"J" + struct.pack("<i", 2**30)
    with zipfile.ZipFile(path, "w") as new:
        for name, part in parts.items():
            new.writestr(name, part.replace(declared, more))
    assert "not a file of plain tensors" in refusal(dataset.load, path)


def test_a_list_of_lists_of_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    nested: Any = [0]
    for _ in range(60):
        nested = [nested, nested]
    dataset = CheckpointDataset(filepath=str(path))
    dataset.save({"a": nested})
    assert "unfolds to more than" in refusal(dataset.load, path)


def test_a_node_that_holds_itself_has_no_end() -> None:
    node: list[Any] = [1, 2]
    assert count_nodes(node, lambda n: n if isinstance(n, list) else (), 10) == 3
    node.append(node)
    assert count_nodes(node, lambda n: n if isinstance(n, list) else (), 10) == 11
