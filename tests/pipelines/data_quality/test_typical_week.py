import numpy as np
import pytest
from matplotlib.text import Text

from tests.make.arrays import array, one
from vd_forecasting.pipelines.data_quality import typical_week
from vd_forecasting.pipelines.data_quality.typical_week import (
    QUANTILES,
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
def test_plot(features: list[str]) -> None:
    values = np.random.default_rng(0).random((200, 3, len(features)))
    values[..., 1:] = np.nan
    figure = plot_typical_week(array(values, features=features))
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert "What does a typical week look like?" in texts
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels(minor=True)] == DAYS
    assert ("nothing observed" in texts) == (len(features) == 2)


def test_what_is_not_shown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typical_week, "MOST_VALUES", 200)
    vd = array(np.ones((50, 6, 9)), features=[f"f{n}" for n in range(9)])
    vd.attrs["utc_offset"] = "+08:00"
    figure = plot_typical_week(vd)
    assert len(figure.axes) == 8
    detail = figure.get_suptitle()
    assert "1 of the 6 detectors, evenly spread" in detail
    assert "The last 1 features are not shown" in detail
    assert "UTC+08:00" in detail
