"""Does a model still do what its comparison promised? Errors then and now, and unseen values."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import RecentForecasts, RecentWindows
from vd_forecasting.evaluation.metrics import score
from vd_forecasting.language import say
from vd_forecasting.pipelines.forecast.flags import beyond_training
from vd_forecasting.wording import change, feature_name, level, percent, plural, quantity

logger = logging.getLogger(__name__)

LOST = 0.1
"""Share by which a network's error may exceed the promised one, and may do so relative to
persistence's: some days are harder than others for every forecast."""

UNSEEN = 0.01
"""Share of a feature's values that may lie beyond the range of training."""

UNCOVERED = 0.1
"""By how much fewer truths than promised may lie within the widest interval."""

LEAST_SCORED = pd.Timedelta("1D")
"""Of origins; fewer hold a single peak, or none."""

Said = Callable[[], str]
"""Part of a sentence, in the language spoken when it is asked for."""

COLUMNS = ["model", "feature", "unit", "horizon", "n", "mae", "promised_mae"]


@dataclass(frozen=True)
class Drift:
    """What a recent file says about the model that forecasts it."""

    scores: pd.DataFrame
    """A row per model, feature and horizon, in :data:`COLUMNS`: the mean absolute error over ``n``
    observed truths, and what the comparison promised, NaN where it promised nothing."""
    origins: int
    """How many are scored."""
    comparison: str
    """The data of the comparison."""
    in_words: Callable[[], str]
    """Says in the language spoken, in one line, whether to train again, and why."""
    train_again: bool

    @property
    def verdict(self) -> str:
        """The same."""
        return self.in_words()


def find_drift(
    recent: RecentWindows, forecasts: RecentForecasts, metrics: Mapping[str, Any]
) -> tuple[Drift, pd.DataFrame]:
    """Compare errors, where the truth is there, with those of ``metrics.json``, and inputs with
    those of training. Origins that the model was trained or validated on are not scored, and a
    refitted network is not at all: it has seen the truths.

    Returns:
        The drift, and its scores.
    """
    new, scores = score_recent(forecasts, metrics)
    reasons, remarks = list[Said](), list[Said]()
    is_judged = new.size > 0 and new[-1] - new[0] >= LEAST_SCORED
    if not new.size:
        remarks.append(_no_truth)
    elif not is_judged:
        remarks.append(partial(_few_truths, new.size))
    else:
        for feature, unit in forecasts.units.items():
            of_feature = scores[scores["feature"] == feature]
            line, lost = compare(of_feature, forecasts.network, feature, unit)
            (reasons if lost else remarks).append(line)
        promised, covered = coverage(forecasts)
        lost = covered < float(promised) / 100 - UNCOVERED
        (reasons if lost else remarks).append(partial(_covered, covered, float(promised) / 100))
    beyond = beyond_training(recent)[recent.file].sum(axis=(0, 1))
    seen = recent.observed[recent.file].sum(axis=(0, 1))
    for feature, unseen in zip(recent.features, beyond / np.maximum(seen, 1), strict=True):
        if unseen > UNSEEN:
            reasons.append(partial(_unseen, float(unseen), feature))
    in_words = partial(_verdict, reasons, remarks, is_judged=is_judged)
    severity = logging.WARNING if reasons else logging.INFO
    logger.log(severity, "%s on %s: %s", forecasts.experiment, forecasts.source, in_words())
    drift = Drift(scores, int(new.size), str(metrics["source"]), in_words, bool(reasons))
    return drift, scores


def _verdict(reasons: Sequence[Said], remarks: Sequence[Said], *, is_judged: bool) -> str:
    why = say("; ").join(line() for line in reasons or remarks)
    if reasons:
        return say("train it again: {why}", why=why)
    if is_judged:
        return say("no need to train it again: {why}", why=why)
    return say("not known whether to train it again: {why}", why=why)


def _no_truth() -> str:
    return say("no forecast after the training data has a truth")


