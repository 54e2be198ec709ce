"""Describe an experiment: the labels of its checkpoint and its configuration."""

from typing import Any

import pandas as pd
import torch

from vd_forecasting.artefacts import Config, Experiment, SplitSpan, WindowSet
from vd_forecasting.artefacts.records import WindowLengths
from vd_forecasting.models.checkpoint import FORMAT, Checkpoint, build_forecaster
from vd_forecasting.pipelines.training.resume import Weights
from vd_forecasting.provenance import PACKAGE, version_of
from vd_forecasting.vocabulary import SPLITS


def network_arguments(windows: WindowSet) -> dict[str, Any]:
    """The arguments of :class:`~vd_forecasting.models.forecaster.Forecaster` but for its core.

    The same for every model of an experiment.
    """
    vds = next(iter(windows.models.values()))
    num_vds, num_features = vds.stop - vds.start, len(windows.features)
    return {
        "num_channels": num_vds * num_features + windows.calendar.shape[1],
        "num_vd_features": num_features,
        "target_channels": [
            n * num_features + f for n in range(num_vds) for f in windows.target_positions
        ],
        "target_shape": [num_vds, len(windows.targets)],
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
    }


def make_checkpoint(experiment: Experiment, weights: dict[str, Weights], seed: int) -> Checkpoint:
    """Put together what :mod:`vd_forecasting.models.checkpoint` lists.

    Args:
        experiment: what was trained.
        weights: by name of the model.
        seed: the one they were trained from.
    """
    windows = experiment.windows
    return {
        "model": experiment.model,
        "model_parameters": experiment.model_parameters.model_dump(mode="json"),
        "network": network_arguments(windows),
        "weights": weights,
        "seed": seed,
        "scaler": {"mean": torch.from_numpy(windows.mean), "std": torch.from_numpy(windows.std)},
        "vdids": windows.vdids,
        "input_features": windows.features,
        "target_features": windows.targets,
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
        "interval_minutes": windows.interval_minutes,
        "format": FORMAT,
    }


def describe_experiment(experiment: Experiment, best_seed: int) -> Config:
    """The configuration of a trained experiment."""
    windows, model = experiment.windows, experiment.model
    model_parameters = experiment.model_parameters.model_dump(mode="json")
    network = network_arguments(windows)
    one = build_forecaster(model, model_parameters, network)
    packages = ("torch", "xlstm") if model == "xlstm" else ("torch",)
    return Config(
        experiment=experiment.name,
        mode=windows.mode,
        source=windows.source,
        best_seed=best_seed,
        model=model,
        model_parameters=model_parameters,
        network=network,
        vdids=tuple(windows.vdids),
        input_features=tuple(windows.features),
        target_features=tuple(windows.targets),
        interval_minutes=windows.interval_minutes,
        windows=WindowLengths(
            sequence_length=windows.sequence_length, prediction_length=windows.prediction_length
        ),
        units=windows.units,
        num_parameters=sum(parameter.numel() for parameter in one.parameters()),
        num_models=len(windows.models),
        split={name: describe_split(windows, name) for name in SPLITS},
        versions={package: version_of(package) for package in (PACKAGE, *packages)},
        training=experiment.training,
        compute=experiment.compute,
    )


def describe_split(windows: WindowSet, split: str) -> SplitSpan:
    """First and last time stamp of a split and how many windows it holds."""
    first, last = windows.starts(split)[0], windows.target_steps(split)[-1, -1]
    return SplitSpan(
        start=pd.Timestamp(windows.time[first]).isoformat(),
        end=pd.Timestamp(windows.time[last]).isoformat(),
        windows=len(windows.starts(split)),
    )
