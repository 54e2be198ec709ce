"""A table of one feature: a row per time step, a column per detector."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vd_forecasting.datasets.sources.source import Floats, Labels, check_size
from vd_forecasting.datasets.sources.table_files import TableDataset


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
