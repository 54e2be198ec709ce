"""PEMS03, PEMS04, PEMS07 and PEMS08: one NumPy array in a zip, without time stamps or names."""

import zipfile
import zlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.datasets.sources.source import (
    Labels,
    Origin,
    SourceDataset,
    check_size,
    vd_array,
)

FEATURES = ("total_volume", "avg_occupancy", "avg_speed")
"""The order of the published files; PEMS03 and PEMS07 have the first alone."""

_BLOCK_BYTES = 16 * 2**20
_MOST_STEPS = 20_000_000


class PemsNpzDataset(SourceDataset):
    """Loads the array ``data`` [T, N, F] of an ``.npz`` file, a block at a time and never pickled.

    Occupancy is a share in these files and becomes %. The files have no clock: the catalog
    entry gives the time of the first step and the interval.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.PemsNpzDataset
          filepath: data/01_raw/PEMS04.npz
          start: "2018-01-01"
          interval: 5min            # optional, as are the following
          units: {avg_speed: mph}
          features: [total_volume, avg_occupancy, avg_speed]
          vdids: data/01_raw/PEMS03.txt   # a name per line; by default they are 0, 1, 2, ...
    """

    def __init__(
        self,
        *,
        filepath: str,
        start: str | date,
        interval: str = "5min",
        features: Sequence[str] = FEATURES,
        units: dict[str, str] | None = None,
        vdids: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._start = start
        self._interval = interval
        self._features = list(features)
        self._units = dict(units or {})
        self._vdids = vdids

    def _read(self) -> xr.DataArray:
        start, interval = _instant(self._start), _duration(self._interval)
        values = read_npz(self._filepath, "data", most_features=len(self._features))
        steps, vds, width = values.shape
        features = self._features[:width]
        if "avg_occupancy" in features:
            values[..., features.index("avg_occupancy")] *= 100
        labels = Labels(
            times=start + np.arange(steps) * interval,
            vdids=_names(self._vdids, vds),
            features=features,
            units=self._units,
        )
        return vd_array(values, labels, Origin(self._filepath.name))

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"start": str(self._start), "interval": self._interval}


def read_npz(path: Path, key: str, most_features: int) -> npt.NDArray[np.float32]:
    """The array ``key`` of an ``.npz`` file, [T, N, F] as float32; [T, N] becomes [T, N, 1].

    Only blocks of it are in memory in the file's own type; arrays of Python objects, which would
    need a pickle, are refused.

    Raises:
        ValueError: the file is something else or damaged, or the array has another shape or type.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = f"{key}.npy"
            if name not in archive.namelist():
                held = ", ".join(repr(name) for name in archive.namelist()[:5]) or "nothing"
                raise ValueError(f"has no array {key!r}; it holds {held}")
            with archive.open(name) as file:
                return _read_npy(file, archive.getinfo(name).file_size, key, most_features)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a whole .npz file ({error})") from error


def _read_npy(file: IO[bytes], size: int, key: str, most_features: int) -> npt.NDArray[np.float32]:
    shape, fortran, dtype = _read_header(file)
    if dtype.kind not in "iuf":
        raise ValueError(f"the array {key!r} has type {dtype}, must be numeric")
    if fortran and len(shape) > 1:
        raise ValueError(f"the array {key!r} is stored column by column, which is not supported")
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"the array {key!r} has the shape {shape}, must be time × VD × feature")
    if shape[2] > most_features:
        raise ValueError(
            f"the array {key!r} has {shape[2]} features, but the entry names {most_features}"
        )
    check_size(shape)
    row = shape[1] * shape[2]
    if shape[0] > _MOST_STEPS or shape[0] * row * dtype.itemsize > size:
        raise ValueError(f"the array {key!r} declares more values than its {size:,} bytes hold")
    values = np.empty(shape, dtype=np.float32)
    rows = max(_BLOCK_BYTES // (row * dtype.itemsize), 1)
    for start in range(0, shape[0], rows):
        count = min(rows, shape[0] - start) * row
        content = file.read(count * dtype.itemsize)
        if len(content) < count * dtype.itemsize:
            raise ValueError(f"the array {key!r} ends early, part of the file is missing")
        with np.errstate(over="ignore"):  # becomes infinite, which cleaning removes
            block = np.frombuffer(content, dtype).astype(np.float32)
        values[start : start + rows] = block.reshape(-1, *shape[1:])
    return values


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"version {version} of the .npy format")
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = readers[version](file)
        return header
    except Exception as error:  # a damaged header is evaluated as a literal: any error may come
        raise ValueError(f"its .npy header is damaged ({error})") from error


def _instant(text: str | date) -> np.datetime64:
    start = pd.to_datetime(str(text), format="ISO8601")
    if start.tzinfo is not None:
        raise ValueError(f"start is {text!r}, must be local time without an offset")
    return np.datetime64(start.as_unit("ns").to_datetime64())


def _duration(text: str) -> np.timedelta64:
    interval = pd.Timedelta(text)
    if not interval > pd.Timedelta(0):
        raise ValueError(f"interval is {text!r}, must be a positive duration such as 5min")
    return np.timedelta64(interval.as_unit("ns").value, "ns")


def _names(path: str | None, count: int) -> list[str]:
    if path is None:
        return [str(index) for index in range(count)]
    try:
        text = Path(path).read_text("utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"vdids: {error}") from error
    names = text.split()
    if len(names) != count:
        raise ValueError(f"vdids: {path} has {len(names)} names, but the array {count} VDs")
    return names
