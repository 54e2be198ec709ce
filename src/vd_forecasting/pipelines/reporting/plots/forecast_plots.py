"""Forecasts drawn against what was measured: of one horizon over days, and whole ones in a row."""

from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vd_forecasting.evaluation.aligned import AlignedForecasts, CongestedDay, by_target_time
from vd_forecasting.language import closed_up, say
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.vocabulary import MODELS, name_of
from vd_forecasting.wording import (
    ahead,
    feature_name,
    is_number,
    lead_time,
    plural,
    quantity,
    weekday,
    weekday_in_short,
    with_unit,
)

_WIDTHS = {"lstm": 1.5, "xlstm": 1.5, "truth": 1.3, "persistence": 0.9}
"""Lines by model. Persistence is the only baseline: more lines would hide each other."""
_DAY = pd.Timedelta("24h")

_HOURS_AROUND = 4
_MIN_STEPS_AROUND = 8
_FANS = 16


def plot_forecast(
    question: str, forecasts: AlignedForecasts, congested: CongestedDay, *, days: int
) -> Figure:
    """Forecasts of the last horizon over the most congested day and the days around it.

    There are fewer than ``days`` where the forecasts cover fewer.
    """
    interval, units = forecasts.interval_minutes, forecasts.units
    step = pd.Timedelta(minutes=interval)
    horizon = forecasts.horizons[-1]
    models = [name for name in forecasts.models if name in _WIDTHS]
    drawn = forecasts.sel(vd=[congested.vdid], horizon=[horizon])
    both = xr.Dataset({"truth": drawn.truth, "forecast": drawn.shown.sel(model=models)})
    lines = by_target_time(both.isel(vd=0), interval)
    first, last = (pd.Timestamp(time) for time in lines["time"].values[[0, -1]])
    middle_day = congested.day - (days - 1) // 2 * _DAY
    whole_days = first.normalize(), last.normalize() + _DAY
    start, end = _within(whole_days, middle_day, days * _DAY)
    lines = lines.isel(horizon=0).sel(time=slice(start, end - pd.Timedelta(1, "ns")))
    # On a regular grid a gap in the measurements is a gap in the line.
    grid = pd.date_range(start, end, freq=step, inclusive="left")
    lines = lines.reindex(time=grid + (pd.Timestamp(lines["time"].values[0]) - start) % step)

    detail = say("{detector}, {ahead}.", detector=congested.vdid, ahead=ahead(horizon, interval))
    if is_number(congested.value):
        why = _why_this_day(congested, units[congested.feature], interval, shaded=days > 1)
        detail = closed_up(f"{detail} {why}")
    figure, axes = style.panels(question, detail, (len(forecasts.features), 1), 2.3, sharex=True)
    for [ax], feature in zip(axes, forecasts.features, strict=True):
        truth, forecast = (lines[name].sel(feature=feature) for name in ("truth", "forecast"))
        for model in reversed(models):
            ax.plot(lines["time"].values, forecast.sel(model=model).values, **_line(model))
        ax.plot(lines["time"].values, truth.values, **_line("truth"))
        if not np.isfinite(truth.values).any():
            style.say_empty(ax, say("nothing measured"))
        style.title(ax, with_unit(feature, units[feature]))
        if days > 1:
            shaded = mdates.date2num([congested.day, congested.day + _DAY])
            ax.axvspan(*shaded, color="#F3ECD8", zorder=0)
    # Not quite to midnight, whose label would stand alone at the edge.
    shown_until = min(end, last + step) - pd.Timedelta(minutes=1)
    ax.set_xlim(*mdates.date2num([start, shown_until]))
    if end - start <= _DAY:
        ax.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=4, maxticks=13))
        ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_xlabel(weekday(start))
    else:
        ax.xaxis.set_major_locator(mdates.DayLocator())
        ax.xaxis.set_major_formatter(
            lambda day, _: f"00:00\n{weekday_in_short(mdates.num2date(day))}"
        )
        ax.xaxis.set_minor_locator(mdates.HourLocator(byhour=(6, 12, 18)))
        ax.xaxis.set_minor_formatter(mdates.DateFormatter("%H:%M"))
        ax.tick_params(axis="x", which="both", length=3.5, pad=3.5)
        for label in ax.get_xticklabels():
            label.set_horizontalalignment("left")
    style.legend_below(figure, [Line2D([], [], **_line(name)) for name in ("truth", *models)])
    return figure


def _why_this_day(
    congested: CongestedDay, unit: str, interval_minutes: float, *, shaded: bool
) -> str:
    """Which day it is and which value made it the most congested."""
    values: dict[str, object] = {
        "shaded": say(" (shaded)") if shaded else "",
        "day": f"{congested.day:%Y-%m-%d}",
        "feature": feature_name(congested.feature),
        "value": quantity(congested.value, unit),
        "time": lead_time(max(60.0, interval_minutes)),
    }
    if congested.is_lowest:
        return say(
            "Most congested day{shaded}: {day}, {feature} down to {value} ({time} mean).", **values
        )
    if congested.is_congestion:
        return say(
            "Most congested day{shaded}: {day}, {feature} up to {value} ({time} mean).", **values
        )
    return say("Most extreme day{shaded}: {day}, {feature} up to {value} ({time} mean).", **values)


