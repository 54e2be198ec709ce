"""Describe an experiment: the labels of its checkpoint and its configuration."""

from typing import Any

import pandas as pd
import torch

from vd_forecasting.artefacts import Config, Experiment, WindowSet
from vd_forecasting.artefacts.records import SplitSpan, WindowLengths
from vd_forecasting.models.checkpoint import FORMAT, Checkpoint, build_forecaster
from vd_forecasting.pipelines.training.resume import Weights
from vd_forecasting.provenance import PACKAGE, version_of
from vd_forecasting.vocabulary import SPLITS


def network_arguments(windows: WindowSet) -> dict[str, Any]:
    """The fields of :class:`~vd_forecasting.models.Network`, the same for all models."""
    vds = next(iter(windows.models.values()))
    num_vds, num_features = vds.stop - vds.start, len(windows.features)
    return {
        "num_channels": num_vds * num_features + windows.calendar.shape[1],
        "num_vd_features": num_features,
        "target_channels": [
            n * num_features + f for n in range(num_vds) for f in windows.target_positions
        ],
        "target_shape": [num_vds, len(windows.targets)],
        **_lengths(windows),
    }


def make_checkpoint(experiment: Experiment, weights: dict[str, Weights], seed: int) -> Checkpoint:
    """Put together what :mod:`vd_forecasting.models.checkpoint` lists.

    The ``weights``, by name of the model, were trained from the ``seed``.
    """
    windows = experiment.windows
    return {
        **_labels(experiment),
        "weights": weights,
        "seed": seed,
        "scaler": {"mean": torch.from_numpy(windows.mean), "std": torch.from_numpy(windows.std)},
        **_lengths(windows),
        "format": FORMAT,
    }


def describe_experiment(experiment: Experiment, best_seed: int) -> Config:
    """The configuration of a trained experiment."""
    windows, labels = experiment.windows, _labels(experiment)
    one = build_forecaster(*(labels[key] for key in ("model", "model_parameters", "network")))
    packages = (PACKAGE, "torch", *(["xlstm"] if experiment.model == "xlstm" else []))
    return Config(
        **labels,
        experiment=experiment.name,
        mode=windows.mode,
        source=windows.source,
        best_seed=best_seed,
        windows=WindowLengths(**_lengths(windows)),
        units=windows.units,
        num_parameters=sum(parameter.numel() for parameter in one.parameters()),
        num_models=len(windows.models),
        split={name: describe_split(windows, name) for name in SPLITS},
        versions={package: version_of(package) for package in packages},
        training=experiment.training,
        compute=experiment.compute,
    )


def describe_split(windows: WindowSet, split: str) -> SplitSpan:
    """First and last time stamp of a split and how many windows it holds."""
    starts = windows.starts(split)
    ends = windows.time[[starts[0], windows.target_steps(split)[-1, -1]]]
    start, end = (pd.Timestamp(time).isoformat() for time in ends)
    return SplitSpan(start=start, end=end, windows=len(starts))


def _labels(experiment: Experiment) -> dict[str, Any]:
    """What checkpoint and configuration both say of the network, its inputs and its outputs."""
    windows = experiment.windows
    return {
        "model": experiment.model,
        "model_parameters": experiment.model_parameters.model_dump(mode="json"),
        "network": network_arguments(windows),
        "vdids": windows.vdids,
        "input_features": windows.features,
        "target_features": windows.targets,
        "interval_minutes": windows.interval_minutes,
    }


def _lengths(windows: WindowSet) -> dict[str, int]:
    return {
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
    }
