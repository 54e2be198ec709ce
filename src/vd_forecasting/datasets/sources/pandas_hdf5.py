"""A pandas DataFrame in HDF5, time × detector, as METR-LA and PEMS-BAY are published.

Read with h5py, without PyTables: pandas' fixed format is plain arrays and a few attributes. Some
attributes are pickles; those are never opened.
"""

import itertools
import math
import re
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import h5py
import numpy as np

from vd_forecasting.datasets.hdf5_attributes import UNREADABLE, as_text, read_texts
from vd_forecasting.datasets.limits import MOST_LABEL_BYTES, MOST_LABELS, MOST_STEPS, MemoryLimit
from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.timestamps import DatetimeArray, on_clock_of
from vd_forecasting.datasets.vd_contract import (
    ContractError,
    check_chunks,
    check_heaps,
    follow,
    open_vd_file,
    own_dataset,
)
from vd_forecasting.wording import quoted

_ROWS_AT_ONCE = 4096
_NONE = "N."  # a pickle too
# Stored as NumPy bytes by today's PyTables, as a pickle of the same word by older ones.
_DATETIME = re.compile(r"datetime64(?:\[(s|ms|us|ns)\])?")
# A zone is stored by its name, a fixed offset as a pickle of datetime.timezone or of pytz.
_TIMEZONE = re.compile(r"cdatetime\ntimedelta\n(?:p\d+\n)?\(I(-?\d{1,6})\nI(\d{1,6})\n")
_PYTZ = re.compile(r"cpytz\n(?:_UTC|_FixedOffset\n(?:p\d+\n)?\(I(-?\d{1,6}))\n")


