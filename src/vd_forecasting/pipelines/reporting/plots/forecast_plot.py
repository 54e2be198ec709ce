"""Forecasts drawn against what was measured."""

from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vd_forecasting.evaluation.aligned import AlignedForecasts, CongestedDay, by_target_time
from vd_forecasting.rendering.plot_style import COLOURS, legend_below, panels, say_empty, title
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import (
    ahead,
    is_number,
    lead_time,
    quantity,
    with_unit,
)


def plot_forecast(
    question: str, forecasts: AlignedForecasts, congested: CongestedDay, *, days: int
) -> Figure:
    """Forecasts of the last horizon over the most congested day and the days around it.

    Args:
        question: the title.
        forecasts: of all models.
        congested: what to show.
        days: how many days to show, fewer where the forecasts cover fewer.
    """
    interval, units = forecasts.interval_minutes, forecasts.units
    horizon = forecasts.horizons[-1]
    models = [name for name in forecasts.models if name in _WIDTHS]
    drawn = forecasts.sel(vd=[congested.vdid], horizon=[horizon])
    both = xr.Dataset({"truth": drawn.truth, "forecast": drawn.shown.sel(model=models)})
    lines = by_target_time(both.isel(vd=0), interval)
    start, end = _span(lines["time"].values, congested.day, days)
    last = pd.Timestamp(lines["time"].values[-1])
    lines = lines.isel(horizon=0).sel(time=slice(start, end - pd.Timedelta(1, "ns")))
    # On a regular grid a gap in the measurements is a gap in the line.
    grid = pd.date_range(start, end, freq=pd.Timedelta(minutes=interval), inclusive="left")
    grid += (lines["time"].values[0] - np.datetime64(start)) % np.timedelta64(
        round(interval * 60e9), "ns"
    )
    lines = lines.reindex(time=grid)

    detail = f"{congested.vdid}, {ahead(horizon, interval)}."
    if is_number(congested.value):
        detail += (
            f" Most {'congested' if congested.is_congestion else 'extreme'} day"
            f"{' (shaded)' if days > 1 else ''}: {congested.day:%Y-%m-%d}, {congested.feature} "
            f"{'down' if congested.is_lowest else 'up'} to "
            f"{quantity(congested.value, units[congested.feature])} "
            f"({lead_time(max(60.0, interval))} mean)."
        )
    figure, axes = panels(question, detail, (len(forecasts.features), 1), 2.3, sharex=True)
    for [ax], feature in zip(axes, forecasts.features, strict=True):
        _draw(ax, lines.sel(feature=feature))
        title(ax, with_unit(feature, units[feature]))
        if days > 1:
            day = mdates.date2num([congested.day, congested.day + pd.Timedelta(days=1)])
            ax.axvspan(day[0], day[1], color="#F3ECD8", zorder=0)
    ax = axes[-1][0]
    # Not quite to midnight, whose label would stand alone at the edge.
    shown_until = min(end, last + pd.Timedelta(minutes=interval)) - pd.Timedelta(minutes=1)
    ax.set_xlim(*mdates.date2num([start, shown_until]))
    if end - start <= pd.Timedelta(days=1):
        ax.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=4, maxticks=13))
        ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_xlabel(f"{start:%A, %Y-%m-%d}")
    else:
        ax.xaxis.set_major_locator(mdates.DayLocator())
        ax.xaxis.set_major_formatter(mdates.DateFormatter("00:00\n%a %Y-%m-%d"))
        ax.xaxis.set_minor_locator(mdates.HourLocator(byhour=(6, 12, 18)))
        ax.xaxis.set_minor_formatter(mdates.DateFormatter("%H:%M"))
        ax.tick_params(axis="x", which="both", length=3.5, pad=3.5)
        for label in ax.get_xticklabels():
            label.set_horizontalalignment("left")
    legend_below(figure, [Line2D([], [], **_line(str(model))) for model in ("truth", *models)])
    return figure


def _span(
    times: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]], day: pd.Timestamp, days: int
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end of so many whole days with ``day`` in the middle, where they exist."""
    first = pd.Timestamp(times.min()).normalize()
    last = pd.Timestamp(times.max()).normalize()
    one = pd.Timedelta(days=1)
    start = max(first, min(day - one * ((days - 1) // 2), last - one * (days - 1)))
    return start, min(start + one * days, last + one)


def _draw(ax: Axes, lines: xr.Dataset) -> None:
    times = lines["time"].values
    for model in reversed(lines["model"].values):
        ax.plot(times, lines["forecast"].sel(model=model).values, **_line(str(model)))
    truth = lines["truth"].values
    ax.plot(times, truth, **_line("truth"))
    if not np.isfinite(truth).any():
        say_empty(ax, "nothing measured")


_WIDTHS = {"lstm": 1.5, "xlstm": 1.5, "truth": 1.3, "persistence": 0.9}
"""Lines by model. Persistence is the only baseline: more lines would hide each other."""


def _line(model: str) -> dict[str, Any]:
    return {
        "color": COLOURS[model],
        "label": NAMES[model],
        "linewidth": _WIDTHS[model],
        "alpha": 0.7 if model == "persistence" else 1.0,
        "zorder": {"truth": 2.5, "persistence": 1.5}.get(model, 2),
    }
