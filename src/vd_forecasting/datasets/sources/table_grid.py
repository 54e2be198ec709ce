"""From the rows of a long table to its grid of time steps and detectors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.sources import source
from vd_forecasting.datasets.timestamps import DatetimeArray
from vd_forecasting.detector_clocks import cells_of, phase_of, shortest_interval
from vd_forecasting.wording import in_words


@dataclass(frozen=True)
class Block:
    """R rows: the numbers of their stamps and keys [R], and values [R, F]."""

    stamp: npt.NDArray[np.int32]
    key: npt.NDArray[np.int32]
    values: source.Floats

    def __len__(self) -> int:
        return len(self.stamp)

    def spread(self, steps: int) -> "Block":
        """A row of its own for each step that a row holds; ``steps`` columns are a feature."""
        stamp = self.stamp[:, np.newaxis] * steps + np.arange(steps)
        values = self.values.reshape(len(stamp), -1, steps).swapaxes(1, 2)
        return Block(
            stamp.ravel().astype(np.int32),
            np.repeat(self.key, steps),
            values.reshape(stamp.size, -1),
        )


@dataclass
class Clocks:
    """Those of detectors, each with a phase of its own on one grid."""

    since: npt.NDArray[np.timedelta64]  # of stamps, from a point of the grid
    phases: npt.NDArray[np.timedelta64]  # [N]
    interval: np.timedelta64
    in_use: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The steps of the grid with a row."""

    def cells(
        self, stamp: npt.NDArray[np.int32], at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    ) -> npt.NDArray[np.int64]:
        """Steps of the grid of rows, −1 for those that belong nowhere."""
        step, place = at
        cells = cells_of(self.since[stamp], self.phases[place], self.interval)
        return np.where((step < 0) | (place < 0), -1, cells)


@dataclass
class Grid:
    """Where rows belong, −1 for nowhere: by stamp and by key; and what befell them."""

    step_of_stamp: npt.NDArray[np.intp]
    place_of_key: npt.NDArray[np.intp]
    shape: tuple[int, int, int]
    lost: int = 0
    """Rows that belong nowhere."""
    repeated: int = 0
    """Rows whose place another row had before; ``example`` is such a place."""
    example: int = 0
    clocks: "Clocks | None" = None

    def on_own_clocks(
        self, blocks: Sequence[Block], times: DatetimeArray, notes: list[str]
    ) -> DatetimeArray:
        """The steps, fewer than before where each detector has time stamps of its own: cleaning
        puts every detector on the grid of the quickest, by its own phase, and so does this."""
        steps = np.unique(times[self.step_of_stamp >= 0])
        stamps, places = [], []
        for block in blocks:
            step, place = self.places(block)
            fits = (step >= 0) & (place >= 0) & ~np.isnan(block.values).all(axis=1)
            stamps.append(block.stamp[fits])
            places.append(place[fits])
        own, place = times[np.concatenate(stamps)], np.concatenate(places)
        order = np.lexsort((own, place))
        ends = np.searchsorted(place[order], np.arange(1, self.shape[1]))
        series = np.split(own[order], ends)
        interval = shortest_interval(series, steps)
        if interval is None:
            return steps
        start = steps[0].astype("datetime64[D]").astype("datetime64[ns]") - interval
        phases = np.array([phase_of(one - start, interval) for one in series])
        clocks = Clocks(times - start, phases, interval)
        in_use = [np.unique(clocks.cells(block.stamp, self.places(block))) for block in blocks]
        clocks.in_use = np.unique(np.concatenate(in_use))
        clocks.in_use = clocks.in_use[clocks.in_use >= 0]
        self.clocks, self.shape = clocks, (len(clocks.in_use), *self.shape[1:])
        notes.append(
            f"detectors report at different times, the quickest every {in_words(interval)}; each "
            f"was put on this grid by its own phase, as cleaning does: {len(steps):,} time stamps "
            f"became {len(clocks.in_use):,}"
        )
        return np.asarray(start + clocks.in_use * interval)

    def places(self, block: Block) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Steps and detectors of rows [R]."""
        step, place = self.step_of_stamp[block.stamp], self.place_of_key[block.key]
        if self.clocks is not None:
            cells = self.clocks.cells(block.stamp, (step, place))
            step = np.where(cells < 0, -1, np.searchsorted(self.clocks.in_use, cells))
        return step, place

    def filled(self, blocks: Iterable[Block]) -> source.Floats:
        """The values [T, N, F]; of several at one place the last one that is not missing."""
        dense = np.full(self.shape, np.nan, dtype=np.float32)
        seen = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
        for block in blocks:
            step, place = self.places(block)
            fits = (step >= 0) & (place >= 0)
            self.lost += int((~fits).sum())
            flat = (step * self.shape[1] + place)[fits]
            again = _again(seen, flat)
            if again.any():
                self.example = self.example if self.repeated else int(flat[again][0])
                self.repeated += int(again.sum())
            for feature in range(self.shape[2]):
                known = fits & ~np.isnan(block.values[:, feature])
                # where places repeat, NumPy keeps the last value
                dense[step[known], place[known], feature] = block.values[known, feature]
        return dense


def told_apart(stamps: list[str], blocks: Sequence[Block], keys: int) -> list[str]:
    """The stamps, and at the end again those that a detector has more than once.

    In ``blocks``, all but its first row with such a stamp get the latter: in the hour that
    daylight-saving time repeats, they mean another time.
    """
    later = np.arange(len(stamps), dtype=np.int32)
    seen = np.zeros(len(stamps) * keys, dtype=bool)
    stamps = [*stamps]
    for block in blocks:
        again = _again(seen, block.stamp.astype(np.int64) * keys + block.key)
        for code in np.unique(block.stamp[again]):
            if later[code] == code:
                later[code] = len(stamps)
                stamps.append(stamps[code])
        block.stamp[again] = later[block.stamp[again]]
    return stamps


def _again(seen: npt.NDArray[np.bool_], places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of ``places`` were seen before; all are then."""
    again: npt.NDArray[np.bool_] = seen[places] | pd.Index(places).duplicated()
    seen[places] = True
    return again
