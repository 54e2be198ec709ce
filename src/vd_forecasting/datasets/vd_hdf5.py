"""Vehicle-detector measurements as one labelled array in one HDF5 file."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from kedro.io import DatasetError
from xarray.core import indexing

from vd_forecasting.datasets import vd_contract as contract
from vd_forecasting.datasets.atomic import FileDataset, replacing_hdf5
from vd_forecasting.datasets.hdf5_array import LazyHDF5Array
from vd_forecasting.datasets.hdf5_attributes import NUMBERS, TEXTS, write_info
from vd_forecasting.datasets.places import Place, stamp
from vd_forecasting.datasets.timestamps import format_timestamps
from vd_forecasting.vd_array import DIMS, VDS_PER_CHUNK, each_vd_block
from vd_forecasting.wording import nearest, one_line, quoted

# A chunk is the least that can be read: half a week of 5-minute steps of a few detectors, 98 kB for
# three features. One detector of thousands over a year, and a few days of all detectors, both read
# little they do not need. All features of a detector are nearly always wanted together.
_CHUNK = (1024, VDS_PER_CHUNK)
_WRITE_BYTES = 32 * 2**20
_COMPRESSED: Final = {"compression": "gzip", "compression_opts": 4, "track_times": False}
_UTC_OFFSET = re.compile(r"[+-]\d\d:\d\d")


class VDHDF5Dataset(FileDataset[xr.DataArray, xr.DataArray]):
    """Loads and saves VD measurements, float32 [time, vd, feature], in the VD HDF5 layout.

    Loading checks the file and reads its labels, never its values: indexing the array reads the
    chunks it needs, each time, so call ``.load()`` on a part that is used more than once.

    Coordinates: ``time`` (datetime64[ns], naive local time, NaT where blank), ``vd``, ``feature``,
    ``unit`` of each feature ("" unknown) and, where the file has vd_info, ``position_lon``,
    ``position_lat``, ``lane_num`` (NaN unknown), ``road_id`` and ``road_name`` ("" unknown) of each
    VD. Attributes: ``source_file`` (name of the file first read from), ``utc_offset`` (of the
    clock, where the time stamps have one) and the root attributes of the file.

    Example::

        vd_raw:
          type: vd_forecasting.datasets.VDHDF5Dataset
          filepath: data/01_raw/vd_sample.h5
          features: [avg_speed, total_volume]  # optional; all of them by default
    """

    def __init__(self, *, features: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if features is not None and not (isinstance(features, list) and features):
            raise DatasetError(
                f"{self.filepath}: features is {features!r}, must be a list of names; "
                "leave it out to load all"
            )
        self._features = features

    def load(self) -> xr.DataArray:
        """The array, its values unread; a DatasetError of one line if it breaks the contract."""
        path = self.filepath
        with contract.open_vd_file(path, contract.CACHE_BYTES) as file:
            now = stamp(path)
            coords, attrs = contract.read_labels(file, self.limit)
            features = contract.features_of(file)
            chunks = features.chunks and dict(zip(DIMS, features.chunks, strict=True))
            stored = {"preferred_chunks": chunks, "compression": features.compression}
            shape, encoding = features.shape, {key: stored[key] for key in stored if stored[key]}
        array = LazyHDF5Array(shape, partial(_open_features, path, now))
        lazy: Any = indexing.LazilyIndexedArray(array)
        on_demand = indexing.CopyOnWriteArray(lazy)
        values = xr.Variable(DIMS, on_demand, {"source_file": path.name, **attrs}, encoding)
        data = xr.Dataset({"features": values}, coords)["features"]
        return data if self._features is None else data.isel(feature=self._select(data))

    def save(self, data: xr.DataArray) -> None:
        """Write ``data`` in the same layout: the same array always makes the same bytes.

        A dask array is written block by block along ``vd``, anything else by blocks of time steps,
        which is how sources hold their values; neither has to fit in memory.
        """
        self._check(data)
        data = data.transpose(*DIMS)
        try:
            with replacing_hdf5(self.filepath) as raw, h5py.File(raw, "w") as file:
                _write_labels(file, data)
                _write_values(file, data)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise DatasetError(f"{self.filepath}: cannot be written ({one_line(error)})") from error

    def _select(self, data: xr.DataArray) -> list[int]:
        asked, there = self._features or [], data["feature"].values.tolist()
        for name in asked:
            if name not in there:
                near = nearest(str(name), there, similarity=0.6)
                hint = f" (did you mean {near!r}?)" if near else ""
                raise DatasetError(
                    f"{self.filepath}: no feature {name!r}{hint}; it has {quoted(there)}"
                )
        if twice := contract.duplicates(asked):
            raise DatasetError(f"{self.filepath}: asked twice for {quoted(twice)}")
        return [there.index(name) for name in asked]

    def _check(self, data: xr.DataArray) -> None:
        problem = None
        if not isinstance(data, xr.DataArray) or set(data.dims) != set(DIMS):
            problem = f"only a DataArray with the dims {', '.join(DIMS)} can be saved"
        elif missing := [name for name in DIMS if name not in data.coords]:
            problem = f"the array to save has no coordinate {missing[0]!r}"
        elif 0 in data.shape:
            problem = f"the array to save is empty, its shape is {dict(data.sizes)}"
        elif data.dtype.kind not in "iuf":
            problem = f"the array to save has type {data.dtype}, must be numeric"
        elif data["time"].dtype.kind != "M" or data["time"].isnull().all():
            problem = "the array to save has no usable time stamp"
        else:
            for name in ("vd", "feature"):
                if twice := contract.duplicates(map(str, data[name].values)):
                    problem = f"duplicate {name} in the array to save: {quoted(twice)}"
        if problem:
            raise DatasetError(f"{self.filepath}: {problem}")


@contextmanager
def _open_features(path: Place, before: tuple[int | str, ...]) -> Iterator[h5py.Dataset]:
    """Open the feature values of the very file whose labels were read."""
    with contract.open_vd_file(path) as file:
        if stamp(path) != before:
            raise DatasetError(f"{path}: has changed since it was loaded; load it again")
        yield contract.features_of(file)


def _write_labels(file: h5py.File, data: xr.DataArray) -> None:
    offset = data.attrs.get("utc_offset")
    if not (isinstance(offset, str) and _UTC_OFFSET.fullmatch(offset)):
        offset = None
    # Some restate the shape, which may have changed since they were read.
    sizes = dict(zip(("num_timesteps", "num_locations", "num_features"), data.shape, strict=True))
    for name, value in data.attrs.items():
        is_scalar = isinstance(value, str | int | float | np.integer | np.floating)
        if is_scalar and isinstance(name, str):
            file.attrs[name] = sizes.get(name, value)

    times = data["time"].values.astype("datetime64[ns]")
    for name, texts in (
        (contract.TIMESTAMPS, format_timestamps(times, offset)),
        (contract.VDIDS, _encode(data["vd"])),
        (contract.FEATURE_NAMES, _encode(data["feature"])),
    ):
        chunks = (min(len(texts), 4096),)
        file.create_dataset(name, data=_of_fixed_length(texts), chunks=chunks, **_COMPRESSED)
        file.flush()  # see replacing_hdf5
    if "unit" in data.coords and data["unit"].dims == ("feature",):
        units = _of_fixed_length(_encode(data["unit"]))
        file[contract.FEATURE_NAMES].attrs.create("units", units)

    if any(name in data.coords for name in (*NUMBERS, *TEXTS)):
        write_info(file.create_group(contract.VD_INFO), data)


def _write_values(file: h5py.File, data: xr.DataArray) -> None:
    steps, vds, features = data.shape
    # blocks of very long series are narrower than a chunk, and no chunk must be written twice
    width = min(_CHUNK[1], data.chunksizes["vd"][0] if data.chunks else vds)
    chunk = (min(steps, _CHUNK[0]), width, features)
    stored = {"shape": data.shape, "chunks": chunk, "shuffle": True, **_COMPRESSED}
    target = file.create_dataset(contract.FEATURES, dtype=np.float32, **stored)
    for where, part in _parts(data, target.chunks[0]):
        with np.errstate(over="ignore"):
            target[where] = part.values.astype(np.float32, copy=False)


def _parts(data: xr.DataArray, grain: int) -> Iterator[tuple[tuple[slice, slice], xr.DataArray]]:
    """Parts of an array that may be larger than memory, each with its place along time and vd."""
    if data.chunks:
        first = 0
        for block in each_vd_block(data, "save"):
            yield np.s_[:, first : first + block.sizes["vd"]], block
            first += block.sizes["vd"]
        return
    steps, vds, features = data.shape
    length = max(_WRITE_BYTES // (4 * vds * features) // grain, 1) * grain
    for start in range(0, steps, length):
        where = np.s_[start : start + length, :]
        yield where, data[where]


def _encode(coord: xr.DataArray) -> npt.NDArray[np.bytes_]:
    return np.array([str(text).encode() for text in coord.values], dtype=bytes)


def _of_fixed_length(texts: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
    """As HDF5 strings that can be compressed, unlike those of variable length."""
    return texts.astype(h5py.string_dtype("utf-8", texts.dtype.itemsize))
