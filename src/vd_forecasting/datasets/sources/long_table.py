"""A table of many features: a row per time step and detector, in any order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.datasets.sources.clock import read_clock
from vd_forecasting.datasets.sources.sensor_locations import read_locations
from vd_forecasting.datasets.sources.source import (
    Labels,
    Origin,
    SourceDataset,
    check_size,
    vd_array,
)
from vd_forecasting.datasets.sources.table_files import TableFile, as_numbers, as_texts

_ROW_BYTES = 8


@dataclass(frozen=True)
class Column:
    """Where a feature stands in the table, and in which unit."""

    column: str
    unit: str | None = None
    scale: float = 1
    """Factor from the numbers in the table to that unit."""


class LongTableDataset(SourceDataset):
    """Loads a CSV or Parquet table with a row per time step and detector.

    Rows may come in any order and be absent; of several for one time step and detector, the last
    value that is not missing wins. Rows without a usable time stamp or VDID are left out and
    counted in a note, as are cells that hold no number.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.LongTableDataset
          filepath: data/01_raw/detectors.csv   # .csv, .csv.gz or .parquet
          time_column: timestamp
          vd_column: vdid
          features:                             # name in this project: column, or more about it
            avg_speed: {column: speed, unit: km/h}
            avg_occupancy: {column: laneoccupy, unit: "%", scale: 100}
            total_volume: volume
          time_format: "%Y/%m/%d %H:%M"         # optional: ISO 8601 by default
          timezone: Asia/Taipei                 # optional: of time stamps without an offset
          locations: data/01_raw/where.csv      # optional: sensor_id, latitude, longitude
          encoding: big5                        # optional
          delimiter: ";"                        # optional
    """

    def __init__(
        self,
        *,
        filepath: str,
        time_column: str,
        vd_column: str,
        features: Mapping[str, str | Mapping[str, Any]],
        time_format: str | None = None,
        timezone: str | None = None,
        locations: str | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._table = TableFile(Path(filepath), encoding, delimiter)
        self._time_column = time_column
        self._vd_column = vd_column
        self._features = {
            name: Column(entry) if isinstance(entry, str) else Column(**entry)
            for name, entry in features.items()
        }
        self._time_format = time_format
        self._timezone = timezone
        self._locations = locations

    def _read(self) -> xr.DataArray:
        columns = [entry.column for entry in self._features.values()]
        rows = _Rows()
        wanted = dict.fromkeys([self._time_column, self._vd_column, *columns])
        for batch in self._table.batches(list(wanted)):
            rows.add(
                as_texts(batch[self._time_column]),
                as_texts(batch[self._vd_column]),
                batch[columns].to_numpy(),
            )
        if not rows.values:
            raise ValueError("it is empty: it has columns, but no rows")
        stamps, vdids = list(rows.stamps), list(rows.vdids)
        times, offset, notes = read_clock(stamps, self._time_format, self._timezone)
        steps, values, lost = rows.dense(times, vdids)
        if lost:
            notes.append(f"{lost:,} rows have no usable time stamp or no VDID; left out")
        if rows.wrong:
            notes.append(f"{rows.wrong:,} cells hold no number, such as {rows.example!r}; missing")
        scales = np.array([entry.scale for entry in self._features.values()], dtype=np.float32)
        if (scales != 1).any():
            values *= scales
        vdids = [vdid for vdid in vdids if vdid]
        path = self._locations
        labels = Labels(
            times=steps,
            vdids=vdids,
            features=list(self._features),
            units={
                name: entry.unit for name, entry in self._features.items() if entry.unit is not None
            },
            info=read_locations(Path(path), vdids) if path else None,
        )
        return vd_array(values, labels, Origin(self._filepath.name, utc_offset=offset, notes=notes))

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {
            "time_column": self._time_column,
            "vd_column": self._vd_column,
            "features": list(self._features),
        }


@dataclass
class _Rows:
    """The rows of a table, R in all, with numbers in place of time stamps and VDIDs."""

    stamps: dict[str, int] = field(default_factory=dict)
    vdids: dict[str, int] = field(default_factory=dict)
    values: list[npt.NDArray[np.float32]] = field(default_factory=list)  # each [some of R, F]
    stamp_of: list[npt.NDArray[np.int32]] = field(default_factory=list)  # each [some of R]
    vd_of: list[npt.NDArray[np.int32]] = field(default_factory=list)  # each [some of R]
    wrong: int = 0
    example: str = ""

    def add(self, stamps: Iterable[str], vdids: Iterable[str], cells: npt.NDArray[Any]) -> None:
        """Add a batch of rows."""
        values, wrong, example = as_numbers(cells)
        self.values.append(values)
        self.stamp_of.append(_codes(stamps, self.stamps))
        self.vd_of.append(_codes(vdids, self.vdids))
        self.wrong += wrong
        self.example = self.example or example
        rows = sum(len(block) for block in self.values)
        check_size((rows, values.shape[1] + _ROW_BYTES // 4))

    def dense(
        self, times: npt.NDArray[np.datetime64], vdids: list[str]
    ) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float32], int]:
        """The time steps [T], the values [T, N, F] and the number of rows without a place there.

        Args:
            times: of each stamp, NaT where it is unusable.
            vdids: "" is no detector.
        """
        steps, step_of_stamp = np.unique(times[~np.isnat(times)], return_inverse=True)
        place = np.full(len(times), -1)
        place[~np.isnat(times)] = step_of_stamp
        named = np.array([vdid != "" for vdid in vdids])
        vd_place = np.where(named, np.cumsum(named) - 1, -1)
        features = self.values[0].shape[1]
        check_size((len(steps), int(named.sum()), features))
        dense = np.full((len(steps), int(named.sum()), features), np.nan, dtype=np.float32)
        lost = 0
        for values, stamps, vds in zip(self.values, self.stamp_of, self.vd_of, strict=True):
            step, vd = place[stamps], vd_place[vds]
            fits = (step >= 0) & (vd >= 0)
            lost += int((~fits).sum())
            for feature in range(features):
                known = fits & ~np.isnan(values[:, feature])
                # where places repeat, NumPy keeps the last value
                dense[step[known], vd[known], feature] = values[known, feature]
        return steps, dense, lost


def _codes(names: Iterable[str], known: dict[str, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)
