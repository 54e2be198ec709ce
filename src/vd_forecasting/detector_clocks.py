"""At which interval detectors report, and in which phase of it, as their time stamps show."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

_USUAL = "1s 2s 5s 10s 15s 20s 30s 1min 2min 3min 5min 6min 10min 15min 20min 30min 1h 2h 3h 6h 1D"
USUAL_INTERVALS = pd.to_timedelta(_USUAL.split()).to_numpy().astype("timedelta64[ns]")

FEWEST_DIFFERENCES = 6
"""Times between records that show the clock of a detector, at least."""

FEW_OTHERS = 0.05
"""Share of time stamps of other clocks up to which a file has one clock."""

NEAR = 0.1
"""Times between records that differ by this share are those of one interval."""

Times = npt.NDArray[np.datetime64]
Cells = npt.NDArray[np.int64]


def detect_interval(times: Times) -> np.timedelta64:
    """The most common difference between sorted time stamps [T]; the least of equally common ones.

    Clocks that jitter by seconds scatter the differences around the interval. If no difference
    accounts for most steps, a usual interval within 10 % of most differences is taken, else one
    within 10 % of the most common one.
    """
    differences, counts = np.unique(_differences(times), return_counts=True)
    interval = np.timedelta64(differences[counts.argmax()], "ns")
    if 2 * counts.max() > counts.sum():
        return interval
    for usual in USUAL_INTERVALS:
        if 2 * counts[np.abs(differences / usual - 1) <= 0.1].sum() > counts.sum():
            return np.timedelta64(usual, "ns")
    usual = USUAL_INTERVALS[np.abs(USUAL_INTERVALS / interval - 1).argmin()]
    return usual if abs(usual / interval - 1) <= 0.1 else interval


def shortest_interval(own_times: Iterable[Times], times: Times) -> np.timedelta64 | None:
    """The shortest interval of a detector, of the sorted time stamps of each; None where those of
    all, ``times`` [T], are one's own: it has nearly all of them, or they are no denser than its
    records. Reads on to the first such one."""
    stamps, shortest = times[np.append(times[1:] != times[:-1], True)[: len(times)]], None
    for own in own_times:
        if len(own) >= (1 - FEW_OTHERS) * len(times):
            return None
        if len(differences := _differences(own)) < FEWEST_DIFFERENCES:
            continue
        interval, span = detect_interval(own), own[[0, -1]]
        steps = (span[1] - span[0]) / interval + 1
        if np.diff(np.searchsorted(stamps, span)) < (1 + FEW_OTHERS) * steps:
            return None
        near = np.abs(differences / interval - 1) <= NEAR
        if 2 * np.count_nonzero(near) > len(near):
            shortest = min(shortest or interval, interval)
    return shortest


def phase_of(since: npt.NDArray[np.timedelta64], interval: np.timedelta64) -> np.timedelta64:
    """By how much the records of one detector are behind the points of a grid: their mean direction
    on a clock face of one interval. ``since`` counts from a point of the grid."""
    step = int(interval.astype(np.int64))
    angle = 2 * np.pi / step * (since.astype(np.int64) % step)
    direction = np.arctan2(np.sin(angle).sum(), np.cos(angle).sum())
    return np.timedelta64(round(float(direction) / (2 * np.pi) * step), "ns")


def cells_of(
    since: npt.NDArray[np.timedelta64],
    phases: np.timedelta64 | npt.NDArray[np.timedelta64],
    interval: np.timedelta64,
) -> Cells:
    """The steps of the grid to which records move, each by the phase of its detector."""
    return np.asarray((since - phases + interval // 2) // interval)


def _differences(times: Times) -> npt.NDArray[np.timedelta64]:
    """Between sorted time stamps [T], where they differ."""
    differences = np.diff(times)
    return differences[differences > np.timedelta64(0, "ns")]
