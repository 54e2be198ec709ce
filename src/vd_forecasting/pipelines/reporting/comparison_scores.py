"""The scores of both models of a mode, and of the baselines, for the very same truths."""

import pandas as pd

from vd_forecasting.artefacts import BaselineForecasts, Outcome
from vd_forecasting.evaluation.aligned import AlignedForecasts, align
from vd_forecasting.evaluation.differences import Differences, find_differences
from vd_forecasting.evaluation.errors import Errors, SummedErrors, errors_of, sum_errors
from vd_forecasting.evaluation.metrics import from_sums, tidy
from vd_forecasting.parameters import Evaluation

SCORE_COLUMNS = ["mode", "model", "seed", "vdid", "feature", "horizon", "metric", "value"]


def align_forecasts(
    lstm: Outcome, xlstm: Outcome, baselines: BaselineForecasts
) -> AlignedForecasts:
    """Both models' forecasts and the baselines', for the truths of all."""
    return align({"lstm": lstm.forecasts, "xlstm": xlstm.forecasts}, {"": baselines})


def score_forecasts(
    forecasts: AlignedForecasts, evaluation: Evaluation
) -> tuple[Errors, Errors, Differences, pd.DataFrame]:
    """Score networks and baselines.

    Returns:
        The errors, the same on congested steps alone, the differences between the models, and all
        scores per seed, VD, feature and horizon: columns ``mode, model, seed, vdid, feature,
        horizon, metric, value``, a row per metric, where the metric ``n`` counts the scored values
        and ``…_congested`` are of congested steps. Baselines have no seed.
    """
    summed = sum_errors(forecasts, evaluation.mape_min_truth)
    in_congestion = forecasts.congested(evaluation.congestion_speed)
    congested = sum_errors(in_congestion, evaluation.mape_min_truth)
    frames = [_tidy(summed), _tidy(congested)]
    frames[1]["metric"] += "_congested"
    return (
        errors_of(summed),
        errors_of(congested),
        find_differences(summed, evaluation),
        pd.concat(frames, ignore_index=True),
    )


def _tidy(summed: SummedErrors) -> pd.DataFrame:
    scores = from_sums(summed.by_vd)
    frames = []
    for position, member in enumerate(summed.members):
        frame = tidy(scores.isel(member=position, drop=True), member.model)
        frame["seed"] = pd.array([member.seed] * len(frame), dtype="Int64")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).assign(mode=summed.mode)[SCORE_COLUMNS]
