"""How training went: the loss and the errors, epoch by epoch."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vd_forecasting.artefacts import Fit, History
from vd_forecasting.rendering.plot_style import COLOURS, legend_below, panels, say_empty, title
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import plural, with_unit

_SHOWN_METRICS = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R²"}
_SPLITS = {"train": "training", "val": "validation"}
_FEW_EPOCHS = 3


def plot_learning_curves(question: str, histories: Mapping[str, History]) -> Figure:
    """Training and validation loss by epoch, the chosen epoch marked; histories by model."""
    figure, [[ax]] = panels(question, _detail(histories), (1, 1), 4.2)
    losses = []
    for model, history in histories.items():
        fits = _fits(history)
        alpha = _alpha(len(fits))
        for fit in fits:
            epochs = [epoch.epoch for epoch in fit.epochs]
            for split in _SPLITS:
                values = [_value(getattr(epoch, split).loss) for epoch in fit.epochs]
                losses += values
                ax.plot(epochs, values, **_line(model, split, len(epochs)), alpha=alpha)
            chosen = _value(fit.best.val.loss)
            ax.plot(fit.best_epoch, chosen, **_chosen(model), alpha=max(alpha, 0.5))
    finite = [loss for loss in losses if math.isfinite(loss) and loss > 0]
    if finite and max(finite) > 10 * min(finite):
        ax.set_yscale("log")
    if not finite:
        say_empty(ax, "no finite loss")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss: mean absolute error\n(standard deviations of each detector and feature)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, _legend(histories))
    return figure


def plot_metric_evolution(
    question: str, model: str, history: History, units: Mapping[str, str]
) -> Figure:
    """Every metric by epoch on training and validation, a row of panels per feature."""
    figure, axes = panels(
        question,
        _detail({model: history}),
        (len(units), len(_SHOWN_METRICS)),
        2.3,
        sharex=True,
    )
    for row, (feature, unit) in zip(axes, units.items(), strict=True):
        for ax, (metric, name) in zip(row, _SHOWN_METRICS.items(), strict=True):
            metric_unit = {"mape": "%", "r2": ""}.get(metric, unit)
            title(ax, with_unit(name, metric_unit))
            _draw_metric(ax, model, history, feature, metric)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        row[0].set_ylabel(feature, fontweight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    legend_below(figure, _legend({model: history}))
    return figure


def _draw_metric(ax: Axes, model: str, history: History, feature: str, metric: str) -> None:
    drawn: list[npt.NDArray[np.float64]] = []
    fits = _fits(history)
    alpha = _alpha(len(fits))
    for fit in fits:
        epochs = [epoch.epoch for epoch in fit.epochs]
        for split in _SPLITS:
            errors = [getattr(epoch, split).features[feature] for epoch in fit.epochs]
            values = np.array([_value(of_epoch[metric]) for of_epoch in errors])
            drawn.append(values)
            ax.plot(epochs, values, **_line(model, split, len(epochs)), alpha=alpha)
        chosen = _value(fit.best.val.features[feature][metric])
        ax.plot(fit.best_epoch, chosen, **_chosen(model, 6), alpha=max(alpha, 0.5))
    if not any(np.isfinite(values).any() for values in drawn):
        say_empty(ax, "undefined")
        ax.set_yticks([])


def _line(model: str, split: str, epochs: int) -> dict[str, Any]:
    training = split == "train"
    return {
        "color": COLOURS[model],
        "linestyle": (0, (3, 1.5)) if training else "-",
        "linewidth": 1.2 if training else 1.8,
        "marker": "." if epochs <= _FEW_EPOCHS else "",
        "markersize": 7,
    }


def _chosen(model: str, size: float = 8) -> dict[str, Any]:
    """The marker of the chosen epoch."""
    return {
        "linestyle": "",
        "marker": "o",
        "markersize": size,
        "markerfacecolor": "white",
        "markeredgecolor": COLOURS[model],
        "markeredgewidth": 2,
        "zorder": 3,
    }


def _fits(history: History) -> list[Fit]:
    return [fit for _, _, fit in history.fits()]


def _legend(histories: Mapping[str, History]) -> list[Line2D]:
    handles = []
    for model in histories:
        for split, name in _SPLITS.items():
            style = _line(model, split, _FEW_EPOCHS + 1)
            handles.append(Line2D([], [], **style, label=f"{NAMES[model]}, {name}"))
    chosen = _chosen(next(iter(histories)))
    if len(histories) > 1:
        chosen["markeredgecolor"] = "#666666"
    return [*handles, Line2D([], [], **chosen, label="chosen epoch")]


def _detail(histories: Mapping[str, History]) -> str:
    parts = []
    for model, history in histories.items():
        fits = _fits(history)
        if len(fits) > 1:
            parts.append(f"{NAMES[model]}: {plural(len(fits), 'training')}, a line each")
        else:
            [fit] = fits
            parts.append(
                f"{NAMES[model]}: {plural(len(fit.epochs), 'epoch')}, epoch {fit.best_epoch} chosen"
            )
    return f"{'; '.join(parts)}. Chosen is the epoch with the lowest validation loss."


def _alpha(lines: int) -> float:
    return max(0.15, 1 / math.sqrt(lines))


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)
