"""Labelled arrays of several variables as one netCDF-4 file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5netcdf
import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from kedro.io import DatasetError
from kedro.utils import load_obj
from xarray.backends import H5NetCDFStore
from xarray.backends.common import ArrayWriter

from vd_forecasting.datasets.atomic import FileDataset, replacing_hdf5
from vd_forecasting.datasets.hdf5_attributes import UNREADABLE, check_attributes
from vd_forecasting.datasets.limits import MemoryLimit
from vd_forecasting.datasets.places import Place, readable, stamp
from vd_forecasting.datasets.vd_contract import (
    check_chunks,
    check_heaps,
    follow,
    own_dataset,
    read_strings,
)
from vd_forecasting.vd_array import VDS_PER_CHUNK
from vd_forecasting.wording import one_line

_DECODED_BYTES = 8
_KINDS = {"T": "OUT"}  # as different versions of xarray load text
_MISSING = ("_FillValue", "missing_value")
_IN_MEMORY = {"vd": VDS_PER_CHUNK, "seed": 1, "model": 1}
_IN_FILE = {**_IN_MEMORY, "origin": 128}
"""Blocks of origins are written and blocks of detectors are read: of chunks, both are a few."""

SMALL_BYTES = 16 * 2**20
"""Up to so many are loaded at once: a lazy array opens the file at every use."""


class XarrayDataset(FileDataset[Any, Any]):
    """Loads and saves an ``xarray.Dataset`` as netCDF-4, which is HDF5 with named dimensions.

    Its attributes may be strings, numbers and lists of strings; netCDF has no None and no bool.

    Example::

        predictions:
          type: vd_forecasting.datasets.XarrayDataset
          filepath: data/07_model_output/predictions.nc
          holds: vd_forecasting.artefacts.Forecasts

    ``holds`` is the dotted name of the type to load and save, with ``from_xarray`` and
    ``to_xarray``; None for a bare ``xarray.Dataset``. A file must have what its ``NEEDS`` names:
    of an array its kind, a letter of NumPy or T for text, and its dims, those in brackets if it
    likes; of an attribute its type.
    What its ``LAZY`` names stays in the file until it is asked for, unless it is small; nothing
    stays open.

    A type with ``GROUPED`` is stored as several arrays with labels: its methods take and return a
    dict of these by group of the file, ``/`` for its root.
    """

    def __init__(self, *, holds: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holds = holds

    def load(self) -> Any:
        holds = load_obj(self._holds) if self._holds else None
        is_grouped = getattr(holds, "GROUPED", False)
        if not self.filepath.is_file():
            what = "is not a regular file" if self.filepath.exists() else "no such file"
            raise DatasetError(f"{self.filepath}: {what}")
        try:
            groups = _check_stored(self.filepath, self.limit, groups=is_grouped)
            found = {group: self._load_group(group, holds) for group in groups}
            data = found if is_grouped else found["/"]
            return holds.from_xarray(data) if holds else data
        except DatasetError:
            raise
        except Exception as error:  # xarray raises a different class for every way to be broken
            raise DatasetError(
                f"{self.filepath}: not a readable netCDF-4 file ({one_line(error)}); "
                "delete it and run the pipeline that makes it again"
            ) from error

    def _load_group(self, group: str, holds: Any) -> xr.Dataset:
        path = self.filepath
        with (
            readable(path) as content,
            _LookedUpOnce(content, "r") as raw,
            h5netcdf.File(raw, "r", decode_vlen_strings=True) as file,
            xr.open_dataset(H5NetCDFStore(file if group == "/" else file[group])) as stored,
        ):
            lazy = [name for name in getattr(holds, "LAZY", ()) if name in stored]
            if sum(stored[name].nbytes for name in lazy) <= SMALL_BYTES:
                lazy = []
            data = stored.drop_vars(lazy).load()
            data = data.assign({name: _lazily(path, group, stored[name]) for name in lazy})
        data = data.assign_attrs(_lists_of_one(path, group, data.attrs))
        _check_needs(data, getattr(holds, "NEEDS", {}))
        return data

    def save(self, data: Any) -> None:
        lazy = getattr(data, "LAZY", ())
        if not isinstance(data, xr.Dataset):
            data = data.to_xarray()
        groups = {"/": data} if isinstance(data, xr.Dataset) else data
        compressed = {"zlib": True, "complevel": 1}
        with (
            replacing_hdf5(self.filepath) as raw,
            h5py.File(raw, "w", track_order=True) as stored,
            h5netcdf.File(stored, "w") as file,
        ):
            for group, of_group in groups.items():
                encoding = {
                    name: compressed
                    | {"chunksizes": _chunks(array, _IN_FILE) if name in lazy else None}
                    for name, array in of_group.data_vars.items()
                }
                store = H5NetCDFStore(file if group == "/" else file.create_group(group))
                of_group.dump_to_store(store, writer=_BlockWriter(stored), encoding=encoding)


class _LookedUpOnce(h5py.File):
    """A file that keeps the objects it was asked for by name: h5netcdf asks for each some fifty
    times, which takes half of the time to load a small file."""

    def __init__(self, content: Any, mode: str) -> None:
        super().__init__(content, mode)
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):
            return super().__getitem__(name)
        if name not in self._found:
            self._found[name] = super().__getitem__(name)
        return self._found[name]


def _check_stored(path: Place, limit: MemoryLimit, *, groups: bool) -> list[str]:
    """Check, before anything is read, that the file holds its own values and they fit in memory.

    Returns its groups, if it may have some.
    """
    with readable(path) as content, h5py.File(content, "r") as file:
        check_heaps(path)
        inside = [*map(str, file)]
        found = [name for name in inside if groups and isinstance(follow(file, name), h5py.Group)]
        inside = [name for name in inside if name not in found]
        for group in found:
            inside += [f"{group}/{name}" for name in follow(file, group)]
        for group in ("/", *found):
            check_attributes(file[group], limit)
            _check_texts(file[group])
        needed = 0
        for name in inside:
            variable = own_dataset(follow(file, name), name)
            check_attributes(variable, limit)
            _check_texts(variable)
            check_chunks(variable, limit)
            # Decoded, a value may be a time or a number of double precision.
            needed += variable.size * max(variable.dtype.itemsize, _DECODED_BYTES)
            limit.check(needed, f"{name} declares the shape {variable.shape}")
            _check_dims(variable)
            _check_missing(variable)
            if variable.dtype.kind == "O":
                needed += sum(map(len, read_strings(variable, limit)))
    return ["/", *found]


def _check_dims(variable: h5py.Dataset) -> None:
    """Refuse a list of dims of another form than HDF5's, which would crash on it, and none."""
    if (name := "DIMENSION_LIST") in variable.attrs:
        stored = variable.attrs.get_id(name)
        kind = h5py.check_vlen_dtype(stored.dtype)
        is_list = kind is not None and h5py.check_ref_dtype(kind) is h5py.Reference
        if not is_list or stored.shape != (variable.ndim,):
            raise ValueError(f"{variable.name} has an attribute {name} that is no list of dims")
    elif variable.ndim and not variable.is_scale:
        raise ValueError(f"{variable.name} has no names of its dims")


