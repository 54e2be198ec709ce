"""Files of a table: one, a folder, a pattern or a zip of them, each CSV or Parquet."""

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from lzma import LZMAError
from pathlib import Path, PurePath
from typing import IO, Any

import pandas as pd

from vd_forecasting.datasets.limits import MEMORY_MB, MemoryLimit
from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.parquet_size import check_parquet
from vd_forecasting.wording import one_line, plural

_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".pq")
_PARQUET = (".parquet", ".pq")
_HEAD_ROWS = 50  # rows among which the names of the columns are looked for
_FOREIGN = {
    b"\x89HDF": "an HDF5 file; its place is vd_file, or source_file of the environment metr_la",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"PK\x03\x04": "a zip, in a zip or damaged; unpack it",
    b"%PDF": "a PDF file",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ": "an xz file; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it",
}
"""What is no table, by its first bytes."""


_TROUBLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, LZMAError)
"""Errors of damaged files; a zip that needs a password or another codec raises RuntimeError."""


@dataclass(frozen=True)
class Shape:
    """What the catalog says of files."""

    columns: Sequence[str] | None = None
    """Names of the first columns of a file without a row of names."""
    encoding: str = "utf-8-sig"
    delimiter: str = ","
    memory_mb: int = MEMORY_MB


@dataclass(frozen=True)
class Table:
    """An open file: the names of its columns, and what gives some of them, so many rows a time."""

    names: Sequence[str]
    frames: Callable[[Sequence[str], int], Iterator[pd.DataFrame]]
    rows_before: int = 0
    """How many rows stand before that of the names."""


@dataclass(frozen=True)
class TableFile:
    """A file; ``name`` is "" where there is no other."""

    path: str
    name: str
    open_bytes: Callable[[], Any]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        name = PurePath(self.path.removesuffix(".gz"))
        return name.stem if name.suffix.lower() in _SUFFIXES else name.name

    @contextmanager
    def open(self, shape: Shape, needed: Collection[str]) -> Iterator[Table]:
        """The table; its row of names is the first that has all of ``needed``."""
        try:
            with self.open_bytes() as file:
                head = file.read(8)
                file.seek(0)
                if head.startswith(b"PAR1") or self.path.lower().endswith(_PARQUET):
                    yield _parquet_table(file, MemoryLimit(Path(self.path), shape.memory_mb))
                    return
                for start, what in _FOREIGN.items():
                    if head.startswith(start):
                        raise ValueError(f"not a table but {what}")
                with _csv_rows(file, head, shape) as rows:
                    yield _csv_table(rows, shape, needed)
        except _TROUBLE as error:
            place = f"{self.name}: " if self.name else ""
            raise ValueError(f"{place}{one_line(error)}") from error


@contextmanager
def open_files(path: Path, notes: list[str]) -> Iterator[list[TableFile]]:
    """The files at ``path``, by name: itself, those of a folder or a zip, or those it matches.

    Files of a folder or a zip whose names are none of a table are counted in a note.
    """
    if path.is_file() and zipfile.is_zipfile(path):
        with (
            source.told_as("damaged zip", zipfile.BadZipFile, RuntimeError),
            zipfile.ZipFile(path) as archive,
        ):
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if "[Content_Types].xml" in names:
                raise ValueError("not a table but an Excel workbook; save it as CSV")
            chosen = _tables(names, "zip", notes)
            yield [TableFile(name, name, partial(archive.open, name)) for name in chosen]
        return
    if path.is_dir():
        # a link may lead out of the folder
        files = (one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
        names = [str(one.relative_to(path)) for one in files]
        found = {name: path / name for name in _tables(names, "folder", notes)}
    elif path.exists():
        if not path.is_file():
            raise ValueError("neither a regular file nor a folder")
        found = {"": path}
    else:
        found = {str(one): one for one in matches(path)}
    yield [TableFile(str(p), name, partial(open, p, "rb")) for name, p in found.items()]


def matches(path: Path) -> list[Path]:
    """Files that a pattern such as ``days/*.csv`` matches."""
    if not set("*?") & set(str(path)):
        return []
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if one.is_file())


def _tables(names: Iterable[str], what: str, notes: list[str]) -> list[str]:
    seen = [name for name in sorted(names) if not PurePath(name).name.startswith(".")]
    chosen = [n for n in seen if n.lower().removesuffix(".gz").endswith(_SUFFIXES)]
    if not chosen:
        raise ValueError(
            f"the {what} holds no table: no file with a suffix of {', '.join(_SUFFIXES)}"
        )
    if others := sorted({*seen} - {*chosen}):
        notes.append(f"{plural(len(others), 'file')} of the {what} not read, such as {others[0]!r}")
    return chosen


