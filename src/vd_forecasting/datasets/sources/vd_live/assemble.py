"""Parts as one lazy array: a read opens only the parts it overlaps."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from vd_forecasting.datasets.sources.vd_live.parts import Part, load_part
from vd_forecasting.wording import plural

_MOST_NAMED = 50
LEFT_OUT = {
    "unnamed": "records without a usable VDID left out",
    "untimed": "records without a usable time left out",
    "off_clock": "records left out whose time is far from that of their file",
    "faulty": "records of VDs that report to be faulty count as missing",
    "others": "files are neither live records nor lists of VDs; ignored",
}


class PartsArray(BackendArray):
    """[T, N, F] float32 of the records in parts; the last of several values in one place wins.

    Args:
        paths: of the parts, in the order of their files.
        features: columns of the parts' values.
        listed: VDIDs that come first, in this order; the others follow sorted.

    Raises:
        ValueError: a part is missing or damaged.
    """

    def __init__(
        self, paths: Sequence[Path], features: Sequence[int], listed: Iterable[str]
    ) -> None:
        minutes, vdids = set[int](), set[str]()
        self._spans: list[tuple[Path, int, int]] = []  # of parts: their first and last minute
        self._features = list(features)
        self.broken: list[tuple[str, str]] = []  # files, and why
        self.left_out = Counter[str]()  # number of each of LEFT_OUT
        for path in paths:
            part = _loaded(path, with_values=False)
            if inside := np.unique(part.minute).tolist():
                self._spans.append((path, inside[0], inside[-1]))
            minutes.update(inside)
            vdids.update(part.vdids[vd] for vd in np.unique(part.vd).tolist())
            self.broken += part.broken
            self.left_out.update(part.left_out)
        self.minutes = np.array(sorted(minutes), dtype=np.int64)  # [T]
        self.vdids = [vdid for vdid in dict.fromkeys([*listed, *sorted(vdids)]) if vdid in vdids]
        self._place = {vdid: place for place, vdid in enumerate(self.vdids)}
        self.shape = (len(minutes), len(vdids), len(features))
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )
        return values

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        steps = np.arange(self.shape[0])[key[0]]
        if steps.size == 0:
            return np.empty((0, *self.shape[1:]), dtype=np.float32)[(slice(None), *key[1:])]
        first = int(steps.min())
        block = self._rows(first, int(steps.max()) + 1)
        values: npt.NDArray[np.float32] = block[steps - first][(..., *key[1:])]
        return values

    def _rows(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        minutes = self.minutes[start:stop]
        block = np.full((stop - start, *self.shape[1:]), np.nan, dtype=np.float32)
        for path, first, last in self._spans:
            if last < minutes[0] or first > minutes[-1]:
                continue
            part = _loaded(path, with_values=True)
            inside = (part.minute >= minutes[0]) & (part.minute <= minutes[-1])
            places = np.array([self._place.get(vdid, -1) for vdid in part.vdids], dtype=np.intp)
            inside &= places[part.vd] >= 0
            row = np.searchsorted(minutes, part.minute[inside])
            vd = places[part.vd[inside]]
            for column, feature in enumerate(self._features):
                values = part.values[inside, feature]
                known = ~np.isnan(values)
                # where places repeat, NumPy keeps the last value
                block[row[known], vd[known], column] = values[known]
        return block


@lru_cache(maxsize=4)
def _loaded(path: Path, with_values: bool) -> Part:
    part = load_part(path, with_values)
    if part is None:
        raise ValueError(f"the part {path} is damaged or gone; ingest again")
    return part


def notes_of(broken: Sequence[tuple[str, str]], left_out: Mapping[str, int]) -> Iterator[str]:
    """Notes on broken files and why, and on the number of each of LEFT_OUT."""
    if broken:
        yield f"{plural(len(broken), 'broken file')} skipped"
        for name, why in broken[:_MOST_NAMED]:
            yield f"{_printable(name)}: {_printable(why)}"
        if len(broken) > _MOST_NAMED:
            yield f"… and {len(broken) - _MOST_NAMED:,} more broken files"
    for reason, what in LEFT_OUT.items():
        if number := left_out.get(reason):
            yield f"{number:,} {what}"


def _printable(text: str) -> str:
    """Text from outside without line breaks and control characters, cut to 300 characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]
