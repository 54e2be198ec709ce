"""A pandas DataFrame in HDF5, time × detector, as METR-LA and PEMS-BAY are published.

Read with h5py, without PyTables: pandas' fixed format is plain arrays and a few attributes. Some
attributes are pickles; those are never opened.
"""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.datasets.hdf5_attributes import UNREADABLE
from vd_forecasting.datasets.sources.sensor_locations import read_locations
from vd_forecasting.datasets.sources.source import (
    Labels,
    Origin,
    SourceDataset,
    check_size,
    vd_array,
)
from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.datasets.vd_contract import (
    ContractError,
    follow,
    open_vd_file,
    own_dataset,
)
from vd_forecasting.wording import quoted

_ROWS_AT_ONCE = 4096
_MOST_LABEL_BYTES = 2**28
# Stored as NumPy bytes by today's PyTables, as a pickle of the same word by older ones.
_DATETIME = re.compile(rb"datetime64(?:\[(s|ms|us|ns)\])?")


class PandasHDF5Dataset(SourceDataset):
    """Loads a wide DataFrame, datetime index × one column per detector, of one feature.

    Only pandas' fixed format (``df.to_hdf(path, key="df")``) is read: in its table format the names
    of the columns are a pickle.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.PandasHDF5Dataset
          filepath: data/01_raw/metr-la.h5
          key: df                   # optional; the only DataFrame in the file by default
          feature: avg_speed
          unit: mph                 # optional
          locations: data/01_raw/graph_sensor_locations.csv   # optional
    """

    def __init__(
        self,
        *,
        filepath: str,
        feature: str,
        unit: str | None = None,
        key: str | None = None,
        locations: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._feature = feature
        self._unit = unit
        self._key = key
        self._locations = locations

    def _read(self) -> xr.DataArray:
        with open_vd_file(self._filepath) as file:
            key = self._key or _only_frame(file)
            frame = _group(file, key)
            times = _times(frame, f"{key}/axis1")
            vdids = _names(frame, f"{key}/axis0", "axis0")
            values = _values(frame, key, len(times), vdids)
        info = read_locations(Path(self._locations), vdids) if self._locations else None
        labels = Labels(
            times=times,
            vdids=vdids,
            features=[self._feature],
            units={} if self._unit is None else {self._feature: self._unit},
            info=info,
        )
        return vd_array(values[..., np.newaxis], labels, Origin(self._filepath.name))

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"key": self._key, "feature": self._feature}


def _only_frame(file: h5py.File) -> str:
    frames = [str(name) for name in file if _is_frame(file, name)]
    if len(frames) != 1:
        held = quoted(list(file)[:5]) or "nothing"
        problem = "no pandas DataFrame in it" if not frames else f"{len(frames)} DataFrames in it"
        raise ContractError(f"{problem}: its top level holds {held}; name one by key")
    return frames[0]


def _is_frame(file: h5py.File, name: str) -> bool:
    try:
        return isinstance(follow(file, name), h5py.Group) and "pandas_type" in file[name].attrs
    except UNREADABLE:
        return False


def _group(file: h5py.File, key: str) -> h5py.Group:
    group = follow(file, key)
    if not isinstance(group, h5py.Group):
        raise ContractError(
            f"no DataFrame {key!r} in it; its top level holds {quoted(list(file)[:5]) or 'nothing'}"
        )
    if "table" in group:
        raise ContractError(
            f"{key} is in pandas' table format, whose column names are a pickle and stay unread; "
            'write it again with df.to_hdf(path, key="df", format="fixed")'
        )
    return group


def _member(frame: h5py.Group, path: str, name: str, ndim: int) -> h5py.Dataset:
    """The data set ``name`` of the frame, whole: values never written would read as zeros."""
    found = follow(frame, name)
    if found is None:
        raise ContractError(f"not a pandas DataFrame, it has no {path}")
    dataset = own_dataset(found, path)
    if dataset.ndim != ndim:
        raise ContractError(f"{path} has {dataset.ndim} axes, must have {ndim}")
    if dataset.size and not _is_whole(dataset):
        raise ContractError(f"{path} is incomplete: some of its values were never written")
    return dataset


