"""Time of a forecast and memory of a training step, measured on the trained model."""

import statistics
import timeit
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import build_forecaster, load_forecasters
from vd_forecasting.parameters import Training
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.epoch_errors import masked_mae
from vd_forecasting.pipelines.training.train import torch_threads

REPETITIONS = {1: 15, 256: 5}
"""How often a forecast is timed, by the number of windows in it."""


def cost_of(best_model: Checkpoint, windows: WindowSet, training: Training) -> dict[str, Any]:
    """The :class:`~vd_forecasting.artefacts.Cost` of the first model, ready for JSON."""
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        name = next(iter(best_model["weights"]))
        forecaster = load_forecasters(best_model, [name])[name]
        vds = windows.models[name]
        latency = {}
        for size, repetitions in REPETITIONS.items():
            inputs, _ = next(iter(WindowBatches(windows, vds, "test", size)))
            # The test split may have fewer windows.
            inputs = inputs.repeat(-(-size // len(inputs)), 1, 1)[:size]
            with torch.inference_mode():
                forecaster(inputs)  # to warm up
                times = timeit.repeat(partial(forecaster, inputs), number=1, repeat=repetitions)
            latency[str(size)] = statistics.median(times)
        batch = next(iter(WindowBatches(windows, vds, "train", training.batch_size)))
        step = training_step_bytes(build_forecaster(best_model), *batch)
    return {"latency_seconds": latency, "training_step_bytes": step}


def training_step_bytes(forecaster: Forecaster, inputs: Tensor, targets: Tensor) -> int:
    """Bytes of weights, gradients, optimiser state, the average of weights and what is kept for
    the gradient in one training step with inputs ``[B, S, C]`` and targets ``[B, H, N, F]``.

    Buffers that live within an operation are not counted.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in forecaster.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:  # views of one storage count once
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        masked_mae(forecaster.train()(inputs), targets)
    size = sum(p.numel() * p.element_size() for p in forecaster.parameters())
    copies = 5  # weights, gradients, the average, and two numbers that AdamW keeps for every weight
    return copies * size + sum(kept.values())
