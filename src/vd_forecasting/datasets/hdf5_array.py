"""A three-dimensional HDF5 data set as a lazy array for xarray: a read touches only its chunks."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise, product
from math import prod
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

    ``shape`` is as it was when the file was checked. ``open_dataset`` opens the file, checks that
    it is still the same, and yields the data set. It is called for every read and nothing stays
    open in between, so this array pickles as well as ``open_dataset`` does.
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
        outer = indexing.IndexingSupport.OUTER
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, outer, self._read))

    def _read(self, key: tuple[Any, ...]) -> Floats:
        positions = list(map(_positions, key, self.shape))  # an array per axis
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
    unique = [u if (np.diff(u) > 0).all() else np.unique(u) for u in positions]
    grains = dataset.chunks or _UNCHUNKED_GRAIN
    across = [_runs(u, grain) for u, grain in zip(unique[1:], grains[1:], strict=True)]
    row_bytes = 4 * prod(max(run.stop - run.start for _, run in runs) for runs in across)
    times = _runs(unique[0], grains[0], max(_BLOCK_BYTES // row_bytes // grains[0], 1))

    view = dataset if dataset.dtype == np.float32 else dataset.astype(np.float32)
    values = np.empty([u.size for u in unique], dtype=np.float32)
    for pairs in product(times, *across):
        inside, runs = zip(*pairs, strict=True)
        block = view[runs]
        if block.shape != values[inside].shape:
            wanted = zip(unique, inside, runs, strict=True)
            block = block[np.ix_(*(u[part] - run.start for u, part, run in wanted))]
        values[inside] = block

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


def _runs(wanted: Positions, grain: int, most: int | None = None) -> list[tuple[slice, slice]]:
    """Slices that cover ``wanted``, which increases: of it, and of the axis. A gap ends one if it
    skips a whole chunk; so does the end of every ``most`` chunks."""
    chunk = wanted // grain
    ends = np.diff(chunk) > 1
    if most:
        ends |= np.diff(chunk // most) > 0
    bounds = [0, *(np.flatnonzero(ends) + 1).tolist(), wanted.size]
    return [
        (slice(start, stop), slice(int(wanted[start]), int(wanted[stop - 1]) + 1))
        for start, stop in pairwise(bounds)
    ]
