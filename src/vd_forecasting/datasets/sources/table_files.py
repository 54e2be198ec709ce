"""Files of a table: one, a folder, a pattern or a zip of them, each CSV or Parquet."""

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from lzma import LZMAError
from operator import itemgetter
from pathlib import Path, PurePath
from typing import IO, Any

import pandas as pd

from vd_forecasting.datasets.limits import MEMORY_MB, MemoryLimit
from vd_forecasting.datasets.sources.archive import Member, list_members, open_stored
from vd_forecasting.datasets.sources.parquet_size import check_parquet
from vd_forecasting.datasets.sources.source import check_packing, told_as
from vd_forecasting.wording import one_line, plural

_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".pq")
_PARQUET = ("parquet", "pq")
_HEAD_ROWS, _HEAD_CELLS = 50, 1_000_000  # among which the names of the columns are looked for
_BUFFER_BYTES = 2**17
_MOST_METADATA = 100_000_000, 1_000_000  # of Parquet: pyarrow's own limits of a text and a list
_CELL_BYTES = 60  # of memory for a cell of a few characters, which may be empty
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
    """A file of a folder or a zip; ``name`` is "" where there is no other."""

    source: Path
    member: Member
    name: str

    @property
    def path(self) -> Path:
        """Where it is stored."""
        return self.source / self.member.name if self.source.is_dir() else self.source

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        name = PurePath(self.member.name.removesuffix(".gz"))
        return name.stem if name.suffix.lower() in _SUFFIXES else name.name

    @contextmanager
    def open(self, shape: Shape, needed: Collection[str]) -> Iterator[Table]:
        """The table; its row of names is the first that has all of ``needed``. A ValueError that
        begins with ``name`` where it cannot be read, also of the rows."""
        limit = MemoryLimit(self.path, shape.memory_mb)
        try:
            with open_stored(self.source, self.member) as file:
                head = file.peek(8)[:8]  # type: ignore[attr-defined]
                if head.startswith(b"PAR1") or self.member.form in _PARQUET:
                    # it is read here and there, for which much of a zip would be unpacked anew
                    is_zip = self.path == self.source
                    yield _parquet_table(_held(file, limit) if is_zip else file, limit)
                    return
                for start, what in _FOREIGN.items():
                    if head.startswith(start):
                        raise ValueError(f"not a table but {what}")
                with _csv_rows(file, head, shape, limit) as rows:
                    yield _csv_table(rows, shape, needed)
        except _TROUBLE as error:
            place = f"{self.name}: " if self.name else ""
            raise ValueError(f"{place}{one_line(error)}") from error


@dataclass(frozen=True)
class Listing:
    """The files of a table, by name; and what is left out beside them."""

    files: Sequence[TableFile]
    broken: Sequence[tuple[str, str]] = ()  # names, and why
    others: Sequence[str] = ()

    @property
    def has_several(self) -> bool:
        """Whether a file may be left out."""
        return len(self.files) > 1

    def notes(self) -> Iterator[str]:
        """Names that are none of a table."""
        if self.others:
            what = "folder" if self.files[0].source.is_dir() else "zip"
            count = plural(len(self.others), "file")
            yield f"{count} of the {what} not read, such as {self.others[0]!r}"

    @property
    def size(self) -> int:
        """What is stored of the files."""
        sources = {one.source for one in self.files}
        if all(source.is_dir() for source in sources):
            return sum(one.member.size for one in self.files)
        return sum(source.stat().st_size for source in sources)


def list_files(path: Path) -> Listing:
    """The files at ``path``: itself, those of a folder or a zip, or those it matches.

    Of a folder or a zip, those are meant whose names are those of tables.
    """
    if path.is_dir() or (path.is_file() and zipfile.is_zipfile(path)):
        what = "folder" if path.is_dir() else "zip"
        found = list_members(path)
        if "[Content_Types].xml" in (one.name for one in found.members):
            raise ValueError("not a table but an Excel workbook; save it as CSV")
        seen = [one for one in found.members if not PurePath(one.name).name.startswith(".")]
        chosen = [TableFile(path, one, one.name) for one in seen if f".{one.form}" in _SUFFIXES]
        if not chosen:
            raise ValueError(
                f"the {what} holds no table: no file with a suffix of {', '.join(_SUFFIXES)}"
            )
        others = [one.name for one in seen if f".{one.form}" not in _SUFFIXES]
        return Listing(chosen, found.skipped, others)
    found_by_name = {"": path} if path.exists() else {str(one): one for one in matches(path)}
    return Listing([_single(one, name) for name, one in found_by_name.items()])


def _single(path: Path, name: str) -> TableFile:
    if not path.is_file():
        raise ValueError("neither a regular file nor a folder")
    return TableFile(path.parent, Member(path.name, path.stat().st_size, 0), name)


def _held(file: IO[bytes], limit: MemoryLimit) -> IO[bytes]:
    """A file in memory."""
    content = file.read(limit.most_bytes + 1)
    limit.check(len(content), "it unpacks to much")
    return io.BytesIO(content)


