"""Stretches: unbroken runs of time steps in which something holds."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def stretches(holds: Mask) -> tuple[Counts, Counts, Counts]:
    """All stretches of every series.

    Args:
        holds: [n, T].

    Returns:
        The series, the first step and the number of steps of each stretch, [S] all; in the order
        of the series, and of time within each.
    """
    series, steps = holds.shape
    # A step that does not hold at either end keeps the stretches of neighbouring series apart.
    padded = np.zeros((series, steps + 2), dtype=np.int8)
    padded[:, 1:-1] = holds
    change = np.diff(padded, axis=1)
    index, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return index, start, end - start


def longest_stretches(holds: Mask) -> tuple[Counts, Counts]:
    """The longest stretch of each series, the first of equally long ones.

    Args:
        holds: [n, T].

    Returns:
        Its first step and its number of steps, [n] both; 0 steps where nothing holds.
    """
    index, begin, steps = stretches(holds)
    start, length = np.zeros((2, len(holds)), dtype=np.int64)
    order = np.lexsort((begin, -steps, index))
    found, first = np.unique(index[order], return_index=True)
    start[found], length[found] = begin[order][first], steps[order][first]
    return start, length
