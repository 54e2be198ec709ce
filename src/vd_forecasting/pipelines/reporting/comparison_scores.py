"""The scores of both models of a mode, and of the baselines, for the very same truths."""

import pandas as pd

from vd_forecasting.artefacts import BaselineForecasts, Outcome
from vd_forecasting.evaluation.aligned import AlignedForecasts, align
from vd_forecasting.evaluation.errors import Errors, errors_of, score_members
from vd_forecasting.evaluation.metrics import tidy
from vd_forecasting.parameters import Evaluation

SCORE_COLUMNS = ["mode", "model", "seed", "vdid", "feature", "horizon", "metric", "value"]


def align_forecasts(
    lstm: Outcome, xlstm: Outcome, baselines: BaselineForecasts
) -> AlignedForecasts:
    """Both models' forecasts and the baselines', for the truths of all."""
    return align({"lstm": lstm.forecasts, "xlstm": xlstm.forecasts}, {"": baselines})


def score_forecasts(
    forecasts: AlignedForecasts, evaluation: Evaluation
) -> tuple[Errors, Errors, pd.DataFrame]:
    """Score networks and baselines.

    Returns:
        The errors pooled over VDs, the same on congested steps alone, and all scores per seed, VD,
        feature and horizon: columns ``mode, model, seed, vdid, feature, horizon, metric, value``, a
        row per metric, where the metric ``n`` counts the scored values and ``…_congested`` are of
        congested steps. Baselines have no seed.
    """
    congested = forecasts.congested(evaluation.congestion_speed)
    frames = [_tidy(forecasts, evaluation), _tidy(congested, evaluation)]
    frames[1]["metric"] += "_congested"
    frame = pd.concat(frames, ignore_index=True)
    return (
        errors_of(forecasts, evaluation.mape_min_truth),
        errors_of(congested, evaluation.mape_min_truth),
        frame,
    )


def _tidy(forecasts: AlignedForecasts, evaluation: Evaluation) -> pd.DataFrame:
    scores = score_members(forecasts, evaluation.mape_min_truth, pool=[])
    frames = []
    for position, member in enumerate(forecasts.members):
        frame = tidy(scores.isel(member=position, drop=True), member.model)
        frame["seed"] = pd.array([member.seed] * len(frame), dtype="Int64")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).assign(mode=forecasts.mode)[SCORE_COLUMNS]
