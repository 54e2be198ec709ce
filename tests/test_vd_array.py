import weakref
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from tests.make.arrays import make_clean
from vd_forecasting import vd_array as vd_blocks
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.vd_array import each_vd_block, in_vd_blocks

SetsBlocks = Callable[[float], None]

STEPS = 50
BYTES_OF_A_VD = 4 * STEPS * 3


@pytest.fixture
def vd() -> xr.DataArray:
    return make_clean(STEPS, vds=37)


@pytest.fixture
def block_of(monkeypatch: pytest.MonkeyPatch) -> SetsBlocks:
    """Sets how many of these VDs fill a block."""
    return lambda vds: monkeypatch.setattr(vd_blocks, "BLOCK_BYTES", vds * BYTES_OF_A_VD)


@pytest.mark.parametrize("vds", [1, 3, 8, 20, 36, 37, 1000])
@pytest.mark.parametrize("as_dask", [False, True])
def test_blocks_are_the_array_cut_along_its_vds(
    vd: xr.DataArray, block_of: SetsBlocks, vds: int, as_dask: bool
) -> None:
    block_of(vds)
    blocks = [*each_vd_block(in_vd_blocks(vd) if as_dask else vd)]
    assert all(block.chunks is None for block in blocks)
    assert max(block.nbytes for block in blocks) <= vds * BYTES_OF_A_VD
    xr.testing.assert_identical(xr.concat(blocks, "vd", combine_attrs="override"), vd)


def test_a_vd_too_large_for_a_block_is_one(vd: xr.DataArray, block_of: SetsBlocks) -> None:
    block_of(0.5)
    assert [block.sizes["vd"] for block in each_vd_block(vd)] == [1] * 37


def test_room_is_left_for_the_steps_that_will_be_made(
    vd: xr.DataArray, block_of: SetsBlocks
) -> None:
    block_of(32)
    assert in_vd_blocks(vd).chunksizes["vd"] == (32, 5)
    assert in_vd_blocks(vd, steps=2 * STEPS).chunksizes["vd"] == (16, 16, 5)


def test_blocks_there_are_already_are_kept(vd: xr.DataArray) -> None:
    blocks = in_vd_blocks(vd.chunk(time=7, vd=11, feature=1))
    assert blocks.chunksizes == {"time": (STEPS,), "vd": (11, 11, 11, 4), "feature": (3,)}


@pytest.mark.parametrize(
    ("of_file", "vds", "width"),
    [
        (1, 21, 16),  # chunks as this project writes them
        (8, 7, 7),  # not even one of them
        (10, 45, 37),  # whole chunks of the file and of what will be written; all that there are
        (10, 25, 20),  # whole chunks of the file
        (20, 19, 16),  # not even one of them
    ],
)
def test_blocks_hold_whole_chunks_of_the_file(
    vd: xr.DataArray,
    block_of: SetsBlocks,
    tmp_path: Path,
    of_file: int,
    vds: int,
    width: int,
) -> None:
    block_of(vds)
    loaded = with_chunks(tmp_path / "a.h5", vd, of_file)
    assert in_vd_blocks(loaded).chunksizes["vd"][0] == width


def with_chunks(
    path: Path, vd: xr.DataArray, of_file: int, compression: str | None = None
) -> xr.DataArray:
    """The array loaded from a file with chunks of so many VDs."""
    dataset = VDHDF5Dataset(filepath=str(path))
    dataset.save(vd)
    with h5py.File(path, "a") as file:
        values = file["data/features"][:]
        del file["data/features"]
        file.create_dataset(
            "data/features", data=values, chunks=(10, of_file, 3), compression=compression
        )
    return dataset.load()


@pytest.mark.parametrize(
    ("of_file", "compression", "warned"),
    [(37, "gzip", True), (37, None, False), (8, "gzip", False)],
)
def test_a_file_that_must_be_decompressed_many_times_is_told(
    vd: xr.DataArray,
    block_of: SetsBlocks,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    of_file: int,
    compression: str | None,
    warned: bool,
) -> None:
    block_of(16)
    loaded = with_chunks(tmp_path / "a.h5", vd, of_file, compression)
    assert in_vd_blocks(loaded).chunksizes["vd"] == (16, 16, 5)
    told = (
        "made.h5: compressed in chunks of 37 detectors, more than the 16 read together, so that "
        "all of it is decompressed 3 times; a copy with smaller chunks would be read faster"
    )
    assert caplog.messages == ([told] if warned else [])


def test_two_blocks_are_there_at_a_time(vd: xr.DataArray, block_of: SetsBlocks) -> None:
    block_of(1)
    alive: set[int] = set()
    most = 0

    def computed(values: np.ndarray) -> np.ndarray:
        nonlocal most
        made = values * 2
        alive.add(id(made))
        weakref.finalize(made, alive.discard, id(made))
        most = max(most, len(alive))
        return made

    doubled = in_vd_blocks(vd)
    doubled = doubled.copy(
        data=doubled.data.map_blocks(computed, dtype="f4", meta=np.empty((0,) * 3))
    )
    most = 0
    for _ in each_vd_block(doubled):
        pass
    assert 1 <= most <= 2


def test_an_error_in_a_block_is_raised(vd: xr.DataArray, block_of: SetsBlocks) -> None:
    block_of(8)

    def fails(values: np.ndarray) -> np.ndarray:
        raise OSError("the disk reports an error")

    blocks = in_vd_blocks(vd)
    broken = blocks.copy(data=blocks.data.map_blocks(fails, dtype="f4", meta=np.empty((0,) * 3)))
    with pytest.raises(OSError, match="the disk reports"):
        next(each_vd_block(broken))


def test_there_is_no_bar_where_no_terminal_is(
    vd: xr.DataArray,
    block_of: SetsBlocks,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vd_blocks, "_SECONDS_WITHOUT_BAR", 0)
    block_of(8)
    for _ in each_vd_block(vd, "clean"):
        pass
    assert capfd.readouterr() == ("", "")


def test_what_is_saved_does_not_depend_on_the_blocks(vd: xr.DataArray, tmp_path: Path) -> None:
    for name, blocks in {"whole": vd, "few": vd.chunk(vd=16), "one": vd.chunk(vd=1)}.items():
        dataset = VDHDF5Dataset(filepath=str(tmp_path / f"{name}.h5"))
        dataset.save(blocks)
        xr.testing.assert_equal(dataset.load().load(), vd)
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "few.h5").read_bytes()
