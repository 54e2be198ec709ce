"""What all baselines are to the node that runs them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.vd_array import VDS_AT_ONCE

Baseline = Callable[[WindowSet, np.ndarray, slice], np.ndarray]
"""Forecasts the windows of some VDs n, by position, at origins ``[W]``: float32 ``[W, H, n, F]`` in
scaled units."""


class Learner(NamedTuple):
    """How a baseline is learnt."""

    learn: Callable[[WindowSet, slice], Baseline]
    """Learns from the training split, and what it has to choose from validation, as much as
    forecasts of some VDs, by position, need."""
    is_shared: Callable[[WindowSet], bool] = lambda _: False
    """Whether that is the same for any VDs, so that one learning is enough."""


def all_vds(windows: WindowSet) -> slice:
    """All VDs by position."""
    return slice(0, len(windows.vdids))


def blocks_of_vds(windows: WindowSet) -> list[slice]:
    """The same, some at a time."""
    number = len(windows.vdids)
    firsts = range(0, number, VDS_AT_ONCE)
    return [slice(first, min(first + VDS_AT_ONCE, number)) for first in firsts]
