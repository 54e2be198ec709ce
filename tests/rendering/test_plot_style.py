"""The look of plots: characters that matplotlib's own font lacks."""

import io
from dataclasses import replace

import pytest
from matplotlib import font_manager

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
    installed = font_manager.fontManager.ttflist
    chinese = replace(installed[0], name="WenQuanYi Zen Hei")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*installed, chinese])
    assert font_families()[:2] == ["sans-serif", "WenQuanYi Zen Hei"]


def test_without_such_a_font_the_usual_one_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not of rcParams, which the traffic simulator changes when it is imported.
    usual = [font for font in font_manager.fontManager.ttflist if font.name == "DejaVu Sans"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    assert font_families() == ["sans-serif"]
