"""The plots that compare all experiments."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from vd_forecasting.evaluation.differences import model_labels
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.language import closed_up, say
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.pipelines.reporting.plots import error_plots
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.vocabulary import MODELS, name_of
from vd_forecasting.wording import (
    change,
    duration,
    feature_name,
    first_few,
    is_number,
    lead_time,
    level,
    listed,
    number,
)


def plot_error(question: str, across: AcrossModes) -> Figure:
    """MAE of every experiment, a panel per feature."""
    by_mode = across.errors
    detail = _sentences(
        say("MAE averaged over horizons; of the baselines persistence and those better than it."),
        _target(across),
    )
    figure, axes = style.feature_panels(question, detail, across.features, 3.2)
    for position, (feature, ax) in enumerate(axes.items()):
        drawn = [0.0]
        for row, errors in enumerate(by_mode.values()):
            if feature not in errors.features:
                continue
            for model in [*errors.networks, *error_plots.strong_baselines(errors, feature)]:
                value = errors.at("mae", model, feature)
                if is_number(value):
                    drawn.append(value)
                    _draw_error(ax, model, value, row)
        style.title(ax, error_plots.mae_of(across.label(feature)))
        first = position % style.MAX_COLUMNS == 0
        ax.set_yticks(range(len(by_mode)), list(by_mode) if first else [])
        ax.set_ylim(len(by_mode) - 0.45, -0.55)
        ax.set_xlim(0, 1.08 * max(drawn) or 1)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        if not max(drawn):
            style.say_empty(ax, say("nothing observed, nothing scored"))
    strong = dict.fromkeys(
        name
        for errors in by_mode.values()
        for feature in errors.features
        for name in error_plots.strong_baselines(errors, feature)
    )
    looks = {**dict.fromkeys(MODELS, _DOT), **dict.fromkeys(strong, _BAR)}
    handles = [
        Line2D([], [], color=style.COLOURS[model], label=name_of(model), **look)
        for model, look in looks.items()
    ]
    style.legend_below(figure, handles)
    return figure


_DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7}
_BAR: dict[str, Any] = {"linewidth": 2.5, "zorder": 1.5}


def _draw_error(ax: Axes, model: str, value: float, row: int) -> None:
    """A network's error as a dot with its number, a baseline's as a bar."""
    colour = style.COLOURS[model]
    if model not in MODELS:
        ax.vlines(value, row - 0.4, row + 0.4, color=colour, **_BAR)
        return
    at = (value, row + (-0.17 if model == "lstm" else 0.17))
    ax.plot(*at, color=colour, **_DOT)
    beside: dict[str, Any] = {"xytext": (-7, 0), "textcoords": "offset points"}
    beside |= {"ha": "right", "va": "center", "fontsize": 8.5, "color": colour}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    ax.annotate(number(value), at, bbox=box, **beside)


def plot_error_by_horizon_and_mode(question: str, across: AcrossModes) -> Figure:
    """MAE by horizon: a row of panels per feature, a column per mode."""
    by_mode = across.errors
    shape = (len(across.features), len(by_mode))
    figure, axes = style.panels(question, _target(across), shape, 2.5, sharey="row")
    for row, feature in zip(axes, across.features, strict=True):
        for ax, (mode, errors) in zip(row, by_mode.items(), strict=True):
            if row is axes[0]:
                style.title(ax, mode, fontweight="bold")
            if feature in errors.features:
                error_plots.draw_by_horizon(ax, errors, feature)
            else:
                style.say_empty(ax, say("not forecast"))
            if row is not axes[-1]:
                ax.set_xlabel("")
        style.start_at_zero(*row)
        row[0].set_ylabel(say("MAE of\n{feature}", feature=across.label(feature)))
    baselines = dict.fromkeys(name for errors in by_mode.values() for name in errors.baselines)
    style.legend_below(figure, error_plots.model_handles([*MODELS, *baselines]))
    return figure


def plot_cost(question: str, across: AcrossModes, costs: Mapping[str, Costs]) -> Figure:
    """MAE relative to persistence's against training time; costs by experiment."""
    detail = _sentences(
        say(
            "MAE against persistence's, mean of the target features; of the baselines those better "
            "than it."
        ),
        _target(across),
    )
    figure, [[ax]] = style.panels(question, detail, (1, 1), 4.2)
    handles = []
    times = {name: cost.seconds for name, cost in costs.items()}
    for mode, forecasts in across.modes.by_mode.items():
        times |= {f"{mode}_{name}": s for name, s in forecasts.fit_seconds.items()}
    for mode, errors in across.errors.items():
        for model in [*errors.networks, *errors.baselines]:
            name = f"{mode}_{model}"
            relative = 100 * _mean_change(errors, model)
            if name not in times or (model not in MODELS and not relative < 0):
                continue
            label = f"{mode} {name_of(model)}"
            if model in MODELS:
                parameters = costs[name].parameters_in_words
                label = say("{model}, {number} parameters", model=label, number=parameters)
            look: dict[str, Any] = {"marker": style.MODE_MARKERS[mode], "markersize": 9}
            look |= {"color": style.COLOURS[model], "linestyle": "", "label": label}
            ax.plot(times[name], relative, **look, alpha=0.8)
            handles.append(Line2D([], [], **look))
    grey = style.COLOURS["persistence"]
    ax.axhline(0, color=grey, linestyle="--")
    at_the_right: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right"}
    at_the_right |= {"xytext": (-4, 4), "textcoords": "offset points"}
    ax.annotate(name_of("persistence"), (1, 0), color=grey, **at_the_right)
    shortest, longest = ax.dataLim.intervalx
    if longest > 4 * shortest > 0:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        fine = [t for t in _FINE_TIMES if shortest / 2 <= t <= 2 * longest]
        ax.xaxis.set_major_locator(FixedLocator(fine if len(fine) <= 10 else _COARSE_TIMES))
        ax.xaxis.set_major_formatter(lambda seconds, _: lead_time(seconds / 60))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.xaxis.set_major_formatter(lambda seconds, _: duration(max(seconds, 0.0)))
    ax.yaxis.set_major_formatter(error_plots.signed_percent)
    ax.set_xlabel(say("training time"))
    ax.set_ylabel(say("MAE against persistence's\n(below the line is better)"))
    ax.margins(0.08)
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


