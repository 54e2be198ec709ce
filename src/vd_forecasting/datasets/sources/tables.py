"""CSV and Parquet tables, read a batch of rows at a time; every cell of a CSV as the text it is."""

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.parquet_size import check_parquet
from vd_forecasting.datasets.timestamps import read_clock
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.wording import quoted

Texts = npt.NDArray[np.object_]

_CELLS_AT_ONCE = 1_000_000
_ROW_BYTES = 8
_MISSING = ("", "nan", "na", "n/a", "null", "none", "nat", "-", "--")
"""Words for a missing value, in lower case; other text in place of a number is counted."""


class TableDataset(source.SourceDataset):
    """A CSV or Parquet table; ``encoding`` and ``delimiter`` apply to CSV only."""

    def __init__(
        self,
        *,
        time_column: str,
        time_format: str | None = None,
        timezone: str | None = None,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._is_parquet = self.filepath.suffix.lower() in (".parquet", ".pq")
        self._time_column = time_column
        self._clock = partial(read_clock, time_format=time_format, timezone=timezone)
        self._encoding = encoding
        self._delimiter = delimiter

    def _columns(self) -> list[str]:
        if self._is_parquet:
            with self._parquet() as file:
                names = [str(name) for name in file.schema_arrow.names]
        else:
            with self._csv_rows() as rows:
                names = [name.strip() for name in next(rows, [])]
        if not names:
            raise ValueError("it is empty, not even its columns are named")
        return names

    def _batches(
        self, labels: Sequence[str], columns: Sequence[str], notes: list[str]
    ) -> Iterator[tuple[list[Texts], source.Floats]]:
        """Some rows at a time: each of ``labels`` as texts [R], and ``columns`` as numbers [R, F].

        Cells that hold no number are counted in a note, added at the end.
        """
        there, wanted = self._columns(), list(dict.fromkeys([*labels, *columns]))
        for name in wanted:
            if name not in there:
                raise ValueError(f"has no column {name!r}; it has {quoted(there)}")
        if twice := [name for name in duplicates(there) if name in wanted]:
            raise ValueError(f"has the column {twice[0]!r} more than once")
        rows = max(_CELLS_AT_ONCE // len(wanted), 1)
        is_empty, wrong, example = True, 0, ""
        frames = self._parquet_frames if self._is_parquet else self._csv_frames
        for frame in frames(wanted, rows):
            values, odd, text = as_numbers(frame[list(columns)].to_numpy())
            is_empty, wrong, example = False, wrong + odd, example or text
            yield [as_texts(frame[name]) for name in labels], values
        if is_empty:
            raise ValueError("it is empty: it has columns, but no rows")
        if wrong:
            notes.append(f"{wrong:,} cells hold no number, such as {example!r}; missing")

    def _csv_frames(self, columns: list[str], batch_rows: int) -> Iterator[pd.DataFrame]:
        with self._csv_rows() as rows:
            there = [name.strip() for name in next(rows)]
            places = [there.index(name) for name in columns]
            blank = [""] * len(there)
            while batch := list(islice(rows, batch_rows)):
                if wide := next((row for row in batch if len(row) > len(there)), None):
                    raise ValueError(
                        f"has {len(there)} columns, but a row of {len(wide)} cells, which begins "
                        f"with {wide[0]!r}; check the delimiter, and that decimals have a point"
                    )
                whole = (row + blank[len(row) :] for row in batch)
                cells = [[row[place] for place in places] for row in whole]
                yield pd.DataFrame(cells, columns=columns, dtype=object)

    @contextmanager
    def _csv_rows(self) -> Iterator[Iterator[list[str]]]:
        """The rows that are not blank, the header among them."""
        path = self.filepath
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with (
            source.told_as("not a whole CSV file", csv.Error, EOFError, zlib.error),
            opened(path, "rt", encoding=self._encoding, errors="replace", newline="") as file,
        ):
            yield filter(None, csv.reader(file, delimiter=self._delimiter, strict=True))

    def _parquet_frames(self, columns: list[str], batch_rows: int) -> Iterator[pd.DataFrame]:
        import pyarrow as pa  # noqa: PLC0415

        with self._parquet() as file, source.told_as("damaged Parquet file", pa.ArrowException):
            check_parquet(file, columns, self.limit)
            for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
                yield batch.to_pandas()[columns]

    def _parquet(self) -> Any:
        try:
            import pyarrow as pa  # noqa: PLC0415  (an extra)
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("to read Parquet, the package pyarrow is needed") from error
        with source.told_as("not a Parquet file", pa.ArrowException, OSError):
            return pq.ParquetFile(self.filepath)


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
          scale: 1                              # factor to that unit
          time_format: "%Y/%m/%d %H:%M"         # ISO 8601 by default
          timezone: Asia/Taipei                 # of time stamps without an offset
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
        self._scale = source.as_factor(scale)

    def _read(self) -> tuple[source.Floats, source.Labels]:
        vdids = self._vd_columns
        if vdids is None:
            vdids = [name for name in self._columns() if name != self._time_column]
        if not vdids:
            raise ValueError(f"has no column but {self._time_column!r}")
        stamps: list[str] = []
        blocks: list[source.Floats] = []
        odd_cells: list[str] = []
        for texts, block in self._batches([self._time_column], vdids, odd_cells):
            stamps += texts[0].tolist()
            blocks.append(block)
            source.check_size((len(stamps), len(vdids)))
        times, offset, notes = self._clock(stamps)
        values = np.concatenate(blocks)
        if self._scale != 1:
            values *= np.float32(self._scale)
        units = {self._feature: self._unit}
        labels = source.Labels(
            times, vdids, [*units], units, utc_offset=offset, notes=notes + odd_cells
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

    The other options of :class:`WideTableDataset`, from ``time_format`` to ``delimiter``, hold too.
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

    def _read(self) -> tuple[source.Floats, source.Labels]:
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
            source.check_size((rows, len(columns) + _ROW_BYTES // 4))
        times, offset, notes = self._clock(list(stamps))
        steps, named = np.unique(times[~np.isnat(times)]), [vdid for vdid in vdids if vdid]
        step_of_stamp = pd.Index(steps).get_indexer(pd.Index(times))  # −1: not there
        place_of_vdid = pd.Index(named).get_indexer(pd.Index(list(vdids)))
        shape = (len(steps), len(named), len(columns))
        source.check_size(shape)
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
        factors = [source.as_factor(entry.scale) for entry in self._features.values()]
        scales = np.array(factors, dtype=np.float32)
        if (scales != 1).any():
            dense *= scales
        units = {name: entry.unit for name, entry in self._features.items()}
        labels = source.Labels(
            steps, named, [*units], units, utc_offset=offset, notes=notes + odd_cells
        )
        return dense, labels


def _codes(names: Iterable[str], known: dict[str, int]) -> npt.NDArray[np.int32]:
    """The number of each name; a new one gets the next."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)


def as_texts(column: "pd.Series[Any]") -> Texts:
    """A column as stripped text, "" where it has none; time stamps as ISO 8601."""
    codes, cells = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    texts = np.array([_as_text(cell) for cell in cells] + [""], dtype=object)
    return texts[codes]  # the code of a missing cell is −1


def as_numbers(cells: npt.NDArray[Any]) -> tuple[source.Floats, int, str]:
    """Cells as float32, NaN for no number; how many hold other text, and an example of it."""
    flat = cells.reshape(-1)
    if flat.dtype == object:
        # True and dates would pass for numbers
        flat = np.array([c if isinstance(c, str | int | float) else "" for c in flat], object)
        numbers = pd.to_numeric(pd.Series(flat, dtype=object), errors="coerce").to_numpy(float)
        unread = [text for text in flat[np.isnan(numbers)] if isinstance(text, str)]
        wrong = [text for text in unread if text.strip().lower() not in _MISSING]
    else:
        numbers, wrong = flat.astype(np.float64), []
    return source.as_float32(numbers).reshape(cells.shape), len(wrong), wrong[0] if wrong else ""


def _as_text(cell: Any) -> str:
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    return str(cell).strip()
