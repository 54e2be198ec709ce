"""One look for every plot: a colour, a marker and a name for everything that is drawn."""

import logging
import math
import re
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

import matplotlib
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vd_forecasting.language import ENGLISH, letters, spoken
from vd_forecasting.rendering.layout import PAD, PanelLayout
from vd_forecasting.vocabulary import EVERY_MODE, MODELS, REFITTED, name_of

logger = logging.getLogger(__name__)

# Okabe and Ito's colours, distinct for colour-blind readers too; a marker; and the line, which is
# solid for networks and for no baseline.
_LOOKS: Final[dict[str, tuple[str, str, Any]]] = {
    "lstm": ("#0072B2", "o", "-"),
    "xlstm": ("#D55E00", "D", "-"),
    "gradient_boosting": ("#009E73", "^", (0, (5, 1.5))),
    "ridge": ("#56B4E9", "s", (0, (3, 1.5, 1, 1.5))),
    "historical_average": ("#CC79A7", "v", (0, (1, 1.5))),
    "seasonal_naive": ("#E69F00", "x", (0, (1, 3))),
    "persistence": ("#8C8C8C", "|", "--"),
    "truth": ("#1A1A1A", "", "-"),
}
_LOOKS.update({REFITTED[model]: _LOOKS[model] for model in MODELS})
COLOURS: Final = {name: colour for name, (colour, _, _) in _LOOKS.items()}
MARKERS: Final = {name: marker for name, (_, marker, _) in _LOOKS.items()}
MODE_MARKERS: Final = dict(zip(EVERY_MODE, "os^D", strict=True))

WIDTH: Final = 10.0
MAX_HEIGHT: Final = 14.0
MAX_COLUMNS: Final = 3
_DETAIL_CHARACTERS: Final = 130

_STYLE: Final[Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}

