"""The figures of a page in its language."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vd_forecasting.language import speaking
from vd_forecasting.rendering.page import Draw, Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def with_figures(text: str, figures: Callable[[], "Mapping[str, Figure | Draw]"]) -> Page:
    """A page and its figures, which speak its language or, where no font has its letters,
    English."""
    from vd_forecasting.rendering import plot_style  # noqa: PLC0415  (imports matplotlib)

    language = plot_style.language_of_figures()
    with speaking(language):
        return Page(text, figures(), language)
