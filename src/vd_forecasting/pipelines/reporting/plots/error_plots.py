"""Errors by horizon, hour of day and detector, of any number of models."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.rendering.plot_style import (
    COLOURS,
    MARKERS,
    MAX_COLUMNS,
    feature_panels,
    legend_below,
    line_style,
    say_empty,
    start_at_zero,
    title,
)
from vd_forecasting.vocabulary import MODELS, NAMES
from vd_forecasting.wording import plural

MAX_LABELLED_VDS = 40
_MAX_PLOTTED_MARKERS = 16


def plot_error_by_horizon(
    question: str, errors: Errors, differences: Differences | None = None
) -> Figure:
    """MAE over minutes ahead, a panel per feature; with bands where there are intervals."""
    bands = differences is not None and differences.is_tested
    detail = _scored(errors)
    if differences is not None and bands:
        detail += (
            f" Bands: {100 * differences.confidence:g} % intervals of each network's own MAE. They "
            "overlap even where one is surely better: both have the same hard days."
        )
    figure, axes = feature_panels(question, detail, errors.features, 3.4)
    for feature, ax in axes.items():
        title(ax, f"MAE of {errors.label(feature)}")
        draw_by_horizon(ax, errors, feature)
        if differences is not None and bands:
            _draw_bands(ax, errors, differences, feature)
        start_at_zero(ax)
    legend_below(figure, model_handles([*errors.networks, *errors.baselines]))
    return figure


def draw_by_horizon(ax: Axes, errors: Errors, feature: str) -> None:
    """Lines of MAE, of every network and baseline, into one panel."""
    minutes, unit = _minutes_ahead(errors)
    for model in [*errors.baselines, *errors.networks]:
        values = [errors.at("mae", model, feature, step) for step in errors.horizons]
        ax.plot(minutes, values, **_horizon_line(model, len(minutes)))
    _horizon_axis(ax, minutes, unit)
    if not errors.count(feature):
        say_empty(ax, "nothing observed, nothing scored")


def _draw_bands(ax: Axes, errors: Errors, differences: Differences, feature: str) -> None:
    minutes, _ = _minutes_ahead(errors)
    for model in errors.networks:
        low, high = (
            of.sel(model=model, feature=feature).values
            for of in (differences.mae_low, differences.mae_high)
        )
        if len(minutes) > 1:
            ax.fill_between(minutes, low, high, color=COLOURS[model], alpha=0.15, linewidth=0)
        else:
            ax.vlines(minutes, low, high, color=COLOURS[model], alpha=0.3, linewidth=6)


def strong_baselines(errors: Errors, feature: str) -> list[str]:
    """Persistence and the baselines with a lower average MAE."""
    reference = errors.at("mae", "persistence", feature)
    return [
        name
        for name in errors.baselines
        if name == "persistence" or errors.at("mae", name, feature) < reference
    ]


def _legend_models(errors: Errors) -> list[str]:
    """The networks and the baselines that are strong on any feature."""
    strong = {name for feature in errors.features for name in strong_baselines(errors, feature)}
    return [*errors.networks, *(name for name in errors.baselines if name in strong)]


def plot_skill_by_horizon(question: str, errors: Errors) -> Figure:
    """Relative difference of each MAE from persistence's, a panel per feature."""
    figure, axes = feature_panels(
        question,
        "MAE against persistence's; below the line is better. Baselines are shown that do better "
        f"than persistence on average. {_scored(errors)}",
        errors.features,
        3.4,
        sharey=True,
    )
    for feature, ax in axes.items():
        minutes, unit = _minutes_ahead(errors)
        reference = errors.by_horizon["mae"].sel(model="persistence", feature=feature)
        reference = reference.where(reference > 0)
        for model in [*strong_baselines(errors, feature), *errors.networks]:
            if model == "persistence":
                continue
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
    legend_below(figure, model_handles(_legend_models(errors)))
    return figure


