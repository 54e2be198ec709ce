"""The loop of a study: trial after trial, until the budget is used up.

Optuna keeps the trials and proposes settings, by Parzen estimators (Bergstra et al. 2011). Which
ones depends on the trials before and on a seed of the trial alone, so a study that was killed
continues as if nothing had happened. The trial that was running then is trained anew.

Trials that are behind are ended by successive halving (Li et al. 2020, arXiv:1810.05934), by the
rule of Optuna's pruner. That one notes its decisions with the trial, so that a trial could not be
repeated; here they follow from the losses.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vd_forecasting.datasets import Studies
from vd_forecasting.parameters import Budget, Range, Searched, Space
from vd_forecasting.pipelines.tune.found import (
    COMPLETE,
    FAILED,
    PRUNED,
    Found,
    SearchedData,
    Trial,
)
from vd_forecasting.pipelines.tune.settings import Settings, is_offered
from vd_forecasting.provenance import digest
from vd_forecasting.wording import plural

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

RUNGS: Final = (2, 6, 18, 54)
"""Epochs after which a trial has to be among the best third of those that came so far, and where
fewer than six did, the best."""
SHARE_KEPT: Final = 3

MOST_FAILED: Final = 20
"""Trials that may fail one after the other: then no settings can work."""

LEAST_FOR_IMPORTANCE: Final = 8
"""Complete trials."""

GIVEN, SETTINGS, SECONDS, REASON = "given", "settings", "seconds", "reason"
"""What is noted of a trial beside its losses."""


class Epoch(NamedTuple):
    """One epoch of a trial."""

    loss: float
    """The lowest validation loss so far, mean of the models."""
    seconds: float
    is_last: bool


class TrialFailed(Exception):
    """A network cannot be built or trained; after so many seconds in this epoch."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


Train = Callable[[Settings, int], Iterator[Epoch]]
"""Trains with settings, as the trial of a number, epoch by epoch."""


def search(
    studies: Studies,
    study_name: str,
    data: SearchedData,
    space: Space,
    given: Settings,
    complete: Callable[[Settings], Settings],
    budget: Budget,
    seed: int,
    train: Train,
) -> Found:
    """Run the trials that a study has left of its budget; the first one is of the settings given.

    That one is never ended early, and run whatever the budget, so that there is something to
    compare with. The space offers settings, of which ``complete`` makes those that are trained.

    Raises:
        ValueError: one line; no trial was trained to its end, or too many failed.
    """
    with studies.open(study_name) as (study, interrupted):
        left, experiment = interrupted, data.experiment
        if (before := _ended(study)) and not is_used_up(budget, before):
            logger.info("%s: continues after %s", experiment, plural(len(before), "trial"))
        while not (is_used_up(budget, ended := _ended(study)) and _has_run(study, given)):
            _end_if_hopeless(experiment, ended)
            trial = _next_trial(study, space, given) if left is None else left
            left = None
            settings = complete(_suggested(trial, space, seed))
            trial.set_user_attr(SETTINGS, settings)
            _run_trial(trial, settings, budget, train)
            logger.info("%s: %s", experiment, _in_a_line(_ended(study), budget))
        ended = _ended(study)
        found = Found(data, study_name, space, budget, given, tuple(ended), None)
        if not found.ranked:
            reasons = [trial.reason for trial in ended if trial.reason] or ["there is none"]
            raise ValueError(f"{experiment}: no trial was trained to its end, {reasons[-1]}")
        importance = _importance(study, space)
    return replace(found, importance=importance)


def is_used_up(budget: Budget, ended: list[Trial]) -> bool:
    """Whether these trials took all that they may take."""
    if budget.trials is not None:
        return len(ended) >= budget.trials
    return sum(trial.seconds for trial in ended) >= (budget.seconds or 0)


