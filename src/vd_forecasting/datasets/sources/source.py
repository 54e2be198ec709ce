"""The base of every source: it is read, never written, and returns a VD array.

A new source is a subclass of :class:`SourceDataset` that says how to read its files, and a folder
in conf/ with the catalog entry ``ingest_source``.
"""

import csv
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import xarray as xr
from kedro.io import DatasetError

from vd_forecasting.datasets.atomic import FileDataset
from vd_forecasting.datasets.hdf5_attributes import as_number
from vd_forecasting.datasets.limits import (
    ALWAYS_UNPACKED_BYTES,
    MOST_LIST_BYTES,
    MOST_RATIO,
    MOST_VALUE_BYTES,
    MemoryLimit,
)
from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.datasets.vd_contract import duplicates, replace_controls
from vd_forecasting.vd_array import DIMS
from vd_forecasting.wording import in_one_line, one_line, plural, quoted

Floats = npt.NDArray[np.float32]

NOTES = "ingest_notes"
"""Attribute of an array: what the reader left out or changed, a tuple of sentences."""

UNITS = {
    "avg_speed": "km/h",
    "total_volume": "veh/interval",
    "avg_occupancy": "%",
    "speed_std": "km/h",
    "lane_count": "lanes",
}
"""The project's features and their units, for those whose catalog entry names none."""

_LOCATION_COLUMNS = ("sensor_id", "latitude", "longitude")
# Errors that a file of unknown origin may raise in the libraries that read it.
_TROUBLE = (ValueError, OSError, LookupError, TypeError, ArithmeticError, MemoryError)


@dataclass
class LeftOut:
    """How much a reader left out of files, and examples of it, by reason."""

    numbers: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, number: int = 1, example: str = "") -> None:
        """One more; the first example is kept."""
        self.numbers[reason] += number
        if number and example:
            self.examples.setdefault(reason, example)

    def notes(self, sentences: Mapping[str, str]) -> Iterator[str]:
        """What is said of each reason, behind its number; ``{}`` is the example."""
        for reason, sentence in sentences.items():
            if number := self.numbers.get(reason):
                yield f"{number:,} {sentence.format(self.examples.get(reason, ''))}"


@contextmanager
def told_as(problem: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns errors of these types into a ValueError that says ``problem`` before their message."""
    try:
        yield
    except errors as error:
        raise ValueError(f"{problem} ({error})") from error


class SourceDataset(FileDataset[Any, xr.DataArray]):
    """Reads measurements from ``filepath`` as a VD array ``("time", "vd", "feature")``, float32.

    NaN is missing. Coordinates and attributes are those of
    :class:`~vd_forecasting.datasets.VDHDF5Dataset`. ``locations`` is the path of a list of
    detectors, as :func:`read_locations` reads it.
    """

    filepath: Path

    def __init__(self, *, locations: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.filepath, Path):
            raise ValueError(f"{self.filepath}: sources are read from disks only; copy it here")
        self._locations = locations

    def load(self) -> xr.DataArray:
        """The array; a DatasetError of one line that begins with the path if it cannot be read."""
        if not (self.filepath.exists() or self._exists()):
            raise DatasetError(
                f"{self.filepath}: no such file; put the data there, or name its place: "
                "--params source_file=path/to/the/data"
            )
        if self.filepath.exists() and not (self.filepath.is_file() or self.filepath.is_dir()):
            raise DatasetError(f"{self.filepath}: neither a file nor a folder")
        try:
            values, labels = self._read()
            where, notes = read_locations(self._locations, labels.vdids)
            labels = replace(labels, notes=[*labels.notes, *notes])
            longest = max(map(len, labels.vdids), default=0)
            self.limit.check_names(longest, len(labels.vdids), "a VDID")
            return _vd_array(values, labels, labels.info | where, self.filepath.name)
        except ImportError as error:
            raise DatasetError(
                f"{self.filepath}: {one_line(error)}; pip install -e '.[ingest]'"
            ) from error
        except _TROUBLE as error:
            raise DatasetError(f"{self.filepath}: {one_line(error)}") from error

    @abstractmethod
    def _read(self) -> "tuple[Any, Labels]":
        """Values [T, N, F], an array or anything xarray can index lazily, and their labels; a
        ValueError that does not name the file if it cannot be used."""

    def save(self, data: Any) -> NoReturn:
        raise DatasetError(f"{self.filepath}: a source is read, never written")

    def _exists(self) -> bool:
        return self.filepath.exists()


class NoSource(SourceDataset):
    """Placeholder for the source that an environment names; loading it refuses."""

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath="", metadata=metadata)

    def _read(self) -> NoReturn:
        raise DatasetError(
            "no source to ingest: name the environment that has one, for example "
            "kedro run --pipeline ingest --env metr_la (see docs/other-formats.md)"
        )

    def _exists(self) -> bool:
        return False


@dataclass(frozen=True)
class Labels:
    """Labels of the values of a source."""

    times: DatetimeArray  # [T], naive local time, NaT where unknown
    vdids: Sequence[str]  # [N]
    features: Sequence[str]  # [F]
    units: Mapping[str, str | None] = field(default_factory=dict)
    """By feature; the project's own for those not named, or None."""
    info: dict[str, Any] = field(default_factory=dict)
    """Coordinates of the detectors, as of :func:`~.hdf5_attributes.as_coords`."""
    utc_offset: str | None = None  # such as "+08:00"; None where unknown
    notes: Sequence[str] = ()  # sentences about values that the reader left out or changed


def _vd_array(values: Any, labels: Labels, info: dict[str, Any], source_file: str) -> xr.DataArray:
    """Values [T, N, F] as a VD array, which has some and unambiguous labels."""
    times, vdids, features = labels.times, list(labels.vdids), list(labels.features)
    if not (len(times) and vdids and features):
        raise ValueError(
            f"it is empty: {len(times)} time steps, {len(vdids)} VDs and {len(features)} features"
        )
    if np.isnat(times).all():
        raise ValueError(f"none of its {len(times)} time stamps is usable")
    vdids, notes = replace_controls(vdids, "the VDIDs")
    for what, names in (("VDIDs", vdids), ("features", features)):
        if twice := duplicates(names):
            raise ValueError(f"duplicate {what}: {quoted(twice)}")
    units = UNITS | {name: unit for name, unit in labels.units.items() if unit is not None}
    attrs: dict[str, Any] = {"source_file": source_file}
    if labels.utc_offset is not None:
        attrs["utc_offset"] = labels.utc_offset
    if notes := [*labels.notes, *notes]:
        attrs[NOTES] = tuple(map(in_one_line, notes))
    coords: dict[str, Any] = {
        "time": ("time", times.astype("datetime64[ns]")),
        "vd": ("vd", np.array(vdids, dtype=str)),
        "feature": ("feature", np.array(features, dtype=str)),
        "unit": ("feature", np.array([units.get(name, "") for name in features], dtype=str)),
    }
    variable = xr.Variable(DIMS, values, attrs)
    return xr.Dataset({"features": variable}, coords | info)["features"]


def as_factor(scale: float | str) -> float:
    """A factor, which may be written as ``1/4``; a ValueError for anything else."""
    try:
        factor = float(Fraction(str(scale)))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"scale: {scale!r} is no number; write 0.25 or 1/4") from error
    return factor


