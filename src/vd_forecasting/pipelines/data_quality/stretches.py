"""Stretches: unbroken runs of time steps in which something holds."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class LongestStretches(NamedTuple):
    """First step and number of steps of the longest stretch of each series; 0 steps for none."""

    start: Counts
    length: Counts


def stretches(holds: Mask) -> tuple[Counts, Counts, Counts]:
    """The series, the first step and the number of steps of all stretches, [S], of [n, T].

    They are in the order of the series, and of time within each.
    """
    series, steps = holds.shape
    # A step that does not hold at either end keeps the stretches of neighbouring series apart.
    padded = np.zeros((series, steps + 2), dtype=np.int8)
    padded[:, 1:-1] = holds
    change = np.diff(padded, axis=1)
    index, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return index, start, end - start


def longest_stretches(holds: Mask) -> LongestStretches:
    """The longest stretch, [n], of each series [n, T]; the first of equally long ones."""
    index, begin, steps = stretches(holds)
    start, length = np.zeros((2, len(holds)), dtype=np.int64)
    order = np.lexsort((begin, -steps, index))
    found, first = np.unique(index[order], return_index=True)
    start[found], length[found] = begin[order][first], steps[order][first]
    return LongestStretches(start, length)
