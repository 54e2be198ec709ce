"""Text of files on pages: shown as it is, whatever it would mean in Markdown or HTML."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from vd_forecasting.rendering.html_page import render_page
from vd_forecasting.rendering.markdown import code, plain_list, plain_text, table

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![](http://example.org/a.png)",
    "\\[a](b) `<b>` ``<i>`` ~~x~~ **bold** _it_ &lt;u&gt;",
    "a|b|c",
    "\\|a\\\\|<b>",
    "`",
    "a```<img src=x>",
    "x\n# heading\n\n- item",
    "a\x00b\x1b[31m\u202e",
    "<https://example.org>",
]


def shown(markdown: str) -> str:
    """The text that a reader sees."""
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    assert not re.findall(r"<(?!/?(?:p|code|table|thead|tbody|tr|td|th)\b)", rendered)
    return html.unescape(re.sub("<.*?>", "", rendered)).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is(text: str) -> None:
    one_line = " ".join(re.sub("[\x00-\x1f\u202e]", " ", text).split())
    assert shown(plain_text(text)) == one_line
    assert shown(f"{code(text)}.") == f"{one_line}."
    assert shown(f"Of {plain_list([text, 'b'])}.") == f"Of {one_line} and b."


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("write", [plain_text, code])
def test_a_cell_stays_one_cell(text: str, write: object) -> None:
    assert callable(write)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table")
    page = rendered.render(table(["a", "b"], [[write(text), "end"]]))
    assert re.findall("<td[^>]*>end</td>", page)
    assert page.count("<td") == 2
    assert not re.findall(r"<(?:script|b|i|u|img|a|h1|li)\b", page)


def test_common_names_stay_readable() -> None:
    for name in ("avg_speed (km/h)", "VD-11-0020-002-001", "國道/5", "veh/5 min", "a.h5", "100 %"):
        assert plain_text(name) == name
        assert code(name) == f"`{name}`"


def test_an_html_page_holds_no_address_of_a_file() -> None:
    page = render_page("# a\n\n" + "\n\n".join(map(plain_text, HOSTILE)), {})
    body = page.split("<body>")[1]
    assert not re.findall("<(?:script|img|a)\\b", body)
