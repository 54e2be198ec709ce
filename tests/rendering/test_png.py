"""PNG files of figures, against matplotlib's own."""

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from vd_forecasting.rendering import plot_style
from vd_forecasting.rendering.png import DPI, png


def draw() -> Figure:
    """Three panels, labels on some axes, one with an offset above its axis."""
    figure, axes = plot_style.feature_panels("Which?", "a detail", ["a", "b", "c"], 3.0)
    for number, (name, ax) in enumerate(axes.items()):
        ax.plot(np.arange(12), 10.0 ** (4 * number) * np.sin(np.arange(12)))
        plot_style.title(ax, name)
    axes["a"].set_ylabel("MAE")
    axes["b"].set_xlabel("time ahead")
    return figure


def test_a_figure_looks_as_matplotlib_draws_it(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(png(draw()))
    figure, usual = draw(), io.BytesIO()
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(usual)
    usual.seek(0)
    np.testing.assert_array_equal(imread(path), imread(usual))
