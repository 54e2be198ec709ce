"""All six experiments on the VD that every mode forecasts."""

from typing import TypeVar

import numpy as np
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
    """Errors of both models and the baselines, by mode."""
    return {
        mode: score_points(points, evaluation.mape_min_truth)
        for mode, points in comprehensive_points.items()
    }


def find_common_target(**predictions: xr.Dataset) -> dict[str, xr.Dataset]:
    """Forecasts of every mode on the points that all six experiments forecast.

    Args:
        predictions: by experiment, and of the baselines of each mode by ``{mode}_baselines``.

    Returns:
        By mode the dataset of :func:`.points.common_points`, its attr ``comparable`` True. If no VD
        is forecast in every mode, each mode has its own VDs and ``comparable`` is False.
    """
    networks = {name: predictions[name] for name in EXPERIMENTS}
    baselines = {mode: predictions[f"{mode}_baselines"] for mode in MODES}
    sets = [set(map(str, dataset["vd"].values)) for dataset in networks.values()]
    shared = [
        vdid
        for vdid in map(str, next(iter(networks.values()))["vd"].values)
        if all(vdid in vdids for vdids in sets)
    ]
    if not shared:
        return {
            mode: common_points(
                {model: networks[f"{mode}_{model}"] for model in MODELS}, {"": baselines[mode]}
            ).assign_attrs(comparable=False)
            for mode in MODES
        }
    points = common_points(
        {name: dataset.sel(vd=shared) for name, dataset in networks.items()},
        {mode: dataset.sel(vd=shared) for mode, dataset in baselines.items()},
    ).assign_attrs(comparable=True)
    return {mode: _of_mode(points, mode) for mode in MODES}


def _of_mode(points: xr.Dataset, mode: str) -> xr.Dataset:
    """The runs of one mode, without its name before theirs, and persistence."""
    names = [str(name) for name in points["model"].values]
    own = [name == "persistence" or name.startswith(f"{mode}_") for name in names]
    models = np.array(
        [name.removeprefix(f"{mode}_") for name, is_own in zip(names, own, strict=True) if is_own],
        dtype=object,
    )
    seconds = {
        name.removeprefix(f"{mode}_"): value
        for name, value in points.attrs["fit_seconds"].items()
        if name.startswith(f"{mode}_")
    }
    return (
        points.isel(run=own).assign_coords(model=("run", models)).assign_attrs(fit_seconds=seconds)
    )
