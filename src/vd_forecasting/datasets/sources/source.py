"""The base of every source: it is read, never written, and returns a VD array.

A new source is a subclass of :class:`SourceDataset` that says how to read its files, and a folder
in conf/ with the catalog entry ``ingest_source``.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import xarray as xr
from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.vd_array import DIMS
from vd_forecasting.wording import one_line, quoted

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
            return self._read()
        except ImportError as error:
            raise DatasetError(
                f"{self._filepath}: {one_line(error)}; pip install -e '.[ingest]'"
            ) from error
        except _TROUBLE as error:
            raise DatasetError(f"{self._filepath}: {one_line(error)}") from error

    @abstractmethod
    def _read(self) -> xr.DataArray:
        """The array.

        Raises:
            ValueError: the file cannot be used; the message does not name it.
        """

    def save(self, data: Any) -> NoReturn:
        raise DatasetError(f"{self._filepath}: a source is read, never written")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

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

    def load(self) -> xr.DataArray:
        raise DatasetError(
            "no source to ingest: name the environment that has one, for example "
            "kedro run --pipeline ingest --env metr_la (see docs/other-formats.md)"
        )

    def _read(self) -> xr.DataArray:
        raise NotImplementedError

    def _exists(self) -> bool:
        return False


@dataclass(frozen=True)
class Labels:
    """Labels of the values of a source."""

    times: DatetimeArray
    """[T], naive local time, NaT where unknown."""
    vdids: Sequence[str]
    """[N]."""
    features: Sequence[str]
    """[F]."""
    units: Mapping[str, str] = field(default_factory=dict)
    """By feature; the project's own for those not named."""
    info: Mapping[str, npt.NDArray[Any]] | None = None
    """Properties of the detectors, as in :mod:`vd_forecasting.datasets.vd_info`, each [N]."""


@dataclass(frozen=True)
class Origin:
    """Where the values of a source come from."""

    file: str
    """Name of the file or folder, without its path."""
    utc_offset: str | None = None
    """Such as ``"+08:00"``; None where unknown."""
    notes: Iterable[str] = ()
    """Sentences about values that the reader left out or changed."""


def vd_array(values: Any, labels: Labels, origin: Origin) -> xr.DataArray:
    """Label values as a VD array.

    Args:
        values: [T, N, F], an array or anything xarray can index lazily.
        labels: of the values.
        origin: of the values.

    Raises:
        ValueError: nothing is in it, no time stamp is usable, or a name occurs twice.
    """
    shape = (len(labels.times), len(labels.vdids), len(labels.features))
    if 0 in shape:
        raise ValueError(
            f"it is empty: {shape[0]} time steps, {shape[1]} VDs and {shape[2]} features"
        )
    if np.isnat(labels.times).all():
        raise ValueError(f"none of its {len(labels.times)} time stamps is usable")
    for what, names in (("VDIDs", list(labels.vdids)), ("features", list(labels.features))):
        if twice := duplicates(names):
            raise ValueError(f"duplicate {what}: {quoted(twice)}")
    known = UNITS | dict(labels.units)
    attrs: dict[str, Any] = {"source_file": origin.file}
    if origin.utc_offset is not None:
        attrs["utc_offset"] = origin.utc_offset
    if notes := tuple(origin.notes):
        attrs[NOTES] = notes
    coords: dict[str, Any] = {
        "time": ("time", labels.times.astype("datetime64[ns]")),
        "vd": ("vd", np.array(list(labels.vdids), dtype=str)),
        "feature": ("feature", np.array(list(labels.features), dtype=str)),
        "unit": ("feature", np.array([known.get(name, "") for name in labels.features], dtype=str)),
    }
    coords |= {name: ("vd", known_of_vds) for name, known_of_vds in (labels.info or {}).items()}
    variable = xr.Variable(DIMS, values, attrs)
    return xr.Dataset({"features": variable}, coords)["features"]


def check_size(shape: Sequence[int]) -> None:
    """Refuse an array [T, N, F] that would not fit into memory as float32.

    Raises:
        ValueError: names the size.
    """
    size = 4
    for length in shape:
        size *= int(length)
    if size > MOST_VALUE_BYTES:
        raise ValueError(
            f"declares {' × '.join(f'{int(length):,}' for length in shape)} values, "
            f"{size / 2**30:,.0f} GiB as float32; more than {MOST_VALUE_BYTES / 2**30:.0f} GiB is "
            "refused"
        )
