"""Times as whole minutes since 1970 on one clock, from records and from file names."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
# The last one in a path counts: 2024/20240304/VDLive_0512.xml.gz, 2024-03-04_05-12-00/VDLive.json
_DATE = re.compile(r"(?<!\d)(20\d\d)[-_]?([01]\d)[-_]?([0-3]\d)(?!\d)", re.ASCII)
_CLOCK_OF_FOLDER = re.compile(r"\d[_T]([0-2]\d)-?([0-5]\d)-?[0-5]\d(?!\d)[^/]*/[^/]*$", re.ASCII)
_CLOCK_OF_FILE = re.compile(r"_([0-2]\d)([0-5]\d)\.[^/]*$", re.ASCII)
_YEARS = range(1980, 2200)


def parse_offset(text: str) -> int:
    """Minutes east of UTC of an offset such as ``+08:00``; a ValueError if it is none."""
    found = re.fullmatch(r"([+-])(\d\d):?([0-5]\d)", text, re.ASCII)
    if not found or int(found[2]) > 14:
        raise ValueError(f"utc_offset is {text!r}, must be one such as +08:00")
    minutes = 60 * int(found[2]) + int(found[3])
    return -minutes if found[1] == "-" else minutes


@lru_cache(maxsize=2**14)
def minute_of_record(text: str, offset: int) -> int | None:
    """The minute a record was collected in; None if its time stamp is unusable.

    A stamp in ISO 8601 without an offset is on the clock already, ``offset`` minutes east of UTC.
    """
    found = _STAMP.fullmatch(text.strip())
    if not found:
        return None
    try:
        minute = _since_epoch(datetime.fromisoformat(f"{found[1]}T{found[2]}"))
        if minute is None or found[3] is None:
            return minute
        return minute + offset - (0 if found[3] == "Z" else parse_offset(found[3]))
    except ValueError:
        return None


def minute_of_file(path: str) -> int | None:
    """The minute in the names of a file and its folders; None if there is none."""
    dates = _DATE.findall(path)
    clock = _CLOCK_OF_FILE.search(path) or _CLOCK_OF_FOLDER.search(path)
    if not dates or not clock:
        return None
    year, month, day = (int(part) for part in dates[-1])
    try:
        return _since_epoch(datetime(year, month, day, int(clock[1]), int(clock[2])))
    except ValueError:
        return None


def _since_epoch(time: datetime) -> int | None:
    return (time - datetime(1970, 1, 1)) // timedelta(minutes=1) if time.year in _YEARS else None