_FALLBACK_FONTS: Final = (
    *("Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "PingFang TC", "Heiti TC"),
    *("Microsoft JhengHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Arial Unicode MS"),
    *("Noto Serif CJK TC", "PMingLiU", "MingLiU", "AR PL UMing TW", "AR PL UKai TW", "DFKai-SB"),
)
"""For Chinese, Japanese and Korean."""
_NO_FONT: Final = "Last Resort High-Efficiency"
"""Comes with matplotlib: a box that names the script of a character."""


def font_families() -> list[str]:
    """matplotlib's font, then those of this system that have the characters it lacks."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["sans-serif", *(name for name in (*_FALLBACK_FONTS, _NO_FONT) if name in installed)]


def language_of_figures() -> str:
    """The language spoken, or English where no font of this system has its letters."""
    return ENGLISH if _letters_without_font(spoken()) else spoken()


@cache
def _letters_without_font(language: str) -> bool:
    if _lacking() and _add_fonts_installed_since():
        matplotlib.rcParams["font.family"] = font_families()
    if lacking := bool(_lacking()):
        logger.warning(
            "Plots are in English, as no font here has the letters of %s. Install one, such as "
            "fonts-noto-cjk of Debian and Ubuntu; and run again what draws them.",
            language,
        )
    return lacking


def _lacking() -> set[str]:
    """The letters of the language spoken that no font has."""
    left = {letter for letter in letters() if letter.isprintable()}
    for family in font_families():
        if left and family != _NO_FONT:
            path = font_manager.findfont(font_manager.FontProperties(family=[family]))
            left -= {*map(chr, font_manager.get_font(path).get_charmap())}
    return left


def _add_fonts_installed_since() -> int:
    """Take in fonts that are newer than the list that matplotlib keeps of them; how many."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    new = {*font_manager.findSystemFonts()} - known
    for path in new:
        with suppress(OSError, RuntimeError):  # what matplotlib cannot read it cannot draw with
            font_manager.fontManager.addfont(path)
    return len(new)


# For the whole process: texts are added to a figure until it is saved.
matplotlib.rcParams["font.family"] = font_families()
matplotlib.rcParams["text.parse_math"] = False  # names hold "$" as it is
matplotlib.rcParams["text.hinting"] = "no_hinting"  # which takes a tenth of the time of a figure
warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")
logging.getLogger(font_manager.__name__).setLevel(logging.ERROR)  # such fonts have no bold face


def panels(
    question: str, detail: str, shape: tuple[int, int], row_height: float, **subplots: Any
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure whose title is the question it answers, and its axes, a list per row.

    A second line, ``detail``, says what is shown. ``shape`` is rows and columns of panels, a row
    ``row_height`` inches high; ``subplots`` are arguments of ``Figure.subplots``.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(
            figsize=(WIDTH, min(shape[0] * row_height + 1.1, MAX_HEIGHT)),
            layout=PanelLayout(),
        )
        axes = figure.subplots(*shape, squeeze=False, **subplots)
    # A bold first line and plain ones below are two texts; the blank line keeps room for the first.
    lines = "\n".join(_lines(detail))
    top = 1 - PAD / figure.get_figheight()
    figure.suptitle(f" \n{lines}", x=0.008, y=top, ha="left", fontsize=10, linespacing=1.5)
    figure.text(0.008, top, question, ha="left", va="top", fontsize=13, fontweight="bold")
    return figure, [list(row) for row in axes]


_WORD: Final = re.compile(
    r"[（「『《]*(?:[^\s\u2e80-\uffef]+|[\u2e80-\uffef])[、。，；：？！）」』》]*|\s+"
)
"""What stays on one line: a word or a wide character, and the marks that belong to it."""


def _lines(text: str) -> list[str]:
    """A text in lines; where words have no spaces between, a wide character counts twice."""
    if spoken() == ENGLISH:
        return textwrap.wrap(text, _DETAIL_CHARACTERS)
    lines, room = [""], _DETAIL_CHARACTERS
    for word in _WORD.findall(text):
        width = sum(2 if character >= "\u2e80" else 1 for character in word)
        if width > room:
            lines, room = [*lines, ""], _DETAIL_CHARACTERS
        lines[-1] += word
        room -= width
    return [line.strip() for line in lines]


def feature_panels(
    question: str, detail: str, features: Sequence[str], row_height: float, **subplots: Any
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with one panel per feature, side by side and wrapped after three."""
    columns = min(len(features), MAX_COLUMNS)
    shape = (math.ceil(len(features) / columns), columns)
    figure, axes = panels(question, detail, shape, row_height, **subplots)
    flat = [ax for row in axes for ax in row]
    for ax in flat[len(features) :]:
        ax.remove()
    return figure, dict(zip(features, flat, strict=False))


def figure_without_data(question: str, reason: str) -> Figure:
    """A low figure that says why its question has no answer."""
    figure, [[ax]] = panels(question, "", (1, 1), 0.7)
    ax.set_axis_off()
    say_empty(ax, reason)
    return figure


def line_style(model: str, **overrides: Any) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot`` for what a model forecast."""
    style: dict[str, Any] = {"color": COLOURS[model], "label": name_of(model)}
    if model not in {*MODELS, *REFITTED.values()}:
        style |= {"linestyle": _LOOKS[model][2], "linewidth": 1.6, "marker": "", "zorder": 1.5}
    elif model.startswith("xlstm"):  # where both run on top of each other, both still show
        style |= {"linewidth": 1.3, "marker": MARKERS[model], "markersize": 3.5}
    else:
        style |= {"linewidth": 2.4, "marker": MARKERS[model], "markersize": 6.0}
    return style | overrides


def title(ax: Axes, text: str, **overrides: Any) -> None:
    """A panel's title, at its left edge; what the axis may say above goes to the right one."""
    # A place is given, as to find one takes a third of the time of a figure.
    style: dict[str, Any] = {"loc": "left", "fontsize": 10, "y": 1.0}
    ax.yaxis.set_offset_position("right")
    ax.set_title(text, **style | overrides)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend for all panels, under them, where it covers no data."""
    rows = math.ceil(len(handles) / 6)
    figure.legend(
        handles=list(handles),
        loc="outside lower left",
        ncols=math.ceil(len(handles) / rows),
        frameon=False,
        handlelength=2.4,
    )


def say_empty(ax: Axes, text: str) -> None:
    """Write into a panel why there is nothing in it."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    place: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, text, color="#666666", bbox=box, **place)


def start_at_zero(*axes: Axes) -> None:
    """Let the y-axis of panels of errors begin at zero, the same for all of them."""
    largest = max(ax.dataLim.ymax for ax in axes)
    for ax in axes:
        if math.isfinite(largest) and largest > 0:
            ax.set_ylim(0, 1.06 * largest)
        else:
            ax.set_yticks([])
