"""Numbers as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vd_forecasting.datasets.sources.numerals import Numerals

STYLES = [(".", ","), (",", "."), (",", " "), (".", "'"), (",", ""), (".", "")]


@given(number=st.decimals(-(10**9), 10**9, places=3), style=st.sampled_from(STYLES))
def test_any_number_comes_back(number: float, style: tuple[str, str]) -> None:
    decimal, thousands = style
    marks = str.maketrans({".": decimal, ",": thousands})
    assert Numerals(decimal, thousands).number(f"{number:,}".translate(marks)) == float(number)


@pytest.mark.parametrize(
    ("text", "style"),
    [("12.5", (",", ".")), ("1.23", (",", ".")), ("0.512", (",", ".")), ("1,5", (".", ","))]
    + [(text, (".", ",")) for text in ("", "-", ".", "1.2.3", "1,188,", "12a", "٣")],
)
def test_what_is_written_otherwise_is_no_number(text: str, style: tuple[str, str]) -> None:
    assert math.isnan(Numerals(*style).number(text))