def _is_whole(dataset: h5py.Dataset) -> bool:
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() >= dataset.size * dataset.dtype.itemsize)
    chunks = 1
    for length, chunk in zip(dataset.shape, dataset.chunks, strict=True):
        chunks *= -(-length // chunk)
    return bool(dataset.id.get_num_chunks() == chunks)


def _times(frame: h5py.Group, path: str) -> DatetimeArray:
    """The index [T], naive as pandas stores it."""
    axis = _member(frame, path, "axis1", 1)
    found = _DATETIME.search(_attribute_bytes(axis, "kind"))
    if found is None or axis.dtype.kind != "i" or axis.dtype.itemsize != 8:
        raise ContractError(f"{path}, the index, does not hold date and time")
    check_size(axis.shape)
    unit = (found[1] or b"ns").decode()
    values = axis[:]
    # a time beyond the range of nanoseconds would overflow into a wrong date
    limit = np.iinfo(np.int64).max // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    blank = (values > limit) | (values < -limit)
    times = np.where(blank, 0, values).astype(f"datetime64[{unit}]").astype("datetime64[ns]")
    times[blank] = np.datetime64("NaT")
    return times


def _attribute_bytes(item: h5py.Dataset, name: str) -> bytes:
    """An attribute as the bytes it is stored as, pickle or not; b"" where there is none."""
    try:
        value = item.attrs[name]
    except UNREADABLE:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", errors="surrogateescape")
    return bytes(value) if isinstance(value, bytes) else b""


def _names(frame: h5py.Group, path: str, name: str) -> list[str]:
    """The labels of columns, text or whole numbers."""
    axis = _member(frame, path, name, 1)
    if axis.size * axis.dtype.itemsize > _MOST_LABEL_BYTES:
        raise ContractError(f"{path} declares {axis.size} labels, more than any file needs")
    if axis.dtype.kind in "iu":
        return [str(label) for label in axis[:].tolist()]
    if axis.dtype.kind != "S":
        raise ContractError(f"{path} has labels of type {axis.dtype}, must be text or numbers")
    return [label.decode("utf-8", errors="replace") for label in axis[:].tolist()]


def _values(frame: h5py.Group, key: str, steps: int, vdids: list[str]) -> npt.NDArray[np.float32]:
    """[T, N] in the order of ``vdids``; pandas stores a block of columns for each data type."""
    check_size((steps, len(vdids)))
    values = np.full((steps, len(vdids)), np.nan, dtype=np.float32)
    place = {vdid: index for index, vdid in enumerate(vdids)}
    unseen = set(vdids)
    block = 0
    while f"block{block}_values" in frame:
        path = f"{key}/block{block}_values"
        stored = _member(frame, path, f"block{block}_values", 2)
        items = _names(frame, f"{key}/block{block}_items", f"block{block}_items")
        if stored.dtype.kind not in "iuf":
            raise ContractError(f"{path} has type {stored.dtype}, must be numeric")
        if stored.shape != (steps, len(items)):
            raise ContractError(
                f"{path} has the shape {stored.shape}, but the index has {steps} time steps and "
                f"the block {len(items)} columns"
            )
        if unknown := [name for name in items if name not in unseen]:
            raise ContractError(f"{path}: the column {unknown[0]!r} is unknown or there twice")
        unseen -= set(items)
        columns = [place[name] for name in items]
        for start in range(0, steps, _ROWS_AT_ONCE):
            with np.errstate(over="ignore"):  # becomes infinite, which cleaning removes
                rows = stored[start : start + _ROWS_AT_ONCE].astype(np.float32)
            values[start : start + _ROWS_AT_ONCE, columns] = rows
        block += 1
    if unseen:
        raise ContractError(f"{key} has no values for the column {min(unseen)!r}")
    return values
