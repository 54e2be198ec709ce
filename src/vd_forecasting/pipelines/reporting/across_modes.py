"""All experiments, or those that did not fail, on the detectors that every mode forecasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import BaselineForecasts, Forecasts, Outcome
from vd_forecasting.datasets import Frames
from vd_forecasting.evaluation.aligned import AlignedModes, align
from vd_forecasting.evaluation.differences import (
    Differences,
    find_confidence_sets,
    find_differences,
)
from vd_forecasting.evaluation.errors import Errors, errors_of, sum_errors
from vd_forecasting.parameters import Evaluation
from vd_forecasting.pipelines.reporting.scores import SCORE_COLUMNS
from vd_forecasting.rendering.page import Page
from vd_forecasting.running.failure import Failure
from vd_forecasting.vocabulary import EVERY_EXPERIMENT, EVERY_MODE, EXPERIMENTS, MODELS

Part = TypeVar("Part", Outcome, BaselineForecasts, Frames, Failure)


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
    scores: Mapping[str, Frames] = field(default_factory=dict)
    """By mode."""
    why_left_out: Callable[[], str] = str
    """Says why a mode that has results is not compared with the others; "" without such a mode."""

    @property
    def left_out(self) -> str:
        """The same in the language spoken."""
        return self.why_left_out()


@dataclass(frozen=True)
class Compared:
    """Results of the comparison of a mode, with a failure in the place of what was not made."""

    scores: Frames | Failure
    baselines: BaselineForecasts | Failure


def conclude_comparison(
    page: Page | Failure, scores: Frames | Failure, baselines: BaselineForecasts | Failure
) -> Compared:
    """Hand on what other pages need of a comparison, once its page is written."""
    return Compared(scores, baselines)


def gather(**results: Outcome | Compared | Failure) -> Found:
    """Separate results, of experiments and of ``compare_{mode}`` by their names, from failures."""
    parts: dict[str, object] = {}
    for name, result in results.items():
        if name not in EXPERIMENTS:
            baselines_name = f"{name.removeprefix('compare_')}_baselines"
            parts[baselines_name] = result.baselines if isinstance(result, Compared) else result
        parts[name] = result.scores if isinstance(result, Compared) else result

    def those(kind: type[Part]) -> dict[str, Part]:
        return {name: part for name, part in parts.items() if isinstance(part, kind)}

    baselines, scores = those(BaselineForecasts), those(Frames)
    return Found(
        those(Outcome),
        {name.removesuffix("_baselines"): of_mode for name, of_mode in baselines.items()},
        those(Failure),
        {name.removeprefix("compare_"): of_mode for name, of_mode in scores.items()},
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
        """Level of intervals, tests and the model confidence set."""
        return next(iter(self.differences.values())).confidence

    @property
    def has_set(self) -> bool:
        """Whether the test days are enough for a model confidence set."""
        return bool(self.confidence_sets.notnull().any())

    @property
    def most_days(self) -> int:
        """Test days that count, of the feature and mode that has most."""
        return max(of_mode.most_days for of_mode in self.differences.values())

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


def concatenate_scores(found: Found) -> Frames:
    """The scores of all modes that could be compared in one tidy table; empty if none could."""
    return Frames.joined(found.scores.values() or [[pd.DataFrame(columns=SCORE_COLUMNS)]])


def align_modes(
    forecasts: Mapping[str, Forecasts], baselines: Mapping[str, BaselineForecasts]
) -> AlignedModes:
    """Align forecasts, by experiment, and baselines, by mode, on the detectors of all experiments.

    If there is no such detector, each mode is aligned on its own detectors. Modes without any
    experiment are left out.

    Raises:
        ValueError: no experiment has forecasts.
    """
    networks = {name: forecasts[name] for name in EVERY_EXPERIMENT if name in forecasts}
    if not networks:
        raise ValueError("no experiment has forecasts, so there is nothing to compare")
    modes = [mode for mode in EVERY_MODE if any(f"{mode}_{m}" in networks for m in MODELS)]
    baselines = {mode: baselines[mode] for mode in modes if mode in baselines}
    first, *others = (of_one.vdids for of_one in networks.values())
    shared = [vdid for vdid in first if all(vdid in vdids for vdids in others)]
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
