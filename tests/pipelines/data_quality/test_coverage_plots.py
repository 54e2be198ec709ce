from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from matplotlib.figure import Figure

from tests.make.arrays import distinct, raw_array
from tests.make.parameters import CLEANING
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_quality.cleaned_file import History
from vd_forecasting.pipelines.data_quality.coverage_plots import (
    apart,
    caption,
    coverage,
    no_map,
    placed_vds,
    plot_coverage,
    plot_detector_map,
)

Observed = tuple[xr.DataArray, npt.NDArray[np.float64]]


def cleaned(
    lon: npt.ArrayLike, lat: npt.ArrayLike, missing: Sequence[float] | None = None
) -> Observed:
    values = distinct(100, np.size(lon), 1)
    for vd, share in enumerate(missing or []):
        values[: round(100 * share), vd] = np.nan
    raw = raw_array(values)
    return observed(raw.assign_coords(position_lon=("vd", lon), position_lat=("vd", lat)))


def observed(raw: xr.DataArray) -> Observed:
    """A clean array and the share of values observed of each VD."""
    vd, log = clean(raw, CLEANING)
    return vd, History(vd, log).share(-1).mean(axis=1)


def points(figure: Figure) -> list[list[list[float]]]:
    """Longitude and latitude of the points of every class, from the bottom to the top."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() not in ("", "None")]
    return [
        np.asarray(line.get_xydata()).tolist()
        for line in sorted(lines, key=lambda line: line.zorder)
    ]


def test_vds_are_in_the_class_of_their_share() -> None:
    lon, lat = [121.0, 121.1, 121.2, 121.3, 121.4, 121.5], [25.0] * 6
    figure = plot_detector_map(*cleaned(lon, lat, [0, 0.01, 0.05, 0.2, 0.5, 0.51]))
    figure.draw_without_rendering()
    assert points(figure) == [
        [[121.0, 25.0], [121.1, 25.0]],
        [[121.2, 25.0]],
        [[121.3, 25.0]],
        [[121.4, 25.0]],
        [[121.5, 25.0]],
    ]
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert legend == [
        "99 % or more: 2",
        "95 to 99 %: 1",
        "80 to 95 %: 1",
        "50 to 80 %: 1",
        "less than 50 %: 1",
    ]


@pytest.mark.parametrize("latitude", [0.5, 25.0, -60.0])
def test_a_kilometre_is_as_long_in_both_directions(latitude: float) -> None:
    """On the globe, a degree of longitude is cos(latitude) of a degree of latitude."""
    figure = plot_detector_map(*cleaned([10.0, 10.1], [latitude - 0.05, latitude + 0.05]))
    figure.draw_without_rendering()
    (x0, y0), (x1, y1) = figure.axes[0].transData.transform([(10, latitude), (11, latitude + 1)])
    assert (x1 - x0) / (y1 - y0) == pytest.approx(np.cos(np.radians(latitude)), rel=1e-6)


def test_scale_bar_is_as_long_as_it_says() -> None:
    figure = plot_detector_map(*cleaned([121.0, 121.5], [25.0, 25.2]))
    figure.draw_without_rendering()
    bar: Any
    [bar] = [a for a in figure.axes[0].artists if hasattr(a, "size_bar")]
    [rectangle] = bar.size_bar.get_children()
    length = float(bar.txt_label.get_text().removesuffix(" km"))
    circumference = 40_030 * np.cos(np.radians(25.1))
    assert rectangle.get_width() == pytest.approx(360 * length / circumference, rel=0.01)


def test_vds_without_a_place_are_counted() -> None:
    vd, share = cleaned([121.0, np.nan, 0.0, 25.0], [25.0, 25.0, 0.0, 121.0])
    np.testing.assert_array_equal(placed_vds(vd), [True, False, False, False])
    assert caption(vd).endswith("3 of 4 detectors have no coordinates.")
    figure = plot_detector_map(vd, share)
    figure.draw_without_rendering()
    assert "3 of 4 detectors have no coordinates." in figure.get_suptitle().replace("\n", " ")
    assert points(figure)[0] == [[121.0, 25.0]]


def test_without_coordinates_the_figure_says_so() -> None:
    for data in (observed(raw_array(distinct(9, 2, 1))), cleaned([np.nan], [np.nan])):
        [ax] = plot_detector_map(*data).axes
        assert ax.texts[0].get_text() == no_map()


def test_labels_of_few_do_not_overlap() -> None:
    """Five pairs, one VD for each direction of the road, that runs north or east."""
    along, across = np.repeat(np.linspace(0, 0.2, 5), 2), np.tile([0, 0.0005], 5)
    for lon, lat in ((along, across), (across, along)):
        figure = plot_detector_map(*cleaned(121 + lon, 25 + lat))
        figure.draw_without_rendering()
        texts = [text for text in figure.axes[0].texts if text.get_text().startswith("VD-")]
        assert len(texts) == 10
        # Of slanting texts the boxes overlap, so what counts is the way across them.
        angle = np.radians(texts[0].get_rotation())
        up = np.array([-np.sin(angle), np.cos(angle)])
        places = sorted(
            up @ figure.axes[0].transData.transform(text.get_position()) for text in texts
        )
        assert min(np.diff(places)) > 8 * figure.dpi / 72  # the size of the font


@pytest.mark.parametrize("vds", [1, 17, 3000])
def test_any_number_of_vds(vds: int) -> None:
    random = np.random.default_rng(0)
    lon, lat = 121 + random.random(vds), 25 + random.random(vds)
    figure = plot_detector_map(*cleaned(lon, lat, list(random.random(vds))))
    figure.draw_without_rendering()
    assert sum(map(len, points(figure))) == vds
    labels = [text for text in figure.axes[0].texts if text.get_text().startswith("VD-")]
    assert len(labels) == (vds if vds <= 16 else 0)


def test_apart_moves_as_little_as_it_takes() -> None:
    np.testing.assert_allclose(apart(np.array([3.0, 0.0, 9.0]), 1), [3, 0, 9])
    np.testing.assert_allclose(apart(np.array([5.0, 5.0, 0.0]), 1), [4.5, 5.5, 0])


def test_drawing_says_nothing_on_the_log(caplog: pytest.LogCaptureFixture) -> None:
    plot_detector_map(*cleaned([121.0, 121.5], [25.0, 25.6])).draw_without_rendering()
    assert caplog.records == []


def test_coverage_is_the_share_observed_between_starts() -> None:
    values = distinct(5, 2, 2)
    values[0, 0] = np.nan
    values[3, 1, 1] = np.nan
    share = coverage(raw_array(values), np.array([0, 2, 4]))
    np.testing.assert_allclose(share, [[0.5, 1.0], [1.0, 0.75], [1.0, 1.0]])


@pytest.mark.parametrize(("steps", "vds"), [(2, 1), (401, 40), (900, 41), (300, 2000)])
def test_coverage_plot_of_any_size(steps: int, vds: int) -> None:
    figure = plot_coverage(clean(raw_array(distinct(steps, vds, 1)), CLEANING)[0])
    axes = figure.axes[0]
    cells = axes.collections[0].get_array()
    assert cells is not None
    height, width = cells.shape
    assert height == vds
    assert width <= 400
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert ("VD-0" in labels) == (vds <= 40)
    assert axes.yaxis_inverted()
    figure.draw_without_rendering()
