"""Train the models of one experiment."""

import importlib.metadata
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
import xarray as xr

from vd_forecasting.models.checkpoint import Checkpoint, build_forecaster
from vd_forecasting.parameters import Compute, Evaluation, LSTMModel, Training, XLSTMModel
from vd_forecasting.pipelines.training.batches import (
    WindowBatches,
    models_of,
    target_names,
    target_positions,
)
from vd_forecasting.pipelines.training.windows import CALENDAR, SPLITS, window_starts

logger = logging.getLogger(__name__)

VALIDATION_BATCH_SIZE = 512
"""Without gradients a batch can be larger than in training; the size does not change a result."""


def train_lstm(
    windows: xr.Dataset,
    model: LSTMModel,
    training: Training,
    evaluation: Evaluation,
    compute: Compute,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Train the LSTMs of an experiment. See :func:`train`."""
    return train("lstm", windows, model, training, evaluation, compute)


def train_xlstm(
    windows: xr.Dataset,
    model: XLSTMModel,
    training: Training,
    evaluation: Evaluation,
    compute: Compute,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Train the xLSTMs of an experiment. See :func:`train`.

    Raises:
        ValueError: also if ``context_length`` is shorter than the window.
    """
    if model.context_length < windows.attrs["sequence_length"]:
        raise ValueError(
            f"context_length {model.context_length} is shorter than sequence_length "
            f"{windows.attrs['sequence_length']}; raise context_length to at least that"
        )
    return train("xlstm", windows, model, training, evaluation, compute)


def train(
    model: str,
    windows: xr.Dataset,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    evaluation: Evaluation,
    compute: Compute,
) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """Train every model of an experiment, one after the other, each from the same seed.

    Args:
        model: ``lstm`` or ``xlstm``.
        windows: the dataset of :func:`.windows.make_windows`.
        model_parameters: arguments of the core.
        training: settings of the loop.
        evaluation: what MAPE leaves out.
        compute: seed, threads and device.

    Returns:
        The checkpoint (:mod:`vd_forecasting.models.checkpoint`), the configuration and the history,
        both ready for JSON.
    """
    from vd_forecasting.pipelines.training.fit import (  # noqa: PLC0415
        ErrorSums,  # Lightning takes seconds to import, and only a training needs it
        fit,
    )

    experiment = f"{windows.attrs['mode']}_{model}"
    models = models_of(windows)
    network = network_arguments(windows, next(iter(models.values())))
    weights, history = {}, {}
    num_parameters = 0
    for name, vds in models.items():
        with torch_threads(compute.threads), torch.random.fork_rng():
            torch.manual_seed(compute.seed)
            forecaster = build_forecaster(model, model_parameters.model_dump(), network)
            num_parameters = sum(parameter.numel() for parameter in forecaster.parameters())
            train_batches = WindowBatches(
                windows,
                vds,
                "train",
                batch_size=training.batch_size,
                generator=torch.Generator().manual_seed(compute.seed),
            )
            if not len(train_batches):
                raise ValueError(
                    f"{experiment}: no window of the training split of {windows.attrs['source']} "
                    "has an observed target; choose other VDs"
                )
            label = experiment if name == "joint" else f"{experiment} {name}"
            logger.info(
                "%s: %d training windows, %d parameters, %d threads",
                label,
                len(train_batches.starts),
                num_parameters,
                torch.get_num_threads(),
            )
            positions = target_positions(windows)
            weights[name], history[name] = fit(
                forecaster,
                train_batches,
                WindowBatches(windows, vds, "val", batch_size=VALIDATION_BATCH_SIZE),
                training,
                ErrorSums(
                    std=torch.from_numpy(windows["std"].values[vds][:, positions]),
                    mean=torch.from_numpy(windows["mean"].values[vds][:, positions]),
                    features=target_names(windows),
                    mape_min_truth=evaluation.mape_min_truth,
                ),
                accelerator=compute.accelerator,
                label=label,
            )
        best = history[name]["best_epoch"]
        logger.info(
            "%s: best epoch %d of %d, %.0f s",
            label,
            best,
            len(history[name]["epochs"]),
            history[name]["seconds"],
        )
    checkpoint: Checkpoint = {
        "model": model,
        "model_parameters": model_parameters.model_dump(mode="json"),
        "network": network,
        "weights": weights,
        "scaler": {
            "mean": torch.from_numpy(windows["mean"].values),
            "std": torch.from_numpy(windows["std"].values),
        },
        "vdids": [str(vdid) for vdid in windows["vd"].values],
        "input_features": [str(name) for name in windows["feature"].values],
        "target_features": target_names(windows),
        "sequence_length": int(windows.attrs["sequence_length"]),
        "prediction_length": int(windows.attrs["prediction_length"]),
        "interval_minutes": float(windows.attrs["interval_minutes"]),
    }
    config = {
        "experiment": experiment,
        "mode": windows.attrs["mode"],
        "model": model,
        "source": windows.attrs["source"],
        "vdids": checkpoint["vdids"],
        "input_features": checkpoint["input_features"],
        "target_features": checkpoint["target_features"],
        "units": {
            str(name): str(unit)
            for name, unit in zip(windows["feature"].values, windows["unit"].values, strict=True)
        },
        "interval_minutes": checkpoint["interval_minutes"],
        "windows": {
            "sequence_length": checkpoint["sequence_length"],
            "prediction_length": checkpoint["prediction_length"],
        },
        "model_parameters": checkpoint["model_parameters"],
        "network": network,
        "training": training.model_dump(mode="json"),
        "compute": compute.model_dump(mode="json"),
        "num_parameters": num_parameters,
        "num_models": len(models),
        "split": {name: describe_split(windows, name) for name in SPLITS},
        "versions": {
            package: importlib.metadata.version(package)
            for package in ("vd_forecasting", "torch", *(("xlstm",) if model == "xlstm" else ()))
        },
    }
    return checkpoint, config, history


def network_arguments(windows: xr.Dataset, vds: slice) -> dict[str, Any]:
    """The arguments of :class:`~vd_forecasting.models.forecaster.Forecaster` but for its core."""
    features = windows.sizes["feature"]
    positions = target_positions(windows)
    num_vds = vds.stop - vds.start
    return {
        "num_channels": num_vds * features + len(CALENDAR),
        "target_channels": [n * features + f for n in range(num_vds) for f in positions],
        "target_shape": [num_vds, len(positions)],
        "prediction_length": int(windows.attrs["prediction_length"]),
    }


def describe_split(windows: xr.Dataset, split: str) -> dict[str, Any]:
    """First and last time stamp of a split and how many windows it holds."""
    starts = window_starts(windows, split)
    length = windows.attrs["sequence_length"] + windows.attrs["prediction_length"]
    time = windows["time"].values
    return {
        "start": pd.Timestamp(time[starts[0]]).isoformat(),
        "end": pd.Timestamp(time[starts[-1] + length - 1]).isoformat(),
        "windows": len(starts),
    }


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run torch on so many CPU threads; None takes one per core."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
