"""The scores of one experiment beside persistence."""

import xarray as xr

from vd_forecasting.artefacts import FitErrors, Forecasts
from vd_forecasting.evaluation.aligned import align
from vd_forecasting.evaluation.errors import Errors, Json, errors_of, sum_errors
from vd_forecasting.evaluation.metrics import ERRORS, by_feature


def score_experiment(
    predictions: Forecasts, fit_errors: FitErrors, mape_min_truth: float
) -> tuple[Errors, Json]:
    """Score an experiment's test forecasts.

    Returns:
        The errors, and metrics ready for JSON: on test pooled, by horizon and by VD, with
        persistence scored on the same truths, and pooled on train and val. Each is the mean over
        the seeds; ``test_sd`` and ``by_horizon_sd`` are their standard deviations, undefined for
        one seed.
    """
    model = predictions.model
    errors = errors_of(sum_errors(align({model: predictions}), mape_min_truth))

    def of(who: str, scores: xr.Dataset) -> Json:
        return by_feature(scores.sel(model=who))

    pooled = of(model, errors.average)
    for feature, unit in predictions.units.items():
        pooled[feature]["unit"] = unit
    fitted = fit_errors.model_dump()
    metrics = {
        "experiment": predictions.experiment,
        "source": predictions.source,
        "seeds": predictions.seeds,
        "test": pooled,
        "test_sd": of(model, errors.average_sd[[*ERRORS]]),
        "persistence": of("persistence", errors.average),
        "by_horizon": of(model, errors.by_horizon),
        "by_horizon_sd": of(model, errors.by_horizon_sd[[*ERRORS]]),
        "persistence_by_horizon": of("persistence", errors.by_horizon),
        "by_vd": {vdid: of(model, errors.by_vd.sel(vd=vdid)) for vdid in predictions.vdids},
        "train": fitted["train"],
        "val": fitted["val"],
    }
    return errors, metrics
