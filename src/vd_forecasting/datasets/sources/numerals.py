"""Numbers as people write them: a decimal point or comma, digits in groups of three."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source

_MISSING = ("", "nan", "na", "n/a", "null", "none", "nat", "-", "--", "<na>")
"""Words for a missing value, in lower case; other text in place of a number is counted."""

_DIGITS_AND_MARKS = re.compile(r"[-+]?[0-9][0-9.,' ]*")
_MOST_EXAMPLES = 10_000


@dataclass(frozen=True)
class Numerals:
    """The decimal mark, and what stands between groups of three digits."""

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        mark, space = re.escape(self.decimal), re.escape(self.thousands)
        groups = rf"|[1-9]\d{{0,2}}(?:{space}\d{{3}})+" if self.thousands else ""
        return re.compile(
            rf"[-+]?(?:\d+{groups}|(?={mark}))(?:{mark}\d*)?(?:[eE][-+]?\d+)?", re.ASCII
        )

    def number(self, text: str) -> float:
        """NaN where ``text`` is no number written like this."""
        text = re.sub(r"[\u00a0\u202f]", " ", text).strip()
        if not self._pattern.fullmatch(text):
            return np.nan
        plain = text.replace(self.thousands, "") if self.thousands else text
        try:
            return float(plain.replace(self.decimal, "."))
        except ValueError:  # a mark alone
            return np.nan


PLAIN = Numerals()


def as_numbers(
    cells: npt.NDArray[Any], numerals: Numerals = PLAIN
) -> tuple[source.Floats, list[str]]:
    """Cells as float32, NaN for no number; and those that hold something else, as text."""
    flat = cells.reshape(-1)
    if flat.dtype.kind in "iuf":
        return source.as_float32(flat.astype(np.float64)).reshape(cells.shape), []
    texts = np.array([c if isinstance(c, str) else _plain(c) for c in flat], dtype=object)
    if numerals == PLAIN:
        numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(float)
    else:
        codes, some = pd.factorize(texts, use_na_sentinel=False)
        numbers = np.array([_number(text, numerals) for text in some])[codes]
    unread = [text for text in texts[np.isnan(numbers)] if isinstance(text, str)]
    wrong = [text for text in unread if text.strip().lower() not in _MISSING]
    return source.as_float32(numbers).reshape(cells.shape), wrong


def _number(cell: str | float, numerals: Numerals) -> float:
    return numerals.number(cell) if isinstance(cell, str) else float(cell)


def _plain(cell: Any) -> str | float:
    """A cell of another type as a number or as text; True and dates would pass for numbers."""
    if isinstance(cell, bool | np.bool_):
        return str(cell)
    if isinstance(cell, int | float | Decimal | np.integer | np.floating):
        return float(cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="backslashreplace")
    return "" if cell is None or cell is pd.NA or cell is pd.NaT else f"{cell} "


@dataclass
class Evidence:
    """What cells show of the numerals of their file, a batch at a time.

    Decimal marks may be separators of thousands in a column where each has three digits after it
    and no number without one reaches a thousand.
    """

    numerals: Numerals
    unread: set[str] = field(default_factory=set)
    has_fraction: bool = False
    _bare: dict[str, float] = field(default_factory=dict)
    """By column, a number without a mark; and a text with marks that may be separators."""
    _grouped: dict[str, str] = field(default_factory=dict)
    _large: set[str] = field(default_factory=set)
    """Columns with a number of a thousand or more; and those whose marks are those of decimals."""
    _settled: set[str] = field(default_factory=set)

    def see(
        self,
        names: Sequence[str],
        cells: npt.NDArray[Any],
        values: source.Floats,
        unread: Sequence[str],
    ) -> None:
        """A batch: the cells [R, F], their numbers, and the cells among them that hold none."""
        if unread and len(self.unread) < _MOST_EXAMPLES:
            self.unread.update(unread)
        places = [n for n, name in enumerate(names) if name not in self._settled]
        if cells.dtype != object or not places:
            return
        columns = [[c for c in cells[:, n].tolist() if isinstance(c, str)] for n in places]
        peaks = np.fmax.reduce(np.abs(values), axis=0)
        for place, column in zip(places, columns, strict=True):
            name = names[place]
            if self.numerals.decimal in "\n".join(column):
                self._look(name, column)
            elif name not in self._bare and not np.isnan(peaks[place]):
                self._bare[name] = float(peaks[place])
            if peaks[place] >= 1000:
                self._large.add(name)

    def _look(self, name: str, cells: Sequence[str]) -> None:
        mark = self.numerals.decimal
        groups = re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+", re.ASCII)
        marked = [cell.strip() for cell in cells if mark in cell]
        odd = (cell for cell in marked if not groups.fullmatch(cell))
        if any(not np.isnan(self.numerals.number(cell)) for cell in odd):
            self.has_fraction = True
            self._settled.add(name)
            return
        for cell in filter(groups.fullmatch, marked):
            self._grouped.setdefault(name, cell)
        for cell in filter(str.isdecimal, map(str.strip, cells)):
            self._bare.setdefault(name, float(cell))

    def contradictions(self) -> list[tuple[str, float, str]]:
        """Columns that hold, say, 572 and then 1.188: name, the former, the latter."""
        return [
            (name, self._bare[name], text)
            for name, text in self._grouped.items()
            if name in self._bare and name not in self._settled
        ]

    def shown(self, delimiter: str) -> Numerals | None:
        """Other numerals, where the file shows that it is written with them."""
        odd = [text.strip() for text in self.unread]
        odd = [
            text
            for text in odd
            if _DIGITS_AND_MARKS.fullmatch(re.sub(r"[\u00a0\u202f]", " ", text))
            and np.isnan(self.numerals.number(text))
        ]
        marks = [(".", ","), (",", ".")]
        # a file with commas between its cells was not written where the comma is the decimal mark
        styles = [*(marks if delimiter == "," else marks[::-1])]
        styles += [(".", " "), (",", " "), (".", "'"), (",", "'")]
        read = {
            style: sum(not np.isnan(Numerals(*style).number(text)) for text in odd)
            for style in styles
            if style[0] == "." or not self.has_fraction
        }
        best = max(read, key=lambda style: read[style])
        if 2 * read[best] > len(odd):
            return Numerals(*best)
        columns = {name for name, _, _ in self.contradictions()}
        if columns - self._large and delimiter != "," and not self.has_fraction:
            return Numerals(",", ".")
        return None
