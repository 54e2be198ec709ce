"""A page: Markdown and the figures it shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

REFERENCE = "figure:"
"""Begins the path of a figure in the text: ``![caption](figure:forecast)``."""


@dataclass(frozen=True)
class Page:
    """A report, saved and loaded as one.

    Args:
        text: Markdown; it refers to its figures as :data:`REFERENCE` says.
        figures: by name; of a page that was loaded the PNG files.
    """

    text: str
    figures: Mapping[str, Figure | bytes]
