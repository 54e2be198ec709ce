"""Numbers, durations, names, comparisons and errors in words, in the language spoken.

Three kinds of durations: :func:`in_words` is exact (an interval, a gap), :func:`duration` rounds
what a clock measured, :func:`lead_time` says in one unit how far ahead a forecast reaches.
"""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import TypeGuard

import numpy as np

from vd_forecasting.language import ENGLISH, filled_in, marked, say, say_many, speaking
from vd_forecasting.vocabulary import KNOWN_FEATURES

PRACTICALLY_EQUAL = 0.01
"""Relative differences of errors below this are called practically equal."""

NOTHING = "–"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether a metric is defined: neither null nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """Three significant digits: ``2.31``, ``14.5``, ``1,234``; a dash where undefined."""
    if not is_number(value):
        return NOTHING
    if abs(value) < 0.001:
        return f"{value:.2g}".replace("-", "−")
    # The exponent of the rounded value, so that 9.999 becomes 10.0 and not 10.00.
    exponent = int(f"{value:.2e}".split("e")[1])
    return f"{value:,.{max(2 - exponent, 0)}f}".replace("-", "−")


def count(value: int) -> str:
    """``1,234,567``."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """``1 window``, ``1,234 windows``."""
    return say_many(f"{{number}} {noun}", f"{{number}} {noun}s", value, number=count(value))


def noun(word: str) -> str:
    """A noun that :func:`plural` counts elsewhere, marked so that it is found."""
    return word


def percent(share: float | None, *, signed: bool = False) -> str:
    """``3.1 %``, or with its sign ``−3.1 %``; a dash where undefined."""
    if not is_number(share):
        return NOTHING
    value = 100 * share
    text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}"
    if float(text) == 0:
        text = text.lstrip("-")
    elif signed and value > 0:
        text = f"+{text}"
    return say("{number} %", number=text.replace("-", "−"))


def share(value: float) -> str:
    """A part of a whole, ``3.1 %``, ``50 %``; never rounded to all or nothing, ``>99.9 %``."""
    if 0 < value < 0.0005:
        return say("{number} %", number="<0.1")
    if 0.9995 <= value < 1:
        return say("{number} %", number=">99.9")
    return say("{number} %", number=f"{100 * value:.1f}".removesuffix(".0"))


def level(value: float) -> str:
    """A share that somebody chose, with all its digits: ``95 %``, ``99.5 %``."""
    return say("{number} %", number=f"{100 * value:g}")


def duration(seconds: float) -> str:
    """``0.42 s``, ``12 s``, ``3 min 20 s``, ``1 h 5 min``, ``2 days 3 h``."""
    if seconds < 9.95:
        return say("{number} s", number=number(seconds))
    grain = 1 if seconds < 3599.5 else 60 if seconds < 86_370 else 3600
    return in_words(np.timedelta64(round(seconds / grain) * grain, "s"))


def in_words(span: np.timedelta64) -> str:
    """A span in its two leading units: ``2 days 3 h``, ``1 h 30 min``, ``5 min``, ``20 s``."""
    left = int(span.astype("timedelta64[ns]").astype(np.int64))
    parts: list[str] = []
    for size in (86_400, 3600, 60):
        whole, left = divmod(left, size * 10**9)
        if whole and size == 86_400:
            parts.append(plural(whole, "day"))
        elif whole:
            message = say("{number} h") if size == 3600 else say("{number} min")
            parts.append(filled_in(message, number=count(whole)))
    if left or not parts:
        parts.append(say("{number} s", number=f"{left / 1e9:g}"))
    return " ".join(parts[:2])


def per_words(span: np.timedelta64) -> str:
    """A span as it stands after "per": ``min``, ``5 min``, ``1 h 30 min``."""
    words = in_words(span)
    return words.removeprefix("1 ") if words.count(" ") == 1 else words


def day(time: np.datetime64) -> str:
    """``2026-03-24``."""
    return str(time)[:10]


def time_stamp(time: np.datetime64, interval: np.timedelta64) -> str:
    """``2024-03-04 08:05``; with seconds only on a grid that needs them."""
    whole_minutes = interval % np.timedelta64(1, "m") == np.timedelta64(0, "ns")
    return str(np.datetime_as_string(time, unit="m" if whole_minutes else "s")).replace("T", " ")


def megabytes(size: int) -> str:
    """``12.3 MB``."""
    return quantity(size / 1e6, "MB")


def lead_time(minutes: float) -> str:
    """How far ahead: ``30 s``, ``60 min``, ``2.5 h``."""
    if minutes < 1:
        return say("{number} s", number=f"{60 * minutes:g}")
    if minutes <= 120:
        return say("{number} min", number=f"{minutes:g}")
    return say("{number} h", number=f"{minutes / 60:.3g}")


def ahead(horizon: int, interval_minutes: float) -> str:
    """``60 min ahead (step 12)``."""
    return say(
        "{time} ahead (step {step})", time=lead_time(horizon * interval_minutes), step=horizon
    )


def ahead_ranges(horizons: Iterable[int], interval_minutes: float) -> str:
    """Horizons with neighbours joined: ``5 to 15 min ahead (steps 1 to 3)``."""
    texts = []
    for _, pairs in groupby(enumerate(sorted(horizons)), key=lambda pair: pair[1] - pair[0]):
        steps = [step for _, step in pairs]
        text = ahead(steps[-1], interval_minutes)
        if len(steps) > 1:
            first, last = (lead_time(step * interval_minutes) for step in (steps[0], steps[-1]))
            unit = last.lstrip("0123456789.,")  # with the space before it, if the language has one
            first = first.removesuffix(unit)
            text = say(
                "{first} to {last} ahead (steps {step} to {last_step})",
                first=first,
                last=last,
                step=steps[0],
                last_step=steps[-1],
            )
        texts.append(text)
    return listed(texts)


def shown_horizons(horizons: int) -> list[int]:
    """The few horizons that tables show, the last one among them."""
    return sorted({*(step for step in (1, 3, 6, 12) if step <= horizons), horizons})


def listed(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *others, last = [*items] or [""]
    return say("{items} and {last}", items=enumerated(others), last=last) if others else last


def enumerated(items: Iterable[str]) -> str:
    """``a, b, c``."""
    return say(", ").join(items)


def span(first: object, last: object) -> str:
    """From one to another: ``1.2 to 4.9``."""
    return say("{first} to {last}", first=first, last=last)


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)
"""What tables show of many values."""


def quantile_name(share: float) -> str:
    """``lowest``, ``5 %``, ``median``, ``highest``."""
    names = {0.0: say("lowest"), 0.5: say("median"), 1.0: say("highest")}
    return names.get(share) or level(share)


def first_few(names: Sequence[str], most: int = 10) -> list[str]:
    """The first names and, in the place of the others, how many these are: ``12 more``."""
    more = len(names) - most
    return [*names[:most], *([say("{number} more", number=count(more))] if more > 0 else [])]


def quoted(names: Sequence[str], most: int = 10) -> str:
    """``'a', 'b' and 3 more``: the first names, and how many others there are."""
    text = ", ".join(repr(name) for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


def without_controls(text: str) -> str:
    """Text whose control characters, also those that turn its direction, are spaces."""
    return _CONTROL.sub(" ", text)


def in_one_line(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join(without_controls(text).split())


def shortened(text: str, most: int = 300) -> str:
    """A line without its middle if it is too long: the end says what to do."""
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 3]} … {text[-end:]}"


def nearest(name: str, known: Iterable[str], *, similarity: float = 0.0) -> str:
    """The known name most like an unknown one; "" if none has this similarity, from 0 to 1."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=similarity)), "")


