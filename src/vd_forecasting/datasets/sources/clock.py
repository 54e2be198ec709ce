"""Time stamps of tables as times on one clock without jumps."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from vd_forecasting.datasets.timestamps import (
    DatetimeArray,
    format_offset,
    has_offset,
    parse_timestamps,
)

_YEARS = (np.datetime64("1900-01-01"), np.datetime64("2200-01-01"))


def read_clock(
    texts: Sequence[str], time_format: str | None, timezone: str | None
) -> tuple[DatetimeArray, str | None, list[str]]:
    """Parse T time stamps, in ISO 8601 or a ``time_format`` of ``strptime``.

    ``timezone`` is the zone of stamps without an offset, such as ``Asia/Taipei``. All stamps are
    put on the offset this zone has at the first of them, so that daylight-saving time makes neither
    gaps nor duplicates. None takes stamps without an offset as they are.

    Returns:
        Naive local ``datetime64[ns]`` [T], NaT where that is impossible; the UTC offset of their
        clock (None if unknown); notes on stamps that were left out.

    Raises:
        ValueError: the zone or the format is unknown, or no stamp is usable.
    """
    if time_format is not None:
        texts = _as_iso(texts, time_format)
    notes = []
    if timezone is None:
        times, offset = parse_timestamps(texts)
    else:
        times, offset, lost = _in_zone(texts, timezone)
        if lost:
            notes.append(
                f"{lost:,} time stamps lie in an hour that daylight-saving time in {timezone} "
                "skips or repeats, so they are ambiguous; left out"
            )
    # 0001-01-01 and the like stand for unknown, and would make a grid of millions of steps
    times[(times < _YEARS[0]) | (times > _YEARS[1])] = np.datetime64("NaT")
    if len(texts) and np.isnat(times).all() and not notes:
        example = next((text for text in texts if text.strip()), "")
        hint = f"of the form {time_format!r}" if time_format else "ISO 8601; set time_format"
        raise ValueError(f"none of its {len(texts)} time stamps, such as {example!r}, is {hint}")
    return times, offset, notes


def _as_iso(texts: Sequence[str], time_format: str) -> list[str]:
    """The stamps as ISO 8601, "" where they have another form."""
    parse: Callable[[Any], Any] = partial(pd.to_datetime, format=time_format, errors="coerce")
    stamps = pd.Series(list(texts), dtype=object).str.strip()
    try:
        # pandas refuses several offsets in one column
        parsed = map(parse, stamps) if "%z" in time_format else parse(stamps)
        return ["" if pd.isna(stamp) else stamp.isoformat() for stamp in parsed]
    except ValueError as error:
        raise ValueError(f"time_format {time_format!r}: {error}") from error


def _in_zone(texts: Sequence[str], timezone: str) -> tuple[DatetimeArray, str | None, int]:
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"timezone {timezone!r} is not known; one such as Asia/Taipei is"
        ) from error
    aware = np.array([has_offset(text.strip()) for text in texts], dtype=bool)
    stamps = np.array(list(texts), dtype=object)
    in_utc = np.full(len(stamps), np.datetime64("NaT"), dtype="datetime64[ns]")

    naive, _ = parse_timestamps(stamps[~aware])
    local = pd.DatetimeIndex(naive).tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    in_utc[~aware] = local.tz_convert("UTC").tz_localize(None).to_numpy()
    lost = int((np.isnat(in_utc[~aware]) & ~np.isnat(naive)).sum())

    shifted, offset = parse_timestamps(stamps[aware])
    if offset is not None:
        in_utc[aware] = shifted - np.timedelta64(
            datetime.strptime(offset, "%z").utcoffset() or timedelta(0)
        )

    usable = np.flatnonzero(~np.isnat(in_utc))
    if usable.size == 0:
        return in_utc, None, lost
    first = pd.Timestamp(in_utc[usable[0]], tz="UTC").tz_convert(zone).utcoffset() or timedelta(0)
    in_utc += np.timedelta64(first)
    return in_utc, format_offset(first), lost