def is_behind(losses: list[float], others: list[tuple[float, ...]]) -> bool:
    """Whether a trial, by its losses so far, is not among the best of ``others`` that came so far;
    to be asked after every epoch."""
    epoch = len(losses)
    if epoch not in RUNGS:
        return False
    reached = sorted([losses[-1], *(of[epoch - 1] for of in others if len(of) >= epoch)])
    return losses[-1] > reached[max(len(reached) // SHARE_KEPT - 1, 0)]


def _ended(study: "optuna.Study") -> list[Trial]:
    """The trials that have ended, by number."""
    states = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED}
    return [
        Trial(
            trial.number,
            states[trial.state.name],
            trial.user_attrs[SETTINGS],
            tuple(loss for _, loss in sorted(trial.intermediate_values.items())),
            trial.user_attrs.get(SECONDS, 0.0),
            trial.user_attrs.get(REASON, ""),
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in states
    ]


def _end_if_hopeless(experiment: str, ended: list[Trial]) -> None:
    last = ended[-MOST_FAILED:]
    if len(last) == MOST_FAILED and all(trial.state == FAILED for trial in last):
        raise ValueError(
            f"{experiment}: the last {MOST_FAILED} trials failed, {last[-1].reason}; "
            "change its space"
        )


def _next_trial(study: "optuna.Study", space: Space, given: Settings) -> "optuna.Trial":
    """The trial of the settings given, if there was none yet, or a new one.

    A run that was killed may have left it waiting.
    """
    noted = [trial.user_attrs.get(GIVEN) for trial in study.get_trials(deepcopy=False)]
    if given not in noted and not _has_run(study, given):
        offered = {
            name: _stored(searched, given[name])
            for name, searched in space.searched.items()
            if is_offered(searched, given[name])
        }
        study.enqueue_trial(offered, user_attrs={GIVEN: given})
    return study.ask()


def _has_run(study: "optuna.Study", given: Settings) -> bool:
    """Whether a trial of these settings was trained to its end, or failed."""
    return any(of.settings == given and of.state != PRUNED for of in _ended(study))


def _suggested(trial: "optuna.Trial", space: Space, seed: int) -> Settings:
    """The settings of a trial, those given or new ones; what the space does not offer stays."""
    import optuna  # noqa: PLC0415

    given, settings = trial.user_attrs.get(GIVEN), dict[str, Any]()
    for name, searched in space.searched.items():
        if given is None or is_offered(searched, given[name]):
            # A seed of its own, so that it does not matter where a run was killed.
            of_value = int(digest([seed, trial.number, name]), 16) % 2**32
            trial.study.sampler = optuna.samplers.TPESampler(seed=of_value)
            settings[name] = _suggest(trial, name, searched, space)
        if given is not None:
            settings[name] = given[name]
    return settings


def _suggest(trial: "optuna.Trial", name: str, searched: Searched, space: Space) -> Any:
    if not isinstance(searched, Range):
        stored = [_stored(searched, value) for value in searched]
        return searched[stored.index(trial.suggest_categorical(name, stored))]
    if space.is_whole(name):
        return trial.suggest_int(name, int(searched.low), int(searched.high), log=searched.log)
    value = trial.suggest_float(name, searched.low, searched.high, log=searched.log)
    rounded = float(f"{value:.3g}")  # to be read and copied by people
    return min(max(rounded, searched.low), searched.high)


def _stored(searched: Searched, value: Any) -> Any:
    """A value as Optuna keeps it, whose choices are no lists."""
    return value if isinstance(searched, Range) else json.dumps(value)


def _run_trial(trial: "optuna.Trial", settings: Settings, budget: Budget, train: Train) -> None:
    """Train with these settings and note how it ended; an interrupt leaves the trial running."""
    from optuna.trial import TrialState  # noqa: PLC0415

    study, before = trial.study, _ended(trial.study)
    reported = study.get_trials(deepcopy=False)[trial.number].intermediate_values
    others = [of.losses for of in before if of.state != FAILED]
    is_given = trial.user_attrs.get(GIVEN) is not None
    used = sum(of.seconds for of in before)
    losses, seconds, state, reason = list[float](), 0.0, TrialState.COMPLETE, ""
    try:
        for epoch in train(settings, trial.number):
            losses.append(epoch.loss)
            seconds += epoch.seconds
            if len(losses) not in reported:
                trial.report(epoch.loss, len(losses))
            if epoch.is_last or is_given:
                continue
            if is_behind(losses, others):
                reason = f"behind after {plural(len(losses), 'epoch')}"
            elif budget.seconds is not None and used + seconds >= budget.seconds:
                reason = "the time was used up"
            if reason:
                state = TrialState.PRUNED
                break
    except TrialFailed as error:
        state, reason, seconds = TrialState.FAIL, str(error), seconds + error.seconds
    trial.set_user_attr(SECONDS, seconds)
    trial.set_user_attr(REASON, reason)
    study.tell(trial, losses[-1] if state == TrialState.COMPLETE else None, state)


def _in_a_line(ended: list[Trial], budget: Budget) -> str:
    """How the last of these trials ended, and what is used of the budget."""
    last = ended[-1]
    losses = [trial.losses[-1] for trial in ended if trial.state == COMPLETE]
    if last.state == FAILED:
        outcome = f"failed: {last.reason}"
    elif last.state == PRUNED:
        outcome = f"val loss {last.loss:.4f}, {last.reason}"
    else:
        outcome = f"val loss {last.loss:.4f}{' (best)' if last.loss == min(losses) else ''}"
    used = f"{len(ended)} of {budget.trials} trials"
    if budget.seconds is not None:
        total = sum(trial.seconds for trial in ended)
        used = f"{total:.0f} of {budget.seconds:.0f} s used"
    return f"trial {last.number}  {outcome}  {last.seconds:.0f} s, {used}"


def _importance(study: "optuna.Study", space: Space) -> dict[str, float] | None:
    """How much each setting decides about the loss of complete trials, by functional analysis of
    variance (Hutter et al. 2014); None if too few have all settings, or none decides anything."""
    import optuna  # noqa: PLC0415

    names = [*space.searched]
    complete = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == optuna.trial.TrialState.COMPLETE and trial.params.keys() >= {*names}
    ]
    if len(complete) < LEAST_FOR_IMPORTANCE:
        return None
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
    except (RuntimeError, ValueError):  # all losses or settings are the same
        return None
    return {name: float(found[name]) for name in names}
