"""Rows of tables, a batch at a time; every cell of a CSV is the text it is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from kedro.io import DatasetError

from vd_forecasting.datasets.limits import MemoryLimit
from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.sources.archive import notes_of_broken
from vd_forecasting.datasets.sources.cell_units import CellUnits, parted, without_units
from vd_forecasting.datasets.sources.numerals import PLAIN, Evidence, Numerals, as_numbers
from vd_forecasting.datasets.sources.table_files import Listing, Shape, TableFile
from vd_forecasting.datasets.vd_contract import duplicates
from vd_forecasting.wording import one_line, quoted

Texts = npt.NDArray[np.object_]

FILE_NAME = "file_name"
"""Stands for a column that holds the name of the file, without its suffix."""

_CELLS_AT_ONCE = 1_000_000
_LIKE_A_FLAG = re.compile(r"(error|flag|status|quality|qc|valid|suspect|fault)\w*", re.IGNORECASE)
_LEFT_OUT = {
    "other": "files are other tables and left out, such as {}",
    "before": "rows stand before the names of the columns; left out",
    "lacking": "files lack columns, such as {}; missing there",
    "unnamed": "cells stand in a column without a name; left out",
    "unread": "cells hold no number, such as {}; missing",
    "flagged": "rows are marked as bad by {}; their values are missing",
}


class ReadAgainError(Exception):
    """The file shows that its numbers are written otherwise than they were read."""

    def __init__(
        self, numerals: Numerals | None, units: Mapping[str, str], notes: Sequence[str]
    ) -> None:
        super().__init__(*notes)
        self.how: dict[str, Any] = {"numerals": numerals, "units": units, "notes": [*notes]}


@dataclass
class Tally:
    """What was found in files, beside their values."""

    evidence: Evidence
    units: CellUnits = field(default_factory=CellUnits)
    left_out: source.LeftOut = field(default_factory=source.LeftOut)
    rows: int = 0


@dataclass
class Rows:
    """The rows of some files, and sentences about what is left out of them."""

    listing: Listing
    shape: Shape
    limit: MemoryLimit
    """Of all files together."""
    numerals: Numerals | None = None
    units: Mapping[str, str] | None = None
    """By column, texts behind numbers. None, of these two: found out."""
    flag_column: str | None = None
    bad_flags: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    unread_columns: set[str] = field(default_factory=set)

    def columns(self, needed: Sequence[str]) -> list[str]:
        """Columns with a name, of all files."""
        found: dict[str, None] = {}
        for file in self.listing.files:
            with suppress(*self._bad_file), file.open(self.shape, needed) as table:
                if not self.listing.has_several or {*needed} <= {*table.names, FILE_NAME}:
                    found |= dict.fromkeys(name for name in table.names if name)
        return [*found]

    @property
    def _bad_file(self) -> tuple[type[Exception], ...]:
        """Errors that leave one of several files out."""
        return (ValueError, DatasetError) if self.listing.has_several else ()

    def batches(
        self, labels: Sequence[str], columns: Sequence[str]
    ) -> Iterator[tuple[list[Texts], source.Floats]]:
        """Some rows at a time: each of ``labels`` as texts [R], and ``columns`` as numbers [R, F].

        Nothing is taken of a file that turns out to be damaged. What is missing is counted in
        notes, added at the end.
        """
        tally = Tally(Evidence(self.numerals or PLAIN))
        broken = [*self.listing.broken]
        for file in self.listing.files:
            with_file = deepcopy(tally)
            batches = self._of_file(file, labels, columns, with_file)
            try:
                # of several files, the rows of one are held until all of it is known to be whole
                yield from [*batches] if self.listing.has_several else batches
            except self._bad_file as error:
                why = one_line(error).removeprefix(f"{file.path}: ")
                broken.append((file.name, why.removeprefix(f"{file.name}: ")))
            else:
                tally = with_file
        if not tally.rows:
            reasons = [": ".join(one) for one in broken[-1:]]
            reasons += filter(None, [tally.left_out.examples.get("other")])
            raise ValueError([*reasons, "it is empty: it has columns, but no rows"][0])
        self._weigh(tally)
        self.notes += [
            *self.listing.notes(),
            *notes_of_broken(broken),
            *tally.left_out.notes(_LEFT_OUT),
        ]
        flag_like = sorted(filter(_LIKE_A_FLAG.fullmatch, self.unread_columns))
        if flag_like and not self.flag_column:
            self.notes.append(
                f"column {flag_like[0]!r} is not read; if it marks bad values, set flag_column and "
                "bad_flags"
            )

    def _of_file(
        self, file: TableFile, labels: Sequence[str], columns: Sequence[str], tally: Tally
    ) -> Iterator[tuple[list[Texts], source.Floats]]:
        texts = [*dict.fromkeys([*labels, *([self.flag_column] if self.flag_column else [])])]
        batch_rows = max(_CELLS_AT_ONCE // len({*texts, *columns}), 1)
        with file.open(self.shape, [name for name in texts if name != FILE_NAME]) as table:
            names = [str(name) for name in table.names]
            if problem := self._problem(names, texts, columns):
                if not self.listing.has_several:
                    raise ValueError(problem)
                tally.left_out.add("other", 1, f"{file.name}: {problem}")
                return
            there = {*names}
            some = [name for name in columns if name in there]
            read = [name for name in dict.fromkeys([*texts, *some, ""]) if name in there]
            self.unread_columns |= there - {*read}
            tally.left_out.add("before", table.rows_before)
            if len(some) < len(columns):
                first = next(name for name in columns if name not in there)
                tally.left_out.add("lacking", 1, f"{file.name!r} without {first!r}")
            for frame in table.frames(read, batch_rows):
                if FILE_NAME in texts and FILE_NAME not in read:
                    frame[FILE_NAME] = file.stem
                cells = frame[some].to_numpy()
                if self.units:
                    cells = without_units(cells, some, self.units)
                values, unread = as_numbers(cells, tally.evidence.numerals)
                tally.evidence.see(some, cells, values, [parted(text)[0] for text in {*unread}])
                tally.units.see(some, cells, values, unread)
                tally.left_out.add("unread", len(unread), repr(next(iter(unread), "")))
                tally.rows += len(frame)
                if "" in read:
                    tally.left_out.add("unnamed", int((as_texts(frame[""]) != "").sum()))
                if len(some) < len(columns):
                    values = _placed(values, some, columns)
                if self.flag_column:
                    flags = pd.Series(as_texts(frame[self.flag_column])).map(as_flag)
                    is_bad = flags.isin(self.bad_flags).to_numpy()
                    values[is_bad] = np.nan
                    tally.left_out.add("flagged", int(is_bad.sum()), repr(self.flag_column))
                yield [as_texts(frame[name]) for name in labels], values

    def _problem(self, there: Sequence[str], texts: Sequence[str], columns: Sequence[str]) -> str:
        """What a file lacks, "" if nothing; of several files each may lack some of the columns."""
        found = {*there, FILE_NAME}
        missing = [name for name in texts if name not in found]
        if not self.listing.has_several or not found & {*columns}:
            missing += [name for name in columns if name not in found]
        if missing:
            hint = ""
            if len(there) == 1:
                hint = "; check the delimiter"
            elif any(re.match(r"[\d.,:/ -]+$", name) for name in there):
                hint = "; if there is no row of names, set columns"
            return f"has no column {missing[0]!r}; it has {quoted(there)}{hint}"
        wanted = {*texts, *columns}
        if twice := [name for name in duplicates(there) if name in wanted]:
            return f"has the column {twice[0]!r} more than once"
        return ""

    def _weigh(self, tally: Tally) -> None:
        evidence, numerals, notes = tally.evidence, self.numerals, list[str]()
        if numerals is None and (numerals := evidence.shown(self.shape.delimiter)):
            notes.append(
                f"numbers are written with the decimal mark {numerals.decimal!r} and thousands "
                f"{numerals.thousands!r}; set decimal and thousands if they are not"
            )
        if self.units is None:
            notes += tally.units.notes()
            units = tally.units.shown()
            if units or numerals != self.numerals:
                raise ReadAgainError(numerals, units, notes)
        self.notes += notes
        if numerals is None:
            self.notes += [
                f"column {name!r} holds {bare:g} and {grouped}, read as a fraction; if the mark "
                f"stands for thousands, set thousands: {evidence.numerals.decimal!r}"
                for name, bare, grouped in evidence.contradictions()
            ]


def _placed(values: source.Floats, names: Sequence[str], columns: Sequence[str]) -> source.Floats:
    """Values [R, some] of some of the columns as [R, F] of all, NaN for the others."""
    all_of_them = np.full((len(values), len(columns)), np.nan, dtype=np.float32)
    all_of_them[:, pd.Index(columns).get_indexer(pd.Index(names))] = values
    return all_of_them


def as_flag(value: Any) -> str:
    """A flag as text; numbers that are equal as the same."""
    text = str(value).strip().lower()
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def as_texts(column: "pd.Series[Any]") -> Texts:
    """A column as stripped text, "" where it has none; time stamps as ISO 8601."""
    codes, cells = pd.factorize(column.to_numpy(dtype=object), use_na_sentinel=True)
    texts = np.array([_as_text(cell) for cell in cells] + [""], dtype=object)
    return texts[codes]  # the code of a missing cell is −1


def _as_text(cell: Any) -> str:
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="backslashreplace").strip()
    return str(cell).strip()
