"""The plots that compare all six experiments."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from vd_forecasting.evaluation.differences import model_labels
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.pipelines.reporting.across_modes import AcrossModes
from vd_forecasting.pipelines.reporting.costs import Costs
from vd_forecasting.pipelines.reporting.plots.error_plots import (
    draw_by_horizon,
    model_handles,
    signed_percent,
    strong_baselines,
)
from vd_forecasting.rendering.plot_style import (
    COLOURS,
    MAX_COLUMNS,
    MODE_MARKERS,
    feature_panels,
    legend_below,
    panels,
    say_empty,
    start_at_zero,
    title,
)
from vd_forecasting.vocabulary import MODELS, NAMES
from vd_forecasting.wording import change, duration, is_number, lead_time, listed, number


def plot_error(question: str, across: AcrossModes) -> Figure:
    """MAE of the six experiments, a panel per feature."""
    by_mode = across.errors
    figure, axes = feature_panels(
        question,
        "MAE averaged over horizons; of the baselines persistence and those better than it. "
        f"{target_in_words(across)}",
        across.features,
        3.2,
    )
    for position, (feature, ax) in enumerate(axes.items()):
        largest = 0.0
        for row, errors in enumerate(by_mode.values()):
            if feature not in errors.features:
                continue
            for model in errors.networks:
                offset = -0.17 if model == "lstm" else 0.17
                value = errors.at("mae", model, feature)
                if is_number(value):
                    largest = max(largest, value)
                    ax.plot(value, row + offset, color=COLOURS[model], marker="o", markersize=7)
                    ax.annotate(
                        number(value),
                        (value, row + offset),
                        xytext=(-7, 0),
                        textcoords="offset points",
                        ha="right",
                        va="center",
                        fontsize=8.5,
                        color=COLOURS[model],
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                    )
            for baseline in strong_baselines(errors, feature):
                reference = errors.at("mae", baseline, feature)
                if is_number(reference):
                    largest = max(largest, reference)
                    ax.vlines(reference, row - 0.4, row + 0.4, **_bar(baseline))
        title(ax, f"MAE of {across.label(feature)}")
        ax.set_yticks(range(len(by_mode)), list(by_mode) if position % MAX_COLUMNS == 0 else [])
        ax.set_ylim(len(by_mode) - 0.45, -0.55)
        ax.set_xlim(0, 1.08 * largest or 1)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        if not largest:
            say_empty(ax, "nothing observed, nothing scored")
    dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7}
    handles = [
        Line2D([], [], color=COLOURS[model], label=NAMES[model], **dot)
        for model in ("lstm", "xlstm")
    ]
    drawn = {
        name: None
        for errors in by_mode.values()
        for feature in errors.features
        for name in strong_baselines(errors, feature)
    }
    legend_below(
        figure, [*handles, *(Line2D([], [], label=NAMES[name], **_bar(name)) for name in drawn)]
    )
    return figure


def _bar(baseline: str) -> dict[str, Any]:
    return {"color": COLOURS[baseline], "linewidth": 2.5, "zorder": 1.5}


def plot_error_by_horizon_and_mode(question: str, across: AcrossModes) -> Figure:
    """MAE by horizon: a row of panels per feature, a column per mode."""
    by_mode = across.errors
    figure, axes = panels(
        question,
        target_in_words(across),
        (len(across.features), len(by_mode)),
        2.5,
        sharey="row",
    )
    for row, feature in zip(axes, across.features, strict=True):
        for ax, (mode, errors) in zip(row, by_mode.items(), strict=True):
            if row is axes[0]:
                title(ax, mode, fontweight="bold")
            if feature in errors.features:
                draw_by_horizon(ax, errors, feature)
            else:
                say_empty(ax, "not forecast")
            if row is not axes[-1]:
                ax.set_xlabel("")
        start_at_zero(*row)
        row[0].set_ylabel(f"MAE of\n{across.label(feature)}")
    baselines = dict.fromkeys(name for errors in by_mode.values() for name in errors.baselines)
    legend_below(figure, model_handles([*MODELS, *baselines]))
    return figure


def plot_cost(question: str, across: AcrossModes, costs: Mapping[str, Costs]) -> Figure:
    """MAE relative to persistence's against training time; costs by experiment."""
    figure, [[ax]] = panels(
        question,
        "MAE against persistence's, mean of the target features; of the baselines those better "
        f"than it. {target_in_words(across)}",
        (1, 1),
        4.2,
    )
    handles = []
    times = {name: cost.seconds for name, cost in costs.items()}
    for mode, forecasts in across.modes.by_mode.items():
        times |= {f"{mode}_{name}": s for name, s in forecasts.fit_seconds.items()}
    for mode, errors in across.errors.items():
        for model in [*errors.networks, *errors.baselines]:
            name = f"{mode}_{model}"
            relative = 100 * mean_change(errors, model)
            if name not in times or (model not in MODELS and not relative < 0):
                continue
            label = f"{mode} {NAMES[model]}"
            if model in MODELS:
                label += f", {costs[name].parameters_in_words} parameters"
            style: dict[str, Any] = {
                "color": COLOURS[model],
                "marker": MODE_MARKERS[mode],
                "markersize": 9,
                "linestyle": "",
                "label": label,
            }
            ax.plot(times[name], relative, **style, alpha=0.8)
            handles.append(Line2D([], [], **style))
    ax.axhline(0, color=COLOURS["persistence"], linestyle="--")
    ax.annotate(
        "persistence",
        (1, 0),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color=COLOURS["persistence"],
    )
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
    ax.yaxis.set_major_formatter(signed_percent)
    ax.set_xlabel("training time")
    ax.set_ylabel("MAE against persistence's\n(below the line is better)")
    ax.margins(0.08)
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


