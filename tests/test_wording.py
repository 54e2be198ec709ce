"""Numbers, times and comparisons in words."""

import math
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vd_forecasting import wording
from vd_forecasting.language import speaking
from vd_forecasting.rendering.markdown import code, table

positive = st.floats(min_value=1e-6, max_value=1e9)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.3149, "2.31"),
        (9.999, "10.0"),
        (14.46, "14.5"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (0.05678, "0.0568"),
        (0.00001234, "1.2e−05"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert wording.number(value) == text


@given(positive)
def test_a_number_in_words_is_within_half_a_percent(value: float) -> None:
    text = wording.number(value).replace(",", "").replace("−", "-")
    assert float(text) == pytest.approx(value, rel=0.05 if value < 0.001 else 0.0051)


@pytest.mark.parametrize(
    ("share", "signed", "text"),
    [
        (0.0312, False, "3.1 %"),
        (0.0312, True, "+3.1 %"),
        (-0.0312, True, "−3.1 %"),
        (-0.0004, True, "0.0 %"),
        (2.5, True, "+250 %"),
        (math.nan, True, "–"),
        (None, False, "–"),
    ],
)
def test_percent(share: float | None, signed: bool, text: str) -> None:
    assert wording.percent(share, signed=signed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.420 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (3900, "1 h 5 min"),
        (86_380, "1 day"),
        (180_000, "2 days 2 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (0.0004, "<0.1 %"),
        (0.5, "50 %"),
        (0.9994, "99.9 %"),
        (0.9996, ">99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(value: float, text: str) -> None:
    assert wording.share(value) == text


def test_time_stamps_show_seconds_only_where_the_grid_has_them() -> None:
    time = np.datetime64("2024-03-04T08:05:30", "ns")
    assert wording.time_stamp(time, np.timedelta64(5, "m")) == "2024-03-04 08:05"
    assert wording.time_stamp(time, np.timedelta64(30, "s")) == "2024-03-04 08:05:30"


def test_names_are_quoted_and_counted() -> None:
    assert wording.quoted(["a", "b"]) == "'a', 'b'"
    assert wording.quoted(["a", "b", "c"], most=1) == "'a' and 2 more"
    assert wording.nearest("avg_sped", ["total_volume", "avg_speed"]) == "avg_speed"
    assert wording.nearest("x", ["total_volume"]) == "total_volume"
    assert wording.nearest("x", ["total_volume"], similarity=0.6) == ""


def test_the_message_of_an_error_becomes_one_line() -> None:
    assert wording.one_line(ValueError("a\n  b")) == "a b"
    assert wording.first_line(ValueError("a\n  b")) == "a"
    assert wording.one_line(KeyError()) == wording.first_line(KeyError()) == "KeyError"


@given(st.floats(min_value=0, max_value=5e6))
def test_a_duration_never_has_sixty_of_anything(seconds: float) -> None:
    words = wording.duration(seconds).split()
    assert "60" not in words
    assert "24 h" not in " ".join(words)
    assert "days" not in words or words[0] != "1"


def test_physical_time_stands_beside_steps() -> None:
    assert wording.ahead(12, 5.0) == "60 min ahead (step 12)"
    assert wording.ahead(1, 0.5) == "30 s ahead (step 1)"
    assert wording.ahead(48, 15.0) == "12 h ahead (step 48)"
    assert wording.ahead_ranges([4, 1, 2, 12], 5.0) == (
        "5 to 10 min ahead (steps 1 to 2), 20 min ahead (step 4) and 60 min ahead (step 12)"
    )
    assert wording.ahead_ranges([23, 24, 25], 5.0) == "115 min to 2.08 h ahead (steps 23 to 25)"


def test_the_interval_is_put_into_the_unit() -> None:
    assert wording.unit_per_interval("veh/interval", 5.0) == "veh/5 min"
    assert wording.unit_per_interval("km/h", 5.0) == "km/h"
    assert wording.with_unit("avg_speed", "") == "avg_speed"


@given(st.integers(min_value=1, max_value=200))
def test_tables_show_few_horizons_and_always_the_last(horizons: int) -> None:
    shown = wording.shown_horizons(horizons)
    assert shown[-1] == horizons
    assert shown == sorted(set(shown))
    assert set(shown) <= {1, 3, 6, 12, horizons}
    assert {1, 3, 6, 12} & set(range(1, horizons + 1)) <= set(shown)


@given(positive, positive)
def test_better_and_worse_exclude_each_other_and_mirror(one: float, other: float) -> None:
    assert not (wording.is_better(one, other) and wording.is_worse(one, other))
    if wording.is_better(one, other):
        assert "lower" in wording.compared(one, other, "it")
        assert wording.is_worse(other, one)
    equal = "practically equal" in wording.compared(one, other, "it")
    assert equal == (not wording.is_better(one, other) and not wording.is_worse(one, other))


def test_comparisons_with_zero_and_nothing() -> None:
    assert wording.compared(0.0, 0.0, "its") == "practically equal to its"
    assert wording.compared(1.0, 0.0, "its") == "higher than its, which is zero"
    assert wording.compared(None, 1.0, "its") == "not comparable with its"
    assert wording.compared(0.969, 1.0, "LSTM's") == "3.1 % lower than LSTM's"
    assert not wording.is_better(math.nan, 1.0)
    assert not wording.is_worse(1.0, None)


@given(st.lists(st.text(max_size=5), max_size=5))
def test_listed_keeps_every_item(items: list[str]) -> None:
    text = wording.listed(items)
    assert all(item in text for item in items)


def test_markdown_survives_odd_names() -> None:
    assert table(["a|b"], [["c|d"]]).splitlines()[0] == "| a\\|b |"
    assert code("a`b") == "`` a`b ``"


def test_numbers_and_units_are_written_as_the_language_does() -> None:
    with speaking("zh-TW"):
        assert wording.percent(0.0312) == "3.1%"
        assert wording.plural(1234, "detector") == "1,234 個偵測器"
        assert wording.in_words(np.timedelta64(90, "m")) == "1 小時 30 分鐘"
        assert wording.ahead_ranges([1, 2, 3], 5.0) == "未來 5 至 15 分鐘（第 1 至 3 步）"
        assert wording.listed(["a", "流量", "佔有率"]) == "a、流量與佔有率"
        assert wording.with_unit("avg_speed", "km/h") == "平均速率（公里/小時）"
        assert wording.with_unit("total_volume", "veh/5 min") == "流量（輛/5 分鐘）"
        assert wording.with_unit("own_feature", "furlongs") == "own_feature（furlongs）"
        assert wording.compared(1.0, 2.0, "基準") == "比基準低 50.0%"
        assert wording.unit_per_interval("veh/interval", 5.0) == "veh/5 min"  # as files have it
        assert wording.weekday(datetime(2026, 3, 23)) == "2026-03-23（星期一）"
        assert wording.month_and_day(datetime(2026, 3, 23)) == "03/23"
