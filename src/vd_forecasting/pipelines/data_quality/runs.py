"""The longest run of time steps in which something holds."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def longest_runs(holds: npt.NDArray[np.bool_]) -> tuple[Counts, Counts]:
    """The first longest run of each series.

    Args:
        holds: [n, T].

    Returns:
        Its first step, [n], and its length in steps, [n]; length 0 where nothing holds.
    """
    start, length = (np.zeros(len(holds), dtype=np.int64) for _ in range(2))
    for index, series in enumerate(holds):
        # Between two steps where it does not hold, and around all of them, lie the runs.
        breaks = np.flatnonzero(~series)
        runs = np.diff(breaks, prepend=-1, append=len(series)) - 1
        longest = int(runs.argmax())
        length[index] = runs[longest]
        start[index] = breaks[longest - 1] + 1 if longest else 0
    return start, length
