"""The windows of every test block: nodes that cut the file where each block ends."""

import logging
from collections.abc import Callable
from typing import Final

import pandas as pd
import xarray as xr

from vd_forecasting import vd_array
from vd_forecasting.artefacts import WindowBlocks, WindowSet
from vd_forecasting.parameters import (
    Calendar,
    Cleaning,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    MultiVDWindows,
    SingleVDWindows,
    Split,
    Windows,
)
from vd_forecasting.pipelines.training.windows import (
    make_independent_multi_vd_windows,
    make_multi_vd_windows,
    make_single_vd_windows,
)
from vd_forecasting.wording import duration, one_line

logger = logging.getLogger(__name__)

LEAST_TRAINING = pd.Timedelta("2D")
"""Of a comparison with several test blocks; the first of them has least."""

_MAKE: Final[dict[type[Windows], Callable[..., WindowSet]]] = {
    SingleVDWindows: make_single_vd_windows,
    MultiVDWindows: make_multi_vd_windows,
    IndependentMultiVDWindows: make_independent_multi_vd_windows,
    GlobalVDWindows: make_multi_vd_windows,
}


def make_single_vd_blocks(
    vd_clean: xr.DataArray,
    windows: SingleVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """The windows of :class:`SingleVDWindows` for every test block."""
    return make_blocks(vd_clean, windows, split, cleaning, calendar)


def make_multi_vd_blocks(
    vd_clean: xr.DataArray,
    windows: MultiVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """The windows of :class:`MultiVDWindows` for every test block."""
    return make_blocks(vd_clean, windows, split, cleaning, calendar)


def make_independent_multi_vd_blocks(
    vd_clean: xr.DataArray,
    windows: IndependentMultiVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """The windows of :class:`IndependentMultiVDWindows` for every test block."""
    return make_blocks(vd_clean, windows, split, cleaning, calendar)


def make_global_vd_blocks(
    vd_clean: xr.DataArray,
    windows: GlobalVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """The windows of :class:`GlobalVDWindows` for every test block."""
    return make_blocks(vd_clean, windows, split, cleaning, calendar)


def make_blocks(
    vd_clean: xr.DataArray, windows: Windows, split: Split, cleaning: Cleaning, calendar: Calendar
) -> WindowBlocks:
    """The windows of each block, made of the series that it ends.

    A block before the last that cannot be made is named; if it is the last, and where the first has
    less than two days of training, it is a ValueError.
    """
    parts = vd_array.rolling_splits(vd_clean.sizes["time"], split)
    interval = pd.Timedelta(minutes=vd_array.interval_minutes(vd_clean))
    training = round(parts[0][0] * parts[0][1].train) * interval
    if split.folds > 1 and training < LEAST_TRAINING:
        raise ValueError(
            f"split.folds {split.folds}: the first block has {duration(training.total_seconds())} "
            f"of training, at least {duration(LEAST_TRAINING.total_seconds())} are needed; lower it"
        )
    blocks, failed = dict[int, WindowSet](), dict[int, str]()
    for block, (end, of_block) in enumerate(parts, 1):
        try:
            series = vd_clean.isel(time=slice(0, end))
            blocks[block] = _MAKE[type(windows)](series, windows, of_block, cleaning, calendar)
        except ValueError as error:
            if block == split.folds:
                raise
            failed[block] = one_line(error)
            logger.warning("test block %d of %d: %s", block, split.folds, failed[block])
    return WindowBlocks(blocks, failed)