def as_float32(values: npt.NDArray[Any]) -> Floats:
    """Values too large become infinite, which cleaning removes."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def check_size(shape: Sequence[int], limit: MemoryLimit) -> None:
    """Refuse, by a ValueError, an array [T, N, F] that would not fit into memory as float32, and
    by a DatasetError one that is larger than the limit of its file."""
    size = 4 * math.prod(map(int, shape))
    lengths = " × ".join(f"{int(length):,}" for length in shape)
    if size > MOST_VALUE_BYTES:
        raise ValueError(
            f"declares {lengths} values, {size / 2**30:,.0f} GiB as float32; more than "
            f"{MOST_VALUE_BYTES / 2**30:.0f} GiB is refused"
        )
    limit.check(size, f"{lengths} values")


def check_packing(size: int, stored: int) -> None:
    """Refuse, by a ValueError, much content that little of a file unpacks to."""
    if size > max(ALWAYS_UNPACKED_BYTES, MOST_RATIO * stored):
        raise ValueError(
            f"declares {size / 2**20:,.0f} MiB in {stored / 2**20:,.1f} MiB of the file; more than "
            f"{MOST_RATIO} times what is stored is refused"
        )


def read_locations(path: str | None, vdids: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Coordinates ``position_lat`` and ``position_lon``, each [N] with NaN where the file has none,
    and a note on these.

    The file is a CSV such as DCRNN's ``graph_sensor_locations.csv``, with the columns ``sensor_id,
    latitude, longitude``; others are ignored. Without a header, as for PEMS-BAY, these are the
    first three. Without a file, nothing is known; a ValueError if there is none at ``path`` or it
    lacks a column.
    """
    if not path:
        return {}, []
    if not Path(path).is_file():
        raise ValueError(f"locations: {path}: no such file")
    if Path(path).stat().st_size > MOST_LIST_BYTES:
        raise ValueError(f"locations: {path}: larger than any list of detectors")
    with (
        told_as(f"locations: {path}: not a CSV file", csv.Error),
        Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file,
    ):
        first, *others = [*csv.reader(file)] or [[]]
    if len(first) > 2 and not math.isnan(as_number(first[1]) + as_number(first[2])):
        first, others = [*_LOCATION_COLUMNS], [first, *others]
    for name in _LOCATION_COLUMNS:
        if name not in first:
            raise ValueError(f"locations: {path}: has no column {name!r}")
    rows = (dict(zip(first, row, strict=False)) for row in others)
    known = {row.get("sensor_id", "").strip(): row for row in rows}
    found = [known.get(vdid, {}) for vdid in vdids]
    lat, lon = ([as_number(row.get(name)) for row in found] for name in _LOCATION_COLUMNS[1:])
    lost = [
        vdids[n] for n, place in enumerate(zip(lat, lon, strict=True)) if math.isnan(sum(place))
    ]
    notes = []
    if lost:
        notes.append(
            f"{plural(len(lost), 'detector')} without a place in {path}: {quoted(lost, 1)}"
        )
    return {"position_lat": ("vd", lat), "position_lon": ("vd", lon)}, notes
