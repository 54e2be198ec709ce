"""How training went: the loss and the errors, epoch by epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vd_forecasting.artefacts import Fit, History
from vd_forecasting.artefacts.records import EpochErrors
from vd_forecasting.language import marked, say
from vd_forecasting.rendering.plot_style import COLOURS, legend_below, panels, say_empty, title
from vd_forecasting.vocabulary import name_of
from vd_forecasting.wording import feature_name, plural, with_unit

_SHOWN_METRICS = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R²"}
_SPLITS = {"train": marked("training"), "val": marked("validation")}
_FEW_EPOCHS = 3
MAX_CURVES = 40
"""Trainings with a line of their own; more would hide each other."""
_BAND = (0.05, 0.5, 0.95)

Floats = npt.NDArray[np.float64]


def plot_learning_curves(question: str, histories: Mapping[str, History]) -> Figure:
    """Training and validation loss by epoch, the chosen epoch marked; histories by model."""
    figure, [[ax]] = panels(question, _detail(histories), (1, 1), 4.2)
    drawn = [_draw(ax, model, history, lambda of: of.loss) for model, history in histories.items()]
    losses = np.concatenate(drawn)
    finite = losses[np.isfinite(losses) & (losses > 0)]
    if not finite.size:
        say_empty(ax, say("no finite loss"))
    elif finite.max() > 10 * finite.min():
        ax.set_yscale("log")
    ax.set_xlabel(say("epoch"))
    ax.set_ylabel(
        say("loss: mean absolute error\n(standard deviations of each detector and feature)")
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, _legend(histories))
    return figure


def plot_metric_evolution(
    question: str, model: str, history: History, units: Mapping[str, str]
) -> Figure:
    """Every metric by epoch on training and validation, a row of panels per feature."""
    shape = (len(units), len(_SHOWN_METRICS))
    figure, axes = panels(question, _detail({model: history}), shape, 2.3, sharex=True)
    for row, (feature, unit) in zip(axes, units.items(), strict=True):
        for ax, (metric, name) in zip(row, _SHOWN_METRICS.items(), strict=True):
            title(ax, with_unit(name, {"mape": "%", "r2": ""}.get(metric, unit)))
            value = partial(_metric, feature, metric)
            if not np.isfinite(_draw(ax, model, history, value, size=6)).any():
                say_empty(ax, say("undefined"))
                ax.set_yticks([])
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        row[0].set_ylabel(feature_name(feature), fontweight="bold")
    for ax in axes[-1]:
        ax.set_xlabel(say("epoch"))
    legend_below(figure, _legend({model: history}))
    return figure


def _metric(feature: str, metric: str, errors: EpochErrors) -> float | None:
    return errors.features[feature][metric]


def _draw(
    ax: Axes,
    model: str,
    history: History,
    value: Callable[[EpochErrors], float | None],
    size: float = 8,
) -> Floats:
    """Draw a line of each training, or of many how they are distributed; values drawn, by epoch,
    None being NaN."""
    fits = [fit for _, _, fit in history.fits()]
    if len(fits) > MAX_CURVES:
        return _draw_distribution(ax, model, fits, value, size)
    drawn = []
    alpha = max(0.15, 1 / math.sqrt(len(fits)))
    for fit in fits:
        epochs = [epoch.epoch for epoch in fit.epochs]
        for split in _SPLITS:
            values = np.array([value(getattr(epoch, split)) for epoch in fit.epochs], dtype=float)
            drawn.append(values)
            ax.plot(epochs, values, **_line(model, split, len(epochs)), alpha=alpha)
        chosen = np.array(value(fit.best.val), dtype=float)
        ax.plot(fit.best_epoch, chosen, **_chosen(COLOURS[model], size), alpha=max(alpha, 0.5))
    return np.concatenate(drawn)


def _draw_distribution(
    ax: Axes,
    model: str,
    fits: Sequence[Fit],
    value: Callable[[EpochErrors], float | None],
    size: float,
) -> Floats:
    """The median of the trainings that have an epoch and, of validation, the band of 90 % of them;
    the median of the chosen epochs and of their values."""
    last = max(len(fit.epochs) for fit in fits)
    epochs, drawn = np.arange(1, last + 1), []
    for split in _SPLITS:
        values = np.full((len(fits), last), np.nan)
        for row, fit in zip(values, fits, strict=True):
            row[: len(fit.epochs)] = [_number(value(getattr(one, split))) for one in fit.epochs]
        low, middle, high = _quantiles(values)
        ax.plot(epochs, middle, **_line(model, split, last))
        if split == "val":
            ax.fill_between(epochs, low, high, color=COLOURS[model], alpha=0.2, linewidth=0)
            if last == 1:  # a band of no width would not be seen
                ax.vlines(epochs, low, high, color=COLOURS[model], alpha=0.4)
            drawn += [low, high]
        drawn.append(middle)
    chosen = _quantiles(np.array([[_number(value(fit.best.val))] for fit in fits]))[1]
    ax.plot(np.median([fit.best_epoch for fit in fits]), chosen, **_chosen(COLOURS[model], size))
    return np.concatenate(drawn)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _quantiles(values: Floats) -> Floats:
    """Of the defined values of each column of ``[n, epochs]``: ``[3, epochs]``."""
    found = np.full((len(_BAND), values.shape[1]), np.nan)
    for column, of_epoch in enumerate(values.T):
        defined = of_epoch[np.isfinite(of_epoch)]
        if defined.size:
            found[:, column] = np.quantile(defined, _BAND)
    return found


def _line(model: str, split: str, epochs: int) -> dict[str, Any]:
    training = split == "train"
    return {
        "color": COLOURS[model],
        "linestyle": (0, (3, 1.5)) if training else "-",
        "linewidth": 1.2 if training else 1.8,
        "marker": "." if epochs <= _FEW_EPOCHS else "",
        "markersize": 7,
    }


def _chosen(colour: str, size: float = 8) -> dict[str, Any]:
    """The marker of the chosen epoch."""
    return {
        **{"linestyle": "", "marker": "o", "markersize": size, "markerfacecolor": "white"},
        **{"markeredgecolor": colour, "markeredgewidth": 2, "zorder": 3},
    }


def _legend(histories: Mapping[str, History]) -> list[Line2D]:
    lines = [
        Line2D(
            [],
            [],
            **_line(model, split, _FEW_EPOCHS + 1),
            label=say("{model}, {split}", model=name_of(model), split=say(name)),
        )
        for model in histories
        for split, name in _SPLITS.items()
    ]
    colour = "#666666" if len(histories) > 1 else COLOURS[next(iter(histories))]
    return [*lines, Line2D([], [], **_chosen(colour), label=say("chosen epoch"))]


def _detail(histories: Mapping[str, History]) -> str:
    parts = []
    for model, history in histories.items():
        [(_, _, fit), *others] = history.fits()
        name, trainings = name_of(model), plural(len(others) + 1, "training")
        if len(others) + 1 > MAX_CURVES:
            part = say(
                "{model}: {trainings}, the median and, of validation, 90 % of those that reached "
                "an epoch",
                model=name,
                trainings=trainings,
            )
        elif others:
            part = say("{model}: {trainings}, a line each", model=name, trainings=trainings)
        else:
            part = say(
                "{model}: {epochs}, epoch {chosen} chosen",
                model=name,
                epochs=plural(len(fit.epochs), "epoch"),
                chosen=fit.best_epoch,
            )
        parts.append(part)
    return say(
        "{models}. Chosen is the epoch with the lowest validation loss.",
        models=say("; ").join(parts),
    )
