"""Errors by horizon, hour of day and VD, of any number of models."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vd_forecasting.pipelines.reporting.errors import Errors, mae, mae_of_models
from vd_forecasting.pipelines.reporting.points import by_target_time
from vd_forecasting.pipelines.reporting.style import (
    COLOURS,
    MARKERS,
    MAX_COLUMNS,
    NAMES,
    feature_panels,
    legend_below,
    line_style,
    say_empty,
    start_at_zero,
    title,
)
from vd_forecasting.pipelines.reporting.verdicts import scored_in_words
from vd_forecasting.pipelines.reporting.wording import plural

MAX_LABELLED_VDS = 40
_MAX_PLOTTED_MARKERS = 16


def plot_error_by_horizon(question: str, errors: Errors) -> Figure:
    """MAE over minutes ahead, a panel per feature."""
    figure, axes = feature_panels(question, _scored(errors), errors.features, 3.4)
    for feature, ax in axes.items():
        title(ax, f"MAE of {errors.label(feature)}")
        draw_by_horizon(ax, errors, feature)
        start_at_zero(ax)
    legend_below(figure, model_handles([*errors.models, "persistence"]))
    return figure


def draw_by_horizon(ax: Axes, errors: Errors, feature: str) -> None:
    """Lines of MAE, of every model and of persistence, into one panel."""
    minutes, unit = _minutes_ahead(errors)
    for model in [*errors.models, "persistence"]:
        values = [errors.at("mae", model, feature, step) for step in errors.horizons]
        ax.plot(minutes, values, **_horizon_line(model, len(minutes)))
    _horizon_axis(ax, minutes, unit)
    if not errors.count(feature):
        say_empty(ax, "nothing observed, nothing scored")


def plot_gain_by_horizon(question: str, errors: Errors) -> Figure:
    """Relative difference of each network's MAE from persistence's, a panel per feature."""
    figure, axes = feature_panels(
        question,
        f"MAE against persistence's; below the line a network is better. {_scored(errors)}",
        errors.features,
        3.4,
        share_y=True,
    )
    for feature, ax in axes.items():
        minutes, unit = _minutes_ahead(errors)
        reference = errors.by_horizon["mae"].sel(model="persistence", feature=feature)
        reference = reference.where(reference > 0)
        for model in errors.models:
            own = errors.by_horizon["mae"].sel(model=model, feature=feature)
            ax.plot(
                minutes,
                (100 * (own / reference - 1)).values,
                **_horizon_line(model, len(minutes)),
            )
        if not reference.notnull().any():
            say_empty(ax, "nothing observed, nothing scored")
        ax.axhline(0, **line_style("persistence"))
        title(ax, feature)
        _horizon_axis(ax, minutes, unit)
        ax.yaxis.set_major_formatter(signed_percent)
    legend_below(figure, model_handles([*errors.models, "persistence"]))
    return figure


def signed_percent(value: float, _: float) -> str:
    """A tick label."""
    return f"{value:+.3g} %".replace("-", "−") if round(value, 6) else "0 %"


def plot_error_by_hour(question: str, points: xr.Dataset, errors: Errors) -> Figure:
    """MAE by the hour of day that was forecast, all horizons together, a panel per feature."""
    by_hour = mae_by_hour(points)
    figure, axes = feature_panels(
        question, f"By the hour that was forecast. {_scored(errors)}", errors.features, 3.4
    )
    for feature, ax in axes.items():
        title(ax, f"MAE of {errors.label(feature)}")
        for model in [*errors.models, "persistence"]:
            values = by_hour.sel(model=model, feature=feature).dropna("hour")
            ax.plot(values["hour"].values, values.values, **line_style(model))
        ax.set_xlim(-0.5, 23.5)
        ax.set_xticks(range(0, 24, 4), [f"{hour}:00" for hour in range(0, 24, 4)])
        ax.set_xlabel("hour of day")
        start_at_zero(ax)
        if not errors.count(feature):
            say_empty(ax, "nothing observed, nothing scored")
    legend_below(figure, model_handles([*errors.models, "persistence"]))
    return figure


def mae_by_hour(points: xr.Dataset) -> xr.DataArray:
    """MAE over (model, hour, feature) of the hour of day of what was forecast."""
    interval = points.attrs["interval_minutes"]
    truth = _by_hour(by_target_time(points["truth"], interval))
    return xr.concat(
        [
            mae(
                truth,
                _by_hour(by_target_time(points["forecast"].sel(model=model), interval)),
                pool=["horizon", "vd"],
            )
            for model in points["model"].values
        ],
        points["model"],
    ).reindex(hour=range(24))


def _by_hour(values: xr.DataArray) -> xr.DataArray:
    """Split ``time`` into ``hour`` of day and ``origin``, a running number within the hour."""
    hours = pd.Series(values["time"].dt.hour.values)
    index = pd.MultiIndex.from_arrays([hours, hours.groupby(hours).cumcount()])
    index.names = ["hour", "origin"]
    coords = xr.Coordinates.from_pandas_multiindex(index, "time")
    return values.drop_vars("time").assign_coords(coords).unstack("time")


def plot_error_by_vd(question: str, points: xr.Dataset, errors: Errors) -> Figure:
    """MAE of every VD, all horizons together: a row of dots per VD, a panel per feature."""
    by_vd = mae_of_models(points, pool=["horizon"])
    vdids = [str(vdid) for vdid in by_vd["vd"].values]
    labelled = len(vdids) <= MAX_LABELLED_VDS
    figure, axes = feature_panels(
        question,
        f"{_scored(errors)}"
        + ("" if labelled else " In each panel the VDs are in the order of persistence's error."),
        errors.features,
        max(1.2, 0.27 * len(vdids) + 0.9) if labelled else 6.0,
    )
    rows = np.arange(len(vdids))
    for position, (feature, ax) in enumerate(axes.items()):
        panel = by_vd.sel(feature=feature)
        if not labelled:
            panel = panel.isel(vd=np.argsort(panel.sel(model="persistence").values))
        values = {model: panel.sel(model=model).values for model in by_vd["model"].values}
        if labelled:
            lowest = np.fmin.reduce(list(values.values()))
            highest = np.fmax.reduce(list(values.values()))
            ax.hlines(rows, lowest, highest, color="#D0D0D0", linewidth=2, zorder=1)
        for model in ["persistence", *errors.models]:
            ax.plot(values[model], rows, **_dot(model, 5 if labelled else 2.5))
        title(ax, f"MAE of {errors.label(feature)}")
        ax.set_ylim(len(vdids) - 0.4, -0.6)
        largest = float(panel.max())
        ax.set_xlim(0, 1.06 * largest if largest > 0 else 1)
        ax.grid(visible=False, axis="y")
        first = position % MAX_COLUMNS == 0
        if labelled:
            ax.set_yticks(rows, vdids if first else [])
        else:
            ax.set_yticks([])
            if first:
                ax.set_ylabel(f"{plural(len(vdids), 'VD')}")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        if not panel.notnull().any():
            say_empty(ax, "nothing observed, nothing scored")
    legend_below(figure, [Line2D([], [], **_dot(m, 5)) for m in [*errors.models, "persistence"]])
    return figure


def _dot(model: str, size: float) -> dict[str, Any]:
    """A ring for LSTM, a dot for xLSTM and a bar for persistence: none hides another."""
    style = {
        "color": COLOURS[model],
        "label": NAMES[model],
        "marker": MARKERS[model],
        "markersize": size,
        "linestyle": "",
    }
    if model == "lstm":
        return style | {"markersize": 1.3 * size, "markerfacecolor": "none", "markeredgewidth": 1.6}
    if model == "persistence":
        return style | {"markersize": 1.8 * size, "markeredgewidth": 1.6}
    return style


def model_handles(models: list[str]) -> list[Line2D]:
    """Legend entries in the models' colours."""
    return [Line2D([], [], **line_style(model)) for model in models]


def _scored(errors: Errors) -> str:
    return f"Scored on {scored_in_words(errors)}."


def _minutes_ahead(errors: Errors) -> tuple[list[float], str]:
    minutes = [step * errors.interval_minutes for step in errors.horizons]
    if minutes[-1] > 300:
        return [value / 60 for value in minutes], "hours ahead"
    return minutes, "minutes ahead"


def _horizon_axis(ax: Axes, lead_times: list[float], unit: str) -> None:
    ax.set_xlabel(unit)
    if len(lead_times) <= 6:
        ax.set_xticks(lead_times, [f"{value:g}" for value in lead_times])
    elif len(lead_times) <= 12:
        ax.set_xticks(lead_times[1::2], [f"{value:g}" for value in lead_times[1::2]])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8))
    ax.margins(x=0.04)


def _horizon_line(model: str, horizons: int) -> dict[str, Any]:
    if horizons == 1:  # a line of one point would not be seen
        return line_style(
            model,
            marker="_" if model == "persistence" else MARKERS[model],
            markersize=14 if model == "persistence" else 6,
        )
    return line_style(model) if horizons <= _MAX_PLOTTED_MARKERS else line_style(model, marker="")
