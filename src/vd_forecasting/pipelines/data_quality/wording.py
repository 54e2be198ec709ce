"""Numbers, names and times as the data quality page writes them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.vd_array import interval_of


def stamp(vd: xr.DataArray, step: int) -> str:
    """A time stamp without a seconds field unless the grid needs one."""
    whole_minutes = interval_of(vd) % np.timedelta64(1, "m") == np.timedelta64(0)
    time = pd.Timestamp(vd["time"].to_numpy()[step])
    return time.strftime("%Y-%m-%d %H:%M" if whole_minutes else "%Y-%m-%d %H:%M:%S")


def percent(share: float) -> str:
    """One decimal, and never rounded to all or nothing."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def plural(noun: str, count: int) -> str:
    """The noun in the number that goes with ``count``."""
    return noun if count == 1 else f"{noun}s"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plain_text(value: object) -> str:
    """Text from the file, harmless inside a table cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
