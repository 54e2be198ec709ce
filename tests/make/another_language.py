"""A language of one file, in which English that was left over is seen: its letters are Greek."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.make.messages import messages
from vd_forecasting import language
from vd_forecasting.parameters import Report
from vd_forecasting.rendering.page import Page

_GREEK = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "αβψδεφγηιξκλμνοπϕρστθωςχυζΑΒΨΔΕΦΓΗΙΞΚΛΜΝΟΠϔΡΣΤΘΩϚΧΥΖ",
)
_KEPT = re.compile(r"(\{\w+\}|%\(\w+\)s|%[a-zA-Z]|`[^`]*`|\]\((?:%\(\w+\)s|[^)])*\))")
"""Places for values, formats of times, code, and where links lead to."""

LATIN_EVERYWHERE = {
    *("LSTM", "xLSTM", "MAE", "MSE", "RMSE", "MASE", "MAPE", "MCS", "DM", "CRPS", "UTC"),
    "MB",
}


def in_greek(message: str) -> str:
    """A message of which only what is no word is as it was."""
    parts = _KEPT.split(message)
    return "".join(
        part.replace("%b", "%m") if position % 2 else part.translate(_GREEK)
        for position, part in enumerate(parts)
    )


@contextmanager
def greek(folder: Path) -> Iterator[Report]:
    """How pages are asked for in a language whose only file lies in ``folder``."""
    catalogue = Catalog("eo", fuzzy=False)
    for message in messages():
        if isinstance(message, str):
            catalogue.add(message, in_greek(message))
        else:
            catalogue.add(message, tuple(map(in_greek, message)))
    with (folder / "eo.po").open("wb") as file:
        write_po(file, catalogue)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "FOLDER", folder)
        language._catalogue.cache_clear()
        yield Report(language="eo")
        language._catalogue.cache_clear()


def english_left(text: str, known: Iterable[str] = ()) -> set[str]:
    """Words of a page or a figure that nobody translated, but for code, paths and names."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|&\w+;", " ", text)
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, " ")
    return set(re.findall(r"[A-Za-z]{2,}", text)) - LATIN_EVERYWHERE


def texts_of(page: Page) -> Iterator[str]:
    """The page, and all that stands in its figures, drawn as when the page is saved."""
    yield page.text
    with language.speaking(page.language):
        for figure in page.figures.values():
            drawn = figure() if callable(figure) else figure
            assert isinstance(drawn, Figure)
            drawn.draw_without_rendering()
            for text in drawn.findobj(Text):
                assert isinstance(text, Text)
                yield text.get_text()
