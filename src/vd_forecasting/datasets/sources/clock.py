"""Clocks of tables: how their time stamps are written, and what they mark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.datasets.limits import MOST_STEPS
from vd_forecasting.datasets.timestamps import DatetimeArray, read_clock

_MILLISECONDS = {
    "day": 86_400_000.0,
    "h": 3_600_000.0,
    "min": 60_000.0,
    "s": 1000.0,
    "ms": 1.0,
    "us": 1e-3,
    "ns": 1e-6,
}
_RANGES = {
    "day": (25_569, 73_051),  # 1970 to 2100 in Excel
    "s": (3.2e8, 4.2e9),  # 1980 to 2103
    "ms": (3.2e11, 4.2e12),
    "us": (3.2e14, 4.2e15),
    "ns": (3.2e17, 4.2e18),
}
"""Numbers that are taken for a time of this unit; 20240304 and the like are none of them."""

_DAY_AND_NUMBER = re.compile(r"\d{4}-\d\d-\d\d (\d|\d{3,}|\d+\.\d+)")
_EXCEL = np.datetime64("1899-12-30", "ms")
_DAY_AND_HOUR = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-4])")


@dataclass(frozen=True)
class Clock:
    """How to read time stamps; see :func:`.read_clock` for ``time_format`` and ``timezone``."""

    time_format: str | None = None
    timezone: str | None = None
    time_unit: str | None = None
    """Of stamps that are or end with a number: "day", "h", "min", "s", "ms", "us" or "ns". It
    counts from the midnight of the day written before it; alone, days from 1899-12-30, as Excel
    does, and all else from 1970 in UTC."""
    time_shift: str | None = None
    """Duration to add, such as -15min where stamps mark the end of an interval."""
    start: str | None = None
    interval: str | None = None
    """Of a table whose steps have numbers or nothing: the time of the first, and their distance."""

    def read(
        self, texts: Sequence[str], is_empty: npt.NDArray[np.bool_]
    ) -> tuple[DatetimeArray, str | None, list[str]]:
        """Times, UTC offset and notes, as :func:`.read_clock` gives them."""
        notes, unit = list[str](), self.time_unit
        if unit is not None and unit not in _MILLISECONDS:
            raise ValueError(f"time_unit {unit!r} is not one of {', '.join(_MILLISECONDS)}")
        time_format = self.time_format
        if self.start is not None:
            texts, time_format = self._steps(texts), None
        elif unit is not None:
            texts, time_format = _from_numbers(texts, unit, time_format), None
        elif time_format is None and (unit := _shown_unit(texts)):
            example = next(text for text in texts if text.strip()[:1].isdigit())
            texts = _from_numbers(texts, unit, None)
            meaning = "days as Excel counts them" if unit == "day" else f"{unit} since 1970, in UTC"
            notes.append(
                f"time stamps such as {example!r} are read as {meaning}; set time_unit, "
                "time_format or timezone for another clock"
            )
        elif time_format is None and (odd := next(filter(_DAY_AND_NUMBER.fullmatch, texts), "")):
            raise ValueError(
                f"time stamps such as {odd!r} end with a number; set time_unit to what it counts "
                "from midnight: h, min or s"
            )
        times, offset, found = read_clock(texts, time_format, self.timezone, is_empty)
        if self.time_shift is not None:
            times = times + _duration("time_shift", self.time_shift)
        return times, offset, notes + found

    def _steps(self, texts: Sequence[str]) -> list[str]:
        """Numbers of steps as ISO 8601; the first one is at ``start``."""
        if self.interval is None:
            raise ValueError("start needs interval beside it, such as 5min")
        try:
            start = pd.to_datetime(str(self.start), format="ISO8601")
        except ValueError as error:
            raise ValueError(f"start is {self.start!r}, must be ISO 8601") from error
        numbers = pd.to_numeric(pd.Series(list(texts), dtype=object), errors="coerce")
        steps = numbers - numbers.min()
        span = pd.Timedelta(_duration("interval", self.interval))
        return _iso(start + steps.where(steps < MOST_STEPS) * span)


def _duration(key: str, text: str) -> np.timedelta64:
    try:
        return pd.Timedelta(text).as_unit("ns").to_timedelta64()
    except ValueError as error:
        raise ValueError(f"{key} is {text!r}, must be a duration such as 15min") from error


def _shown_unit(texts: Sequence[str]) -> str | None:
    """The unit of stamps of which most are a number of it."""
    some = [text.strip() for text in texts if text.strip()]
    found = [text for text in some if re.fullmatch(r"[0-9]{5,19}(\.[0-9]+)?", text)]
    if 2 * len(found) <= len(some) or all(map(_DAY_AND_HOUR.fullmatch, found)):
        return None
    numbers = np.array(found, dtype=float)
    for unit, (low, high) in _RANGES.items():
        if 2 * ((numbers >= low) & (numbers < high)).sum() > len(some):
            return unit
    return None


def _from_numbers(texts: Sequence[str], unit: str, time_format: str | None) -> list[str]:
    """Stamps that are a number, or a day and a number, as ISO 8601."""
    parts = pd.Series(list(texts), dtype=object).str.strip().str.rpartition(" ")
    numbers = pd.to_numeric(parts[2], errors="coerce").to_numpy(dtype=float)
    spans = np.round(numbers * _MILLISECONDS[unit])
    spans[~(np.abs(spans) < 1e14)] = np.nan
    since = pd.Series(pd.to_timedelta(spans, unit="ms"))
    if parts[0].any():
        days, _, _ = read_clock(parts[0].tolist(), time_format, None)
        return _iso(pd.Series(days) + since)
    low, high = _RANGES.get(unit, (0, np.inf))
    since = since.where((numbers >= low) & (numbers < high))
    if unit == "day":
        return _iso((since + _EXCEL).dt.round("s"))
    return [f"{text}Z" if text else "" for text in _iso(since + np.datetime64(0, "ms"))]


def _iso(times: "pd.Series[pd.Timestamp]") -> list[str]:
    return ["" if pd.isna(time) else time.isoformat() for time in times]
