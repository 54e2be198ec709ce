"""``global_vd`` on the page of ``compare_all``, which does not train it: what an earlier run left.

It stands there only if it was made of the same data, so that what differs are the models.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from vd_forecasting.artefacts import Config, Outcome
from vd_forecasting.language import say
from vd_forecasting.parameters import Evaluation, Intervals
from vd_forecasting.pipelines.reporting.across_modes import Found, align_modes
from vd_forecasting.pipelines.reporting.scores import (
    align_forecasts,
    align_validation,
    gather_outcome,
    join_scores,
    score_forecasts,
    score_intervals,
)
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.running.failure import STATES, Failure
from vd_forecasting.vocabulary import GLOBAL_MODE
from vd_forecasting.wording import lead_time

ARTEFACTS = ("config", "training_history", "cost", "fit_errors", "predictions", "validation")
"""All that is read of an experiment, in the order of :func:`.scores.gather_outcome`."""


def gather_global(
    evaluation: Evaluation,
    intervals: Intervals,
    lstm_tuned: object = None,
    xlstm_tuned: object = None,
    **parts: Any,
) -> Found:
    """The results of ``global_vd``: none if it never ran, and only the reason if some are missing.

    ``lstm_tuned`` and ``xlstm_tuned`` are as of :func:`.scores.gather_outcome`. ``parts`` are the
    artefacts of both networks, as ``lstm_config``, the ``baselines`` and, of the validation split,
    ``baselines_validation``.
    """
    failures = [part for part in parts.values() if isinstance(part, Failure)]
    failures.sort(key=lambda failure: STATES.index(failure.state))
    if len(failures) == len(parts) and not failures[0].is_error:
        return Found({}, {}, {})
    try:
        if failures:
            return Found({}, {}, {}, why_left_out=partial(_apart_as_it_failed, failures[0]))
        searches = {"lstm": lstm_tuned, "xlstm": xlstm_tuned}
        outcomes = {
            model: gather_outcome(*read)
            for model, tuned in searches.items()
            for read in [[*(parts[f"{model}_{name}"] for name in ARTEFACTS), tuned]]
        }
        aligned = align_forecasts(**outcomes, baselines=parts["baselines"])
        validation = align_validation(**outcomes, validation=parts["baselines_validation"])
        *_, of_errors = score_forecasts(aligned, evaluation)
        *_, of_intervals = score_intervals(aligned, validation, intervals, evaluation.confidence)
    except ValueError as error:
        return Found({}, {}, {}, why_left_out=partial(_apart, plain_text(error)))
    return Found(
        {f"{GLOBAL_MODE}_{model}": outcome for model, outcome in outcomes.items()},
        {GLOBAL_MODE: parts["baselines"]},
        {},
        {GLOBAL_MODE: join_scores(of_errors, of_intervals)},
    )


def take_in_global(found: Found, of_global: Found) -> Found:
    """All results together, or those of ``compare_all`` and what keeps ``global_vd`` apart."""
    if not (found.outcomes and of_global.outcomes):
        return replace(found, why_left_out=of_global.why_left_out)
    six, own = (
        {name: outcome.forecasts for name, outcome in results.outcomes.items()}
        for results in (found, of_global)
    )
    comparable = align_modes(six, {}).comparable
    try:
        for outcome in of_global.outcomes.values():
            check_same_data(outcome, next(iter(found.outcomes.values())))
        spoilt = comparable and not align_modes(six | own, {}).comparable
    except ValueError as error:
        return replace(found, why_left_out=partial(_apart_until_made_anew, plain_text(error)))
    if spoilt:
        return replace(found, why_left_out=_apart_without_shared_detectors)
    return Found(
        {**found.outcomes, **of_global.outcomes},
        {**found.baselines, **of_global.baselines},
        found.failures,
        {**found.scores, **of_global.scores},
    )


def _apart(reason: str) -> str:
    return say("{mode} is not compared here: {reason}.", mode=code(GLOBAL_MODE), reason=reason)


def _apart_as_it_failed(failure: Failure) -> str:
    return say(
        "{mode} is not compared here: {node} {state}, {reason}.",
        mode=code(GLOBAL_MODE),
        node=code(failure.node),
        state=say(failure.state),
        reason=code(failure.reason),
    )


def _apart_until_made_anew(reason: str) -> str:
    again = code(f"kedro run --pipeline compare_{GLOBAL_MODE}")
    return _apart(say("{reason}; make it anew: {command}", reason=reason, command=again))


def _apart_without_shared_detectors() -> str:
    return _apart(say("it forecasts none of the detectors that the other modes share"))


def check_same_data(outcome: Outcome, reference: Outcome) -> None:
    """Raise a ValueError, in one line, unless two experiments rest on the same data and splits.

    Whether the cleaned data are the same shows in the scales of the detectors that both forecast:
    every value of the training split goes into them. Truths of the test split are compared where
    forecasts are aligned.
    """
    own, theirs = (_made_of(one.config) for one in (outcome, reference))
    for name in [name for name in own if name in theirs]:  # a block may have failed
        if own[name] != theirs[name]:
            raise ValueError(f"its {name} is {own[name]}, that of the other modes {theirs[name]}")
    scales = [of.forecasts.data[["mase_scale", "free_flow_speed"]] for of in (outcome, reference)]
    one, other = xr.align(*scales, join="inner")
    for scale in map(str, one.data_vars):
        if not np.allclose(one[scale], other[scale], rtol=1e-6, equal_nan=True):
            raise ValueError(f"its cleaned data are others: another {scale} in the training split")


def _made_of(config: Config) -> dict[str, str]:
    """The data and the splits of an experiment, in words."""
    blocks = {f" of test block {number}": spans for number, spans in config.earlier.items()}
    return {
        "detector file": config.source,
        "interval": lead_time(config.interval_minutes),
        "number of test blocks": str(config.num_blocks),
        **{
            f"{name} split{of_block}": f"{span.start} to {span.end}"
            for of_block, spans in {"": config.split, **blocks}.items()
            for name, span in spans.items()
        },
    }