def plot_difference_by_horizon(question: str, errors: Errors, differences: Differences) -> Figure:
    """xLSTM's MAE relative to LSTM's over minutes ahead, with its interval, a panel per feature."""
    detail = f"xLSTM's MAE against LSTM's; below the line xLSTM is better. {_scored(errors)}"
    if differences.is_tested:
        detail += (
            f" Bands: {100 * differences.confidence:g} % intervals; where a band lies on the line, "
            "the difference may be chance."
        )
    else:
        detail += " The test span is too short for intervals."
    figure, axes = feature_panels(question, detail, errors.features, 3.4, sharey=True)
    for feature, ax in axes.items():
        minutes, unit = _minutes_ahead(errors)
        between = [differences.between[feature, step] for step in errors.horizons]
        low, middle, high = (
            [100 * getattr(difference, end) for difference in between]
            for end in ("low", "change", "high")
        )
        ax.fill_between(minutes, low, high, color=COLOURS["xlstm"], alpha=0.2, linewidth=0)
        if len(minutes) == 1:  # a band of no width would not be seen
            ax.vlines(minutes, low, high, color=COLOURS["xlstm"], alpha=0.4)
        ax.plot(minutes, middle, **_horizon_line("xlstm", len(minutes)))
        ax.axhline(0, **line_style("lstm", marker=""))
        if not np.isfinite(middle).any():
            say_empty(ax, "nothing to compare")
        title(ax, feature)
        _horizon_axis(ax, minutes, unit)
        ax.yaxis.set_major_formatter(signed_percent)
    legend_below(figure, model_handles([*MODELS]))
    return figure


def signed_percent(value: float, _: float) -> str:
    """A tick label."""
    return f"{value:+.3g} %".replace("-", "−") if round(value, 6) else "0 %"


def plot_error_by_hour(question: str, errors: Errors) -> Figure:
    """MAE by the hour of day that was forecast, all horizons together, a panel per feature."""
    figure, axes = feature_panels(
        question,
        "By the hour that was forecast. Baselines are shown that do better than persistence on "
        f"average. {_scored(errors)}",
        errors.features,
        3.4,
    )
    for feature, ax in axes.items():
        title(ax, f"MAE of {errors.label(feature)}")
        for model in [*strong_baselines(errors, feature), *errors.networks]:
            values = errors.by_hour.sel(model=model, feature=feature).dropna("hour")
            ax.plot(values["hour"].values, values.values, **line_style(model))
        ax.set_xlim(-0.5, 23.5)
        ax.set_xticks(range(0, 24, 4), [f"{hour}:00" for hour in range(0, 24, 4)])
        ax.set_xlabel("hour of day")
        start_at_zero(ax)
        if not errors.count(feature):
            say_empty(ax, "nothing observed, nothing scored")
    legend_below(figure, model_handles(_legend_models(errors)))
    return figure


def plot_error_by_vd(question: str, errors: Errors) -> Figure:
    """MAE of every detector, all horizons together: a row of dots each, a panel per feature."""
    by_vd = errors.by_vd["mae"]
    vdids = [str(vdid) for vdid in by_vd["vd"].values]
    labelled = len(vdids) <= MAX_LABELLED_VDS
    figure, axes = feature_panels(
        question,
        _scored(errors)
        + ("" if labelled else " Detectors are in the order of persistence's error."),
        errors.features,
        max(1.2, 0.27 * len(vdids) + 0.9) if labelled else 6.0,
    )
    rows = np.arange(len(vdids))
    for position, (feature, ax) in enumerate(axes.items()):
        panel = by_vd.sel(feature=feature)
        if not labelled:
            panel = panel.isel(vd=np.argsort(panel.sel(model="persistence").values))
        baselines = strong_baselines(errors, feature)
        values = {model: panel.sel(model=model).values for model in [*baselines, *errors.networks]}
        if labelled:
            lowest = np.fmin.reduce(list(values.values()))
            highest = np.fmax.reduce(list(values.values()))
            ax.hlines(rows, lowest, highest, color="#D0D0D0", linewidth=2, zorder=1)
        for model, of_model in values.items():
            ax.plot(of_model, rows, **_dot(model, 5 if labelled else 2.5))
        title(ax, f"MAE of {errors.label(feature)}")
        ax.set_ylim(len(vdids) - 0.4, -0.6)
        largest = max(float(np.nanmax(of_model, initial=0)) for of_model in values.values())
        ax.set_xlim(0, 1.06 * largest if largest > 0 else 1)
        ax.grid(visible=False, axis="y")
        first = position % MAX_COLUMNS == 0
        if labelled:
            ax.set_yticks(rows, vdids if first else [])
        else:
            ax.set_yticks([])
            if first:
                ax.set_ylabel(plural(len(vdids), "detector"))
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        if not panel.notnull().any():
            say_empty(ax, "nothing observed, nothing scored")
    legend_below(figure, [Line2D([], [], **_dot(m, 5)) for m in _legend_models(errors)])
    return figure


def _dot(model: str, size: float) -> dict[str, Any]:
    """A ring for LSTM, a diamond for xLSTM and a bar for persistence: none hides another."""
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
    return f"Scored on {errors.scored_in_words}."


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
            marker="_" if model not in MODELS else MARKERS[model],
            markersize=14 if model not in MODELS else 6,
        )
    return line_style(model) if horizons <= _MAX_PLOTTED_MARKERS else line_style(model, marker="")
