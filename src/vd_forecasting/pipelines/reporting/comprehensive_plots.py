"""The plots that compare all six experiments."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from vd_forecasting.pipelines.reporting.error_plots import (
    draw_by_horizon,
    model_handles,
    signed_percent,
)
from vd_forecasting.pipelines.reporting.errors import Errors, Json
from vd_forecasting.pipelines.reporting.style import (
    COLOURS,
    MAX_COLUMNS,
    MODE_MARKERS,
    NAMES,
    feature_panels,
    legend_below,
    panels,
    say_empty,
    start_at_zero,
    title,
)
from vd_forecasting.pipelines.reporting.wording import change, is_number, listed, number


def plot_error(points: dict[str, xr.Dataset], by_mode: dict[str, Errors]) -> Figure:
    """MAE of the six experiments, a panel per feature."""
    features = features_of(by_mode)
    figure, axes = feature_panels(
        "Which mode and model forecasts best?",
        f"MAE averaged over horizons. {target_in_words(points)}",
        features,
        3.2,
    )
    for position, (feature, ax) in enumerate(axes.items()):
        largest = 0.0
        for row, errors in enumerate(by_mode.values()):
            if feature not in errors.features:
                continue
            for model, offset in (("lstm", -0.17), ("xlstm", 0.17)):
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
            reference = errors.at("mae", "persistence", feature)
            if is_number(reference):
                largest = max(largest, reference)
                ax.vlines(reference, row - 0.4, row + 0.4, **_PERSISTENCE)
        title(ax, f"MAE of {label_of(by_mode, feature)}")
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
    legend_below(figure, [*handles, Line2D([], [], label="persistence", **_PERSISTENCE)])
    return figure


_PERSISTENCE: dict[str, Any] = {"color": COLOURS["persistence"], "linewidth": 2.5}


def plot_error_by_horizon(points: dict[str, xr.Dataset], by_mode: dict[str, Errors]) -> Figure:
    """MAE by horizon: a row of panels per feature, a column per mode."""
    features = features_of(by_mode)
    figure, axes = panels(
        "How fast do the errors grow with the time ahead, in each mode?",
        target_in_words(points),
        len(features),
        len(by_mode),
        2.5,
        share_y="row",
    )
    for row, feature in zip(axes, features, strict=True):
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
        row[0].set_ylabel(f"MAE of\n{label_of(by_mode, feature)}")
    legend_below(figure, model_handles(["lstm", "xlstm", "persistence"]))
    return figure


def plot_cost(
    points: dict[str, xr.Dataset],
    by_mode: dict[str, Errors],
    configs: dict[str, Json],
    histories: dict[str, Json],
) -> Figure:
    """Gain over persistence against the time that all training of an experiment took."""
    figure, [[ax]] = panels(
        "What does accuracy cost?",
        f"MAE against persistence's, mean of the target features. {target_in_words(points)}",
        1,
        1,
        4.2,
    )
    handles = []
    times = {
        name: sum(run["seconds"] for run in history.values()) for name, history in histories.items()
    }
    unit, size = _time_unit(max(times.values()))
    for mode, errors in by_mode.items():
        for model in errors.models:
            name = f"{mode}_{model}"
            parameters = configs[name]["num_parameters"] * configs[name]["num_models"]
            style: dict[str, Any] = {
                "color": COLOURS[model],
                "marker": MODE_MARKERS[mode],
                "markersize": 9,
                "linestyle": "",
                "label": f"{mode} {NAMES[model]}, {parameters:,} parameters",
            }
            ax.plot(times[name] / size, 100 * mean_change(errors, model), **style)
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
    if max(times.values()) > 4 * min(times.values()) > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(signed_percent)
    ax.set_xlabel(f"training time, {unit}")
    ax.set_ylabel("MAE against persistence's\n(below the line is better)")
    ax.margins(0.08)
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _time_unit(seconds: float) -> tuple[str, int]:
    """The unit to tell a time in, and how many seconds it has."""
    if seconds < 120:
        return "seconds", 1
    return ("minutes", 60) if seconds < 7200 else ("hours", 3600)


def mean_change(errors: Errors, model: str) -> float:
    """Mean over features of the relative difference of MAE from persistence's; NaN if none is."""
    changes = [
        change(errors.at("mae", model, feature), errors.at("mae", "persistence", feature))
        for feature in errors.features
    ]
    defined = [value for value in changes if is_number(value)]
    return float(np.mean(defined)) if defined else float("nan")


def target_in_words(points: dict[str, xr.Dataset]) -> str:
    """Which VD the modes are compared on, or that there is none."""
    first = next(iter(points.values()))
    if not first.attrs["comparable"]:
        return "No VD is forecast in every mode: each mode is scored on its own VDs."
    return f"{listed(map(str, first['vd'].values))}, the same points for all."


def features_of(by_mode: dict[str, Errors]) -> list[str]:
    """The target features of any mode."""
    return list(dict.fromkeys(f for errors in by_mode.values() for f in errors.features))


def label_of(by_mode: dict[str, Errors], feature: str) -> str:
    """A feature with its unit."""
    return next(errors.label(feature) for errors in by_mode.values() if feature in errors.features)
