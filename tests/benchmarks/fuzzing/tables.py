"""Tables, long and wide, CSV and Parquet, in the shapes that people write them in."""

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from tests.benchmarks.fuzzing import losses
from tests.benchmarks.fuzzing.losses import Layout
from tests.benchmarks.fuzzing.mutations import Rows, as_csv, damaged, table_changed
from tests.benchmarks.fuzzing.target import Target, problem_of
from tests.make.exports import write_archive
from vd_forecasting.datasets import LongTableDataset, WideTableDataset

VDIDS = ("VD-1", "VD-2", "N1-S-0.5")
COLUMNS = {"avg_speed": "speed", "total_volume": "volume", "avg_occupancy": "occupancy"}
HOURS = [f"H{hour:02d}" for hour in range(24)]
STEPS = 8

_KINDS: tuple[Callable[[str], Any], ...] = (
    *(float, float, float, str, int, Decimal, pd.Timestamp, str.encode, np.float16),
    *(lambda text: bool(float(text)), lambda text: [text], lambda text: {"a": text}),
)
"""Of cells of Parquet."""


@dataclass(frozen=True)
class Table:
    """A table and the keys of its catalog entry."""

    name: str
    time: Sequence[str] = ("timestamp",)
    """Its columns of time, and how they are written."""
    stamp: Sequence[str] = ("%Y-%m-%dT%H:%M:%S",)
    options: dict[str, Any] = field(default_factory=dict)
    minutes: int = 5
    form: str = "csv"
    is_wide: bool = False
    is_headless: bool = False
    extra: Sequence[str] = ()
    """Columns of zeros."""

    def rows(self) -> tuple[Rows, Layout]:
        """The table, its row of names first, and what its columns mean."""
        labels = [*self.time, *([] if self.is_wide else ["vdid"]), *self.extra]
        features = {name: [column] for name, column in COLUMNS.items()}
        if self.name == "hours":
            features = {"total_volume": HOURS}
        if self.is_wide:
            features = {"avg_speed": []}
        columns = VDIDS if self.is_wide else [c for some in features.values() for c in some]
        rows, times = [[*labels, *columns]], {}
        for step in range(STEPS):
            time = datetime(2024, 3, 4) + timedelta(minutes=self.minutes * step)
            stamp = [_written(time, form) for form in self.stamp]
            times[" ".join(stamp)] = np.datetime64(time, "ns")
            numbers = [
                [f"{60 + 3 * step + n}.{n % 10}" for n in range(vd, vd + len(columns))]
                for vd in range(len(VDIDS))
            ]
            if self.is_wide:
                rows.append([*stamp, *(some[0] for some in numbers)])
                continue
            for vdid, some in zip(VDIDS, numbers, strict=True):
                rows.append([*stamp, vdid, *("0" for _ in self.extra), *some])
        layout = Layout(
            features,
            {} if "start" in self.options else times,  # the rows that are left are numbered anew
            self.time,
            [] if self.is_wide else ["vdid"],
            frozenset(VDIDS),
            names=rows[0] if self.is_headless else None,
            delimiter=self.options.get("delimiter", ","),
            encoding=self.options.get("encoding", "utf-8"),
        )
        return rows, layout

    def target(self) -> Target:
        rows, layout = self.rows()
        find = losses.expected_wide if self.is_wide else losses.expected_long
        each = max(len(VDIDS), sum(map(len, layout.features.values())))

        def make(path: Path, random: Random) -> bool:
            return _write(path, table_changed(rows, random), layout, self.form, random)

        def read(path: Path) -> xr.DataArray:
            return self.dataset(path).load().load()

        def judge(path: Path, is_plain: bool, array: xr.DataArray) -> str:
            problem = problem_of(array, path)
            if problem or not is_plain:
                return problem
            is_parquet = self.form == "parquet"
            found = _rows_of_parquet(path) if is_parquet else losses.rows_of_csv(path, layout)
            return losses.lost(find(found, layout), array, each) if found else ""

        suffix = {"gz": "csv.gz", "folder": "d"}.get(self.form, self.form)
        return Target(self.name, f"a.{suffix}", make, read, judge)

    def dataset(self, path: Path) -> LongTableDataset | WideTableDataset:
        """As the catalog would make it."""
        given: dict[str, Any] = {"filepath": str(path), "time_column": [*self.time]} | self.options
        if self.is_wide:
            return WideTableDataset(feature="avg_speed", **given)
        return LongTableDataset(**{"vd_column": "vdid", "features": COLUMNS} | given)


def _written(time: datetime, form: str) -> str:
    return (
        f"{(time - datetime(1970, 1, 1)) // timedelta(seconds=1)}"
        if form == "s"
        else f"{time:{form}}"
    )


