"""All six experiments, or those that did not fail, on the detectors that every mode forecasts."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import BaselineForecasts, Forecasts, Outcome
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


@dataclass(frozen=True)
class Found:
    """Results of the experiments and baselines that did not fail, and why the others did."""

    outcomes: Mapping[str, Outcome]
    """By experiment."""
    baselines: Mapping[str, BaselineForecasts]
    """By mode."""
    failures: Mapping[str, Failure]
    """By the name of what should have made something: an experiment, ``{mode}_baselines`` or
    ``compare_{mode}``."""


def gather(**by_name: Outcome | BaselineForecasts | pd.DataFrame | Failure) -> Found:
    """Separate results from failures.

    Args:
        by_name: outcomes by experiment, forecasts by ``{mode}_baselines``, scores by
            ``compare_{mode}``.
    """
    return Found(
        {name: found for name, found in by_name.items() if isinstance(found, Outcome)},
        {
            name.removesuffix("_baselines"): found
            for name, found in by_name.items()
            if isinstance(found, BaselineForecasts)
        },
        {name: found for name, found in by_name.items() if isinstance(found, Failure)},
    )


@dataclass(frozen=True)
class AcrossModes:
    """Errors of all modes, and which differences are beyond chance."""

    modes: AlignedModes
    errors: Mapping[str, Errors]
    """By mode."""
    differences: Mapping[str, Differences]
    """Between the networks of a mode, by mode."""
    confidence_sets: xr.DataArray
    """p-values over (model, feature), see :func:`.differences.find_confidence_sets`."""

    @property
    def features(self) -> list[str]:
        """Target features of any mode."""
        return list(dict.fromkeys(f for errors in self.errors.values() for f in errors.features))

    def label(self, feature: str) -> str:
        """A feature with its unit."""
        return next(e.label(feature) for e in self.errors.values() if feature in e.features)

    @property
    def models(self) -> list[tuple[str, str]]:
        """Mode and model; baselines that are the same in several modes stand once."""
        names = set(map(str, self.confidence_sets["model"].values))
        return [
            (mode, model)
            for mode, errors in self.errors.items()
            for model in (*errors.networks, *errors.baselines)
            if f"{mode}_{model}" in names
        ]

    @property
    def confidence(self) -> float:
        """Of intervals, tests and the model confidence set."""
        return next(iter(self.differences.values())).confidence

    @property
    def is_tested(self) -> bool:
        """Whether the test span is long enough for a model confidence set."""
        return next(iter(self.differences.values())).is_tested

    def in_set(self, mode: str, model: str, feature: str) -> bool:
        """Whether no other model is better beyond chance."""
        p_value = self.confidence_sets.sel(model=f"{mode}_{model}", feature=feature)
        return bool(p_value > 1 - self.confidence)


def compare_modes(found: Found, evaluation: Evaluation) -> AcrossModes:
    """Align, score and test all modes.

    Raises:
        ValueError: no experiment has forecasts.
    """
    forecasts = {name: outcome.forecasts for name, outcome in found.outcomes.items()}
    modes = align_modes(forecasts, found.baselines)
    summed = {
        mode: sum_errors(of_mode, evaluation.mape_min_truth)
        for mode, of_mode in modes.by_mode.items()
    }
    return AcrossModes(
        modes,
        {mode: errors_of(of_mode) for mode, of_mode in summed.items()},
        {mode: find_differences(of_mode, evaluation) for mode, of_mode in summed.items()},
        find_confidence_sets(summed, evaluation, comparable=modes.comparable),
    )


def concatenate_scores(*scores: pd.DataFrame | Failure) -> pd.DataFrame:
    """The scores of all modes that could be compared in one tidy frame."""
    there = [of_mode for of_mode in scores if not isinstance(of_mode, Failure)]
    frame = pd.concat(there, ignore_index=True)
    # Read back from a CSV file, VDIDs of digits have become numbers and seeds fractions.
    frame["vdid"] = frame["vdid"].astype(str)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def align_modes(
    forecasts: Mapping[str, Forecasts], baselines: Mapping[str, BaselineForecasts]
) -> AlignedModes:
    """Align all forecasts of all modes on the detectors that every experiment forecasts.

    If there is no such detector, each mode is aligned on its own detectors. Modes without any
    experiment are left out.

    Args:
        forecasts: by experiment.
        baselines: by mode.

    Raises:
        ValueError: no experiment has forecasts.
    """
    networks = {name: forecasts[name] for name in EXPERIMENTS if name in forecasts}
    if not networks:
        raise ValueError("no experiment has forecasts, so there is nothing to compare")
    modes = [mode for mode in MODES if any(f"{mode}_{model}" in networks for model in MODELS)]
    baselines = {mode: baselines[mode] for mode in modes if mode in baselines}
    shared = [
        vdid
        for vdid in next(iter(networks.values())).vdids
        if all(vdid in of_one.vdids for of_one in networks.values())
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
        {name: of_one.sel(vd=shared) for name, of_one in networks.items()},
        {mode: of_mode.sel(vd=shared) for mode, of_mode in baselines.items()},
    )
    return AlignedModes({mode: together.of_mode(mode) for mode in modes}, comparable=True)
