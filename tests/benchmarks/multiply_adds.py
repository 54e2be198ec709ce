"""How many multiply-adds the products of a step have: the work that no implementation can avoid.

Convolutions, gates and norms are no products. ``last`` is how many steps of its output the last
block computes: a forecast needs one of them, the ``xlstm`` package computes all.
"""

from math import ceil

from tests.make.networks import CALENDAR, FEATURES, HORIZONS, Size
from vd_forecasting.models.xlstm import NUM_HEADS

PROJECTION = 4  # queries, keys and values of the mLSTM come from so many channels each
GATES = 4


def rounded(width: float) -> int:
    """The package's inner widths are multiples of 64."""
    return 64 * ceil(width / 64)


def mlstm_block(width: int, length: int, last: int) -> int:
    """Those of the forecast of a window."""
    inner = rounded(2 * width)
    up = width * inner * (length + last)  # the memory sees all steps, the output gate the last
    queries_keys_values = 3 * PROJECTION * inner * length
    gates = 2 * 3 * inner * NUM_HEADS * length
    memory = 2 * inner * length * last
    down = inner * width * last
    return up + queries_keys_values + gates + memory + down


def slstm_block(width: int, length: int, last: int) -> int:
    """Those of the forecast of a window."""
    gates = GATES * width * width // NUM_HEADS * length
    recurrent = gates
    feed_forward = 3 * width * rounded(1.3 * width) * last
    return gates + recurrent + feed_forward


def xlstm_core(size: Size, last: int) -> int:
    """Those of the forecast of a window."""
    found = 0
    for block in range(size.blocks):
        count = slstm_block if block in size.slstm_at else mlstm_block
        found += count(size.width, size.length, last if block == size.blocks - 1 else size.length)
    return found


def lstm_core(size: Size) -> int:
    """Those of the forecast of a window."""
    return size.layers * 2 * GATES * size.hidden**2 * size.length


def step(size: Size, model: str, work: str, last: int = 1) -> int:
    """Those of a whole step, training or inference, of a forecaster with this core.

    A gradient takes two products for each: one for the weights, one for what is before them, which
    inputs have no use for.
    """
    core = lstm_core(size) if model == "lstm" else xlstm_core(size, last)
    width = size.hidden if model == "lstm" else size.width
    values, outputs = size.detectors * FEATURES, HORIZONS * FEATURES
    embedding = (size.channels + values) * width * size.length
    linear = size.detectors * ((size.length - 1) * FEATURES + CALENDAR) * outputs
    head = width * size.detectors * outputs
    if work == "inference":
        return size.batch * (core + head + embedding + linear)
    return size.batch * (3 * (core + head) + 2 * (embedding + linear))
