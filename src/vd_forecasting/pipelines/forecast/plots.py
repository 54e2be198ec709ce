"""The last hours and what is forecast; errors now and those promised."""

from typing import Any

import matplotlib.dates as mdates
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vd_forecasting.artefacts import RecentForecasts, RecentWindows
from vd_forecasting.language import closed_up, say
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.drift import Drift
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import name_of
from vd_forecasting.wording import lead_time, listed, with_unit

MOST_DETECTORS = 3
_BEFORE = 3
"""What is shown of the past is so many times as long as the forecast, or the window."""


def shown_detectors(forecasts: RecentForecasts) -> list[str]:
    """Of the last origin, the detectors for which the network expects most change.

    Changes are relative to the spread of the file, so that features count alike.
    """
    last = forecasts.prediction.isel(origin=-1)
    expected = abs(last.sel(model=forecasts.best_informed) - last.sel(model="persistence"))
    scale = expected.mean(["horizon", "vd"])
    most = (expected / scale.where(scale > 0)).mean(["horizon", "feature"]).fillna(0).values
    chosen = sorted(np.argsort(-most, kind="stable")[:MOST_DETECTORS])
    return [forecasts.vdids[at] for at in chosen]


def plot_next(question: str, recent: RecentWindows, forecasts: RecentForecasts) -> Figure:
    """What was measured in the last hours, and what is forecast from the last origin."""
    vdids, features = shown_detectors(forecasts), forecasts.features
    network = forecasts.best_informed
    last = forecasts.prediction.isel(origin=-1)
    step, origin = as_interval(forecasts.interval_minutes), forecasts.origins[-1]
    time = recent.time + shift(recent.utc_offset, recent.file_utc_offset)
    known = slice(recent.file.start, recent.origins("test")[-1] + 1)
    shown = max(_BEFORE * recent.prediction_length, recent.sequence_length)
    known = slice(max(known.start, known.stop - 1 - shown), known.stop)
    targets, observed = recent.target_series
    measured = np.where(observed, recent.to_physical(targets), np.nan)[known]
    ahead = origin + step * np.arange(len(forecasts.horizons) + 1)
    *others, highest = forecasts.levels
    detail = say(
        "Up to {time} ({clock}), and the next {reach}. Shaded: where {shares} of the truths are to "
        "lie.",
        time=f"{pd.Timestamp(origin):%Y-%m-%d %H:%M}",
        clock=f"UTC{forecasts.utc_offset}" if forecasts.utc_offset else say("clock of the file"),
        reach=lead_time(forecasts.interval_minutes * len(forecasts.horizons)),
        shares=listed([*others, say("{number} %", number=highest)]),
    )
    if len(vdids) < len(forecasts.vdids):
        some = say(
            "{number} of {all} detectors, those for which most change is expected.",
            number=len(vdids),
            all=len(forecasts.vdids),
        )
        detail = closed_up(f"{detail} {some}")
    shape = (len(features), len(vdids))
    figure, axes = style.panels(question, detail, shape, 2.3, sharex=True, sharey="row")
    for row, (feature, of_row) in enumerate(zip(features, axes, strict=True)):
        of_row[0].set_ylabel(with_unit(feature, forecasts.units[feature]))
        for vdid, ax in zip(vdids, of_row, strict=True):
            values = measured[:, recent.vdids.index(vdid), row]
            ax.plot(time[known], values, **_line("truth", forecasts))
            for model in reversed(forecasts.models):
                of_model = last.sel(model=model, vd=vdid, feature=feature).values
                # Lines begin where the measured one ends.
                start = values[-1:] if model == network else [np.nan]
                ax.plot(ahead, np.concatenate([start, of_model]), **_line(model, forecasts))
            for level in forecasts.levels:
                ends = (
                    end.isel(origin=-1).sel(model=network, vd=vdid, feature=feature)
                    for end in forecasts.ends(level)
                )
                lower, upper = (np.concatenate([values[-1:], end.values]) for end in ends)
                colour = style.COLOURS[network]
                ax.fill_between(ahead, lower, upper, color=colour, alpha=0.15, linewidth=0)
            ax.axvline(mdates.date2num(origin), color="#999999", linewidth=0.8, zorder=0)
            if not np.isfinite(values).any():
                style.say_empty(ax, say("nothing measured"))
            if row == 0:
                style.title(ax, vdid)
    for ax in axes[-1]:
        ax.xaxis.set_major_locator(
            mdates.AutoDateLocator(minticks=3, maxticks=12 // len(vdids) + 1)
        )
        if (recent.prediction_length + shown) * step <= np.timedelta64(1, "D"):
            ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_xlim(*mdates.date2num([time[known][0], ahead[-1]]))
    names = ["truth", *forecasts.models]
    style.legend_below(figure, [Line2D([], [], **_line(name, forecasts)) for name in names])
    return figure


def plot_errors(question: str, forecasts: RecentForecasts, drift: Drift) -> Figure:
    """MAE by horizon of all models that have not seen the truths, and the network's and
    persistence's in the comparison."""
    detail = say("Thin lines without markers: the errors that the comparison promised.")
    figure, axes = style.feature_panels(question, detail, forecasts.features, 3.4)
    minutes = forecasts.interval_minutes * np.array(forecasts.horizons)
    for feature, ax in axes.items():
        for model in reversed(forecasts.scored):
            own = drift.scores[
                (drift.scores["model"] == model) & (drift.scores["feature"] == feature)
            ]
            ax.plot(minutes, own["mae"], **style.line_style(model))
            promised: dict[str, Any] = {"linewidth": 0.9, "marker": "", "label": None}
            ax.plot(minutes, own["promised_mae"], **style.line_style(model, **promised))
        style.title(
            ax, say("MAE of {feature}", feature=with_unit(feature, forecasts.units[feature]))
        )
        ax.set_xlabel(say("minutes ahead"))
        style.start_at_zero(ax)
    handles = [Line2D([], [], **style.line_style(name)) for name in forecasts.scored]
    style.legend_below(figure, handles)
    return figure


def _line(model: str, forecasts: RecentForecasts) -> dict[str, Any]:
    if model == "truth":
        return {"color": style.COLOURS[model], "label": name_of(model), "linewidth": 1.4}
    if model == forecasts.network and forecasts.refitted:  # which has its colour
        return style.line_style(model, linewidth=0.9, marker="")
    return style.line_style(model, markersize=3.0)
