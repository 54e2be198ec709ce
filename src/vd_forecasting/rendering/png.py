"""Figures as PNG files."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 120
COMPRESSION = {"compress_level": 1}
"""Takes half the time of the default; the files are 7 % larger."""


def png(figure: Figure) -> bytes:
    """The file of a figure, drawn once: ``Figure.savefig`` would do it twice.

    Axes without a label need no place for it; matplotlib would look at all their ticks to find one,
    four times a figure.
    """
    figure.set_dpi(DPI)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, pil_kwargs=COMPRESSION)
    return file.getvalue()
