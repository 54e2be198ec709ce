"""Whole forecasts, one after the other, against what was measured."""

from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vd_forecasting.evaluation.aligned import (
    AlignedForecasts,
    CongestedDay,
    by_target_time,
)
from vd_forecasting.rendering.plot_style import (
    COLOURS,
    legend_below,
    line_style,
    panels,
    say_empty,
    title,
)
from vd_forecasting.vocabulary import MODELS, NAMES
from vd_forecasting.wording import lead_time, plural, with_unit

_HOURS_AROUND = 4
_MIN_STEPS_AROUND = 8
_FANS = 16


def plot_fans(question: str, aligned: AlignedForecasts, congested: CongestedDay) -> Figure:
    """Forecasts of all horizons from a row of origins around the most congested hour.

    Args:
        question: the title.
        aligned: of all models.
        congested: which VD and day.
    """
    interval = aligned.interval_minutes
    step = pd.Timedelta(minutes=interval)
    of_vd = aligned.sel(vd=[congested.vdid])
    first_horizon = of_vd.truth.isel(vd=0, horizon=[0])
    truth = by_target_time(first_horizon, interval).isel(horizon=0)
    start, end = _span(truth, congested, step)
    truth = truth.sel(time=slice(start, end))
    made = slice(start - step, end - step)
    forecasts = of_vd.shown.isel(vd=0).sel(origin=made)
    every = max(1, forecasts.sizes["origin"] // _FANS)
    forecasts = forecasts.isel(origin=slice(0, None, every))
    models = [name for name in MODELS if name in aligned.models]
    figure, axes = panels(
        question,
        f"{congested.vdid}, {congested.day:%Y-%m-%d}. A line is one forecast of all "
        f"{plural(len(aligned.horizons), 'step')}; a dot is the last value known to it, every "
        f"{lead_time(every * interval)}.",
        (len(aligned.features), len(models)),
        2.3,
        sharex=True,
        sharey="row",
    )
    for row, feature in zip(axes, aligned.features, strict=True):
        for ax, model in zip(row, models, strict=True):
            last = truth.sel(feature=feature)
            ax.plot(last["time"].values, last.values, **_truth())
            if not np.isfinite(last.values).any():
                say_empty(ax, "nothing measured")
            for forecast in forecasts.sel(model=model, feature=feature):
                origin = forecast["origin"].values
                made_at = last.reindex(time=[origin]).values
                ahead = np.concatenate([[0], forecast["horizon"].values]) * step.to_timedelta64()
                ax.plot(
                    origin + ahead,
                    np.concatenate([made_at, forecast.values]),
                    color=COLOURS[model],
                    linewidth=1.1,
                    alpha=0.8,
                    marker="" if forecast.size > 1 else "x",
                    markersize=4,
                )
                ax.plot(origin, made_at[0], ".", color=COLOURS[model], markersize=5)
            if row is axes[0]:
                title(ax, NAMES[model], fontweight="bold")
        row[0].set_ylabel(with_unit(feature, aligned.units[feature]))
    for ax in axes[-1]:
        ax.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=3, maxticks=8))
        if end - start > pd.Timedelta("24h"):
            ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(mdates.AutoDateLocator()))
        else:
            ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_xlim(*mdates.date2num([start, end]))
    handles = [Line2D([], [], **line_style(model, marker="", linewidth=1.1)) for model in models]
    legend_below(figure, [Line2D([], [], **_truth(), label=NAMES["truth"]), *handles])
    return figure


def _span(
    truth: xr.DataArray, congested: CongestedDay, step: pd.Timedelta
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Some hours around the extreme hour of the day; more where they hold few steps."""
    day = truth.sel(
        feature=congested.feature,
        time=slice(congested.day, congested.day + pd.Timedelta("24h") - pd.Timedelta("1ns")),
    ).to_series()
    hourly = day.resample("1h").mean().dropna()
    if hourly.empty:
        middle = congested.day + pd.Timedelta("12h")
    else:
        at = hourly.idxmin() if congested.is_lowest else hourly.idxmax()
        middle = pd.Timestamp(str(at)) + pd.Timedelta("30min")
    around = max(pd.Timedelta(hours=_HOURS_AROUND), _MIN_STEPS_AROUND * step)
    times = truth["time"].values
    first, last = pd.Timestamp(times.min()), pd.Timestamp(times.max())
    start = max(first, min(middle - around, last - 2 * around))
    return start, min(start + 2 * around, last)


def _truth() -> dict[str, Any]:
    return {"color": COLOURS["truth"], "linewidth": 1.3, "zorder": 1.5}
