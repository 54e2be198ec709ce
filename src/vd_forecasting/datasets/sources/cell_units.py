"""Units that stand behind the numbers of a column, as in ``60 km/h``."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.wording import quoted

# Behind a blank, digits may be part of a unit, as in 12 veh/5 min, but not in 0x10.
_WITH_UNIT = re.compile(
    r"\s*(?!0x)([-+]?[0-9][0-9.,'\s]*?)"
    r"(?:\s*([%°]|[^\W\d_]\D{0,20}?)|\s+([^\W\d_].{0,20}?))\s*"
)

_LONGEST = 60  # of a cell; blanks without end would take the pattern hours


def parted(text: str) -> tuple[str, str]:
    """A number and the unit behind it; the text itself and "" where there is none."""
    found = _WITH_UNIT.fullmatch(text) if len(text) <= _LONGEST else None
    return (found[1], found[2] or found[3]) if found else (text, "")


def without_units(
    cells: npt.NDArray[Any], names: Sequence[str], units: Mapping[str, str]
) -> npt.NDArray[Any]:
    """The cells [R, F] of columns without the unit of each."""
    cells = cells.copy()
    for place, name in enumerate(names):
        if name in units:
            codes, some = pd.factorize(cells[:, place], use_na_sentinel=False)
            bare = [parted(one)[0] if isinstance(one, str) else one for one in some]
            cells[:, place] = np.array(bare, dtype=object)[codes]
    return cells


@dataclass
class CellUnits:
    """What cells show of the units behind their numbers, a batch at a time."""

    _bare: Counter[str] = field(default_factory=Counter)
    """By column: numbers without a unit, those with one, and an example."""
    _units: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _examples: dict[str, str] = field(default_factory=dict)

    def see(
        self,
        names: Sequence[str],
        cells: npt.NDArray[Any],
        values: npt.NDArray[np.float32],
        unread: Sequence[str],
    ) -> None:
        """A batch: the cells [R, F], their numbers, and the cells among them that hold none."""
        self._bare.update(
            dict(zip(names, np.count_nonzero(~np.isnan(values), axis=0).tolist(), strict=True))
        )
        if not any(parted(text)[1] for text in {*unread}):
            return
        for name, column in zip(names, cells.T.tolist(), strict=True):
            for text, number in Counter(cell for cell in column if isinstance(cell, str)).items():
                if unit := parted(text)[1]:
                    self._units[name][unit] += number
                    self._examples.setdefault(name, text)

    def shown(self) -> dict[str, str]:
        """The unit of each column that has one only, behind most of its numbers."""
        return {name: next(iter(units)) for name, units in self._most() if len(units) == 1}

    def notes(self) -> Iterator[str]:
        """What was made of them."""
        for name, units in self._most():
            if len(units) == 1:
                yield (
                    f"column {name!r} has {next(iter(units))!r} behind its numbers, such as "
                    f"{self._examples[name]!r}; read without it, so check its unit and scale"
                )
            else:
                yield (
                    f"column {name!r} has several units behind its numbers, {quoted([*units], 3)}; "
                    "missing there, bring them to one"
                )

    def _most(self) -> Iterator[tuple[str, Counter[str]]]:
        for name, units in self._units.items():
            if units.total() > self._bare[name]:
                yield name, units
