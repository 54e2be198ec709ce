"""A page: Markdown and the figures it shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from vd_forecasting.language import ENGLISH

if TYPE_CHECKING:  # a page is named by every pipeline, and drawn by few runs
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]
AnyFigure: TypeAlias = "Figure | Draw | bytes"

REFERENCE = "figure:"
"""Begins the path of a figure in the text: ``![caption](figure:forecast)``."""


@dataclass(frozen=True)
class Page:
    """A report, saved and loaded as one.

    Args:
        text: Markdown; it refers to its figures as :data:`REFERENCE` says.
        figures: by name; or functions that draw them when the page is saved, so that memory holds
            one figure at a time; of a page that was loaded the PNG files.
        language: what these functions speak.
    """

    text: str
    figures: Mapping[str, AnyFigure]
    language: str = ENGLISH
