"""The HTML page: nothing to download, nothing to run, and what the Markdown says."""

import re
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from tests.make.parameters import REPORT
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.reporting.pages.comprehensive import render_comprehensive
from vd_forecasting.rendering.html_page import render_page
from vd_forecasting.rendering.markdown import code, figure, link, table
from vd_forecasting.rendering.page import Page


def page(*blocks: str) -> str:
    return "\n\n".join(blocks) + "\n"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PAGE = page(
    "# LSTM *against* `xLSTM` & more",
    "**xLSTM is better** in 3 of 3.",
    "![Error of A & B](plots/error.png)",
    "## Errors",
    table(["", "5 min", "change"], [["LSTM", "**1.5**", "−2 %"], ["xLSTM", "1.6", ""]]),
    link("report", "../single_vd_lstm/training_report.md"),
)
VOID = {"meta", "img", "br", "hr"}


class Elements(HTMLParser):
    """Every element with its attributes, and that each is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_title_is_the_first_heading_without_its_markup() -> None:
    found = render_page(PAGE, {})
    assert "<title>LSTM against xLSTM &amp; more</title>" in found
    assert "<h1>LSTM <em>against</em> <code>xLSTM</code> &amp; more</h1>" in found
    assert "<title></title>" in render_page("no heading\n", {})


def test_an_image_is_in_the_page_as_it_was_given() -> None:
    [found] = Elements(render_page(PAGE, {"plots/error.png": PNG})).attributes("img")
    assert found["alt"] == "Error of A & B"
    kind, _, data = (found["src"] or "").partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(data) == PNG


def test_an_image_that_was_not_given_keeps_its_path() -> None:
    [found] = Elements(render_page(PAGE, {"plots/other.png": PNG})).attributes("img")
    assert found["src"] == "plots/error.png"


def test_a_path_may_have_any_characters_that_markdown_allows() -> None:
    [found] = Elements(
        render_page("![a](<plots/é 100%.svg>)", {"plots/é 100%.svg": b"<svg/>"})
    ).attributes("img")
    assert found["src"] == "data:image/svg+xml;base64,PHN2Zy8+"


def test_an_image_of_its_own_is_a_figure_and_one_in_a_line_is_not() -> None:
    found = render_page("![a](a.png)\n\ntext ![b](b.png)\n", {})
    assert '<figure><img src="a.png" alt="a" /></figure>' in found
    assert '<p>text <img src="b.png" alt="b" /></p>' in found


def test_tables_keep_their_alignment_and_scroll_in_their_own_box() -> None:
    found = render_page(PAGE, {})
    assert '<td style="text-align:left">LSTM</td>' in found
    assert '<td style="text-align:right"><strong>1.5</strong></td>' in found
    assert len(re.findall(r'<div class="table"[^>]*>\s*<table>', found)) == 1
    assert re.search(r"</table>\s*</div>", found)


def test_a_cell_breaks_before_its_deviation_alone() -> None:
    found = render_page("| model | MAE |\n|-|-|\n| of a mode | **2.3 ± 0.1** / 12 % |\n", {})
    assert "<td>of a mode</td>" in found
    assert "<td><strong>2.3 ±\xa00.1</strong>\xa0/\xa012\xa0%</td>" in found


def test_links_to_other_files_stay() -> None:
    assert Elements(render_page(PAGE, {})).attributes("a") == [
        {"href": "../single_vd_lstm/training_report.md"}
    ]


def test_nothing_is_loaded_and_nothing_runs() -> None:
    found = render_page(PAGE, {"plots/error.png": PNG})
    elements = Elements(found)
    assert not re.search(r"https?://|url\(|@import", found)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in elements.found}
    policy = "default-src 'none'"
    assert any(policy in (meta.get("content") or "") for meta in elements.attributes("meta"))


NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title></style></main>",
    'a" onload="alert(1)',
    "{title} {0} %s",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("written", [str, code])
def test_names_are_text_wherever_they_stand(name: str, written: Callable[[str], str]) -> None:
    usual = Elements(render_page(named(written("A")), {"a.png": PNG}))
    found = Elements(render_page(named(written(name)), {"a.png": PNG}))
    assert [tag for tag, _ in found.found] == [tag for tag, _ in usual.found]
    assert [list(attributes) for _, attributes in found.found] == [
        list(attributes) for _, attributes in usual.found
    ]


def named(name: str) -> str:
    return page(
        f"# Report of {name}", name, f"- {name}", table(["", name], [[name, "1"]]),
        f"![{name}](a.png)", link(name, "a.md"),
    )  # fmt: skip


def test_no_link_runs_a_script() -> None:
    assert Elements(render_page("[a](javascript:alert(1))", {})).attributes("a") == []


def test_a_page_names_its_language() -> None:
    for language in ("en", "zh-TW"):
        html = render_comprehensive(Page("# Title\n", {}), Report(language=language))
        assert Elements(html).attributes("html") == [{"lang": language}]


def test_a_page_has_its_figures_inside() -> None:
    text = page("# All", *(figure(name, name) for name in ("error", "cost")))
    rendered = render_comprehensive(Page(text, {"cost": b"cost", "error": b"error"}), REPORT)
    data = [
        (found["src"] or "").partition(",")[2] for found in Elements(rendered).attributes("img")
    ]
    assert [b64decode(content) for content in data] == [b"error", b"cost"]