def matches(path: Path) -> list[Path]:
    """Files that a pattern such as ``days/*.csv`` matches."""
    if not set("*?") & set(str(path)):
        return []
    found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if one.is_file())


# --- CSV ------------------------------------------------------------------------------------------


class _Bounded(io.RawIOBase):
    """An unpacked file that may neither be large beyond measure nor have such a line."""

    def __init__(self, file: IO[bytes], limit: MemoryLimit) -> None:
        self._file = file
        self._limit = limit
        self._size = self._line = 0  # bytes so far, and of the line that is being read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._size += len(content)
        check_packing(self._size, self._limit.file_bytes)
        end = 1 + max(content.rfind(b"\n"), content.rfind(b"\r"))
        self._line = len(content) - end + (0 if end else self._line)
        self._limit.check(_CELL_BYTES * self._line, f"a line of more than {self._line:,} bytes")
        return len(content)


@contextmanager
def _csv_rows(
    file: IO[bytes], head: bytes, shape: Shape, limit: MemoryLimit
) -> Iterator[Iterator[list[str]]]:
    """The rows that are not blank."""
    unpacked: Any = gzip.GzipFile(fileobj=file) if head.startswith(b"\x1f\x8b") else file
    with told_as("not a whole CSV file", csv.Error, EOFError, zlib.error):
        encoding = shape.encoding
        bounded = io.BufferedReader(_Bounded(unpacked, limit), _BUFFER_BYTES)
        start = bounded.peek(8)[:8]
        if start.startswith((b"\xff\xfe", b"\xfe\xff")) and "utf-8" in encoding:
            encoding = "utf-16"  # so the file says itself
        elif b"\0" in start and "utf-8" in encoding:
            raise ValueError("not UTF-8 but, by its NUL bytes, UTF-16; set encoding: utf-16-le")
        try:
            text = io.TextIOWrapper(bounded, encoding=encoding, newline="")
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
    if shape.columns is not None:
        names = [*shape.columns]
        return Table(names, partial(_csv_frames, rows, names, True))
    first, cells = list[list[str]](), 0
    for row in islice(rows, _HEAD_ROWS):
        first.append([cell.strip() for cell in row])
        cells += len(row)
        if {*needed} <= {*first[-1]} or cells > _HEAD_CELLS:
            break
    if not first:
        raise ValueError("it is empty, not even its columns are named")
    at = len(first) - 1 if {*needed} <= {*first[-1]} else 0
    below = chain(first[at + 1 :], rows)
    return Table(first[at], partial(_csv_frames, below, first[at], False), at)


def _csv_frames(
    rows: Iterator[list[str]],
    names: Sequence[str],
    may_be_wider: bool,
    columns: Sequence[str],
    batch_rows: int,
) -> Iterator[pd.DataFrame]:
    place_of = {name: place for place, name in reversed([*enumerate(names)])}
    chosen = itemgetter(*(place_of[name] for name in columns))
    width = len(names)

    def cells(row: list[str]) -> Any:
        if len(row) < width:
            row += [""] * (width - len(row))
        elif len(row) > width and not may_be_wider and any(map(str.strip, row[width:])):
            raise ValueError(
                f"has {width} columns, but a row of {len(row)} cells, which begins with "
                f"{row[0]!r}; check the delimiter, and that decimals have a point"
            )
        return chosen(row)

    while batch := list(map(cells, islice(rows, batch_rows))):
        yield pd.DataFrame(batch, columns=[*columns], dtype=object)


# --- Parquet --------------------------------------------------------------------------------------


def _parquet_table(file: IO[bytes], limit: MemoryLimit) -> Table:
    try:
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("to read Parquet, the package pyarrow is needed") from error
    with told_as("not a Parquet file", pa.ArrowException, OSError):
        # A text or a list takes at least as many bytes of the file as it has parts.
        texts, lists = (min(limit.file_bytes, most) for most in _MOST_METADATA)
        parquet = pq.ParquetFile(
            file, thrift_string_size_limit=texts, thrift_container_size_limit=lists
        )
    names = [str(name) for name in parquet.schema_arrow.names]
    if not names:
        raise ValueError("it is empty, not even its columns are named")
    return Table(names, partial(_parquet_frames, parquet, file, limit))


def _parquet_frames(
    parquet: Any, file: IO[bytes], limit: MemoryLimit, columns: Sequence[str], batch_rows: int
) -> Iterator[pd.DataFrame]:
    import pyarrow as pa  # noqa: PLC0415

    with told_as("damaged Parquet file", pa.ArrowException, OSError):
        check_parquet(parquet, file, columns, limit)
        for batch in parquet.iter_batches(batch_size=batch_rows, columns=[*columns]):
            batch.validate(full=True)  # text that is not UTF-8, before pandas reads it
            # pandas' own metadata would make an index of some columns
            yield batch.to_pandas(ignore_metadata=True)[[*columns]]
