"""Clean a recent file as the data that a model was trained on."""

import logging
import re
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.artefacts.windows import JOINT
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import resample as resampling
from vd_forecasting.pipelines.data_engineering.clean import (
    clean,
    clean_at_once,
    with_interval,
)
from vd_forecasting.pipelines.data_engineering.clocks import own_interval
from vd_forecasting.vd_array import as_interval, source_of
from vd_forecasting.wording import in_words, nearest, plural, quoted

logger = logging.getLogger(__name__)

FILE_OFFSET = "file_utc_offset"
"""Attribute with the UTC offset of the file's own clock; absent where it names none."""

AT_ONCE_BYTES = 16 * 2**20
"""A file up to this size is cleaned in memory, which takes less time than block by block."""

_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def clean_recent(vd_raw: xr.DataArray, best_model: Checkpoint) -> xr.DataArray:
    """Clean the detectors and features of a model by the rules in its checkpoint.

    A file of a shorter interval is resampled to that of the model. The result is on the clock that
    the model was trained on; :data:`FILE_OFFSET` is the file's own. Detectors that models of one
    detector forecast may be missing.

    Returns:
        The clean VD array, detectors and features in the order of the checkpoint.

    Raises:
        ValueError: one line. The interval is no part of the model's; a feature, its unit, or a
            detector that others are forecast with is missing or another; or as
            :func:`~vd_forecasting.pipelines.data_engineering.clean.clean` says.
    """
    source, features = source_of(vd_raw), best_model["input_features"]
    there = [str(name) for name in vd_raw["feature"].values]
    if missing := [name for name in features if name not in there]:
        raise ValueError(
            f"{source}: has no {missing[0]}, which the model reads; it has {', '.join(there)}"
        )
    raw = on_clock_of(best_model["utc_offset"], vd_raw)
    cleaning = rules_for(raw, best_model)
    raw = raw.sel(vd=chosen_vds(raw, best_model))
    is_small = raw.nbytes <= AT_ONCE_BYTES
    cleaned = clean_at_once(raw, cleaning) if is_small else clean(raw, cleaning)[0]
    cleaned = cleaned.sel(feature=features)
    for name, unit in zip(features, map(str, cleaned["unit"].values), strict=True):
        if unit != (trained := best_model["units"][name]) and trained:
            raise ValueError(
                f"{source}: {name} is in {unit or 'an unknown unit'}, the model was trained on "
                f"{trained}; convert the values, or correct the unit in the file"
            )
    return cleaned


def rules_for(raw: xr.DataArray, best_model: Checkpoint) -> Cleaning:
    """The rules of a checkpoint for a file of another interval, if this can be resampled.

    The range of what adds up when resampled is that of the file's interval.
    """
    cleaning = Cleaning.model_validate_json(best_model["cleaning"])
    own, trained = own_interval(raw), as_interval(best_model["interval_minutes"])
    if trained % own != np.timedelta64(0, "ns"):
        raise ValueError(
            f"{source_of(raw)}: its interval is {in_words(own)}, the model forecasts steps of "
            f"{in_words(trained)}; bring data of {in_words(trained)} or of a part of it"
        )
    nanoseconds = int(trained.astype("timedelta64[ns]").astype(np.int64))
    longer = float(own / resampling.nanoseconds(str(cleaning.interval)))
    changed: dict[str, Any] = {
        "resample": None if own == trained else f"{nanoseconds}ns",
        "features": {
            name: limits.model_copy(update={"range": tuple(longer * end for end in limits.range)})
            if limits.aggregate == "sum" and limits.range
            else limits
            for name, limits in cleaning.features.items()
        },
    }
    return with_interval(cleaning, own).model_copy(update=changed)


def chosen_vds(raw: xr.DataArray, best_model: Checkpoint) -> list[str]:
    """The detectors of a model that a file has; a ValueError if it lacks one it cannot do without.

    A single network of all detectors, one by one, and networks of one detector each can.
    """
    source, wanted = source_of(raw), best_model["vdids"]
    known = [str(name) for name in raw["vd"].values]
    missing = [name for name in wanted if name not in {*known}]
    near = nearest(missing[0], known) if missing else ""
    hint = f"; the nearest of its {len(known)} is {near!r}" if near else ""
    if len(missing) == len(wanted):
        raise ValueError(f"{source}: has none of the model's detectors, {quoted(wanted, 3)}{hint}")
    if missing and JOINT in best_model["weights"]:
        raise ValueError(
            f"{source}: has no detector {missing[0]!r}, one of the {len(wanted)} that the model "
            f"forecasts jointly{hint}"
        )
    if missing:
        number = plural(len(missing), "detector")
        logger.warning("%s: lacks %s of the model: %s", source, number, quoted(missing))
    return [name for name in wanted if name not in missing]


def on_clock_of(trained: str, raw: xr.DataArray) -> xr.DataArray:
    """The array on a clock of this UTC offset, and with :data:`FILE_OFFSET`.

    Where one of the two is not known, they are taken for the same.
    """
    own = str(raw.attrs.get("utc_offset", ""))
    others = {name: value for name, value in raw.attrs.items() if name != "utc_offset"}
    if not _OFFSET.fullmatch(own):
        own = ""
    clocks = {"utc_offset": trained or own, FILE_OFFSET: own}
    moved = raw.assign_coords(time=raw["time"] + shift(own, trained))
    moved.attrs = others | {name: offset for name, offset in clocks.items() if offset}
    return moved


def shift(offset: str, other: str) -> np.timedelta64:
    """What makes times on the clock of one UTC offset times on that of another one."""
    if not _OFFSET.fullmatch(offset) or not _OFFSET.fullmatch(other):
        return np.timedelta64(0, "ns")
    return (pd.Timedelta(f"{other}:00") - pd.Timedelta(f"{offset}:00")).to_timedelta64()