def _within(
    limits: tuple[pd.Timestamp, pd.Timestamp], start: pd.Timestamp, length: pd.Timedelta
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end of a span, moved to lie within limits, and cut where these are closer."""
    first, last = limits
    start = max(first, min(start, last - length))
    return start, min(start + length, last)


def _line(model: str) -> dict[str, Any]:
    return {
        "color": style.COLOURS[model],
        "label": name_of(model),
        "linewidth": _WIDTHS[model],
        "alpha": 0.7 if model == "persistence" else 1.0,
        "zorder": {"truth": 2.5, "persistence": 1.5}.get(model, 2),
    }


def plot_fans(question: str, aligned: AlignedForecasts, congested: CongestedDay) -> Figure:
    """Forecasts of all horizons from a row of origins around the most congested hour."""
    interval = aligned.interval_minutes
    step = pd.Timedelta(minutes=interval)
    of_vd = aligned.sel(vd=[congested.vdid])
    first_horizon = of_vd.truth.isel(vd=0, horizon=[0])
    truth = by_target_time(first_horizon, interval).isel(horizon=0)
    around = max(pd.Timedelta(hours=_HOURS_AROUND), _MIN_STEPS_AROUND * step)
    first, last = (pd.Timestamp(time) for time in truth["time"].values[[0, -1]])
    start, end = _within((first, last), _extreme(truth, congested) - around, 2 * around)
    truth = truth.sel(time=slice(start, end))
    forecasts = of_vd.shown.isel(vd=0).sel(origin=slice(start - step, end - step))
    every = max(1, forecasts.sizes["origin"] // _FANS)
    forecasts = forecasts.isel(origin=slice(0, None, every))
    origins = forecasts["origin"].values
    lead_times = np.array([0, *aligned.horizons]) * step.to_timedelta64()
    models = [name for name in MODELS if name in aligned.models]
    figure, axes = style.panels(
        question,
        say(
            "{detector}, {day}. A line is one forecast of all {steps}; a dot is the last value "
            "known to it, every {time}.",
            detector=congested.vdid,
            day=f"{congested.day:%Y-%m-%d}",
            steps=plural(len(aligned.horizons), "step"),
            time=lead_time(every * interval),
        ),
        (len(aligned.features), len(models)),
        2.3,
        sharex=True,
        sharey="row",
    )
    for row, feature in zip(axes, aligned.features, strict=True):
        known = truth.sel(feature=feature)
        for ax, model in zip(row, models, strict=True):
            ax.plot(known["time"].values, known.values, **_line("truth") | {"zorder": 1.5})
            if not np.isfinite(known.values).any():
                style.say_empty(ax, say("nothing measured"))
            look: dict[str, Any] = {"color": style.COLOURS[model], "linewidth": 1.1, "alpha": 0.8}
            look |= {"marker": "" if len(aligned.horizons) > 1 else "x", "markersize": 4}
            values = forecasts.sel(model=model, feature=feature).transpose("horizon", "origin")
            made_at = known.reindex(time=origins).values
            lines = np.concatenate([made_at[None], values.values])
            ax.plot(origins + lead_times[:, None], lines, **look)
            ax.plot(origins, made_at, ".", color=style.COLOURS[model], markersize=5)
            if row is axes[0]:
                style.title(ax, name_of(model), fontweight="bold")
        row[0].set_ylabel(with_unit(feature, aligned.units[feature]))
    for ax in axes[-1]:
        ax.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=3, maxticks=8))
        if end - start > _DAY:
            ax.xaxis.set_major_formatter(_dates_in_words(mdates.AutoDateLocator()))
        else:
            ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_xlim(*mdates.date2num([start, end]))
    handles = [Line2D([], [], **style.line_style(m, marker="", linewidth=1.1)) for m in models]
    style.legend_below(figure, [Line2D([], [], **_line("truth")), *handles])
    return figure


def _dates_in_words(locator: mdates.AutoDateLocator) -> mdates.ConciseDateFormatter:
    """Matplotlib's own formats, in the language spoken."""
    day, month_and_day = say("%Y-%b-%d"), say("%b-%d")
    return mdates.ConciseDateFormatter(
        locator,
        formats=["%Y", say("%b"), "%d", "%H:%M", "%H:%M", "%S.%f"],
        zero_formats=["", "%Y", say("%b"), month_and_day, "%H:%M", "%H:%M"],
        offset_formats=["", "%Y", say("%Y-%b"), day, day, f"{day} %H:%M"],
    )


def _extreme(truth: xr.DataArray, congested: CongestedDay) -> pd.Timestamp:
    """The middle of the extreme hour of the day, or of the day if nothing was measured."""
    whole_day = slice(congested.day, congested.day + _DAY - pd.Timedelta("1ns"))
    of_day = truth.sel(feature=congested.feature, time=whole_day).to_series()
    hourly = of_day.resample("1h").mean().dropna()
    if hourly.empty:
        return congested.day + _DAY / 2
    hour = hourly.idxmin() if congested.is_lowest else hourly.idxmax()
    return pd.Timestamp(str(hour)) + pd.Timedelta("30min")
