"""Train the models of one experiment."""

import importlib.metadata
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import torch
import xarray as xr

from vd_forecasting.datasets import TrainingState
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import Checkpoint, build_forecaster
from vd_forecasting.models.device import find_device
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel
from vd_forecasting.pipelines.training.batches import (
    WindowBatches,
    models_of,
    target_names,
    target_positions,
)
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums
from vd_forecasting.pipelines.training.loop import Data, fit
from vd_forecasting.pipelines.training.resume import Weights, find_state, made_with, on_cpu
from vd_forecasting.pipelines.training.windows import CALENDAR, SPLITS, window_starts

logger = logging.getLogger(__name__)

NOTABLE_SECONDS = 2.0
VALIDATION_BATCH_SIZE = 512
"""Without gradients a batch can be larger than in training; the size does not change a result."""


def train_lstm(
    windows: xr.Dataset,
    model: LSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> tuple[Checkpoint, dict[str, Checkpoint], dict[str, Any], dict[str, Any]]:
    """Train the LSTMs of an experiment. See :func:`train`."""
    return train("lstm", windows, model, training, mape_min_truth, compute, training_state)


def train_xlstm(
    windows: xr.Dataset,
    model: XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> tuple[Checkpoint, dict[str, Checkpoint], dict[str, Any], dict[str, Any]]:
    """Train the xLSTMs of an experiment. See :func:`train`.

    Raises:
        ValueError: also if ``context_length`` is shorter than the window.
    """
    if model.context_length < windows.attrs["sequence_length"]:
        raise ValueError(
            f"context_length {model.context_length} is shorter than sequence_length "
            f"{windows.attrs['sequence_length']}; raise context_length to at least that"
        )
    return train("xlstm", windows, model, training, mape_min_truth, compute, training_state)


def train(
    model: str,
    windows: xr.Dataset,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> tuple[Checkpoint, dict[str, Checkpoint], dict[str, Any], dict[str, Any]]:
    """Train every model of an experiment, one after the other, once with every seed.

    Args:
        model: ``lstm`` or ``xlstm``.
        windows: the dataset of :func:`.windows.make_windows`.
        model_parameters: arguments of the core.
        training: seeds and settings of the loop.
        mape_min_truth: truths below this are left out of MAPE.
        compute: threads and device.
        training_state: where trainings keep their state as they go, and find that of a run that
            was killed; None keeps nothing.

    Returns:
        The checkpoint (:mod:`vd_forecasting.models.checkpoint`) of the seed with the lowest
        validation loss, the checkpoints of all seeds by seed, the configuration and, by seed, the
        histories; the last two ready for JSON.

    Raises:
        ValueError: there is nothing to train on, or a training diverged in its first epoch.
    """
    device = find_device(compute.accelerator)
    network = network_arguments(windows, next(iter(models_of(windows).values())))
    blocks = {
        "model": {"name": model, **model_parameters.model_dump(mode="json")},
        "training": training.model_dump(mode="json", exclude={"seeds"}),
        "evaluation": {"mape_min_truth": mape_min_truth},
    }
    checkpoints, histories = {}, {}
    for seed in training.seeds:
        weights: dict[str, Weights] = {}
        runs: dict[str, Any] = {}
        for name, vds in models_of(windows).items():
            title = label(windows, model, name, seed if len(training.seeds) > 1 else None)
            with torch_threads(compute.threads), random_numbers(seed, device):
                forecaster = build_forecaster(model, model_parameters.model_dump(), network)
                forecaster.to(device)
                made = made_with(blocks, windows, vds, device)
                state = find_state(training_state, f"{seed}-{name}", made, forecaster, title)
                if state is not None and "history" in state:
                    epochs = len(state["history"]["epochs"])
                    logger.info("%s: was trained before, %d epochs", title, epochs)
                    finished = state
                else:
                    warm_up(forecaster, windows, vds)
                    sums = partial(empty_sums, windows, vds, mape_min_truth, device)
                    data = make_data(windows, vds, training.batch_size, seed, sums)
                    for later in fit(forecaster, data, training, title, state):
                        if training_state is not None:
                            training_state.save(f"{seed}-{name}", {"made_with": made, **later})
                        finished = later
            weights[name], runs[name] = on_cpu(finished["weights"]), finished["history"]
        histories[str(seed)] = runs
        checkpoints[str(seed)] = make_checkpoint(
            windows, model, model_parameters, network, weights, seed
        )
    best = min(histories, key=lambda seed: validation_loss(histories[seed]))
    config = {
        **describe_experiment(windows, checkpoints[best]),
        "training": training.model_dump(mode="json"),
        "compute": compute.model_dump(mode="json"),
    }
    return checkpoints[best], checkpoints, config, histories


def make_data(
    windows: xr.Dataset,
    vds: slice,
    batch_size: int,
    seed: int,
    new_sums: Callable[[], ErrorSums],
) -> Data:
    """What the model of some VDs is trained on, shuffled by the seed."""
    shuffling = torch.Generator().manual_seed(seed)
    return Data(
        train=WindowBatches(windows, vds, "train", batch_size=batch_size, generator=shuffling),
        val=WindowBatches(windows, vds, "val", batch_size=VALIDATION_BATCH_SIZE),
        shuffling=shuffling,
        new_sums=new_sums,
    )


def warm_up(forecaster: Forecaster, windows: xr.Dataset, vds: slice) -> None:
    """Run one window forwards and backwards, so that what is compiled at its first use is ready.

    The kernels of the fused xLSTM take some seconds, once on every machine; they must not count
    as time of training. No random number is drawn that training would have drawn.
    """
    started = time.perf_counter()
    inputs, _ = next(iter(WindowBatches(windows, vds, "train", batch_size=1)))
    device = next(forecaster.parameters()).device
    inputs = inputs.to(device)
    with random_numbers(0, device):
        forecaster.train()(inputs).sum().backward()
        with torch.inference_mode():
            forecaster.eval()(inputs)
    forecaster.train().zero_grad()
    seconds = time.perf_counter() - started
    if seconds > NOTABLE_SECONDS:
        logger.info("Compiled the kernels of the network, once for this machine: %.0f s", seconds)


def validation_loss(histories: dict[str, Any]) -> float:
    """Mean over the models of their lowest validation loss."""
    return statistics.fmean(
        run["epochs"][run["best_epoch"] - 1]["val"]["loss"] for run in histories.values()
    )


def label(windows: xr.Dataset, model: str, name: str, seed: int | None) -> str:
    """What log lines call a model: its experiment and, if it is one of several, its VD and seed."""
    parts = [f"{windows.attrs['mode']}_{model}"]
    if name != "joint":
        parts.append(name)
    if seed is not None:
        parts.append(f"seed {seed}")
    return " ".join(parts)


def make_checkpoint(
    windows: xr.Dataset,
    model: str,
    model_parameters: LSTMModel | XLSTMModel,
    network: dict[str, Any],
    weights: dict[str, Weights],
    seed: int,
) -> Checkpoint:
    """Put together what :mod:`vd_forecasting.models.checkpoint` lists."""
    return {
        "model": model,
        "model_parameters": model_parameters.model_dump(mode="json"),
        "network": network,
        "weights": weights,
        "seed": seed,
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


def describe_experiment(windows: xr.Dataset, checkpoint: Checkpoint) -> dict[str, Any]:
    """What was trained on what: the checkpoint without its tensors, and where it comes from."""
    model, mode = checkpoint["model"], windows.attrs["mode"]
    one = build_forecaster(model, checkpoint["model_parameters"], checkpoint["network"])
    lengths = ("sequence_length", "prediction_length")
    left_out = ("sequence_length", "prediction_length", "weights", "scaler", "seed")
    packages = ("vd_forecasting", "torch", *(("xlstm",) if model == "xlstm" else ()))
    return {
        "experiment": f"{mode}_{model}",
        "mode": mode,
        "source": windows.attrs["source"],
        "best_seed": checkpoint["seed"],
        **{key: checkpoint[key] for key in checkpoint if key not in left_out},
        "windows": {key: checkpoint[key] for key in lengths},
        "units": {
            str(name): str(unit)
            for name, unit in zip(windows["feature"].values, windows["unit"].values, strict=True)
        },
        "num_parameters": sum(parameter.numel() for parameter in one.parameters()),
        "num_models": len(checkpoint["weights"]),
        "split": {name: describe_split(windows, name) for name in SPLITS},
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def empty_sums(
    windows: xr.Dataset, vds: slice, mape_min_truth: float, device: torch.device
) -> ErrorSums:
    """Error sums for the targets of some VDs, in physical units."""
    positions = target_positions(windows)
    return ErrorSums(
        std=torch.from_numpy(windows["std"].values[vds][:, positions]).to(device),
        mean=torch.from_numpy(windows["mean"].values[vds][:, positions]).to(device),
        features=target_names(windows),
        mape_min_truth=mape_min_truth,
    )


def network_arguments(windows: xr.Dataset, vds: slice) -> dict[str, Any]:
    """The arguments of :class:`~vd_forecasting.models.forecaster.Forecaster` but for its core."""
    features = windows.sizes["feature"]
    positions = target_positions(windows)
    num_vds = vds.stop - vds.start
    return {
        "num_channels": num_vds * features + len(CALENDAR),
        "num_vd_features": features,
        "target_channels": [n * features + f for n in range(num_vds) for f in positions],
        "target_shape": [num_vds, len(positions)],
        "sequence_length": int(windows.attrs["sequence_length"]),
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


@contextmanager
def random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from this seed, then continue to draw as if nothing had been drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
