"""Sentences on which settings were searched, and for how long."""

from collections.abc import Mapping

from vd_forecasting.artefacts import Config, Outcome, Tuned
from vd_forecasting.language import closed_up, say
from vd_forecasting.rendering.markdown import code
from vd_forecasting.vocabulary import name_of
from vd_forecasting.wording import duration, listed, plural


def of_experiment(config: Config, tuned: Tuned | None) -> str:
    """Where the settings of one experiment are from; "" if they were given."""
    if tuned is None:
        return ""
    sentence = say(
        "Its settings are the {best}, by validation loss: {command}.",
        best=_best_of(tuned),
        command=code(f"kedro run --namespace tune_{config.experiment}"),
    )
    return closed_up(" ".join([sentence, *_cautions(config, tuned)]))


def of_mode(outcomes: Mapping[str, Outcome]) -> str:
    """Where the settings of the models of a mode are from, by model; "" if all were given."""
    found = {name_of(model): outcome.tuned for model, outcome in outcomes.items()}
    searched = {name: tuned for name, tuned in found.items() if tuned}
    if not searched:
        return ""
    texts = [
        say("{name} {best}", name=name, best=_best_of(tuned)) for name, tuned in searched.items()
    ]
    given = [name for name in found if name not in searched]
    if given:
        sentence = say(
            "**Only the settings of {searched} are known to have been searched** ({found}, by "
            "validation loss); those of {given} were given. Part of the difference may come from "
            "that.",
            searched=listed(searched),
            found=listed(texts),
            given=listed(given),
        )
    elif len(searched) == 1:
        sentence = say("Settings: {found}, by validation loss.", found=texts[0])
    else:
        sentence = say(
            "Settings: {found}, by validation loss; {budgets}.",
            found=say("; ").join(texts),
            budgets=_budgets([*searched.values()]),
        )
    cautions = [caution for of in outcomes.values() for caution in _cautions(of.config, of.tuned)]
    return closed_up(" ".join([sentence, *cautions]))


def _cautions(config: Config, tuned: Tuned | None) -> list[str]:
    """What the search of an experiment should not have been made with."""
    if tuned is None:
        return []
    name = name_of(config.model)
    if tuned.source != config.source:
        return [
            say(
                "The settings of {name} were searched on {source}.",
                name=name,
                source=code(tuned.source),
            )
        ]
    if tuned.has_seen_test_of(config):
        return [
            say(
                "**The search for the settings of {name} has seen a part of the test split**, "
                "which flatters its errors; search again.",
                name=name,
            )
        ]
    return []


def of_modes(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The same for each mode, by experiment; empty if all settings were given."""
    by_mode: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes.values():
        by_mode.setdefault(outcome.config.mode, {})[outcome.config.model] = outcome
    texts = {mode: of_mode(of_models) for mode, of_models in by_mode.items()}
    if not any(texts.values()):
        return []
    return [
        say("{mode}: {sentence}", mode=code(mode), sentence=text)
        if text
        else say("{mode}: the settings were given, not searched.", mode=code(mode))
        for mode, text in texts.items()
    ]


def _best_of(tuned: Tuned) -> str:
    return say(
        "best of {trials} ({time} of training)",
        trials=plural(tuned.trials, "trial"),
        time=duration(tuned.seconds),
    )


def _budgets(searches: list[Tuned]) -> str:
    """Whether both had as much to search with."""
    budgets = [tuned.budget for tuned in searches]
    if any(of.budget != budgets[0] or not of.is_as_budgeted for of in searches):
        return say("**they had different budgets**, and part of the difference may come from that")
    if budgets[0].seconds is not None:
        return say("both had the same time, {time}", time=duration(budgets[0].seconds))
    return say("both had the same number of trials, whatever time these take")
