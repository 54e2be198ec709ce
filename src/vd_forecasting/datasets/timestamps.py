"""ISO 8601 time stamps as text, and back: real files mix offsets, blanks and garbage."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

DatetimeArray = npt.NDArray[np.datetime64]

# The range of 64-bit nanoseconds, less a year for offsets.
_EARLIEST = np.datetime64("1679-01-01", "s")
_LATEST = np.datetime64("2261-01-01", "s")
_YEARS = (np.datetime64("1900-01-01"), np.datetime64("2200-01-01"))
_HOUR_24 = re.compile(r"(?:^|(?<=[T ]))24(?=:?00(?::?00)?(?:[.,]0+)?(?!\d))")


def parse_timestamps(texts: Iterable[str]) -> tuple[DatetimeArray, str | None]:
    """Parse T strings into naive local ``datetime64[ns]``, and name the UTC offset of that clock.

    Stamps with an offset are all put on the clock of the first usable one among them, so that a
    switch to or from daylight-saving time makes neither gaps nor duplicates; stamps without one
    are taken to be on that clock already. Blank stamps and those not in ISO 8601 become NaT. The
    offset is such as ``"+08:00"``; None where no stamp has one.
    """
    stamps = np.array([text.strip() for text in texts], dtype=object)
    times, in_utc = _parse(stamps)
    parsed = np.flatnonzero(~np.isnat(in_utc))
    if parsed.size == 0:
        return times, None
    first = pd.to_datetime(_HOUR_24.sub("00", stamps[parsed[0]]), format="ISO8601")
    offset = first.utcoffset() or timedelta(0)
    times[parsed] = in_utc[parsed] + np.timedelta64(offset)
    return times, _iso(offset)


def format_timestamps(times: DatetimeArray, utc_offset: str | None) -> npt.NDArray[np.bytes_]:
    """Format ``times`` [T] as ISO 8601 with ``utc_offset`` appended; NaT becomes blank.

    Whole seconds are written as such, finer stamps with as many decimals as they all need.
    """
    present = times[~np.isnat(times)]
    unit = next(
        unit for unit in ("s", "ms", "us", "ns") if (present.astype(f"M8[{unit}]") == present).all()
    )
    texts = np.datetime_as_string(times.astype(f"M8[{unit}]")).astype("S")
    stamps: npt.NDArray[np.bytes_] = np.char.add(texts, (utc_offset or "").encode())
    stamps[np.isnat(times)] = b""
    return stamps


def _parse(stamps: npt.NDArray[np.object_]) -> list[DatetimeArray]:
    """The times, [T] each, of stamps that name no UTC offset, and those in UTC of the others."""
    clocks = [stamp[10:] for stamp in stamps]  # what follows YYYY-MM-DD
    aware = np.array(["+" in c or "-" in c or c[-1:] in ("Z", "z") for c in clocks], dtype=bool)
    # pandas would take "now" and "today" for dates
    usable = np.array([stamp[:1].isdigit() for stamp in stamps], dtype=bool)
    stamps, is_late = _without_hour_24(stamps, _HOUR_24)
    found = []
    for utc, wanted in ((False, usable & ~aware), (True, usable & aware)):
        parsed = pd.to_datetime(stamps[wanted], format="ISO8601", errors="coerce", utc=utc)
        some: DatetimeArray = parsed.tz_localize(None).to_numpy().copy()
        # pandas 3 parses to microseconds, which reach further than nanoseconds
        some[(some < _EARLIEST) | (some > _LATEST)] = np.datetime64("NaT", "ns")
        times = np.full(len(stamps), np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
        times[wanted] = some
        times[is_late] += np.timedelta64(1, "D")
        found.append(times)
    return found


def _without_hour_24(
    stamps: npt.NDArray[np.object_], hour_24: re.Pattern[str]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
    """The stamps with 24:00 as 00:00, and where that stood: a day is to be added there."""
    is_late = np.array(["24" in stamp and bool(hour_24.search(stamp)) for stamp in stamps], bool)
    if is_late.any():
        stamps = stamps.copy()
        stamps[is_late] = [hour_24.sub("00", stamp) for stamp in stamps[is_late]]
    return stamps, is_late


def _iso(offset: timedelta) -> str:
    """An offset as ISO 8601 writes it, such as ``"+08:00"``."""
    minutes = round(offset.total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def read_clock(
    texts: Sequence[str],
    time_format: str | None,
    timezone: str | None,
    is_empty: npt.NDArray[np.bool_] | None = None,
) -> tuple[DatetimeArray, str | None, list[str]]:
    """Parse T time stamps, in ISO 8601 or a ``time_format`` of ``strptime``.

    ``timezone`` is the zone of stamps without an offset, such as ``Asia/Taipei``. All stamps are
    put on the offset this zone has at the first of them, so that daylight-saving time makes neither
    gaps nor duplicates. A stamp of the hour that is repeated in autumn is known where it comes
    twice: the first is summer time. A clock that runs through the hour that is skipped in spring,
    with values (not ``is_empty``), has standard time all year. None takes stamps without an offset
    as they are. If the zone or the format is unknown, or no stamp is usable, a ValueError.

    Returns:
        Naive local ``datetime64[ns]`` [T], NaT where that is impossible; the UTC offset of their
        clock (None if unknown); notes on stamps that were left out.
    """
    if time_format is not None:
        texts = _as_iso(texts, time_format)
    notes = list[str]()
    if timezone is None:
        times, offset = parse_timestamps(texts)
    else:
        times, offset, notes = _in_zone(texts, timezone, is_empty)
    # 0001-01-01 and the like stand for unknown, and would make a grid of millions of steps
    times[(times < _YEARS[0]) | (times > _YEARS[1])] = np.datetime64("NaT", "ns")
    if len(texts) and np.isnat(times).all() and not notes:
        example = next((text for text in texts if text.strip()), "")
        hint = (
            f"of the form {time_format!r}"
            if time_format
            else "ISO 8601; set time_format, or time_unit for numbers"
        )
        raise ValueError(f"none of its {len(texts)} time stamps, such as {example!r}, is {hint}")
    return times, offset, notes


def _as_iso(texts: Sequence[str], time_format: str) -> list[str]:
    """The stamps as ISO 8601, "" where they have another form."""
    parse: Callable[[Any], Any] = partial(pd.to_datetime, format=time_format, errors="coerce")
    hour_24 = re.compile(r"(?:^|(?<=\s))24$") if time_format.endswith("%H") else _HOUR_24
    stripped = np.array([text.strip() for text in texts], dtype=object)
    stamps, is_late = _without_hour_24(stripped, hour_24)
    try:
        # pandas refuses several offsets in one column
        parsed = [*map(parse, stamps)] if "%z" in time_format else parse(pd.Series(stamps))
        day, none = timedelta(days=1), timedelta(0)
        moved = (
            stamp + (day if late else none) for stamp, late in zip(parsed, is_late, strict=True)
        )
        return ["" if pd.isna(stamp) else stamp.isoformat() for stamp in moved]
    except ValueError as error:
        raise ValueError(f"time_format {time_format!r}: {error}") from error


def on_clock_of(zone: tzinfo, in_utc: DatetimeArray) -> tuple[DatetimeArray, str | None]:
    """Times in UTC [T] on the offset that a zone has at the first of them, and this offset."""
    usable = np.flatnonzero(~np.isnat(in_utc))
    if usable.size == 0:
        return in_utc, None
    first = pd.Timestamp(in_utc[usable[0]], tz="UTC").tz_convert(zone).utcoffset() or timedelta(0)
    return in_utc + np.timedelta64(first), _iso(first)


def _in_zone(
    texts: Sequence[str], timezone: str, is_empty: npt.NDArray[np.bool_] | None
) -> tuple[DatetimeArray, str | None, list[str]]:
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"timezone {timezone!r} is not known; one such as Asia/Taipei is"
        ) from error
    naive, in_utc = _parse(np.array([text.strip() for text in texts], dtype=object))
    has_values = np.full(len(naive), True) if is_empty is None else ~is_empty
    from_zone, notes = _from_zone(pd.DatetimeIndex(naive), zone, has_values)
    return *on_clock_of(zone, np.where(np.isnat(in_utc), from_zone, in_utc)), notes


def _from_zone(
    local: pd.DatetimeIndex, zone: ZoneInfo, has_values: npt.NDArray[np.bool_]
) -> tuple[DatetimeArray, list[str]]:
    """The times of a zone in UTC, NaT where they are ambiguous; notes on these and the like."""
    hour = np.timedelta64(1, "h")
    first = ~local.duplicated()
    is_pair = pd.Series(first).groupby(local).transform("size").to_numpy() == 2
    placed, paired = (
        local.tz_localize(zone, ambiguous=rule, nonexistent="NaT")
        .tz_convert("UTC")
        .tz_localize(None)
        .to_numpy()
        for rule in ("NaT", first)
    )
    skipped = local[np.isnat(paired) & local.notna() & has_values]
    if len(skipped) and (skipped - hour).isin(local).all() and (skipped + hour).isin(local).all():
        start = local.min().tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
        standard = (start.utcoffset() or timedelta(0)) - (start.dst() or timedelta(0))
        return (local - standard).to_numpy(), [
            f"time stamps run through the hour that daylight-saving time in {zone.key} skips, such "
            f"as {skipped[0].isoformat()}, so all are read as standard time, {_iso(standard)}"
        ]
    is_pair &= np.isnat(placed) & ~np.isnat(paired)
    from_zone = np.where(is_pair, paired, placed)
    lost = int((np.isnat(from_zone) & local.notna()).sum())
    notes = []
    if lost:
        notes.append(
            f"{lost:,} time stamps lie in an hour that daylight-saving time in {zone.key} "
            "skips or repeats, so they are ambiguous; left out"
        )
    if is_pair.any():
        notes.append(
            f"{is_pair.sum() // 2:,} time stamps of an hour that {zone.key} repeats, such as "
            f"{local[is_pair][0].isoformat()}, come twice; the first is taken for summer time"
        )
    return from_zone, notes
