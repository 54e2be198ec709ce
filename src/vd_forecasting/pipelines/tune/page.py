"""The page of a search; its text is ``templates/tuning.md.j2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from vd_forecasting.artefacts import Tuned
from vd_forecasting.language import say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.tune.found import FAILED, Found, Trial
from vd_forecasting.pipelines.tune.results import summarise
from vd_forecasting.pipelines.tune.study import LEAST_FOR_IMPORTANCE
from vd_forecasting.rendering.figures import with_figures
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.page import Draw, Page
from vd_forecasting.rendering.templates import render
from vd_forecasting.vocabulary import name_of
from vd_forecasting.wording import NOTHING, compared, duration, number, percent, plural

Rows = list[list[str]]

SHOWN: Final = 10
"""Trials of a table."""


@dataclass(frozen=True)
class Tuning:
    """What the template shows."""

    found: Found
    tuned: Tuned
    name: str
    """Of the network, in print."""
    headline: str
    budget: str
    names: list[str]
    """Of the settings."""
    settings: Rows
    """Given, best and how much each decides."""
    ranked: Rows
    failed: Rows
    least_complete: int
    """Trials that importance takes."""


def write_page(found: Found, report: Report) -> Page:
    """Say which settings are best, by how much, and what it took to find them."""
    with speaking(report.language):
        text = render(__package__, "tuning", **vars(_view(found)))
        return with_figures(text, partial(_figures, found))


def _view(found: Found) -> Tuning:
    names = [*found.best.settings]
    return Tuning(
        found,
        summarise(found),
        name=name_of(found.experiment.rpartition("_")[2]),
        headline=_headline(found),
        budget=budget_in_words(found),
        names=[code(name) for name in names],
        settings=[_setting_row(found, name) for name in names],
        ranked=[_trial_row(trial, names) for trial in found.ranked[:SHOWN]],
        failed=[[str(of.number), plain_text(of.reason)] for of in found.those(FAILED)[-SHOWN:]],
        least_complete=LEAST_FOR_IMPORTANCE,
    )


def _figures(found: Found) -> Mapping[str, Draw]:
    from vd_forecasting.pipelines.tune import plots  # noqa: PLC0415  (imports matplotlib)

    which = say("Which settings have a low validation loss?")
    how_fast = say("How fast did the search get better?")
    figures: dict[str, Draw] = {
        "history": partial(plots.plot_history, how_fast, found),
        "slices": partial(plots.plot_slices, which, found),
    }
    if found.importance:
        what = say("Which settings decide?")
        figures["importance"] = partial(plots.plot_importance, what, found.importance)
    return figures


def _headline(found: Found) -> str:
    best, of_given = found.best, found.of_given
    if of_given is None:
        return say(
            "**The settings of trial {number} have the lowest validation loss, {loss}; with those "
            "given, training failed.**",
            number=best.number,
            loss=number(best.loss),
        )
    if best.number == of_given.number:
        return say(
            "**No settings were found that are better than those given** ({loss}).",
            loss=number(best.loss),
        )
    return say(
        "**The settings of trial {number} have the lowest validation loss, {loss}: {compared}, "
        "{given}.**",
        number=best.number,
        loss=number(best.loss),
        compared=compared(best.loss, of_given.loss, say("that of the settings given")),
        given=number(of_given.loss),
    )


def budget_in_words(found: Found) -> str:
    """What was the same for both models."""
    if found.budget.seconds is not None:
        time = duration(found.budget.seconds)
        return say("{time} of training for each model", time=time)
    trials = plural(found.budget.trials or 0, "trial")
    return say("{trials} for each model, whatever time they take", trials=trials)


def in_words(value: Any) -> str:
    """A value of a setting."""
    if isinstance(value, float):
        return f"{value:g}"
    return NOTHING if value is None else plain_text(value)


def _setting_row(found: Found, name: str) -> list[str]:
    share = found.importance.get(name) if found.importance else None
    values = (of.get(name) for of in (found.given, found.best.settings))
    return [code(name), *map(in_words, values), percent(share)]


def _trial_row(trial: Trial, names: list[str]) -> list[str]:
    return [
        str(trial.number),
        f"{trial.losses[-1]:.4f}",
        say("{part} of {all}", part=trial.best_epoch, all=len(trial.losses)),
        duration(trial.seconds),
        *(in_words(trial.settings.get(name)) for name in names),
    ]