_FINE_TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400)
_COARSE_TIMES = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000, 360000)


def _mean_change(errors: Errors, model: str) -> float:
    """Mean over features of the relative difference of MAE from persistence's; NaN if none is."""
    both = [[errors.at("mae", m, f) for m in (model, "persistence")] for f in errors.features]
    return _mean((change(*pair) for pair in both), math.nan)


def _mean(values: Iterable[float], without: float) -> float:
    """Mean of the defined values; ``without`` any, that."""
    defined = [value for value in values if is_number(value)]
    return float(np.mean(defined)) if defined else without


def _target(across: AcrossModes) -> str:
    """Which detectors the modes are compared on, or that there is none."""
    if not across.modes.comparable:
        return say(
            "No detector is forecast in every mode: each mode is scored on its own detectors."
        )
    detectors = listed(first_few(across.modes.first.vdids))
    return say("{detectors}, the same values for all.", detectors=detectors)


def _sentences(*sentences: str) -> str:
    return closed_up(" ".join(filter(None, sentences)))


def plot_confidence_set(question: str, across: AcrossModes) -> Figure:
    """MAE of every model of every mode above the lowest, those of the confidence set filled."""
    meaning = say("The test days are too few to rule any model out.")
    if across.confidence_sets.notnull().any():
        meaning = say(
            "Filled: in the model confidence set ({level}), no other is better beyond chance. "
            "Hollow: beaten.",
            level=level(across.confidence),
        )
    own = "" if across.modes.comparable else say("Each mode has its own lowest.")
    detail = _sentences(meaning, own, say("MAE averaged over horizons."), _target(across))
    above = {feature: _above_lowest(across, feature) for feature in across.features}
    order = sorted(
        across.models, key=lambda key: _mean((of[key] for of in above.values()), math.inf)
    )
    labels, height = model_labels(order), 0.24 * len(order) + 1.0
    figure, axes = style.feature_panels(question, detail, across.features, height)
    for position, (feature, ax) in enumerate(axes.items()):
        known = across.confidence_sets.sel(feature=feature).notnull().any()
        for row, (mode, model) in enumerate(order):
            filled = not known or across.in_set(mode, model, feature)
            colour = style.COLOURS[model]
            ring: dict[str, Any] = {"markerfacecolor": colour if filled else "white"}
            ring["markeredgewidth"] = 1.8
            ax.plot(above[feature][mode, model], row, color=colour, **_DOT, **ring)
        style.title(ax, feature_name(feature))
        ax.set_xlabel(say("MAE above the lowest"))
        ax.set_ylim(len(order) - 0.4, -0.6)
        ax.set_yticks(range(len(order)), labels if position % style.MAX_COLUMNS == 0 else [])
        ax.tick_params(axis="y", length=0)
        ax.set_xscale("symlog", linthresh=_LINEAR_UNTIL)
        ax.xaxis.set_major_locator(FixedLocator(_PERCENTAGES))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(lambda above, _: level(above / 100))
        defined = [value for value in above[feature].values() if is_number(value)]
        ax.set_xlim(-0.6, 1.3 * max([*defined, 2 * _LINEAR_UNTIL]))
        if not defined:
            style.say_empty(ax, say("nothing observed, nothing scored"))
    return figure


_LINEAR_UNTIL = 5
_PERCENTAGES = (0, 5, 20, 100, 500)


def _above_lowest(across: AcrossModes, feature: str) -> dict[tuple[str, str], float]:
    """How far each model's average MAE is above the lowest, %: of all or of its mode."""
    values = {
        (mode, model): across.errors[mode].at("mae", model, feature)
        for mode, model in across.models
        if feature in across.errors[mode].features
    }
    above = {}
    for mode, model in across.models:
        rivals = [
            value
            for (other, _), value in values.items()
            if is_number(value) and (across.modes.comparable or other == mode)
        ]
        lowest = min(rivals, default=math.nan)
        above[mode, model] = 100 * change(values.get((mode, model)), lowest)
    return above
