"""A table that may be longer than memory holds: frames, one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import pandas as pd
from kedro.io import DatasetError
from kedro_datasets.pandas import CSVDataset
from typing_extensions import Self

from vd_forecasting.datasets.atomic import AtomicCSVDataset, as_before_saving
from vd_forecasting.running import kedro_private
from vd_forecasting.running.kedro_private import TablePreview

ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Frames:
    """Frames with the same columns, made or read whenever they are asked for, and not kept."""

    make: Callable[[], Iterable[pd.DataFrame]]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return iter(self.make())

    @classmethod
    def joined(cls, tables: Iterable[Iterable[pd.DataFrame]]) -> Self:
        """Those of several tables, in order."""
        return cls(partial(chain.from_iterable, [*tables]))

    def pipe(self, function: Callable[[pd.DataFrame], pd.DataFrame]) -> "Frames":
        """What a function makes of each."""
        return Frames(partial(map, function, self))

    def to_csv(self, path_or_buf: Any, **settings: Any) -> None:
        """Write them into an open file, as ``pandas.DataFrame.to_csv`` writes one."""
        for number, frame in enumerate(self):
            frame.to_csv(path_or_buf, header=number == 0, **settings)


class FramesDataset(AtomicCSVDataset):
    """As :class:`AtomicCSVDataset`, of :class:`Frames`: a part of the table is in memory."""

    def load(self) -> Frames:  # type: ignore[override]
        if not self.exists():
            raise DatasetError(f"{self._filepath}: no such file; run the node that makes it")
        return Frames(self._read)

    def _read(self) -> Iterator[pd.DataFrame]:
        reader = kedro_private.loading_with(self, chunksize=ROWS_AT_ONCE)
        with CSVDataset.load(reader) as frames:
            yield from map(as_before_saving, frames)

    def save(self, data: Frames) -> None:  # type: ignore[override]
        super().save(data)  # type: ignore[arg-type]

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for kedro-viz."""
        return TablePreview(next(self._read()).head(nrows).to_dict(orient="split"))