def one_line(error: BaseException) -> str:
    """The message of an error on one line; its type if it has none."""
    return in_one_line(str(error)) or type(error).__name__


def with_cause(error: BaseException) -> str:
    """The message of an error and that of its cause, on one line."""
    return ": ".join(one_line(of) for of in (error, error.__cause__) if of)


def first_line(error: BaseException) -> str:
    """The first line of the message of an error; its type if it has none."""
    return in_one_line(next(iter(str(error).splitlines()), "")) or type(error).__name__


def unit_per_interval(unit: str, interval_minutes: float) -> str:
    """``veh/interval`` with the interval put in, in English: ``veh/5 min``."""
    with speaking(ENGLISH):
        return unit.replace("/interval", f"/{lead_time(interval_minutes)}")


_UNITS = (
    *(marked("km/h"), marked("mph"), marked("lanes"), marked("veh"), marked("ms")),
    *(marked("veh/interval"), marked("veh/h"), marked("veh/min")),
)
_PER_TIME = re.compile(r"veh/([\d.]+) (s|min|h)")


def unit_in_words(unit: str) -> str:
    """A unit as it is written in the language spoken; an unknown one as it is."""
    if unit in _UNITS:
        return say(unit)
    if found := _PER_TIME.fullmatch(unit):
        times = {"s": say("{number} s"), "min": say("{number} min"), "h": say("{number} h")}
        return say("veh/{time}", time=filled_in(times[found[2]], number=found[1]))
    return unit


