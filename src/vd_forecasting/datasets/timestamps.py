"""ISO 8601 time stamps as text, and back: real files mix offsets, blanks and garbage."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

DatetimeArray = npt.NDArray[np.datetime64]

# The range of 64-bit nanoseconds, less a year for offsets.
_EARLIEST = np.datetime64("1679-01-01", "s")
_LATEST = np.datetime64("2261-01-01", "s")


def parse_timestamps(texts: Iterable[str]) -> tuple[DatetimeArray, str | None]:
    """Parse T strings into naive local ``datetime64[ns]``, and name the UTC offset of that clock.

    Stamps with an offset are all put on the clock of the first usable one among them, so that a
    switch to or from daylight-saving time makes neither gaps nor duplicates; stamps without one
    are taken to be on that clock already. Blank stamps and those not in ISO 8601 become NaT.

    Returns:
        The times [T], and the offset such as ``"+08:00"``; None where no stamp has one.
    """
    stamps = [text.strip() for text in texts]
    # pandas would take "now" and "today" for dates
    usable = np.array([stamp[:1].isdigit() for stamp in stamps], dtype=bool)
    aware = usable & np.array([has_offset(stamp) for stamp in stamps], dtype=bool)
    naive = usable & ~aware
    stamp_array = np.array(stamps, dtype=object)

    times = np.full(len(stamps), np.datetime64("NaT"), dtype="datetime64[ns]")
    times[naive] = _parse(stamp_array[naive], utc=False)
    in_utc = _parse(stamp_array[aware], utc=True)
    parsed = np.flatnonzero(~np.isnat(in_utc))
    if parsed.size == 0:
        return times, None
    first = pd.to_datetime(stamp_array[aware][parsed[:1]], format="ISO8601")[0]
    offset = first.utcoffset() or timedelta(0)
    times[aware] = in_utc + np.timedelta64(offset)
    return times, format_offset(offset)


def format_timestamps(times: DatetimeArray, utc_offset: str | None) -> npt.NDArray[np.bytes_]:
    """Format ``times`` [T] as ISO 8601 with ``utc_offset`` appended; NaT becomes blank.

    Whole seconds are written as such, finer stamps with as many decimals as they all need.
    """
    present = times[~np.isnat(times)]
    unit = next(
        unit for unit in ("s", "ms", "us", "ns") if (present.astype(f"M8[{unit}]") == present).all()
    )
    texts = np.datetime_as_string(times.astype(f"M8[{unit}]")).astype("S")
    texts = np.char.add(texts, (utc_offset or "").encode())
    texts[np.isnat(times)] = b""
    return texts


def has_offset(stamp: str) -> bool:
    """Whether an ISO 8601 time stamp names its UTC offset."""
    clock = stamp[10:]  # what follows YYYY-MM-DD
    return "+" in clock or "-" in clock or clock[-1:] in ("Z", "z")


def _parse(stamps: Any, *, utc: bool) -> DatetimeArray:
    parsed = pd.to_datetime(stamps, format="ISO8601", errors="coerce", utc=utc)
    times: DatetimeArray = parsed.tz_localize(None).to_numpy().copy()
    # pandas 3 parses to microseconds, which reach further than nanoseconds
    times[(times < _EARLIEST) | (times > _LATEST)] = np.datetime64("NaT")
    return times.astype("datetime64[ns]")


def format_offset(offset: timedelta) -> str:
    """An offset as ISO 8601 writes it, such as ``"+08:00"``."""
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
