"""Sentences on which settings were searched, and for how long."""

from collections.abc import Mapping

from vd_forecasting.artefacts import Outcome, Tuned
from vd_forecasting.rendering.markdown import code
from vd_forecasting.vocabulary import NAMES
from vd_forecasting.wording import duration, listed, plural


def of_experiment(outcome: Outcome) -> str:
    """Where the settings of one experiment are from; "" if they were given."""
    if outcome.tuned is None:
        return ""
    return (
        f"Its settings are the {_best_of(outcome.tuned)}, by validation loss: "
        f"`kedro run --namespace tune_{outcome.config.experiment}`."
    )


def of_mode(outcomes: Mapping[str, Outcome]) -> str:
    """Where the settings of the models of a mode are from, by model; "" if all were given."""
    found = {NAMES[model]: outcome.tuned for model, outcome in outcomes.items()}
    searched = {name: tuned for name, tuned in found.items() if tuned}
    if not searched:
        return ""
    texts = [f"{name} {_best_of(tuned)}" for name, tuned in searched.items()]
    given = [name for name in found if name not in searched]
    if given:
        return (
            f"**Only the settings of {listed(searched)} were searched** ({listed(texts)}, by "
            f"validation loss); those of {listed(given)} were given. Part of the difference may "
            "come from that."
        )
    if len(searched) == 1:
        return f"Settings: {texts[0]}, by validation loss."
    return f"Settings: {'; '.join(texts)}, by validation loss; {_budgets([*searched.values()])}."


def of_modes(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The same for each mode, by experiment; empty if all settings were given."""
    by_mode: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes.values():
        by_mode.setdefault(outcome.config.mode, {})[outcome.config.model] = outcome
    texts = {mode: of_mode(of_models) for mode, of_models in by_mode.items()}
    if not any(texts.values()):
        return []
    return [
        f"{code(mode)}: {text or 'the settings were given, not searched.'}"
        for mode, text in texts.items()
    ]


def _best_of(tuned: Tuned) -> str:
    return f"best of {plural(tuned.trials, 'trial')} ({duration(tuned.seconds)} of training)"


def _budgets(searches: list[Tuned]) -> str:
    """Whether both had as much to search with."""
    budgets = [tuned.budget for tuned in searches]
    if any(budget != budgets[0] for budget in budgets):
        return "**they had different budgets**, and part of the difference may come from that"
    if budgets[0].seconds is not None:
        return f"both had the same time, {duration(budgets[0].seconds)}"
    return "both had the same number of trials, whatever time these take"
