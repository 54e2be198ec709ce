"""A table of one feature: a row per time step, a column per detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
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


class WideTableDataset(SourceDataset):
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
        filepath: str,
        time_column: str,
        feature: str,
        unit: str | None = None,
        vd_columns: Sequence[str] | None = None,
        time_format: str | None = None,
        timezone: str | None = None,
        scale: float = 1,
        locations: str | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._table = TableFile(Path(filepath), encoding, delimiter)
        self._time_column = time_column
        self._feature = feature
        self._unit = unit
        self._vd_columns = None if vd_columns is None else [str(name) for name in vd_columns]
        self._time_format = time_format
        self._timezone = timezone
        self._scale = scale
        self._locations = locations

    def _read(self) -> xr.DataArray:
        vdids = self._vd_columns
        if vdids is None:
            vdids = [name for name in self._table.columns() if name != self._time_column]
        if not vdids:
            raise ValueError(f"has no column but {self._time_column!r}")
        stamps: list[str] = []
        blocks, wrong, example = [], 0, ""
        for batch in self._table.batches([self._time_column, *vdids]):
            stamps += as_texts(batch[self._time_column]).tolist()
            check_size((len(stamps), len(vdids)))
            block, odd, text = as_numbers(batch[vdids].to_numpy())
            blocks.append(block)
            wrong, example = wrong + odd, example or text
        if not blocks:
            raise ValueError("it is empty: it has columns, but no rows")
        times, offset, notes = read_clock(stamps, self._time_format, self._timezone)
        if wrong:
            notes.append(f"{wrong:,} cells hold no number, such as {example!r}; missing")
        values = np.concatenate(blocks)
        if self._scale != 1:
            values *= np.float32(self._scale)
        path = self._locations
        labels = Labels(
            times=times,
            vdids=vdids,
            features=[self._feature],
            units={} if self._unit is None else {self._feature: self._unit},
            info=read_locations(Path(path), vdids) if path else None,
        )
        return vd_array(
            values[..., np.newaxis],
            labels,
            Origin(self._filepath.name, utc_offset=offset, notes=notes),
        )

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"time_column": self._time_column, "feature": self._feature}
