"""CSV and Parquet tables, a batch of rows at a time, every cell of a CSV as the text it is."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.wording import quoted

_CELLS_AT_ONCE = 1_000_000
_MISSING = ("", "nan", "na", "n/a", "null", "none", "nat", "-", "--")
"""Words for a missing value, in lower case; other text in place of a number is counted."""

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class TableFile:
    """A table and how its text is written; ``encoding`` and ``delimiter`` apply to CSV only."""

    path: Path
    encoding: str = "utf-8-sig"
    delimiter: str = ","

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix.lower() in PARQUET

    def columns(self) -> list[str]:
        """The names of the columns.

        Raises:
            ValueError: there is none, or it is no table.
        """
        names = _parquet_columns(self.path) if self.is_parquet else self._csv_columns()
        if not names:
            raise ValueError("it is empty, not even its columns are named")
        return names

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The given columns, some rows at a time.

        Raises:
            ValueError: a column is missing or there twice, or the file is damaged.
        """
        there = self.columns()
        for name in columns:
            if name not in there:
                raise ValueError(f"has no column {name!r}; it has {quoted(there)}")
        if twice := [name for name in duplicates(there) if name in columns]:
            raise ValueError(f"has the column {twice[0]!r} more than once")
        rows = max(_CELLS_AT_ONCE // len(columns), 1)
        if self.is_parquet:
            yield from _parquet_batches(self.path, columns, rows)
        else:
            yield from self._csv_batches(there, columns, rows)

    def _csv_columns(self) -> list[str]:
        with self._csv_rows() as rows:
            return [name.strip() for name in next(rows, [])]

    def _csv_batches(
        self, there: list[str], columns: Sequence[str], batch_rows: int
    ) -> Iterator[pd.DataFrame]:
        places = [there.index(name) for name in columns]
        with self._csv_rows() as rows:
            next(rows)
            while batch := list(islice(rows, batch_rows)):
                cells = [self._cells(row, places, len(there)) for row in batch]
                yield pd.DataFrame(cells, columns=list(columns), dtype=object)

    def _cells(self, row: list[str], places: list[int], width: int) -> list[str]:
        if len(row) > width:
            raise ValueError(
                f"has {width} columns, but a row of {len(row)} cells, which begins with "
                f"{row[0]!r}; check the delimiter, and that decimals have a point"
            )
        if len(row) < width:
            row = row + [""] * (width - len(row))
        return [row[place] for place in places]

    @contextmanager
    def _csv_rows(self) -> Iterator[Iterator[list[str]]]:
        """The rows that are not blank, the header among them."""
        opened = gzip.open if self.path.suffix.lower() == ".gz" else open
        try:
            with opened(
                self.path, "rt", encoding=self.encoding, errors="replace", newline=""
            ) as file:
                yield filter(None, csv.reader(file, delimiter=self.delimiter, strict=True))
        except (csv.Error, EOFError, zlib.error) as error:
            raise ValueError(f"not a whole CSV file ({error})") from error


def as_texts(column: "pd.Series[Any]") -> npt.NDArray[np.object_]:
    """A column as stripped text, "" where it has none; time stamps as ISO 8601."""
    codes, cells = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    texts = np.array([_as_text(cell) for cell in cells] + [""], dtype=object)
    return texts[codes]  # the code of a missing cell is −1


def as_numbers(cells: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], int, str]:
    """Cells of any shape as float32, NaN where they hold no number.

    Returns:
        the numbers, how many cells hold something else, and an example of these.
    """
    flat = cells.reshape(-1)
    if flat.dtype == object:
        # True and dates would pass for numbers
        flat = np.array([c if isinstance(c, str | int | float) else "" for c in flat], object)
        numbers = pd.to_numeric(pd.Series(flat, dtype=object), errors="coerce").to_numpy(float)
        unread = [text for text in flat[np.isnan(numbers)] if isinstance(text, str)]
        wrong = [text for text in unread if text.strip().lower() not in _MISSING]
    else:
        numbers, wrong = flat.astype(np.float64), []
    with np.errstate(over="ignore"):  # becomes infinite, which cleaning removes
        values = numbers.astype(np.float32).reshape(cells.shape)
    return values, len(wrong), wrong[0] if wrong else ""


def _as_text(cell: Any) -> str:
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="replace").strip()
    return str(cell).strip()


def _parquet_columns(path: Path) -> list[str]:
    with _parquet(path) as file:
        return [str(name) for name in file.schema_arrow.names]


def _parquet_batches(path: Path, columns: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow as pa  # noqa: PLC0415

    with _parquet(path) as file:
        try:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                yield batch.to_pandas()[list(columns)]
        except pa.ArrowException as error:
            raise ValueError(f"damaged Parquet file ({error})") from error


def _parquet(path: Path) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("to read Parquet, the package pyarrow is needed") from error
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a Parquet file ({error})") from error