def _few_truths(windows: int) -> str:
    number = plural(windows, "window")
    return say("{windows} with known truths, less than a day, are few", windows=number)


def _covered(covered: float, promised: float) -> str:
    return say(
        "{share} of the truths lie within the {level} intervals",
        share=percent(covered),
        level=level(promised),
    )


def _unseen(share: float, feature: str) -> str:
    return say(
        "{share} of {feature} lie beyond the range of training",
        share=percent(share),
        feature=feature_name(feature),
    )


def score_recent(
    forecasts: RecentForecasts, metrics: Mapping[str, Any]
) -> tuple[np.ndarray, pd.DataFrame]:
    """The origins that are scored, and the scores; ``n`` is 0 and ``mae`` NaN where none is."""
    truth = unseen_truth(forecasts)
    prediction = forecasts.prediction.sel(model=forecasts.scored)
    scored = score(truth, prediction, 0.0, pool=["vd"])[["mae", "n"]]
    scores = scored.drop_vars("vd", errors="ignore").to_dataframe().reset_index()
    promised = {forecasts.network: "by_horizon", "persistence": "persistence_by_horizon"}
    known = {
        (model, feature, step): mae
        for model, key in promised.items()
        for feature, of_feature in metrics[key].items()
        for step, mae in enumerate(of_feature["mae"], 1)
    }
    rows = zip(scores["model"], scores["feature"], scores["horizon"], strict=True)
    scores["promised_mae"] = np.array([known.get(row) for row in rows], dtype="float64")
    scores["unit"] = scores["feature"].map(forecasts.units)
    has_truth = truth.notnull().any(["horizon", "vd", "feature"]).values
    return forecasts.origins[has_truth], scores[COLUMNS]


def unseen_truth(forecasts: RecentForecasts) -> xr.DataArray:
    """The truths (origin, horizon, vd, feature), NaN where the model was trained or validated."""
    first: dict[str, Any] = {"horizon": 0, "vd": 0, "feature": 0}
    seen = forecasts.has("seen_in_training").sel(model=forecasts.network).isel(first)
    return forecasts.truth.where(~seen)


def coverage(forecasts: RecentForecasts) -> tuple[str, float]:
    """The level of the widest intervals, and the share of the network's that hold the truth."""
    level, truth = forecasts.levels[-1], unseen_truth(forecasts)
    lower, upper = (end.sel(model=forecasts.network) for end in forecasts.ends(level))
    within = (truth >= lower) & (truth <= upper)
    return level, float(within.where(truth.notnull()).mean())


def compare(scores: pd.DataFrame, network: str, feature: str, unit: str) -> tuple[Said, bool]:
    """Errors of a feature beside those promised, all horizons pooled, in words; and whether
    those of the network exceed them by more than :data:`LOST`."""
    now, promised = dict[str, float](), dict[str, float]()
    for model in (network, "persistence"):
        own = scores[(scores["model"] == model) & (scores["n"] > 0)]
        weights = own["n"] / own["n"].sum()
        now[model] = float((own["mae"] * weights).sum(min_count=1))
        promised[model] = float((own["promised_mae"] * weights).sum(min_count=1))
    own_change, of_all = (change(now[name], promised[name]) for name in now)
    relative = (1 + own_change) / (1 + of_all) - 1 if of_all > -1 else own_change
    errors = (now[network], promised[network])
    in_words = partial(_beside_promised, feature, unit, errors, (own_change, of_all))
    return in_words, bool(min(own_change, relative) > LOST)


def _beside_promised(
    feature: str, unit: str, errors: tuple[float, float], changes: tuple[float, float]
) -> str:
    now, promised = (quantity(error, unit) for error in errors)
    own, of_all = (percent(change, signed=True) for change in changes)
    return say(
        "{feature} {error}, promised {promised} ({change}; persistence {reference})",
        feature=feature_name(feature),
        error=now,
        promised=promised,
        change=own,
        reference=of_all,
    )
