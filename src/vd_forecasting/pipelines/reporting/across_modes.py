"""All six experiments, or those that did not fail, on the VD that every mode forecasts."""

from typing import TypeVar

import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.evaluation.aligned import AlignedModes, align
from vd_forecasting.evaluation.differences import (
    Differences,
    find_confidence_sets,
    find_differences,
)
from vd_forecasting.evaluation.errors import Errors, errors_of
from vd_forecasting.evaluation.summed import sum_errors
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
    modes: AlignedModes, evaluation: Evaluation
) -> tuple[dict[str, Errors], dict[str, Differences], xr.DataArray]:
    """Score the networks and baselines of every mode.

    Returns:
        By mode the errors and the differences between its models, and the p-values of
        :func:`.find_confidence_sets`.
    """
    summed = {
        mode: sum_errors(forecasts, evaluation.mape_min_truth)
        for mode, forecasts in modes.by_mode.items()
    }
    return (
        {mode: errors_of(of_mode) for mode, of_mode in summed.items()},
        {mode: find_differences(of_mode, evaluation) for mode, of_mode in summed.items()},
        find_confidence_sets(summed, evaluation, comparable=modes.comparable),
    )


def align_modes(**predictions: Forecasts | BaselineForecasts | Failure) -> AlignedModes:
    """Align all forecasts of all modes on the detectors that every experiment forecasts.

    If there is no such detector, each mode is aligned on its own detectors. Experiments and
    baselines that failed are left out, and so are modes without any experiment.

    Args:
        predictions: by experiment, and of the baselines of each mode by ``{mode}_baselines``.

    Raises:
        ValueError: no experiment has forecasts.
    """
    networks = {
        name: forecasts
        for name in EXPERIMENTS
        if isinstance(forecasts := predictions.get(name), Forecasts)
    }
    if not networks:
        raise ValueError("no experiment has forecasts, so there is nothing to compare")
    modes = [mode for mode in MODES if any(f"{mode}_{model}" in networks for model in MODELS)]
    baselines = {
        mode: of_mode
        for mode in modes
        if isinstance(of_mode := predictions.get(f"{mode}_baselines"), BaselineForecasts)
    }
    shared = [
        vdid
        for vdid in next(iter(networks.values())).vdids
        if all(vdid in forecasts.vdids for forecasts in networks.values())
    ]
    if not shared:
        alone = {
            mode: align(
                {m: networks[f"{mode}_{m}"] for m in MODELS if f"{mode}_{m}" in networks},
                {"": baselines[mode]} if mode in baselines else {},
            )
            for mode in modes
        }
        return AlignedModes(alone, comparable=False)
    together = align(
        {name: forecasts.sel(vd=shared) for name, forecasts in networks.items()},
        {mode: of_mode.sel(vd=shared) for mode, of_mode in baselines.items()},
    )
    return AlignedModes({mode: together.of_mode(mode) for mode in modes}, comparable=True)