class PandasHDF5Dataset(source.SourceDataset):
    """Loads a wide DataFrame, datetime index × one column per detector, of one feature.

    An index with a time zone becomes local time, on the offset of its first step. Only pandas'
    fixed format (``df.to_hdf(path, key="df")``) is read: in its table format the names of the
    columns are a pickle.

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
        self, *, feature: str, unit: str | None = None, key: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._feature = feature
        self._unit = unit
        self._key = key

    def _read(self) -> tuple[source.Floats, source.Labels]:
        with open_vd_file(self.filepath) as file:
            check_heaps(self.filepath)
            check_heaps(self.filepath)
            frame = Frame(_frame_of(file, self._key), self.limit)
            (times, offset, notes), vdids = _clock(frame), _names(frame, "axis0")
            values = _values(frame, len(times), vdids)
        units = {self._feature: self._unit}
        labels = source.Labels(times, vdids, [*units], units, utc_offset=offset, notes=notes)
        return values[..., np.newaxis], labels


def _is_frame(file: h5py.File, name: str) -> bool:
    try:
        return isinstance(follow(file, name), h5py.Group) and "pandas_type" in file[name].attrs
    except UNREADABLE:
        return False


def _frame_of(file: h5py.File, key: str | None) -> h5py.Group:
    held = f"its top level holds {quoted(list(file)[:5]) or 'nothing'}"
    if not key:
        frames = [str(name) for name in file if _is_frame(file, name)]
        if len(frames) != 1:
            found = f"{len(frames)} DataFrames" if frames else "no pandas DataFrame"
            raise ContractError(f"{found} in it: {held}; name one by key")
        key = frames[0]
    group = follow(file, key)
    if not isinstance(group, h5py.Group):
        raise ContractError(f"no DataFrame {key!r} in it; {held}")
    if "table" in group:
        raise ContractError(
            f"{key} is in pandas' table format, whose column names are a pickle and stay unread; "
            'write it again with df.to_hdf(path, key="df", format="fixed")'
        )
    return group


@dataclass(frozen=True)
class Frame:
    """A DataFrame in a file, and what reading it may take."""

    group: h5py.Group
    limit: MemoryLimit

    def path(self, name: str) -> str:
        """Where its data set ``name`` lies in the file."""
        return f"{self.group.name}/{name}".lstrip("/")


def _member(frame: Frame, name: str, ndim: int) -> h5py.Dataset:
    """The data set ``name`` of the frame, whole: values never written would read as zeros."""
    found, path = follow(frame.group, name), frame.path(name)
    if found is None:
        raise ContractError(f"not a pandas DataFrame, it has no {path}")
    dataset = own_dataset(found, path)
    if dataset.ndim != ndim:
        raise ContractError(f"{path} has {dataset.ndim} axes, must have {ndim}")
    if dataset.chunks is None:
        is_whole = dataset.id.get_storage_size() >= dataset.size * dataset.dtype.itemsize
    else:
        lengths = zip(dataset.shape, dataset.chunks, strict=True)
        chunks = math.prod(-(-length // chunk) for length, chunk in lengths)
        is_whole = dataset.id.get_num_chunks() == chunks
        check_chunks(dataset, frame.limit)
    if dataset.size and not is_whole:
        raise ContractError(f"{path} is incomplete: some of its values were never written")
    source.check_packing(dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size())
    return dataset


def _clock(frame: Frame) -> tuple[DatetimeArray, str | None, list[str]]:
    """The index [T], local time where it has a zone; the offset of that clock, and notes on it.

    pandas stores times of any zone in UTC.
    """
    times, axis = _times(frame), frame.group["axis1"]
    stored = "".join(read_texts(axis, "tz"))
    if stored in ("", _NONE):
        return times, None, []
    try:
        zone, notes = _zone(stored), []
    except (ValueError, OSError, LookupError, OverflowError):
        zone = timezone.utc
        notes = [f"the time zone {stored[:40]!r} of its index is unknown; its times are in UTC"]
    return *on_clock_of(zone, times), notes


def _zone(stored: str) -> tzinfo:
    if found := _TIMEZONE.search(stored):
        return timezone(timedelta(days=int(found[1]), seconds=int(found[2])))
    if found := _PYTZ.search(stored):
        return timezone(timedelta(minutes=int(found[1] or 0)))
    return ZoneInfo(stored)


def _times(frame: Frame) -> DatetimeArray:
    """The index [T], as it is stored."""
    axis = _member(frame, "axis1", 1)
    found = _DATETIME.search("".join(read_texts(axis, "kind")))
    if found is None or axis.dtype.kind != "i" or axis.dtype.itemsize != 8:
        path = frame.path("axis1")
        raise ContractError(f"{path}, the index, does not hold date and time")
    if axis.size > MOST_STEPS:
        raise ContractError(f"{frame.path('axis1')} declares {axis.size:,} time steps")
    unit, values = found[1] or "ns", axis[:]
    # a time beyond the range of nanoseconds would overflow into a wrong date
    limit = np.iinfo(np.int64).max // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    blank = (values > limit) | (values < -limit)
    times = np.where(blank, 0, values).astype(f"datetime64[{unit}]").astype("datetime64[ns]")
    times[blank] = np.datetime64("NaT", "ns")
    return times


def _names(frame: Frame, name: str) -> list[str]:
    """The labels of columns, text or whole numbers."""
    axis, path = _member(frame, name, 1), frame.path(name)
    if axis.size > MOST_LABELS or axis.dtype.itemsize > MOST_LABEL_BYTES:
        raise ContractError(
            f"{path} declares {axis.size:,} labels of {axis.dtype.itemsize:,} bytes, more than "
            "any file needs"
        )
    if axis.dtype.kind not in "iuS":
        raise ContractError(f"{path} has labels of type {axis.dtype}, must be text or numbers")
    return [as_text(label) for label in axis[:].tolist()]


def _values(frame: Frame, steps: int, vdids: list[str]) -> source.Floats:
    """[T, N] in the order of ``vdids``; pandas stores a block of columns for each data type."""
    source.check_size((steps, len(vdids)), frame.limit)
    values = np.full((steps, len(vdids)), np.nan, dtype=np.float32)
    place = {vdid: index for index, vdid in enumerate(vdids)}
    unseen = set(vdids)
    for block in itertools.count():
        name = f"block{block}_values"
        if name not in frame.group:
            break
        path, stored = frame.path(name), _member(frame, name, 2)
        items = _names(frame, f"block{block}_items")
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
            rows = slice(start, start + _ROWS_AT_ONCE)
            values[rows, columns] = source.as_float32(stored[rows])
    if unseen:
        key = frame.group.name.lstrip("/")
        raise ContractError(f"{key} has no values for the column {min(unseen)!r}")
    return values
