"""The interval of a regular grid, and time spans in words."""

import numpy as np
import xarray as xr

_UNITS = (("day", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000))


def interval_of(vd: xr.DataArray) -> np.timedelta64:
    """The interval of an array on a regular grid, from its attribute ``interval_minutes``."""
    return np.timedelta64(round(vd.attrs["interval_minutes"] * 60e9), "ns")


def in_words(span: np.timedelta64) -> str:
    """A span in its two leading units: ``2 days 3 h``, ``1 h 30 min``, ``5 min``, ``20 s``."""
    left = int(span.astype("timedelta64[ns]").astype(np.int64))
    parts: list[str] = []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            plural = "s" if name == "day" and count > 1 else ""
            parts.append(f"{count:,} {name}{plural}")
    if left or not parts:
        parts.append(f"{left / 1e9:g} s")
    return " ".join(parts[:2])


def per_words(span: np.timedelta64) -> str:
    """A span as it stands after "per": ``min``, ``5 min``, ``1 h 30 min``."""
    words = in_words(span)
    return words.removeprefix("1 ") if words.count(" ") == 1 else words
