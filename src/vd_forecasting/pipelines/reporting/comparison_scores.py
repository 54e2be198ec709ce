"""The scores of both models of a mode on the very same points."""

import pandas as pd
import xarray as xr

from vd_forecasting.metrics import tidy
from vd_forecasting.parameters import Evaluation
from vd_forecasting.pipelines.reporting.errors import Errors, Json, score_models, score_points
from vd_forecasting.pipelines.reporting.points import common_points

SCORE_COLUMNS = ["mode", "model", "seed", "vdid", "feature", "horizon", "metric", "value"]


def find_common_points(lstm_predictions: xr.Dataset, xlstm_predictions: xr.Dataset) -> xr.Dataset:
    """Both models' forecasts and persistence on the points both models forecast.

    See :func:`.points.common_points`.
    """
    return common_points({"lstm": lstm_predictions, "xlstm": xlstm_predictions})


def score_common_points(
    points: xr.Dataset, evaluation: Evaluation, lstm_config: Json, xlstm_config: Json
) -> tuple[Errors, pd.DataFrame]:
    """Score LSTM, xLSTM and persistence.

    Returns:
        The errors pooled over VDs, and all scores per VD, feature and horizon: columns ``mode,
        model, seed, vdid, feature, horizon, metric, value``, a row per metric, where the metric
        ``n`` counts the scored points. Persistence has no seed.
    """
    scores = score_models(points, evaluation.mape_min_truth, pool=[])
    frame = pd.concat(
        [tidy(scores.sel(model=model, drop=True), str(model)) for model in points["model"].values],
        ignore_index=True,
    )
    seeds = {"lstm": lstm_config["compute"]["seed"], "xlstm": xlstm_config["compute"]["seed"]}
    frame["mode"] = lstm_config["mode"]
    frame["seed"] = frame["model"].map(seeds).astype("Int64")
    return score_points(points, evaluation.mape_min_truth), frame[SCORE_COLUMNS]
