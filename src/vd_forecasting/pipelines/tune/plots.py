"""The losses of all trials: by number and by setting; and which setting decides."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from vd_forecasting.language import marked, say
from vd_forecasting.parameters import Range
from vd_forecasting.pipelines.tune.found import COMPLETE, PRUNED, Found
from vd_forecasting.rendering import plot_style as style

_LABELS = {COMPLETE: marked("complete"), PRUNED: marked("ended early")}
_GREY = "#9A9A9A"


def plot_history(question: str, found: Found) -> Figure:
    """The loss of every trial, and the lowest so far, by the number of the trial."""
    detail = say(
        "Validation loss of each trial; the line is the lowest of the complete ones so far."
    )
    figure, [[ax]] = style.panels(question, detail, (1, 1), 3.6)
    for state in (PRUNED, COMPLETE):
        trials = [trial for trial in found.those(state) if trial.losses]
        numbers = [trial.number for trial in trials]
        ax.plot(numbers, [of.losses[-1] for of in trials], **_marks(found, state))
    numbers, lowest = list[int](), list[float]()
    for trial in found.those(COMPLETE):
        numbers.append(trial.number)
        lowest.append(min([trial.losses[-1], *lowest[-1:]]))
    last = found.trials[-1].number
    ax.step([*numbers, last], [*lowest, lowest[-1]], where="post", color=_colour(found))
    _mark_given(ax, found, lambda trial: trial.number)
    _show_best_part(ax, found)
    ax.set_xlabel(say("trial"))
    ax.set_ylabel(say("validation loss"))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style.legend_below(figure, _legend(found))
    return figure


def plot_slices(question: str, found: Found) -> Figure:
    """The loss of every trial by the value of each setting, a panel per setting."""
    names = [*found.best.settings]
    detail = say("Validation loss of each trial by one of its settings; the others differ too.")
    figure, axes = style.feature_panels(question, detail, names, 2.6, sharey=True)
    for name, ax in axes.items():
        place = _places(ax, found, name)
        for state in (PRUNED, COMPLETE):
            trials = [trial for trial in found.those(state) if trial.losses]
            values = [place(trial) for trial in trials]
            ax.plot(values, [of.losses[-1] for of in trials], **_marks(found, state))
        _mark_given(ax, found, place)
        _show_best_part(ax, found)
        ax.set_xlabel(name)
    style.legend_below(figure, _legend(found))
    return figure


def plot_importance(question: str, importance: Mapping[str, float]) -> Figure:
    """The share of each setting, the largest on top."""
    detail = say(
        "Share of the differences between the losses of complete trials that comes from each."
    )
    figure, [[ax]] = style.panels(question, detail, (1, 1), 0.7 + 0.35 * len(importance))
    ordered = sorted(importance.items(), key=lambda item: item[1])
    ax.barh([name for name, _ in ordered], [100 * share for _, share in ordered], color="#0072B2")
    ax.set_xlim(0, 100)
    ax.set_xlabel(say("importance (%)"))
    return figure


def _places(ax: Axes, found: Found, name: str) -> Any:
    """Where a trial stands on the axis of a setting: by its number, or by the choice."""
    values = [trial.settings[name] for trial in found.trials]
    numbers = [value for value in values if type(value) in (int, float)]
    if len(numbers) == len(values):
        searched = found.space.searched.get(name)
        if isinstance(searched, Range) and searched.log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        distinct = sorted(set(numbers))
        if all(type(value) is int for value in distinct) and len(distinct) <= 6:
            ax.set_xticks(distinct, [f"{value}" for value in distinct])
            ax.xaxis.set_minor_locator(NullLocator())
        return lambda trial: trial.settings[name]
    choices = sorted(map(str, {str(value): None for value in values}), key=lambda of: (len(of), of))
    ax.set_xticks(range(len(choices)), choices)
    return lambda trial: choices.index(str(trial.settings[name]))


def _colour(found: Found) -> str:
    return style.COLOURS[found.experiment.rpartition("_")[2]]


def _marks(found: Found, state: str) -> dict[str, Any]:
    colour, marker, size = (_colour(found), "o", 5) if state == COMPLETE else (_GREY, "x", 4)
    return {"linestyle": "", "color": colour, "marker": marker, "markersize": size}


def _mark_given(ax: Axes, found: Found, place: Any) -> None:
    if given := found.of_given:
        ax.plot([place(given)], [given.losses[-1]], **_ring())


def _ring() -> dict[str, Any]:
    look = {"marker": "s", "markersize": 9, "color": "#1A1A1A", "fillstyle": "none"}
    return {"linestyle": "", **look}


def _show_best_part(ax: Axes, found: Found) -> None:
    """Leave out losses that are far above all others, which would hide what differs."""
    losses = sorted(trial.losses[-1] for trial in found.trials if trial.losses)
    lowest, shown = losses[0], losses[min(len(losses) - 1, round(0.9 * len(losses)))]
    given = [] if found.of_given is None else [found.of_given.losses[-1]]
    top = max([shown, *given]) - lowest
    if top > 0:
        ax.set_ylim(lowest - 0.06 * top, lowest + 1.12 * top)


def _legend(found: Found) -> list[Line2D]:
    marks = {say(_LABELS[state]): _marks(found, state) for state in (COMPLETE, PRUNED)}
    if found.of_given:
        marks[say("settings given")] = _ring()
    return [Line2D([], [], label=label, **mark) for label, mark in marks.items()]
