"""The base of every source: it is read, never written, and returns a VD array.

A new source is a subclass of :class:`SourceDataset` that says how to read its files, and a folder
in conf/ with the catalog entry ``ingest_source``.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import xarray as xr
from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.running.kedro_private import catalog_entry
from vd_forecasting.vd_array import DIMS
from vd_forecasting.wording import one_line, quoted

Floats = npt.NDArray[np.float32]

NOTES = "ingest_notes"
"""Attribute of an array: what the reader left out or changed, a tuple of sentences."""

MOST_VALUE_BYTES = 8 * 2**30
"""An array larger than this is refused unless its source is streamed: small files can declare
sizes that no machine holds."""

UNITS = {
    "avg_speed": "km/h",
    "total_volume": "veh/interval",
    "avg_occupancy": "%",
    "speed_std": "km/h",
    "lane_count": "lanes",
}
"""The project's own units, for features whose catalog entry names none."""

# Errors that a file of unknown origin may raise in the libraries that read it.
_TROUBLE = (ValueError, OSError, LookupError, TypeError, ArithmeticError, MemoryError)


class SourceDataset(AbstractDataset[Any, xr.DataArray]):
    """Reads measurements from ``filepath`` as a VD array ``("time", "vd", "feature")``, float32.

    NaN is missing. Coordinates and attributes are those of
    :class:`~vd_forecasting.datasets.VDHDF5Dataset`.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> xr.DataArray:
        """The array.

        Raises:
            DatasetError: one line that begins with the path; the source cannot be read.
        """
        if not self._filepath.exists():
            raise DatasetError(
                f"{self._filepath}: no such file; put the data there, or name its place: "
                "--params source_file=path/to/the/data"
            )
        try:
            return vd_array(*self._read(), self._filepath.name)
        except ImportError as error:
            raise DatasetError(
                f"{self._filepath}: {one_line(error)}; pip install -e '.[ingest]'"
            ) from error
        except _TROUBLE as error:
            raise DatasetError(f"{self._filepath}: {one_line(error)}") from error

    @abstractmethod
    def _read(self) -> "tuple[Any, Labels]":
        """Values [T, N, F], an array or anything xarray can index lazily, and their labels.

        Raises:
            ValueError: the file cannot be used; the message does not name it.
        """

    def save(self, data: Any) -> NoReturn:
        raise DatasetError(f"{self._filepath}: a source is read, never written")

    def _describe(self) -> dict[str, Any]:
        entry = catalog_entry(self)
        known = entry.pop("kwargs", {}) | entry
        return {name: known[name] for name in known if name not in ("type", "metadata")}

    def _exists(self) -> bool:
        return self._filepath.exists()


class NoSource(SourceDataset):
    """Placeholder for the source that an environment names; loading it refuses.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.NoSource
    """

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
    info: Mapping[str, Any] = field(default_factory=dict)
    """Coordinates of the detectors, as in :mod:`vd_forecasting.datasets.vd_info`."""
    utc_offset: str | None = None  # such as "+08:00"; None where unknown
    notes: Sequence[str] = ()  # sentences about values that the reader left out or changed


def vd_array(values: Any, labels: Labels, source_file: str) -> xr.DataArray:
    """Label values [T, N, F] as a VD array.

    Raises:
        ValueError: nothing is in it, no time stamp is usable, or a name occurs twice.
    """
    times, vdids, features = labels.times, list(labels.vdids), list(labels.features)
    if not (len(times) and vdids and features):
        raise ValueError(
            f"it is empty: {len(times)} time steps, {len(vdids)} VDs and {len(features)} features"
        )
    if np.isnat(times).all():
        raise ValueError(f"none of its {len(times)} time stamps is usable")
    for what, names in (("VDIDs", vdids), ("features", features)):
        if twice := duplicates(names):
            raise ValueError(f"duplicate {what}: {quoted(twice)}")
    units = UNITS | {name: unit for name, unit in labels.units.items() if unit is not None}
    attrs: dict[str, Any] = {"source_file": source_file}
    if labels.utc_offset is not None:
        attrs["utc_offset"] = labels.utc_offset
    if labels.notes:
        attrs[NOTES] = tuple(labels.notes)
    coords: dict[str, Any] = {
        "time": ("time", times.astype("datetime64[ns]")),
        "vd": ("vd", np.array(vdids, dtype=str)),
        "feature": ("feature", np.array(features, dtype=str)),
        "unit": ("feature", np.array([units.get(name, "") for name in features], dtype=str)),
    }
    variable = xr.Variable(DIMS, values, attrs)
    return xr.Dataset({"features": variable}, coords | dict(labels.info))["features"]


def as_float32(values: npt.NDArray[Any]) -> Floats:
    """Values too large become infinite, which cleaning removes."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def check_size(shape: Sequence[int]) -> None:
    """Refuse an array [T, N, F] that would not fit into memory as float32.

    Raises:
        ValueError: names the size.
    """
    size = 4 * math.prod(map(int, shape))
    if size > MOST_VALUE_BYTES:
        raise ValueError(
            f"declares {' × '.join(f'{int(length):,}' for length in shape)} values, "
            f"{size / 2**30:,.0f} GiB as float32; more than {MOST_VALUE_BYTES / 2**30:.0f} GiB is "
            "refused"
        )
