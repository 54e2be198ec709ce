"""The base of CSV and Parquet tables, read a batch of rows at a time.

Every cell of a CSV arrives as the text it is.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources.source import Floats, SourceDataset, as_float32
from vd_forecasting.datasets.timestamps import read_clock
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.wording import quoted

Texts = npt.NDArray[np.object_]

_CELLS_AT_ONCE = 1_000_000
_MISSING = ("", "nan", "na", "n/a", "null", "none", "nat", "-", "--")
"""Words for a missing value, in lower case; other text in place of a number is counted."""


class TableDataset(SourceDataset):
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
    ) -> Iterator[tuple[list[Texts], Floats]]:
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
        try:
            with opened(path, "rt", encoding=self._encoding, errors="replace", newline="") as file:
                yield filter(None, csv.reader(file, delimiter=self._delimiter, strict=True))
        except (csv.Error, EOFError, zlib.error) as error:
            raise ValueError(f"not a whole CSV file ({error})") from error

    def _parquet_frames(self, columns: list[str], batch_rows: int) -> Iterator[pd.DataFrame]:
        import pyarrow as pa  # noqa: PLC0415

        with self._parquet() as file:
            try:
                for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
                    yield batch.to_pandas()[columns]
            except pa.ArrowException as error:
                raise ValueError(f"damaged Parquet file ({error})") from error

    def _parquet(self) -> Any:
        try:
            import pyarrow as pa  # noqa: PLC0415  (an extra)
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError as error:
            raise ImportError("to read Parquet, the package pyarrow is needed") from error
        try:
            return pq.ParquetFile(self.filepath)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"not a Parquet file ({error})") from error


def as_texts(column: "pd.Series[Any]") -> Texts:
    """A column as stripped text, "" where it has none; time stamps as ISO 8601."""
    codes, cells = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    texts = np.array([_as_text(cell) for cell in cells] + [""], dtype=object)
    return texts[codes]  # the code of a missing cell is −1


def as_numbers(cells: npt.NDArray[Any]) -> tuple[Floats, int, str]:
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
    return as_float32(numbers).reshape(cells.shape), len(wrong), wrong[0] if wrong else ""


def _as_text(cell: Any) -> str:
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    return str(cell).strip()
