"""PEMS03, PEMS04, PEMS07 and PEMS08: one NumPy array in a zip, without time stamps or names."""

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from vd_forecasting.datasets.limits import MOST_LIST_BYTES, MOST_STEPS, MemoryLimit
from vd_forecasting.datasets.sources import source
from vd_forecasting.wording import quoted

FEATURES = ("total_volume", "avg_occupancy", "avg_speed")
"""The order of the published files; PEMS03 and PEMS07 have the first alone."""

STARTS = {
    "PEMS03": "2018-09-01",
    "PEMS04": "2018-01-01",
    "PEMS07": "2017-05-01",
    "PEMS08": "2016-07-01",
}
"""First days of the published files."""

_BLOCK_BYTES = 16 * 2**20


class PemsNpzDataset(source.SourceDataset):
    """Loads the array ``data`` [T, N, F] of an ``.npz`` file, a block at a time and never pickled.

    Occupancy is a share in these files and becomes %. The files have no clock: the catalog entry
    gives the interval and the time of the first step, which is assumed otherwise and noted.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.PemsNpzDataset
          filepath: data/01_raw/PEMS04.npz
          start: "2018-01-01"       # optional, as are the following
          interval: 5min
          units: {avg_speed: mph}
          features: [total_volume, avg_occupancy, avg_speed]
          vdids: data/01_raw/PEMS03.txt   # a name per line; by default they are 0, 1, 2, ...
    """

    def __init__(
        self,
        *,
        start: str | date | None = None,
        interval: str = "5min",
        features: Sequence[str] = FEATURES,
        units: dict[str, str] | None = None,
        vdids: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._start = start
        self._interval = interval
        self._features = list(features)
        self._units = dict(units or {})
        self._vdids = vdids

    def _read(self) -> tuple[source.Floats, source.Labels]:
        given, notes = self._start, list[str]()
        if given is None:
            name = next((name for name in STARTS if name in self.filepath.name.upper()), "PEMS04")
            given = STARTS[name]
            notes.append(
                f"the file has no time stamps and no start was given: {given}, that of {name}, is "
                "assumed; give another by --params source_start=2018-01-01"
            )
        start = pd.to_datetime(str(given), format="ISO8601").as_unit("ns")
        if start.tzinfo is not None:
            raise ValueError(f"start is {self._start!r}, must be local time without an offset")
        interval = pd.Timedelta(self._interval).as_unit("ns")
        if not interval > pd.Timedelta(0):
            raise ValueError(
                f"interval is {self._interval!r}, must be a positive duration such as 5min"
            )
        values = _read_npz(self.limit, len(self._features))
        steps, vds, width = values.shape
        features = self._features[:width]
        notes += _standardised(values, features)
        if "avg_occupancy" in features:
            values[..., features.index("avg_occupancy")] *= 100
        times = start.to_datetime64() + np.arange(steps) * interval.to_timedelta64()
        vdids = _names(self._vdids, vds)
        return values, source.Labels(times, vdids, features, self._units, notes=notes)


def _standardised(values: source.Floats, features: Sequence[str]) -> Iterator[str]:
    """Notes on negative speeds and volumes that are no whole numbers, as error codes are."""
    for place, name in enumerate(features):
        below = values[..., place][values[..., place] < 0]
        odd = below[below != np.trunc(below)]  # of which infinity is a whole number
        if odd.size and name != "avg_occupancy":
            yield (
                f"{odd.size:,} of {values[..., place].size:,} values of {name} are negative, such "
                f"as {odd[0]:.3g}: z-scores instead of measurements, or channels in another order "
                "than that of `features`"
            )


def _read_npz(limit: MemoryLimit, most_features: int) -> source.Floats:
    """The array ``data`` of an ``.npz`` file, [T, N, F] as float32; [T, N] becomes [T, N, 1].

    Only blocks of it are in memory in the file's own type; arrays of Python objects, which would
    need a pickle, are refused.
    """
    broken = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
    with (
        source.told_as("not a whole .npz file", *broken),
        zipfile.ZipFile(str(limit.path)) as archive,
    ):
        if "data.npy" not in archive.namelist():
            held = quoted(archive.namelist()[:5]) or "nothing"
            raise ValueError(f"has no array 'data'; it holds {held}")
        info = archive.getinfo("data.npy")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("is compressed in another way than NumPy does")
        source.check_packing(info.file_size, info.compress_size)
        with archive.open("data.npy") as file:
            return _read_npy(file, info.file_size, most_features, limit)


def _read_npy(file: IO[bytes], size: int, most_features: int, limit: MemoryLimit) -> source.Floats:
    shape, fortran, dtype = _read_header(file)
    if dtype.kind not in "iuf":
        raise ValueError(f"the array 'data' has type {dtype}, must be numeric")
    if fortran and len(shape) > 1:
        raise ValueError("the array 'data' is stored column by column, which is not supported")
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"the array 'data' has the shape {shape}, must be time × VD × feature")
    steps, vds, features = shape
    if features > most_features:
        raise ValueError(
            f"the array 'data' has {features} features, but the entry names {most_features}"
        )
    source.check_size(shape, limit)
    row = vds * features
    if steps > MOST_STEPS or steps * row * dtype.itemsize > size:
        raise ValueError(f"the array 'data' declares more values than its {size:,} bytes hold")
    values = np.empty((steps, row), dtype=np.float32)
    rows = max(_BLOCK_BYTES // (row * dtype.itemsize), 1)
    for start in range(0, steps, rows):
        block = values[start : start + rows]
        content = file.read(block.size * dtype.itemsize)
        if len(content) < block.size * dtype.itemsize:
            raise ValueError("the array 'data' ends early, part of the file is missing")
        block[:] = source.as_float32(np.frombuffer(content, dtype)).reshape(block.shape)
    return values.reshape(shape)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # It is evaluated as a literal: any error may come of a damaged one, and Python 2 wrote others.
    with source.told_as("its .npy header is damaged", Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
        raise ValueError(f"version {version} of the .npy format")


def _names(path: str | None, count: int) -> list[str]:
    if path is None:
        return [str(index) for index in range(count)]
    file = Path(path)
    if not file.is_file() or file.stat().st_size > MOST_LIST_BYTES:
        raise ValueError(f"vdids: {path}: no such file, or no list of names")
    names = file.read_text("utf-8", errors="replace").split()
    if len(names) != count:
        raise ValueError(f"vdids: {path} has {len(names)} names, but the array {count} VDs")
    return names
