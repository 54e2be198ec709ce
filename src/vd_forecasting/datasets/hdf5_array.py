"""A three-dimensional HDF5 data set as a lazy array for xarray: a read touches only its chunks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import product
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]

_BLOCK_BYTES = 32 * 2**20  # read at most about this much at once beyond the result itself
_UNCHUNKED_GRAIN = (256, 1, 1)  # reading over a small gap is cheaper than another read


class LazyHDF5Array(BackendArray):
    """[T, N, F] float32, read from the file each time it is indexed.

    Args:
        shape: the data set's shape, as it was when the file was checked.
        open_dataset: opens the file, checks that it is still the same, and yields the data set.
            It is called for every read and nothing stays open in between, so this array pickles
            as well as ``open_dataset`` does.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        open_dataset: Callable[[], AbstractContextManager[h5py.Dataset]],
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.float32)
        self._open_dataset = open_dataset

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Floats:
        if not isinstance(key, indexing.VectorizedIndexer):
            return self._read(key.tuple)
        # read the outer product of the positions, then pick the points from that
        values: Floats = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return values

    def _read(self, key: tuple[Any, ...]) -> Floats:
        positions = [
            _positions(part, size) for part, size in zip(key, self.shape, strict=True)
        ]  # an array per axis
        dropped = tuple(axis for axis, part in enumerate(key) if isinstance(part, int | np.integer))
        if any(wanted.size == 0 for wanted in positions):
            values = np.empty([wanted.size for wanted in positions], dtype=np.float32)
        else:
            with self._open_dataset() as dataset:
                values = read_orthogonal(dataset, positions)
        return values.squeeze(axis=dropped)


def read_orthogonal(dataset: h5py.Dataset, positions: list[Positions]) -> Floats:
    """Read the outer product of ``positions``, one non-empty array per axis, in any order.

    Every block read is a plain hyperslab (h5py's own fancy indexing needs increasing unique
    positions and is slow), and none touches a chunk without a wanted position.
    """
    unique = [_increasing(wanted) for wanted in positions]
    grains = dataset.chunks or _UNCHUNKED_GRAIN
    times, vds, features = (
        list(_runs(wanted, grain)) for wanted, grain in zip(unique, grains, strict=True)
    )
    row_bytes = 4 * _widest(vds) * _widest(features)
    times = list(_split(times, max(_BLOCK_BYTES // row_bytes // grains[0], 1) * grains[0]))

    view = dataset if dataset.dtype == np.float32 else dataset.astype(np.float32)
    values = np.empty([wanted.size for wanted in unique], dtype=np.float32)
    for runs in product(times, vds, features):
        inside = [
            slice(*np.searchsorted(wanted, (run.start, run.stop)))
            for wanted, run in zip(unique, runs, strict=True)
        ]
        if any(part.start == part.stop for part in inside):
            continue  # a split run may have a stretch without wanted positions
        local = [
            wanted[part] - run.start for wanted, part, run in zip(unique, inside, runs, strict=True)
        ]
        block = view[runs]
        whole = all(part.size == length for part, length in zip(local, block.shape, strict=True))
        values[tuple(inside)] = block if whole else block[np.ix_(*local)]

    if all(u is wanted for u, wanted in zip(unique, positions, strict=True)):
        return values
    asked = [np.searchsorted(u, wanted) for u, wanted in zip(unique, positions, strict=True)]
    return values[np.ix_(*asked)]


def _positions(part: Any, size: int) -> Positions:
    if isinstance(part, slice):
        return np.arange(*part.indices(size), dtype=np.intp)
    positions = np.atleast_1d(np.asarray(part, dtype=np.intp))
    if ((positions < -size) | (positions >= size)).any():
        raise IndexError(f"position out of range for an axis of size {size}")
    return np.where(positions < 0, positions + size, positions)


def _increasing(wanted: Positions) -> Positions:
    return wanted if (np.diff(wanted) > 0).all() else np.unique(wanted)


def _runs(wanted: Positions, grain: int) -> Iterator[slice]:
    """Slices that cover ``wanted``, which increases; a gap ends one if it skips a whole chunk."""
    ends = np.flatnonzero(np.diff(wanted // grain) > 1)
    starts = np.concatenate([[0], ends + 1])
    stops = np.concatenate([ends, [wanted.size - 1]])
    for start, stop in zip(wanted[starts], wanted[stops], strict=True):
        yield slice(int(start), int(stop) + 1)


def _split(runs: list[slice], length: int) -> Iterator[slice]:
    """Cut ``runs`` at multiples of ``length``, which is a multiple of the chunk's."""
    for run in runs:
        start = run.start
        while start < run.stop:
            stop = min((start // length + 1) * length, run.stop)
            yield slice(start, stop)
            start = stop


def _widest(runs: list[slice]) -> int:
    return max(int(run.stop - run.start) for run in runs)
