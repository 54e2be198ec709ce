"""Whether prediction intervals cover what they promise: in all, by horizon and by day."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vd_forecasting import wording
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.evaluation.interval_scores import CENTRAL, IntervalScores
from vd_forecasting.language import say
from vd_forecasting.pipelines.reporting.plots.error_plots import (
    horizon_axis,
    horizon_line,
    lead_times_of,
    model_handles,
)
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.wording import feature_name, month_and_day

_PROMISED: dict[str, Any] = {"color": "#1A1A1A", "linewidth": 0.8}
_MOST_DAYS = 3  # with a label


def plot_calibration(question: str, errors: Errors, scores: IntervalScores) -> Figure:
    """Share of the truths within intervals less the share promised, a panel per feature."""
    detail = say(
        "Share of the observed values within intervals of nine levels, less the share promised; "
        "below the line the intervals are too narrow. Scored on {values}.",
        values=errors.scored_in_words,
    )
    models = [*errors.networks, *errors.baselines]
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4, sharey=True)
    promised = 100 * np.array(CENTRAL)
    for feature, ax in axes.items():
        style.title(ax, feature_name(feature))
        coverage = scores.average["coverage"].sel(feature=feature, level=[*CENTRAL])
        for model in reversed(models):
            excess = 100 * coverage.sel(model=model).values - promised
            ax.plot(promised, excess, **style.line_style(model))
        ax.axhline(0, **_PROMISED)
        ax.set_xlabel(say("% promised"))
        _finish(ax, errors, feature)
    next(iter(axes.values())).set_ylabel(say("% covered − % promised"))
    style.legend_below(figure, model_handles(models))
    return figure


def plot_coverage_by_horizon(question: str, errors: Errors, scores: IntervalScores) -> Figure:
    """Coverage of the widest intervals over minutes ahead, a panel per feature."""
    level, models = scores.levels[-1], [*errors.networks, *errors.baselines]
    figure, axes = _coverage_panels(question, errors, level)
    lead_times, _ = lead_times_of(errors)
    for feature, ax in axes.items():
        coverage = scores.by_horizon["coverage"].sel(level=level, feature=feature)
        for model in reversed(models):
            values = 100 * coverage.sel(model=model).values
            ax.plot(lead_times, values, **horizon_line(model, len(lead_times)))
        horizon_axis(ax, errors)
        _finish(ax, errors, feature)
    style.legend_below(figure, model_handles(models))
    return figure


def plot_coverage_by_day(
    question: str, errors: Errors, scores: IntervalScores, models: Sequence[str]
) -> Figure:
    """Coverage of the widest intervals on each test day, a panel per feature."""
    level = scores.levels[-1]
    figure, axes = _coverage_panels(question, errors, level)
    for feature, ax in axes.items():
        coverage = scores.by_day.sel(level=level, feature=feature).dropna("day", how="all")
        days = pd.DatetimeIndex(coverage["day"].values)
        marker = {} if len(days) > 1 else {"marker": "o"}
        for model in reversed(models):
            values = 100 * coverage.sel(model=model).values
            ax.plot(values, **style.line_style(model, **marker))
        ticks = np.linspace(0, len(days) - 1, min(len(days), _MOST_DAYS)).round().astype("int64")
        ax.set_xticks(ticks, [month_and_day(days[at]) for at in ticks])
        _finish(ax, errors, feature)
    style.legend_below(figure, model_handles(models))
    return figure


def _coverage_panels(question: str, errors: Errors, level: float) -> tuple[Figure, dict[str, Axes]]:
    detail = say(
        "Share of the observed values within {level} intervals. Scored on {values}.",
        level=wording.level(level),
        values=errors.scored_in_words,
    )
    figure, axes = style.feature_panels(question, detail, errors.features, 3.4, sharey=True)
    for feature, ax in axes.items():
        style.title(ax, feature_name(feature))
        ax.axhline(100 * level, **_PROMISED)
    next(iter(axes.values())).set_ylabel(say("% covered"))
    return figure, axes


def _finish(ax: Axes, errors: Errors, feature: str) -> None:
    if not errors.count(feature):
        style.say_empty(ax, say("nothing observed, nothing scored"))
