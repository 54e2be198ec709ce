"""Tables of one feature, a column per detector, and of many, a row per time step and detector."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources.source import Floats, Labels, check_size
from vd_forecasting.datasets.sources.table_files import TableDataset

_ROW_BYTES = 8


class WideTableDataset(TableDataset):
    """Loads a CSV or Parquet table, time × detector, of one feature.

    Cells without a number are missing; text that stands for no number is counted in a note.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.WideTableDataset
          filepath: data/01_raw/speeds.csv      # .csv, .csv.gz or .parquet
          time_column: time
          feature: avg_speed
          unit: km/h                            # optional, as are the following
          vd_columns: [VD-1, VD-2]              # all but the time by default
          time_format: "%Y/%m/%d %H:%M"         # ISO 8601 by default
          timezone: Asia/Taipei                 # of time stamps without an offset
          scale: 1                              # factor to that unit
          locations: data/01_raw/where.csv      # columns sensor_id, latitude, longitude
          encoding: big5
          delimiter: ";"
    """

    def __init__(
        self,
        *,
        feature: str,
        unit: str | None = None,
        vd_columns: Sequence[str] | None = None,
        scale: float = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._feature = feature
        self._unit = unit
        self._vd_columns = None if vd_columns is None else [str(name) for name in vd_columns]
        self._scale = scale

    def _read(self) -> tuple[Floats, Labels]:
        vdids = self._vd_columns
        if vdids is None:
            vdids = [name for name in self._columns() if name != self._time_column]
        if not vdids:
            raise ValueError(f"has no column but {self._time_column!r}")
        stamps: list[str] = []
        blocks: list[Floats] = []
        odd_cells: list[str] = []
        for texts, block in self._batches([self._time_column], vdids, odd_cells):
            stamps += texts[0].tolist()
            blocks.append(block)
            check_size((len(stamps), len(vdids)))
        times, offset, notes = self._clock(stamps)
        values = np.concatenate(blocks)
        if self._scale != 1:
            values *= np.float32(self._scale)
        labels = Labels(
            times=times,
            vdids=vdids,
            features=[self._feature],
            units={self._feature: self._unit},
            utc_offset=offset,
            notes=notes + odd_cells,
        )
        return values[..., np.newaxis], labels


@dataclass(frozen=True)
class Column:
    """Where a feature stands in the table, and in which unit."""

    column: str
    unit: str | None = None
    scale: float = 1
    """Factor from the numbers in the table to that unit."""


class LongTableDataset(TableDataset):
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
        self, *, vd_column: str, features: Mapping[str, str | Mapping[str, Any]], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._vd_column = vd_column
        self._features = {
            name: Column(entry) if isinstance(entry, str) else Column(**entry)
            for name, entry in features.items()
        }

    def _read(self) -> tuple[Floats, Labels]:
        columns = [entry.column for entry in self._features.values()]
        stamps: dict[str, int] = {}
        vdids: dict[str, int] = {}
        blocks = []  # some of R rows each: numbers of their stamps and VDIDs, and values [some, F]
        rows, odd_cells = 0, list[str]()
        for texts, values in self._batches(
            [self._time_column, self._vd_column], columns, odd_cells
        ):
            blocks.append((_codes(texts[0], stamps), _codes(texts[1], vdids), values))
            rows += len(values)
            check_size((rows, len(columns) + _ROW_BYTES // 4))
        times, offset, notes = self._clock(list(stamps))
        steps, named = np.unique(times[~np.isnat(times)]), [vdid for vdid in vdids if vdid]
        step_of_stamp = pd.Index(steps).get_indexer(pd.Index(times))  # −1: not there
        place_of_vdid = pd.Index(named).get_indexer(pd.Index(list(vdids)))
        shape = (len(steps), len(named), len(columns))
        check_size(shape)
        dense = np.full(shape, np.nan, dtype=np.float32)
        lost = 0
        for stamp, vdid, values in blocks:
            step, vd = step_of_stamp[stamp], place_of_vdid[vdid]
            fits = (step >= 0) & (vd >= 0)
            lost += int((~fits).sum())
            for feature in range(len(columns)):
                known = fits & ~np.isnan(values[:, feature])
                # where places repeat, NumPy keeps the last value
                dense[step[known], vd[known], feature] = values[known, feature]
        if lost:
            notes.append(f"{lost:,} rows have no usable time stamp or no VDID; left out")
        scales = np.array([entry.scale for entry in self._features.values()], dtype=np.float32)
        if (scales != 1).any():
            dense *= scales
        labels = Labels(
            times=steps,
            vdids=named,
            features=list(self._features),
            units={name: entry.unit for name, entry in self._features.items()},
            utc_offset=offset,
            notes=notes + odd_cells,
        )
        return dense, labels


def _codes(names: Iterable[str], known: dict[str, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)
