"""Panels, what stands around them, and texts and legends of their figure: apart and in sight."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from vd_forecasting.rendering import plot_style


def drawn(figure: Figure) -> tuple[Bbox, list[Bbox]]:
    """The figure's box, and those of its texts, of its legends and of its panels with labels."""
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    title, subtitle = sorted(boxes, key=lambda box: box.height)
    assert subtitle.x0 == pytest.approx(title.x0)
    assert subtitle.y1 == pytest.approx(title.y1, abs=1)  # room for the title is its first line
    legends = [legend.get_window_extent() for legend in figure.legends]
    panels = [ax.get_tightbbox() for ax in figure.axes]
    return Bbox(figure.bbox.get_points()), [
        subtitle,
        *legends,
        *(box for box in panels if box is not None),
    ]


def is_within(outer: Bbox, inner: Bbox) -> bool:
    return bool(np.all(outer.min <= inner.min) and np.all(inner.max <= outer.max))


def grid(shape: tuple[int, int] = (3, 2), largest: float = 1e5) -> Figure:
    """Panels whose labels are of different sizes."""
    figure, axes = plot_style.panels("Which?", "a detail " * 30, shape, 2.0, sharex=True)
    for row, of_row in enumerate(axes):
        for column, ax in enumerate(of_row):
            ax.plot(np.arange(9), np.linspace(0, largest / 10 ** (row + column), 9))
            plot_style.title(ax, f"panel {row} {column}")
            ax.set_xlabel("time\nahead")
            ax.set_ylabel("MAE")
    plot_style.legend_below(figure, [Line2D([], [], label=f"model {n}") for n in range(9)])
    return figure


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (2, 4)])
def test_nothing_covers_anything_else_or_leaves_the_figure(shape: tuple[int, int]) -> None:
    sheet, boxes = drawn(grid(shape))
    assert all(is_within(sheet, box) for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_panels_are_of_one_size_and_in_line() -> None:
    figure = grid((2, 3))
    drawn(figure)
    places = np.array([ax.get_position().extents for ax in figure.axes]).reshape(2, 3, 4)
    np.testing.assert_allclose(places[..., 2] - places[..., 0], places[0, 0, 2] - places[0, 0, 0])
    np.testing.assert_allclose(places[..., 3] - places[..., 1], places[0, 0, 3] - places[0, 0, 1])
    assert (np.ptp(places[..., [0, 2]], axis=0) < 1e-9).all()
    assert (np.ptp(places[..., [1, 3]], axis=1) < 1e-9).all()


def test_the_labels_of_a_panel_have_what_room_they_need() -> None:
    lefts = []
    for label in ("A", "VD-11-0020-002-001 in the left lane"):
        figure, [[ax]] = plot_style.panels("Which?", "a detail", (1, 1), 2.0)
        ax.set_yticks([0], [label])
        sheet, [_, panel] = drawn(figure)
        assert is_within(sheet, panel)
        lefts.append(ax.get_window_extent().x0)
    assert lefts[1] > lefts[0] + 100


def test_a_colour_bar_stands_in_the_room_of_its_panel() -> None:
    figure, [[ax]] = plot_style.panels("When?", "a detail", (1, 1), 3.0)
    bar = figure.colorbar(ax.pcolormesh(np.eye(3)), ax=ax, label="share observed")
    sheet, [_, panel, of_bar] = drawn(figure)
    assert is_within(sheet, panel)
    assert is_within(sheet, of_bar)
    assert panel.x1 <= of_bar.x0
    assert bar.ax.get_position().height == pytest.approx(ax.get_position().height)


def test_panels_that_get_no_room_stay_where_they_are() -> None:
    figure, [[ax]] = plot_style.panels("Which?", "a detail", (1, 1), 2.0)
    ax.set_yticks([0], ["A" * 300])
    before = ax.get_position().bounds
    drawn(figure)
    assert ax.get_position().bounds == before
