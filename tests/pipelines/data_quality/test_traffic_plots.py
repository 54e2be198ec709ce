from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.text import Text

from tests.make.arrays import array, one
from vd_forecasting.pipelines.data_quality import traffic_plots
from vd_forecasting.pipelines.data_quality.traffic_plots import (
    QUANTILES,
    flow_per_hour,
    no_diagram,
    plot_fundamental_diagram,
    plot_typical_week,
    weekly_quantiles,
)

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def test_quantiles_are_over_vds_and_weeks() -> None:
    """Hourly values of two VDs in two weeks, so four values for every hour."""
    hours = np.arange(2 * 168)
    values = np.stack([hours, 1000 + hours], axis=1)[..., None].astype(float)
    values[0, 0] = np.nan  # the first Monday, 00:00
    week = weekly_quantiles(array(values))
    assert week.sizes == {"quantile": 5, "hour": 168, "feature": 1}
    np.testing.assert_array_equal(week["hour"], np.arange(168))
    np.testing.assert_allclose(week[:, 0, 0], np.quantile([168, 1000, 1168], QUANTILES))
    np.testing.assert_allclose(week[:, 50, 0], np.quantile([50, 218, 1050, 1218], QUANTILES))


@pytest.mark.parametrize(
    ("minutes", "bins", "first"), [(5, 672, [0, 1, 2]), (20, 504, [0]), (7, 672, [0, 1, 2])]
)
def test_bins_of_a_quarter_of_an_hour_or_a_step(minutes: int, bins: int, first: list[int]) -> None:
    steps = 7 * 1440 // minutes
    week = weekly_quantiles(one(np.arange(steps), minutes=minutes))
    assert week.sizes["hour"] == bins
    np.testing.assert_allclose(week.sel(quantile=0.5)[0, 0], np.median(first))


def test_the_week_begins_on_monday() -> None:
    """The first step of ``one`` is on Monday, 4 March 2024."""
    series = np.zeros(168)
    series[24 * 2 + 8] = 7
    later = one(series).isel(time=slice(30, None))
    week = weekly_quantiles(later).sel(quantile=0.5)[:, 0]
    assert float(week[24 * 2 + 8]) == 7
    assert np.isnan(week[:30]).all()
    assert not np.isnan(week[30:]).any()


@pytest.mark.parametrize("features", [["avg_speed"], ["avg_speed", "channel"]])
def test_plot_of_a_week(features: list[str]) -> None:
    values = np.random.default_rng(0).random((200, 3, len(features)))
    values[..., 1:] = np.nan
    figure = plot_typical_week(array(values, features=features))
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert "What does a typical week look like?" in texts
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels(minor=True)] == DAYS
    assert ("nothing observed" in texts) == (len(features) == 2)


def test_what_is_not_shown_of_a_week_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_plots, "MOST_VALUES_OF_WEEKS", 200)
    vd = array(np.ones((50, 6, 9)), features=[f"f{n}" for n in range(9)])
    vd.attrs["utc_offset"] = "+08:00"
    figure = plot_typical_week(vd)
    assert len(figure.axes) == 8
    detail = figure.get_suptitle()
    assert "1 of the 6 detectors, evenly spread" in detail
    assert "The last 1 features are not shown" in detail
    assert "UTC+08:00" in detail


def traffic(
    vds: int = 1,
    steps: int = 300,
    features: Sequence[str] = ("avg_speed", "total_volume", "avg_occupancy"),
    unit: str = "",
) -> xr.DataArray:
    random = np.random.default_rng(0)
    volume = random.integers(0, 150, (steps, vds)).astype(float)
    by_name = {"avg_speed": 100 - volume / 3, "total_volume": volume, "avg_occupancy": volume / 5}
    vd = array(np.stack([by_name[f] for f in features], axis=-1), list(features), minutes=5)
    units = {"avg_speed": "km/h", "total_volume": unit, "avg_occupancy": "%"}
    return vd.assign_coords(unit=("feature", [units[f] for f in features]))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("veh/5 min", 12), ("", 12), ("veh", 12), ("veh/min", 60), ("veh/h", 1), ("veh/15 min", 4)],
)
def test_flow_is_per_hour(unit: str, factor: float) -> None:
    """A volume without a unit is that of an interval; veh/min may be a mean over 5 min."""
    vd = traffic(unit=unit)
    np.testing.assert_allclose(flow_per_hour(vd), factor * vd.sel(feature="total_volume"))


