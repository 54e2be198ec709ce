"""Reading parts of an HDF5 data set, against numpy on the whole of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from xarray.core import indexing

from vd_forecasting.datasets import hdf5_array
from vd_forecasting.datasets.hdf5_array import LazyHDF5Array

SHAPE = (23, 7, 3)
VALUES = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
LAYOUTS: dict[str, dict[str, Any]] = {
    "chunked": {"chunks": (5, 2, 3)},
    "contiguous": {},
    "one chunk": {"chunks": SHAPE},
    "double": {"chunks": (4, 7, 1), "dtype": np.float64},
    "big-endian integers": {"dtype": ">i4"},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def array(request: pytest.FixtureRequest) -> Iterator[xr.Variable]:
    with h5py.File("unused", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("features", data=VALUES, **LAYOUTS[request.param])

        @contextmanager
        def open_dataset() -> Iterator[h5py.Dataset]:
            yield dataset

        lazy = indexing.LazilyIndexedArray(LazyHDF5Array(SHAPE, open_dataset))
        yield xr.Variable(("time", "vd", "feature"), lazy)


def keys(size: int) -> st.SearchStrategy[Any]:
    position = st.integers(-size, size - 1)
    return (
        st.slices(size)
        | position
        | st.lists(position, max_size=2 * size)
        | st.lists(st.booleans(), min_size=size, max_size=size)
    )


@given(st.tuples(*(keys(size) for size in SHAPE)), st.permutations(["time", "vd", "feature"]))
def test_any_orthogonal_selection_is_that_of_numpy(
    array: xr.Variable, key: tuple[Any, ...], order: list[str]
) -> None:
    whole = xr.Variable(array.dims, VALUES)
    selection = {
        dim: np.array(part, dtype=bool if part and isinstance(part[0], bool) else int)
        if isinstance(part, list)
        else part
        for dim, part in zip(array.dims, key, strict=True)
    }
    found, expected = array.isel(selection), whole.isel(selection)
    dims = [dim for dim in order if dim in expected.dims]
    np.testing.assert_array_equal(found.transpose(*dims).values, expected.transpose(*dims).values)
    assert found.dtype == np.float32


def test_selections_of_selections_are_combined(array: xr.Variable) -> None:
    found = array[::-2][:, [5, 0, 5, 3]][1:4, ::-1][[2, 0]].transpose("feature", "vd", "time")
    np.testing.assert_array_equal(
        found.values, VALUES[::-2][:, [5, 0, 5, 3]][1:4, ::-1][[2, 0]].transpose(2, 1, 0)
    )


def test_pointwise_selection(array: xr.Variable) -> None:
    at = xr.Variable("point", [3, 22, 3])
    vd = xr.Variable("point", [6, 0, 1])
    np.testing.assert_array_equal(array.isel(time=at, vd=vd).values, VALUES[[3, 22, 3], [6, 0, 1]])


def test_blocks_too_large_for_memory_are_read_in_parts(
    array: xr.Variable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_array, "_BLOCK_BYTES", 1)
    np.testing.assert_array_equal(array.values, VALUES)
    np.testing.assert_array_equal(array[[0, 22, 11], [6, 0]].values, VALUES[[0, 22, 11]][:, [6, 0]])


def test_out_of_bounds_is_an_error(array: xr.Variable) -> None:
    with pytest.raises(IndexError):
        array[[0, 23]].load()
    with pytest.raises(IndexError):
        array[:, 7].load()
