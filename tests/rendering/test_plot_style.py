"""The look of plots: characters that matplotlib's own font lacks."""

import io
from collections.abc import Iterator
from dataclasses import replace

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from vd_forecasting.language import speaking, spoken
from vd_forecasting.rendering import plot_style
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.plot_style import font_families, panels, title

ROAD = "國道五號 雪山隧道"


def test_names_in_chinese_print_no_warnings_without_a_font_for_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    figure, [[ax]] = panels(f"What happens on {ROAD}?", ROAD, (1, 1), 2.0)
    title(ax, ROAD)
    ax.set_yticks([0], [ROAD])
    figure.savefig(io.BytesIO(), format="png")
    assert not caplog.records


def test_an_installed_font_for_chinese_comes_after_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever this machine has.
    usual = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    chinese = replace(usual[0], name="WenQuanYi Zen Hei")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*usual, chinese])
    assert font_families()[:2] == ["sans-serif", "WenQuanYi Zen Hei"]


def test_without_such_a_font_the_usual_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not of rcParams, which the traffic simulator changes when it is imported.
    usual = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    assert font_families() == ["sans-serif"]


@pytest.fixture
def only_latin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system whose fonts have no Chinese, as far as matplotlib knows and can find."""
    usual = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    plot_style._letters_without_font.cache_clear()
    yield
    plot_style._letters_without_font.cache_clear()


@pytest.mark.usefixtures("only_latin")
def test_without_a_font_for_them_figures_are_in_english_and_one_line_says_what_to_install(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with speaking("zh-TW"):
        pages = [with_figures("頁", lambda: {spoken(): Figure}) for _ in range(2)]
        assert spoken() == "zh-TW"
    for page in pages:
        assert page.language == "en"
        assert [*page.figures] == ["en"]
    [record] = caplog.records
    assert "no font here has the letters of zh-TW" in record.getMessage()
    assert "fonts-noto-cjk" in record.getMessage()


@pytest.mark.usefixtures("only_latin")
def test_english_needs_no_other_font(caplog: pytest.LogCaptureFixture) -> None:
    assert plot_style.language_of_figures() == "en"
    assert not caplog.records


def test_a_wide_character_takes_the_room_of_two_and_no_mark_begins_a_line() -> None:
    sentence = "各偵測器在什麼時段有實測值？" * 20
    with speaking("zh-TW"):
        figure, _ = panels("問", sentence, (1, 1), 2.0)
    _, *lines = [line for text in figure.texts[:1] for line in text.get_text().split("\n")]
    assert "".join(lines) == sentence
    assert all(len(line) <= 65 for line in lines)
    assert not any(line.startswith("？") for line in lines)