def counts(ax: Axes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a panel shows: cell counts by the middles of their edges."""
    mesh: Any = ax.collections[0]
    corners = mesh.get_coordinates()
    return mesh.get_array().filled(0), corners[0, :, 0], corners[:, 0, 1]


def test_every_step_is_counted_where_it_belongs() -> None:
    vd = traffic()
    figure = plot_fundamental_diagram(vd)
    figure.draw_without_rendering()
    assert len(figure.axes) == 2
    by_occupancy, across, up = counts(figure.axes[0])
    assert by_occupancy.sum() == 300
    values = vd.isel(vd=0).to_numpy()
    expected, *_ = np.histogram2d(12 * values[:, 1], values[:, 2], [up, across])
    np.testing.assert_array_equal(by_occupancy, expected)
    assert figure.axes[0].get_ylabel() == "flow, veh/h"
    assert figure.axes[1].get_xlabel() == "flow, veh/h"
    assert figure.axes[1].get_ylabel() == "avg_speed, km/h"


def test_cells_hold_as_many_counts_each() -> None:
    """Volumes 0 to 149, so flows in steps of 12 veh/h: without stripes, every row has as many."""
    vd = traffic(steps=150)
    vd[:, 0, 1] = np.arange(150)
    by_occupancy, _, edges = counts(plot_fundamental_diagram(vd).axes[0])
    widths = np.diff(edges)
    np.testing.assert_allclose(widths, widths[0])
    rows = by_occupancy.sum(axis=1)
    assert set(rows[:-1]) == {round(widths[0] / 12)}


def test_several_vds_have_panels_of_their_own() -> None:
    figure = plot_fundamental_diagram(traffic(vds=7))
    assert len(figure.axes) == 8
    assert [ax.get_title("left") for ax in figure.axes[:4]] == [
        "7 detectors",
        "VD-0",
        "VD-3",
        "VD-6",
    ]
    assert counts(figure.axes[0])[0].sum() == 7 * 300
    assert counts(figure.axes[1])[0].sum() == 300


def test_lanes() -> None:
    vd = traffic(vds=2).assign_coords(lane_num=("vd", [2.0, 3.0]))
    axes = plot_fundamental_diagram(vd).axes
    assert axes[0].get_ylabel() == "flow, veh/h per lane"
    vd["lane_num"] = ("vd", [2.0, np.nan])
    assert plot_fundamental_diagram(vd).axes[0].get_ylabel() == "flow, veh/h"


def test_density_where_occupancy_is_missing() -> None:
    figure = plot_fundamental_diagram(traffic(features=["total_volume", "avg_speed"]))
    assert figure.axes[0].get_xlabel() == "density, veh/km"
    assert "Density is flow divided by speed" in figure.get_suptitle()
    _, across, _ = counts(figure.axes[0])
    assert across[-1] > 12 * 149 / (100 - 149 / 3) > across[-3]


def test_flow_against_occupancy_alone() -> None:
    figure = plot_fundamental_diagram(traffic(features=["total_volume", "avg_occupancy"]))
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    "features", [["avg_speed"], ["total_volume"], ["avg_speed", "avg_occupancy"]]
)
def test_without_the_features_the_reason_is_given(features: list[str]) -> None:
    vd = traffic(features=features)
    reason = no_diagram(vd)
    assert reason is not None
    assert reason.endswith(f"the file has {', '.join(features)}.")
    [ax] = plot_fundamental_diagram(vd).axes
    assert ax.texts[0].get_text() == reason


def test_nothing_observed() -> None:
    vd = traffic(vds=2)
    vd[:] = np.nan
    figure = plot_fundamental_diagram(vd)
    figure.draw_without_rendering()
    assert {ax.texts[0].get_text() for ax in figure.axes} == {"nothing observed"}
