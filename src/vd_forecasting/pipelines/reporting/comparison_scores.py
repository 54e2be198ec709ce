"""The scores of both models of a mode, and of the baselines, on the very same points."""

import pandas as pd
import xarray as xr

from vd_forecasting.evaluation.aligned import NO_SEED, common_points, congested_only
from vd_forecasting.evaluation.errors import Errors, score_points, score_runs
from vd_forecasting.evaluation.metrics import tidy
from vd_forecasting.parameters import Evaluation

SCORE_COLUMNS = ["mode", "model", "seed", "vdid", "feature", "horizon", "metric", "value"]


def find_common_points(
    lstm_predictions: xr.Dataset, xlstm_predictions: xr.Dataset, baselines: xr.Dataset
) -> xr.Dataset:
    """Both models' forecasts and the baselines' on the points that all of them forecast.

    See :func:`.points.common_points`.
    """
    points = common_points({"lstm": lstm_predictions, "xlstm": xlstm_predictions}, {"": baselines})
    return points.assign_attrs(mode=lstm_predictions.attrs["mode"])


def score_common_points(
    points: xr.Dataset, evaluation: Evaluation
) -> tuple[Errors, Errors, pd.DataFrame]:
    """Score networks and baselines.

    Returns:
        The errors pooled over VDs, the same on congested steps alone (see
        :func:`.points.congested_only`), and all scores per seed, VD, feature and horizon: columns
        ``mode, model, seed, vdid, feature, horizon, metric, value``, a row per metric, where the
        metric ``n`` counts the scored points and ``…_congested`` are of congested steps. Baselines
        have no seed.
    """
    congested = congested_only(points, evaluation.congestion_speed)
    frames = [_tidy(points, evaluation), _tidy(congested, evaluation)]
    frames[1]["metric"] += "_congested"
    frame = pd.concat(frames, ignore_index=True)
    return (
        score_points(points, evaluation.mape_min_truth),
        score_points(congested, evaluation.mape_min_truth),
        frame,
    )


def _tidy(points: xr.Dataset, evaluation: Evaluation) -> pd.DataFrame:
    scores = score_runs(points, evaluation.mape_min_truth, pool=[])
    frames = []
    for run, (model, seed) in enumerate(
        zip(points["model"].values, points["seed"].values, strict=True)
    ):
        frame = tidy(scores.isel(run=run, drop=True), str(model))
        frame["seed"] = pd.array(
            [pd.NA if seed == NO_SEED else int(seed)] * len(frame), dtype="Int64"
        )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).assign(mode=points.attrs["mode"])[SCORE_COLUMNS]