def _check_texts(item: h5py.HLObject) -> None:
    """Refuse attributes that are not UTF-8, which would become text that cannot be written."""
    for name in item.attrs:
        if h5py.check_string_dtype(item.attrs.get_id(name).dtype):
            for text in np.ravel(item.attrs[name]).tolist():
                text.decode() if isinstance(text, bytes) else text.encode()


def _check_missing(variable: h5py.Dataset) -> None:
    """Refuse several values that stand for missing, for which xarray makes all values missing."""
    marks = [np.ravel(variable.attrs[name]) for name in _MISSING if name in variable.attrs]
    if marks and (number := len(np.unique(np.concatenate(marks)))) > 1:
        raise ValueError(f"{variable.name} has {number} values that stand for missing")


def _check_needs(data: xr.Dataset, needs: Mapping[str, str | type]) -> None:
    """Refuse, by a ValueError, a file that lacks an array or attribute, or has another form."""
    for name, form in needs.items():
        if name not in (data if isinstance(form, str) else data.attrs):
            raise ValueError(f"it has no {name}")
        if isinstance(form, str):
            found, (kind, *dims) = data[name], form.split()
            must = [dim for dim in dims if dim.strip("[]") in found.dims or dim[0] != "["]
            is_kind = found.dtype.kind in _KINDS.get(kind, kind)
            if [*found.dims] != [dim.strip("[]") for dim in must] or not is_kind:
                raise ValueError(f"{name} has the dims {found.dims} and type {found.dtype}")
            if kind == "T":
                "".join(found.to_numpy().tolist()).encode()  # as _check_texts
        elif not isinstance(value := data.attrs[name], form):
            raise ValueError(f"{name} is {value!r}, must be of type {form.__name__}")


def _chunks(variable: xr.DataArray, most: dict[str, int]) -> tuple[int, ...]:
    """Sizes of chunks, along each dim whole or at most so many."""
    return tuple(min(size, most.get(str(dim), size)) for dim, size in variable.sizes.items())


class _BlockWriter(ArrayWriter):
    """Writes the chunks of a dask array in order, so that one at a time is in memory.

    It flushes after each variable: see :func:`.replacing_hdf5`.
    """

    __slots__ = ("_file",)

    def __init__(self, file: h5py.File) -> None:
        super().__init__()
        self._file = file

    def add(self, source: Any, target: Any, region: Any = None) -> None:
        if not hasattr(source, "chunks"):
            super().add(source, target, region)
        else:
            from dask.array.core import slices_from_chunks  # noqa: PLC0415  (slow to import)

            for where in slices_from_chunks(source.chunks):
                target[where] = source[where].compute(scheduler="synchronous")
        self._file.flush()


@dataclass(frozen=True)
class _Stored:
    """An array that lies in a file; every read opens the file anew, so this pickles."""

    path: Place
    name: str
    stamp: tuple[int | str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        if stamp(self.path) != self.stamp:
            raise DatasetError(f"{self.path}: has changed since it was loaded; load it again")
        try:
            with readable(self.path) as content, h5py.File(content, "r") as file:
                # Truth values, which netCDF has not, are stored as numbers.
                return np.asarray(file[self.name][key], self.dtype)
        except UNREADABLE as error:
            raise DatasetError(f"{self.path}: damaged netCDF-4 file ({one_line(error)})") from error


def _lazily(path: Place, group: str, variable: xr.DataArray) -> xr.Variable:
    """A variable of a group as a dask array in blocks of some detectors."""
    from dask.array import from_array  # noqa: PLC0415  (slow to import)

    name, dtype = f"{group}/{variable.name}", variable.encoding["dtype"]
    of_file = _Stored(path, name, stamp(path), variable.shape, dtype)
    array = from_array(of_file, _chunks(variable, _IN_MEMORY), fancy=False)
    return xr.Variable(variable.dims, array, variable.attrs)


def _lists_of_one(path: Place, group: str, attrs: dict[str, Any]) -> dict[str, list[str]]:
    """The attributes that were saved as a list of one string, which h5netcdf loads as a string."""
    with readable(path) as content, h5py.File(content, "r") as file:
        return {
            name: [value]
            for name, value in attrs.items()
            if isinstance(value, str) and file[group].attrs.get_id(name).shape == (1,)
        }
