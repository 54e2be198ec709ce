"""All six experiments on the VD that every mode forecasts."""

from typing import TypeVar

import pandas as pd
import xarray as xr

from vd_forecasting.parameters import EXPERIMENTS, MODELS, MODES, Evaluation
from vd_forecasting.pipelines.reporting.errors import Errors, score_points
from vd_forecasting.pipelines.reporting.points import common_points

Artefact = TypeVar("Artefact")


def gather(**by_experiment: Artefact) -> dict[str, Artefact]:
    """One artefact of each experiment, by the experiment's name."""
    return by_experiment


def concatenate_scores(*scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of all modes in one tidy frame."""
    frame = pd.concat(scores, ignore_index=True)
    # Read back from a CSV file, VDIDs of digits have become numbers and seeds fractions.
    frame["vdid"] = frame["vdid"].astype(str)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def score_modes(
    comprehensive_points: dict[str, xr.Dataset], evaluation: Evaluation
) -> dict[str, Errors]:
    """Errors of both models and persistence, by mode."""
    return {
        mode: score_points(points, evaluation.mape_min_truth)
        for mode, points in comprehensive_points.items()
    }


def find_common_target(**predictions: xr.Dataset) -> dict[str, xr.Dataset]:
    """Forecasts of every mode on the points that all six experiments forecast.

    Args:
        predictions: by experiment.

    Returns:
        By mode the dataset of :func:`.points.common_points`, its attr ``comparable`` True. If no VD
        is forecast in every mode, each mode has its own VDs and ``comparable`` is False.
    """
    predictions = {name: predictions[name] for name in EXPERIMENTS}
    sets = [set(map(str, dataset["vd"].values)) for dataset in predictions.values()]
    shared = [
        vdid
        for vdid in map(str, next(iter(predictions.values()))["vd"].values)
        if all(vdid in vdids for vdids in sets)
    ]
    if not shared:
        by_mode = {
            mode: common_points({model: predictions[f"{mode}_{model}"] for model in MODELS})
            for mode in MODES
        }
        return {mode: points.assign_attrs(comparable=False) for mode, points in by_mode.items()}
    points = common_points(
        {name: dataset.sel(vd=shared) for name, dataset in predictions.items()}
    ).assign_attrs(comparable=True)
    return {
        mode: points.sel(model=[*(f"{mode}_{m}" for m in MODELS), "persistence"]).assign_coords(
            model=[*MODELS, "persistence"]
        )
        for mode in MODES
    }
