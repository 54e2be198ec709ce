"""Train the models of one experiment."""

import importlib.metadata
import logging
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import TrainingState
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import Checkpoint, build_forecaster
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums
from vd_forecasting.pipelines.training.resume import (
    Keeper,
    State,
    check_state,
    made_with,
    on_cpu,
)
from vd_forecasting.pipelines.training.windows import CALENDAR
from vd_forecasting.vocabulary import SPLITS

logger = logging.getLogger(__name__)

NOTABLE_SECONDS = 2.0
VALIDATION_BATCH_SIZE = 512
"""Without gradients a batch can be larger than in training; the size does not change a result."""


def train_lstm(
    windows: WindowSet,
    model: LSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> tuple[Checkpoint, dict[str, Checkpoint], dict[str, Any], dict[str, Any]]:
    """Train the LSTMs of an experiment. See :func:`train`."""
    return train("lstm", windows, model, training, mape_min_truth, compute, training_state)


def train_xlstm(
    windows: WindowSet,
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
    if model.context_length < windows.sequence_length:
        raise ValueError(
            f"context_length {model.context_length} is shorter than sequence_length "
            f"{windows.sequence_length}; raise context_length to at least that"
        )
    return train("xlstm", windows, model, training, mape_min_truth, compute, training_state)


def train(
    model: str,
    windows: WindowSet,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> tuple[Checkpoint, dict[str, Checkpoint], dict[str, Any], dict[str, Any]]:
    """Train every model of an experiment, one after the other, once with every seed.

    Args:
        model: ``lstm`` or ``xlstm``.
        windows: scaled and split series.
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
    network = network_arguments(windows, next(iter(windows.models.values())))
    checkpoints, histories = {}, {}
    for seed in training.seeds:
        weights, histories[str(seed)] = train_with_seed(
            seed,
            model,
            network,
            windows,
            model_parameters,
            training,
            mape_min_truth,
            compute,
            training_state,
        )
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


def train_with_seed(
    seed: int,
    model: str,
    network: dict[str, Any],
    windows: WindowSet,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None,
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Train every model of an experiment, each from the same seed.

    Returns:
        Weights and history of each model, by name.
    """
    weights, histories = {}, {}
    for name, vds in windows.models.items():
        of_seed = seed if len(training.seeds) > 1 else None
        with torch_threads(compute.threads):
            keeper = Keeper(
                training_state,
                f"{seed}-{name}",
                made_with(windows, vds, model, model_parameters, training, mape_min_truth, compute),
                label(windows, model, name, of_seed),
            )
            weights[name], histories[name] = train_one(
                seed, model, network, windows, vds, model_parameters, training, mape_min_truth,
                compute, keeper,
            )  # fmt: skip
    return weights, histories


def train_one(
    seed: int,
    model: str,
    network: dict[str, Any],
    windows: WindowSet,
    vds: slice,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    keeper: Keeper,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train one model, or what is left to train of it.

    Returns:
        Its weights and its history.
    """
    # Lightning takes seconds to import, and only a training needs it.
    from vd_forecasting.pipelines.training.fit import fit  # noqa: PLC0415

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        forecaster = build_forecaster(model, model_parameters.model_dump(), network)
        state = usable(keeper, forecaster)
        if state is not None and "history" in state:
            history = state["history"]
            epochs = len(history["epochs"])
            logger.info("%s: was trained before, %d epochs", keeper.label, epochs)
            return on_cpu(state["weights"]), history
        warm_up(forecaster, windows, vds)
        weights, history = fit(
            forecaster,
            WindowBatches(
                windows,
                vds,
                "train",
                batch_size=training.batch_size,
                generator=torch.Generator().manual_seed(seed),
            ),
            WindowBatches(windows, vds, "val", batch_size=VALIDATION_BATCH_SIZE),
            training,
            empty_sums(windows, vds, mape_min_truth),
            accelerator=compute.accelerator,
            label=keeper.label,
            state=state,
            keep=keeper.keep,
        )
        keeper.keep({"weights": weights, "history": history})
    return weights, history


def usable(keeper: Keeper, forecaster: Forecaster) -> State | None:
    """The state that was kept, if this network can use it."""
    state = keeper.find()
    if state is None:
        return None
    try:
        check_state(state, forecaster)
    except ValueError as error:
        keeper.refuse(str(error))
        return None
    return state


def warm_up(forecaster: Forecaster, windows: WindowSet, vds: slice) -> None:
    """Run one window forwards and backwards, so that what is compiled at its first use is ready.

    The kernels of the fused xLSTM take some seconds, once on every machine; they shall not count as
    time of training. No random number is drawn that training would have drawn.
    """
    started = time.perf_counter()
    inputs, _ = next(iter(WindowBatches(windows, vds, "train", batch_size=1)))
    with torch.random.fork_rng():
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


def label(windows: WindowSet, model: str, name: str, seed: int | None) -> str:
    """What log lines call a model: its experiment and, if it is one of several, its VD and seed."""
    parts = [f"{windows.mode}_{model}"]
    if name != "joint":
        parts.append(name)
    if seed is not None:
        parts.append(f"seed {seed}")
    return " ".join(parts)


def make_checkpoint(
    windows: WindowSet,
    model: str,
    model_parameters: LSTMModel | XLSTMModel,
    network: dict[str, Any],
    weights: dict[str, dict[str, torch.Tensor]],
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
            "mean": torch.from_numpy(windows.mean),
            "std": torch.from_numpy(windows.std),
        },
        "vdids": windows.vdids,
        "input_features": windows.features,
        "target_features": windows.targets,
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
        "interval_minutes": windows.interval_minutes,
    }


def describe_experiment(windows: WindowSet, checkpoint: Checkpoint) -> dict[str, Any]:
    """What was trained on what: the checkpoint without its tensors, and where it comes from."""
    model, mode = checkpoint["model"], windows.mode
    one = build_forecaster(model, checkpoint["model_parameters"], checkpoint["network"])
    lengths = ("sequence_length", "prediction_length")
    left_out = ("sequence_length", "prediction_length", "weights", "scaler", "seed")
    packages = ("vd_forecasting", "torch", *(("xlstm",) if model == "xlstm" else ()))
    return {
        "experiment": f"{mode}_{model}",
        "mode": mode,
        "source": windows.source,
        "best_seed": checkpoint["seed"],
        **{key: checkpoint[key] for key in checkpoint if key not in left_out},
        "windows": {key: checkpoint[key] for key in lengths},
        "units": windows.units,
        "num_parameters": sum(parameter.numel() for parameter in one.parameters()),
        "num_models": len(checkpoint["weights"]),
        "split": {name: describe_split(windows, name) for name in SPLITS},
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def empty_sums(windows: WindowSet, vds: slice, mape_min_truth: float) -> ErrorSums:
    """Error sums for the targets of some VDs, in physical units."""
    positions = windows.target_positions
    return ErrorSums(
        std=torch.from_numpy(windows.std[vds][:, positions]),
        mean=torch.from_numpy(windows.mean[vds][:, positions]),
        features=windows.targets,
        mape_min_truth=mape_min_truth,
    )


def network_arguments(windows: WindowSet, vds: slice) -> dict[str, Any]:
    """The arguments of :class:`~vd_forecasting.models.forecaster.Forecaster` but for its core."""
    features = len(windows.features)
    positions = windows.target_positions
    num_vds = vds.stop - vds.start
    return {
        "num_channels": num_vds * features + len(CALENDAR),
        "num_vd_features": features,
        "target_channels": [n * features + f for n in range(num_vds) for f in positions],
        "target_shape": [num_vds, len(positions)],
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
    }


def describe_split(windows: WindowSet, split: str) -> dict[str, Any]:
    """First and last time stamp of a split and how many windows it holds."""
    starts = windows.starts(split)
    length = windows.sequence_length + windows.prediction_length
    time = windows.time
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
