"""Parts as one lazy array: a read opens only the parts it overlaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from vd_forecasting.datasets.sources.vd_live.parts import Counts, Part, load_part

Minutes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """The labels of parts."""

    minutes: Minutes  # [T], increasing
    vdids: list[str]  # [N], sorted
    spans: list[tuple[int, int]]  # of each part: its first and last minute; (0, −1) if empty
    counts: Counts  # of all parts


def index_parts(paths: Sequence[Path]) -> Index:
    """Read the labels of all parts.

    Raises:
        ValueError: one is missing or damaged.
    """
    minutes: set[int] = set()
    vdids: set[str] = set()
    spans, total = [], Counts()
    for path in paths:
        part = _loaded(path, with_values=False)
        minutes.update(np.unique(part.minute).tolist())
        vdids.update(part.vdids[vd] for vd in np.unique(part.vd).tolist())
        spans.append(
            (int(part.minute.min()), int(part.minute.max())) if part.minute.size else (0, -1)
        )
        for one in fields(Counts):
            setattr(total, one.name, getattr(total, one.name) + getattr(part.counts, one.name))
    return Index(np.array(sorted(minutes), dtype=np.int64), sorted(vdids), spans, total)


class PartsArray(BackendArray):
    """[T, N, F] float32 of the records in ``paths``; the last of several values in one place wins.

    Args:
        paths: of the parts, in the order of their files.
        index: of these parts.
        vdids: those wanted, in the order wanted.
        features: columns of the parts' values.
    """

    def __init__(
        self, paths: Sequence[Path], index: Index, vdids: Sequence[str], features: Sequence[int]
    ) -> None:
        self.shape = (len(index.minutes), len(vdids), len(features))
        self.dtype = np.dtype(np.float32)
        self._paths = list(paths)
        self._index = index
        self._place = {vdid: place for place, vdid in enumerate(vdids)}
        self._features = list(features)

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
        minutes = self._index.minutes[start:stop]
        block = np.full((stop - start, *self.shape[1:]), np.nan, dtype=np.float32)
        for path, (first, last) in zip(self._paths, self._index.spans, strict=True):
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


def notes_of(counts: Counts, others: int, most: int = 50) -> Iterable[str]:
    """Notes on what was left out; ``others`` files are neither live records nor lists of VDs."""
    if counts.broken:
        number = len(counts.broken)
        yield f"{number:,} broken file{'s' if number > 1 else ''} skipped"
        for name, why in counts.broken[:most]:
            yield f"{_printable(name)}: {_printable(why)}"
        if number > most:
            yield f"… and {number - most:,} more broken files"
    for number, what in (
        (counts.unnamed, "records without a usable VDID left out"),
        (counts.untimed, "records without a usable time left out"),
        (counts.off_clock, "records left out whose time is far from that of their file"),
        (counts.faulty, "records of VDs that report to be faulty count as missing"),
        (others, "files are neither live records nor lists of VDs; ignored"),
    ):
        if number:
            yield f"{number:,} {what}"


def _printable(text: str) -> str:
    """Text from outside without line breaks and control characters, cut to 300 characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]
