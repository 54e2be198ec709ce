"""All six experiments, or those that did not fail, on the VD that every mode forecasts."""

from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.evaluation.aligned import common_points
from vd_forecasting.evaluation.errors import Errors, score_points
from vd_forecasting.parameters import Evaluation
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS, MODES

Artefact = TypeVar("Artefact")


def gather(**by_experiment: Artefact | Failure) -> dict[str, Artefact]:
    """One artefact of each experiment that did not fail, by the experiment's name."""
    return {name: found for name, found in by_experiment.items() if not isinstance(found, Failure)}


def gather_failures(**by_name: object) -> dict[str, Failure]:
    """What is missing, and why, by the name of what should have made it."""
    return {name: found for name, found in by_name.items() if isinstance(found, Failure)}


def concatenate_scores(*scores: pd.DataFrame | Failure) -> pd.DataFrame:
    """The scores of all modes that could be compared in one tidy frame."""
    there = [of_mode for of_mode in scores if not isinstance(of_mode, Failure)]
    frame = pd.concat(there, ignore_index=True)
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


def find_common_target(**predictions: xr.Dataset | Failure) -> dict[str, xr.Dataset]:
    """Forecasts of every mode on the points that all experiments forecast.

    Args:
        predictions: by experiment, and of the baselines of each mode by ``{mode}_baselines``.

    Returns:
        By mode the dataset of :func:`.points.common_points`, its attr ``comparable`` True. If no VD
        is forecast in every mode, each mode has its own VDs and ``comparable`` is False.
        Experiments and baselines that failed are left out, and so are modes without any experiment.

    Raises:
        ValueError: no experiment has forecasts.
    """
    there = gather(**predictions)
    networks = {name: there[name] for name in EXPERIMENTS if name in there}
    if not networks:
        raise ValueError("no experiment has forecasts, so there is nothing to compare")
    modes = [mode for mode in MODES if any(f"{mode}_{model}" in networks for model in MODELS)]
    baselines = {mode: there[f"{mode}_baselines"] for mode in modes if f"{mode}_baselines" in there}
    sets = [set(map(str, dataset["vd"].values)) for dataset in networks.values()]
    shared = [
        vdid
        for vdid in map(str, next(iter(networks.values()))["vd"].values)
        if all(vdid in vdids for vdids in sets)
    ]
    if not shared:
        return {
            mode: common_points(
                {m: networks[f"{mode}_{m}"] for m in MODELS if f"{mode}_{m}" in networks},
                {"": baselines[mode]} if mode in baselines else {},
            ).assign_attrs(comparable=False)
            for mode in modes
        }
    points = common_points(
        {name: dataset.sel(vd=shared) for name, dataset in networks.items()},
        {mode: dataset.sel(vd=shared) for mode, dataset in baselines.items()},
    ).assign_attrs(comparable=True)
    return {mode: _of_mode(points, mode) for mode in modes}


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
