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

_DIGITS_AND_MARKS = re.compile(r"[-+]?\d[\d.,' ]*")
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
        return re.compile(rf"[-+]?(?:\d+{groups}|(?={mark}))(?:{mark}\d*)?(?:[eE][-+]?\d+)?")

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
class _Column:
    """A column whose decimal marks may be separators of thousands: each has three digits after it,
    and no number without one reaches a thousand."""

    bare: str = ""
    """Example of a number without a mark, and of one with it."""
    grouped: str = ""


@dataclass
class Evidence:
    """What cells show of the numerals of their file, a batch at a time."""

    numerals: Numerals
    unread: set[str] = field(default_factory=set)
    has_fraction: bool = False
    _open: dict[str, _Column] = field(default_factory=dict)
    _settled: set[str] = field(default_factory=set)

    def see(self, frame: pd.DataFrame, values: source.Floats, unread: Sequence[str]) -> None:
        """A batch: the cells, their numbers [R, F], and the cells among them that hold none."""
        if unread and len(self.unread) < _MOST_EXAMPLES:
            self.unread.update(unread)
        peaks = np.fmax.reduce(np.abs(values), axis=0)
        for place, name in enumerate(frame.columns):
            if name in self._settled or frame.dtypes.iloc[place].kind != "O":
                continue
            self._look(name, [c for c in frame[name].tolist() if isinstance(c, str)])
            if peaks[place] >= 1000:
                self._settle(name)

    def _look(self, name: str, cells: list[str]) -> None:
        column = self._open.setdefault(name, _Column())
        if self.numerals.decimal in "\n".join(cells):
            marked = [cell.strip() for cell in cells if self.numerals.decimal in cell]
            groups = re.compile(
                rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(self.numerals.decimal)}\d{{3}})+"
            )
            odd = (cell for cell in marked if not groups.fullmatch(cell))
            if any(not np.isnan(self.numerals.number(cell)) for cell in odd):
                self.has_fraction = True
                self._settle(name)
                return
            marked = [cell for cell in marked if groups.fullmatch(cell)] or [""]
            column.grouped = column.grouped or marked[0]
        column.bare = column.bare or next((cell for cell in cells if cell.strip().isdigit()), "")

    def _settle(self, name: str) -> None:
        self._settled.add(name)
        self._open.pop(name, None)

    def contradictions(self) -> list[tuple[str, str, str]]:
        """Columns that hold, say, 572 and then 1.188: name, the former, the latter."""
        return [(n, c.bare, c.grouped) for n, c in self._open.items() if c.bare and c.grouped]

    def shown(self, delimiter: str) -> Numerals | None:
        """Other numerals, where the file shows that it is written with them."""
        odd = [text.strip() for text in self.unread]
        odd = [
            text
            for text in odd
            if _DIGITS_AND_MARKS.fullmatch(re.sub(r"[\u00a0\u202f]", " ", text))
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
        if self.contradictions() and delimiter != "," and not self.has_fraction:
            return Numerals(",", ".")
        return None
