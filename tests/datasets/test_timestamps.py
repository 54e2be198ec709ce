"""Time stamps as text and back."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vd_forecasting.datasets.timestamps import format_timestamps, parse_timestamps

NAT = np.datetime64("NaT", "ns")


def as_ns(*stamps: str) -> np.ndarray:
    return np.array(stamps, dtype="datetime64[ns]")


def test_stamps_without_offset_are_kept_as_they_are() -> None:
    times, offset = parse_timestamps(["2015-01-01T00:00:00", "2015-01-01 00:05", "20150101T001000"])
    assert offset is None
    np.testing.assert_array_equal(
        times, as_ns("2015-01-01T00:00", "2015-01-01T00:05", "2015-01-01T00:10")
    )


@pytest.mark.parametrize(
    ("suffix", "named"),
    [("+08:00", "+08:00"), ("+0800", "+08:00"), ("-03:30", "-03:30"), ("Z", "+00:00")],
)
def test_an_offset_is_dropped_and_named(suffix: str, named: str) -> None:
    times, offset = parse_timestamps(["", f"2015-03-02T07:30:00{suffix}"])
    assert offset == named
    np.testing.assert_array_equal(times, as_ns("NaT", "2015-03-02T07:30"))


def test_a_daylight_saving_switch_makes_neither_gap_nor_duplicate() -> None:
    # Berlin, 2024-10-27: 02:30 summer time is followed, an hour later, by 02:30 winter time
    times, offset = parse_timestamps(
        [
            "2024-10-27T01:30:00+02:00",
            "2024-10-27T02:30:00+02:00",
            "2024-10-27T02:30:00+01:00",
            "2024-10-27T03:30:00+01:00",
        ]
    )
    assert offset == "+02:00"
    assert (np.diff(times) == np.timedelta64(1, "h")).all()
    assert times[0] == np.datetime64("2024-10-27T01:30")


def test_stamps_without_offset_among_others_are_on_the_same_clock() -> None:
    times, offset = parse_timestamps(
        ["2015-01-01T10:00:00", "2015-01-01T10:05:00+08:00", "2015-01-01T02:10:00Z"]
    )
    assert offset == "+08:00"
    np.testing.assert_array_equal(
        times, as_ns("2015-01-01T10:00", "2015-01-01T10:05", "2015-01-01T10:10")
    )


@pytest.mark.parametrize(
    "unusable",
    [
        *("", "   ", "None", "NaT", "nan", "now", "today", "garbage", "-99"),
        *("2015-13-01T00:00:00", "2015-02-30", "2015-01-01T25:00:00"),
        *("9999-12-31T00:00:00", "0001-01-01T00:00:00+08:00"),  # beyond 64-bit nanoseconds
    ],
)
def test_what_is_blank_or_not_iso_8601_becomes_nat(unusable: str) -> None:
    times, offset = parse_timestamps([unusable, "2015-01-01T00:00:00+08:00", unusable])
    assert offset == "+08:00"
    np.testing.assert_array_equal(times, as_ns("NaT", "2015-01-01", "NaT"))


def test_nothing_usable_gives_only_nat() -> None:
    times, offset = parse_timestamps(["", "None"])
    assert offset is None
    assert np.isnat(times).all()


def test_fractions_of_a_second_survive() -> None:
    times, _ = parse_timestamps(["2015-01-01T00:00:00.5", "2015-01-01T00:00:00.123456789"])
    np.testing.assert_array_equal(
        times, as_ns("2015-01-01T00:00:00.5", "2015-01-01T00:00:00.123456789")
    )
    np.testing.assert_array_equal(
        format_timestamps(times, None),
        [b"2015-01-01T00:00:00.500000000", b"2015-01-01T00:00:00.123456789"],
    )


def test_whole_seconds_are_formatted_without_decimals_and_nat_as_blank() -> None:
    texts = format_timestamps(as_ns("2015-01-01T00:01", "NaT"), "+08:00")
    assert texts.tolist() == [b"2015-01-01T00:01:00+08:00", b""]


@given(
    st.lists(st.none() | st.integers(-(8 * 10**18), 8 * 10**18), min_size=1),
    st.none() | st.integers(-14 * 60, 14 * 60),
)
def test_round_trip(nanoseconds: list[int | None], offset_minutes: int | None) -> None:
    times = np.array(
        [NAT if n is None else np.datetime64(n, "ns") for n in nanoseconds], dtype="M8[ns]"
    )
    offset = None
    if offset_minutes is not None:
        sign = "-" if offset_minutes < 0 else "+"
        offset = f"{sign}{abs(offset_minutes) // 60:02d}:{abs(offset_minutes) % 60:02d}"
    again, named = parse_timestamps([t.decode() for t in format_timestamps(times, offset)])
    np.testing.assert_array_equal(again, times)
    assert named == (None if np.isnat(times).all() else offset)


def test_a_year_of_minutes_parses_in_seconds() -> None:
    minutes = np.arange("2015-01-01T00:00", "2016-01-01T00:00", dtype="M8[m]")
    texts = [t.decode() for t in format_timestamps(minutes.astype("M8[ns]"), "+08:00")]
    start = time.perf_counter()
    times, _ = parse_timestamps(texts)
    assert time.perf_counter() - start < 10  # about 0.5 s on an idle machine
    np.testing.assert_array_equal(times, minutes)
