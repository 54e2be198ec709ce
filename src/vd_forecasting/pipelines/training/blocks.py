"""The windows of every test block: nodes that cut the file where each block ends."""

import logging
from collections.abc import Callable

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
)
from vd_forecasting.pipelines.training.windows import (
    make_global_vd_windows,
    make_independent_multi_vd_windows,
    make_multi_vd_windows,
    make_single_vd_windows,
)
from vd_forecasting.wording import duration, one_line

logger = logging.getLogger(__name__)

LEAST_TRAINING = pd.Timedelta("2D")
"""Of a comparison with several test blocks; the first of them has least."""


def make_single_vd_blocks(
    vd_clean: xr.DataArray,
    windows: SingleVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """:func:`.windows.make_single_vd_windows` for every test block."""

    def make(series: xr.DataArray, of_block: Split) -> WindowSet:
        return make_single_vd_windows(series, windows, of_block, cleaning, calendar)

    return make_blocks(vd_clean, split, make)


def make_multi_vd_blocks(
    vd_clean: xr.DataArray,
    windows: MultiVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """:func:`.windows.make_multi_vd_windows` for every test block."""

    def make(series: xr.DataArray, of_block: Split) -> WindowSet:
        return make_multi_vd_windows(series, windows, of_block, cleaning, calendar)

    return make_blocks(vd_clean, split, make)


def make_independent_multi_vd_blocks(
    vd_clean: xr.DataArray,
    windows: IndependentMultiVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """:func:`.windows.make_independent_multi_vd_windows` for every test block."""

    def make(series: xr.DataArray, of_block: Split) -> WindowSet:
        return make_independent_multi_vd_windows(series, windows, of_block, cleaning, calendar)

    return make_blocks(vd_clean, split, make)


def make_global_vd_blocks(
    vd_clean: xr.DataArray,
    windows: GlobalVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowBlocks:
    """:func:`.windows.make_global_vd_windows` for every test block."""

    def make(series: xr.DataArray, of_block: Split) -> WindowSet:
        return make_global_vd_windows(series, windows, of_block, cleaning, calendar)

    return make_blocks(vd_clean, split, make)


def make_blocks(
    vd_clean: xr.DataArray, split: Split, make: Callable[[xr.DataArray, Split], WindowSet]
) -> WindowBlocks:
    """The windows of each block, which ``make`` makes of the series that the block ends.

    A block before the last that cannot be made is named; if it is the last, and where the first has
    less than two days of training, it is a ValueError.
    """
    parts = vd_array.test_blocks(vd_clean.sizes["time"], split)
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
            blocks[block] = make(vd_clean.isel(time=slice(0, end)), of_block)
        except ValueError as error:
            if block == split.folds:
                raise
            failed[block] = one_line(error)
            logger.warning("test block %d of %d: %s", block, split.folds, failed[block])
    return WindowBlocks(blocks, failed)