_FINE_TIMES = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400)
_COARSE_TIMES = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000, 360000)


def mean_change(errors: Errors, model: str) -> float:
    """Mean over features of the relative difference of MAE from persistence's; NaN if none is."""
    changes = [
        change(errors.at("mae", model, feature), errors.at("mae", "persistence", feature))
        for feature in errors.features
    ]
    defined = [value for value in changes if is_number(value)]
    return float(np.mean(defined)) if defined else float("nan")


def target_in_words(across: AcrossModes) -> str:
    """Which detectors the modes are compared on, or that there is none."""
    if not across.modes.comparable:
        return "No detector is forecast in every mode: each mode is scored on its own detectors."
    return f"{listed(across.modes.first.vdids)}, the same values for all."


def plot_confidence_set(question: str, across: AcrossModes) -> Figure:
    """MAE of every model of every mode above the lowest, those of the confidence set filled."""
    models = across.models
    above = {feature: _above_lowest(across, feature) for feature in across.features}
    figure, axes = feature_panels(
        question,
        (
            f"Filled: in the model confidence set ({100 * across.confidence:g} %), no other is "
            "better beyond chance. Hollow: beaten. "
            if across.confidence_sets.notnull().any()
            else "The test span is too short to separate differences from chance. "
        )
        + ("" if across.modes.comparable else "Each mode has its own lowest. ")
        + f"MAE averaged over horizons. {target_in_words(across)}",
        across.features,
        0.24 * len(models) + 1.0,
    )
    order = sorted(models, key=lambda model: _mean([of[model] for of in above.values()]))
    labels = model_labels(order)
    for position, (feature, ax) in enumerate(axes.items()):
        known = across.confidence_sets.sel(feature=feature).notnull().any()
        for row, (mode, model) in enumerate(order):
            colour = COLOURS[model]
            inside = across.in_set(mode, model, feature)
            ax.plot(
                above[feature][mode, model],
                row,
                marker="o",
                markersize=7,
                color=colour,
                markerfacecolor=colour if inside or not known else "white",
                markeredgewidth=1.8,
            )
        title(ax, feature)
        ax.set_xlabel("MAE above the lowest")
        ax.set_ylim(len(order) - 0.4, -0.6)
        ax.set_yticks(range(len(order)), labels if position % MAX_COLUMNS == 0 else [])
        ax.tick_params(axis="y", length=0)
        ax.set_xscale("symlog", linthresh=_LINEAR_UNTIL)
        ax.xaxis.set_major_locator(FixedLocator(_PERCENTAGES))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g} %")
        defined = [value for value in above[feature].values() if is_number(value)]
        ax.set_xlim(-0.6, 1.3 * max([*defined, 2 * _LINEAR_UNTIL]))
        if not defined:
            say_empty(ax, "nothing observed, nothing scored")
    return figure


_LINEAR_UNTIL = 5
_PERCENTAGES = (0, 5, 20, 100, 500)


def _mean(values: Sequence[float]) -> float:
    """Mean of the defined values; infinite without any."""
    defined = [value for value in values if is_number(value)]
    return float(np.mean(defined)) if defined else float("inf")


def _above_lowest(across: AcrossModes, feature: str) -> dict[tuple[str, str], float]:
    """How far each model's average MAE is above the lowest, %: of all or of its mode."""
    values = {
        (mode, model): across.errors[mode].at("mae", model, feature)
        for mode, model in across.models
        if feature in across.errors[mode].features
    }
    lowest = {
        mode: min(
            (
                value
                for (other, _), value in values.items()
                if is_number(value) and (across.modes.comparable or other == mode)
            ),
            default=float("nan"),
        )
        for mode in across.errors
    }
    return {
        (mode, model): 100 * change(values.get((mode, model)), lowest[mode])
        for mode, model in across.models
    }