def targets() -> Iterator[Target]:
    """All tables."""
    semicolons = {"time_format": "%d.%m.%Y %H:%M", "delimiter": ";", "encoding": "cp1252"}
    steps = {"start": "2024-03-04", "interval": "5min"}
    names = ["timestamp", "vdid", *COLUMNS.values()]
    parts = {"time_column": ["file_name", "timestamp"]}
    for table in (
        Table("long"),
        Table("long_gz", form="gz"),
        Table("long_zip", form="zip"),
        Table("long_folder", form="folder"),
        Table("long_by_day", form="zip", stamp=("%H:%M",), options=parts),
        Table("long_parquet", form="parquet"),
        Table(
            "two_times",
            ("day", "end"),
            ("%d/%m/%Y", "%H:%M:%S"),
            {"time_format": "%d/%m/%Y %H:%M:%S"},
        ),
        Table("day_and_hour", ("day", "hour"), ("%Y-%m-%d", "%H"), {"time_unit": "h"}, 60),
        Table("epoch", stamp=("s",)),
        Table("headless", options={"columns": names}, is_headless=True),
        Table("flags", options={"flag_column": "error", "bad_flags": [1]}, extra=["error"]),
        Table("lanes", options={"lane_column": "lane"}, extra=["lane"]),
        Table(
            "hours",
            stamp=("%Y-%m-%d",),
            minutes=1440,
            options={"features": {"total_volume": {"column": HOURS}}},
        ),
        Table("semicolons", stamp=("%d.%m.%Y %H:%M",), options=semicolons),
        Table("zone", options={"timezone": "Europe/Berlin"}),
        Table("wide", is_wide=True),
        Table("wide_gz", is_wide=True, form="gz"),
        Table("wide_parquet", is_wide=True, form="parquet"),
        Table("wide_steps", stamp=("%M",), options=steps, is_wide=True),
        Table("wide_without_clock", (), (), steps, is_wide=True),
    ):
        yield table.target()


def _write(path: Path, rows: Rows, layout: Layout, form: str, random: Random) -> bool:
    """Write a changed table; whether a plain reading of the file tells what it holds."""
    if form == "parquet":
        return _write_parquet(path, rows, random)
    if layout.names is not None:
        rows = rows[1:]
    content = as_csv(rows, random, layout.delimiter, layout.encoding)
    content = damaged(content, random, 0.2)
    if form in ("zip", "folder"):
        _write_files(path, content, form, random)
        return False
    if form == "gz":
        content = damaged(gzip.compress(content, 1, mtime=0), random, 0.4)
    path.write_bytes(content)
    return True


def _write_files(path: Path, content: bytes, form: str, random: Random) -> None:
    files = {f"2024-03-0{day}.csv": content for day in (4, 5)}
    files["2024-03-06.csv"] = damaged(content, random, 0.5)
    files[random.choice(("notes.txt", ".hidden.csv", "x.pdf", "a\nb.csv", "<script>.csv"))] = (
        b"1,2\n"
    )
    if form == "folder":
        write_archive(path, {name.replace("/", ""): inside for name, inside in files.items()})
        return
    codec = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", codec) as archive:
        for name, inside in files.items():
            archive.writestr(name, inside)
    path.write_bytes(damaged(packed.getvalue(), random, 0.4))


# --- Parquet --------------------------------------------------------------------------------------


def _write_parquet(path: Path, rows: Rows, random: Random) -> bool:
    """The table with a kind of cells for each column; whether it is undamaged."""
    names = [str(name) for name in rows[0]] if rows else []
    columns = []
    for place in range(len(names)):
        texts = [(row + [""] * len(names))[place] for row in rows[1:]]
        columns.append(_column(texts, random.choice(_KINDS)))
    packed = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, names=names),
        packed,
        compression=random.choice(("none", "snappy", "gzip", "zstd")),
        use_dictionary=random.random() < 0.5,
        row_group_size=random.choice((5, 100)),
        data_page_version=random.choice(("1.0", "2.0")),
    )
    content = packed.getvalue()
    path.write_bytes(changed := damaged(content, random, 0.6))
    return changed == content


def _column(texts: list[str], kind: Callable[[str], Any]) -> Any:
    cells = []
    for text in texts:
        try:
            cells.append(kind(text))
        except (ValueError, ArithmeticError, TypeError):
            cells.append(None)
    is_mostly = 2 * sum(cell is not None for cell in cells) >= len(cells)
    try:
        return pa.array(cells if is_mostly else texts)
    except (pa.ArrowException, ArithmeticError, TypeError, ValueError):
        return pa.array([text.encode(errors="replace") for text in texts])


def _rows_of_parquet(path: Path) -> Rows:
    table = pq.ParquetFile(path).read()
    columns = [map(_text_of_cell, column.to_pylist()) for column in table.columns]
    return [[*table.column_names], *map(list, zip(*columns, strict=True))]


def _text_of_cell(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if isinstance(cell, datetime):
        return cell.isoformat()
    return "" if cell is None else str(cell)