# --- CSV ------------------------------------------------------------------------------------------


@contextmanager
def _csv_rows(file: IO[bytes], head: bytes, shape: Shape) -> Iterator[Iterator[list[str]]]:
    """The rows that are not blank."""
    unpacked: Any = gzip.GzipFile(fileobj=file) if head.startswith(b"\x1f\x8b") else file
    with source.told_as("not a whole CSV file", csv.Error, EOFError, zlib.error):
        encoding = shape.encoding
        start = unpacked.read(8)
        unpacked.seek(0)
        if start.startswith((b"\xff\xfe", b"\xfe\xff")) and "utf-8" in encoding:
            encoding = "utf-16"  # so the file says itself
        elif b"\0" in start and "utf-8" in encoding:
            raise ValueError("not UTF-8 but, by its NUL bytes, UTF-16; set encoding: utf-16-le")
        try:
            text = io.TextIOWrapper(unpacked, encoding=encoding, newline="")
        except LookupError as error:
            raise ValueError(f"encoding {encoding!r} is not known") from error
        try:
            yield filter(None, csv.reader(text, delimiter=shape.delimiter, strict=True))
        except UnicodeDecodeError as error:
            some = error.object[max(error.start - 10, 0) : error.start + 10]
            raise ValueError(
                f"not {encoding.removesuffix('-sig').upper()}: {bytes(some)!r}, which would be "
                f"{bytes(some).decode('latin-1')!r} in latin-1; set encoding, such as latin-1, "
                "cp1252, big5 or utf-16"
            ) from error


def _csv_table(rows: Iterator[list[str]], shape: Shape, needed: Collection[str]) -> Table:
    first = list(islice(rows, _HEAD_ROWS))
    if shape.columns is not None:
        names = [*shape.columns]
        return Table(names, partial(_csv_frames, chain(first, rows), names, True))
    heads = [[cell.strip() for cell in row] for row in first]
    if not heads:
        raise ValueError("it is empty, not even its columns are named")
    at = next((n for n, row in enumerate(heads) if {*needed} <= {*row}), 0)
    below = chain(first[at + 1 :], rows)
    return Table(heads[at], partial(_csv_frames, below, heads[at], False), at)


def _csv_frames(
    rows: Iterator[list[str]],
    names: Sequence[str],
    may_be_wider: bool,
    columns: Sequence[str],
    batch_rows: int,
) -> Iterator[pd.DataFrame]:
    place_of = {name: place for place, name in reversed([*enumerate(names)])}
    places = [place_of[name] for name in columns]
    width, blank = len(names), [""] * len(names)
    while batch := list(islice(rows, batch_rows)):
        wide = (row for row in batch if len(row) > width and any(map(str.strip, row[width:])))
        if not may_be_wider and (row := next(wide, None)):
            raise ValueError(
                f"has {width} columns, but a row of {len(row)} cells, which begins with "
                f"{row[0]!r}; check the delimiter, and that decimals have a point"
            )
        whole = (row + blank[len(row) :] for row in batch)
        cells = [[row[place] for place in places] for row in whole]
        yield pd.DataFrame(cells, columns=[*columns], dtype=object)


# --- Parquet --------------------------------------------------------------------------------------


def _parquet_table(file: IO[bytes], limit: MemoryLimit) -> Table:
    try:
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("to read Parquet, the package pyarrow is needed") from error
    with source.told_as("not a Parquet file", pa.ArrowException, OSError):
        parquet = pq.ParquetFile(file)
    names = [str(name) for name in parquet.schema_arrow.names]
    if not names:
        raise ValueError("it is empty, not even its columns are named")
    return Table(names, partial(_parquet_frames, parquet, file, limit))


def _parquet_frames(
    parquet: Any, file: IO[bytes], limit: MemoryLimit, columns: Sequence[str], batch_rows: int
) -> Iterator[pd.DataFrame]:
    import pyarrow as pa  # noqa: PLC0415

    with source.told_as("damaged Parquet file", pa.ArrowException):
        check_parquet(parquet, file, columns, limit)
        for batch in parquet.iter_batches(batch_size=batch_rows, columns=[*columns]):
            # pandas' own metadata would make an index of some columns
            yield batch.to_pandas(ignore_metadata=True)[[*columns]]