def feature_name(feature: str) -> str:
    """What the language spoken calls a feature, in English as the file does; an unknown one as it
    is."""
    return say(feature) if feature in KNOWN_FEATURES else feature


def with_unit(feature: str, unit: str) -> str:
    """``avg_speed (km/h)``, or the name alone where the unit is unknown."""
    name = feature_name(feature)
    return say("{name} ({unit})", name=name, unit=unit_in_words(unit)) if unit else name


def quantity(value: float | None, unit: str) -> str:
    """``2.31 km/h``."""
    if unit == "%":
        return say("{number} %", number=number(value))
    return f"{number(value)} {unit_in_words(unit)}".rstrip()


WEEKDAYS = (
    *(marked("Monday"), marked("Tuesday"), marked("Wednesday"), marked("Thursday")),
    *(marked("Friday"), marked("Saturday"), marked("Sunday")),
)
_WEEKDAYS_IN_SHORT = (
    *(marked("Mon"), marked("Tue"), marked("Wed"), marked("Thu")),
    *(marked("Fri"), marked("Sat"), marked("Sun")),
)


def weekday(time: datetime) -> str:
    """``Monday, 2026-03-23``."""
    return say("{weekday}, {date}", weekday=say(WEEKDAYS[time.weekday()]), date=f"{time:%Y-%m-%d}")


def weekday_in_short(time: datetime) -> str:
    """``Mon 2026-03-23``."""
    name = say(_WEEKDAYS_IN_SHORT[time.weekday()])
    return say("{weekday} {date}", weekday=name, date=f"{time:%Y-%m-%d}")


def month_and_day(time: datetime) -> str:
    """``Mar 24``."""
    return time.strftime(say("%b %d"))


def change(error: float | None, reference: float | None) -> float:
    """Relative difference of an error from a reference; NaN where either is undefined.

    Two zeros are equal; against a reference of zero, or next to it, any other error is infinitely
    larger.
    """
    if not is_number(error) or not is_number(reference):
        return math.nan
    if reference == 0:
        return 0.0 if error == 0 else math.inf
    return float(error) / float(reference) - 1  # NumPy's would warn of infinity


def is_better(error: float | None, reference: float | None) -> bool:
    """Lower by more than what is called practically equal."""
    return change(error, reference) <= -PRACTICALLY_EQUAL


def is_worse(error: float | None, reference: float | None) -> bool:
    """Higher by more than what is called practically equal."""
    return change(error, reference) >= PRACTICALLY_EQUAL


def compared(error: float | None, reference: float | None, whose: str) -> str:
    """``3.1 % lower than LSTM's``, ``practically equal to LSTM's``."""
    difference = change(error, reference)
    if math.isnan(difference):
        return say("not comparable with {whose}", whose=whose)
    if math.isinf(difference):
        return say("higher than {whose}, which is zero", whose=whose)
    if abs(difference) < PRACTICALLY_EQUAL:
        return say("practically equal to {whose}", whose=whose)
    size = percent(abs(difference))
    if difference < 0:
        return say("{percent} lower than {whose}", percent=size, whose=whose)
    return say("{percent} higher than {whose}", percent=size, whose=whose)
