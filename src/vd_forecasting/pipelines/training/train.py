"""Train the models of one experiment, and describe what was trained."""

import logging
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch

from vd_forecasting.artefacts import Config, Experiment, History, WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.artefacts.records import SplitSpan, WindowLengths, key_of
from vd_forecasting.datasets import TrainingState, chunks
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import FORMAT, build_forecaster
from vd_forecasting.models.device import find_device
from vd_forecasting.parameters import XLSTMModel
from vd_forecasting.pipelines.training import captured, together
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.loop import (
    Learner,
    ValidatedLearner,
    begin_validated,
    fit,
    fit_at,
)
from vd_forecasting.pipelines.training.memory import keep_freed_memory
from vd_forecasting.pipelines.training.resume import State, Weights, find_state, made_with, on_cpu
from vd_forecasting.pipelines.training.train_nodes import Trained, state_name
from vd_forecasting.provenance import PACKAGE, version_of
from vd_forecasting.running import kernels_ahead
from vd_forecasting.running.estimate import time_left
from vd_forecasting.vocabulary import SPLITS
from vd_forecasting.wording import one_line, plural

logger = logging.getLogger(__name__)

NOTABLE_SECONDS = 2.0

Model = tuple[int, str]
"""The seed and the name of one."""


def train(
    experiment: Experiment, blocks: WindowBlocks, training_state: TrainingState | None = None
) -> Trained:
    """Train every model of an experiment, one after the other, for every test block and seed.

    Trainings keep their state as they proceed, and continue from that of a run that was killed. It
    is a ValueError if there is nothing to train on or a training diverges in its first epoch; in a
    test block before the last, that block has no models and the configuration says why.

    Returns:
        The checkpoint (:mod:`vd_forecasting.models.checkpoint`) of the last block and the seed with
        its lowest validation loss, all checkpoints by :func:`~.records.key_of`, the configuration
        and the history.
    """
    checkpoints: dict[str, Checkpoint] = {}
    histories: dict[str, Any] = {}
    failed, seconds = dict(blocks.failed), list[float]()
    total = len(experiment.training.seeds) * sum(len(of.models) for of in blocks.blocks.values())
    for number, windows in blocks.blocks.items():
        is_last = number == blocks.count
        of_block = replace(experiment, windows=windows, block=blocks.label(number))
        try:
            of_seeds = [*train_seeds(of_block, training_state, seconds, total)]
        except ValueError as error:
            if is_last:
                raise
            failed[number] = one_line(error)
            logger.warning("%s: test block %d: %s", experiment.name, number, failed[number])
            continue
        for seed, of_seed in zip(experiment.training.seeds, of_seeds, strict=True):
            key = key_of(seed, None if is_last else number)
            checkpoints[key], histories[key] = of_seed
    history = History.model_validate(histories)
    losses = {
        seed: statistics.fmean(fit.best.val.loss for fit in fits.values())
        for seed, fits in history.seeds.items()
    }
    best = min(losses, key=losses.__getitem__)
    config = describe_experiment(experiment, int(best), blocks, failed)
    return checkpoints[best], checkpoints, config, history


def train_seeds(
    experiment: Experiment, training_state: TrainingState | None, seconds: list[float], total: int
) -> Iterator[tuple[Checkpoint, dict[str, Any]]]:
    """Train the models of one test block once with every seed: checkpoint and records of the fits.

    ``seconds`` gets the time of each training of the ``total`` in all blocks.
    """
    models = [
        (seed, name) for seed in experiment.training.seeds for name in experiment.windows.models
    ]
    train_together(experiment, models, training_state)
    for seed in experiment.training.seeds:
        held, records = dict[str, Weights](), dict[str, Any]()
        names = [*experiment.windows.models]
        # Memory may not hold them all.
        are_kept = training_state is not None and len(names) > chunks.MODELS_PER_FILE
        for name in names:
            started = time.perf_counter()
            of_model, records[name] = train_model(experiment, name, seed, training_state)
            if not are_kept:
                held[name] = of_model
            elapsed = time.perf_counter() - started  # more than the fit where kernels are compiled
            seconds.append(min(elapsed, records[name]["seconds"]))
            if line := time_left(seconds, total):
                logger.info("%s: %s", experiment.name, line)
        load = partial(_kept_weights, experiment, seed, training_state)
        weights = chunks.OnDemand(names, load) if are_kept else held
        yield make_checkpoint(experiment, weights, seed), records


def _kept_weights(
    experiment: Experiment, seed: int, training_state: TrainingState | None, name: str
) -> Weights:
    """The weights of a model that was trained, from its state."""
    kept = state_name(experiment.windows, seed, name, experiment.block)
    state = None if training_state is None else training_state.load(kept)
    if state is None:
        raise ValueError(f"{experiment.label(name, seed)}: its state is gone; run it again")
    return on_cpu(state["weights"])


def train_model(
    experiment: Experiment, name: str, seed: int, training_state: TrainingState | None
) -> tuple[Weights, dict[str, Any]]:
    """Train one model, or what is left to train of it: its weights and the record of its fit.

    The seed is that of weights, dropout and shuffling. A refit follows the rates of the experiment.
    """
    vds = experiment.windows.models[name]
    device, label = find_device(experiment.compute.accelerator), experiment.label(name, seed)
    keep_freed_memory()
    with torch_threads(experiment.compute.threads), random_numbers(seed, device):
        forecaster = build_forecaster(describe_network(experiment)).to(device)
        made = made_with(experiment, name, device)
        kept = state_name(experiment.windows, seed, name, experiment.block)
        state = find_state(training_state, kept, made, forecaster, label)
        if state is not None and "history" in state:
            epochs = len(state["history"]["epochs"])
            logger.info("%s: was trained before, %s", label, plural(epochs, "epoch"))
            return on_cpu(state["weights"]), state["history"]
        warm_up(forecaster, experiment, vds)
        if experiment.rates is None:
            states = fit(ValidatedLearner(forecaster, experiment, vds, seed), label, state)
        else:
            learner = Learner(forecaster, experiment, vds, seed)
            states = fit_at(learner, label, experiment.rates[name], state)
        for later in states:
            if training_state is not None:
                training_state.save(kept, {"made_with": made, **later})
            state = later
    assert state is not None
    return on_cpu(state["weights"]), state["history"]


def train_together(
    experiment: Experiment, models: Sequence[Model], training_state: TrainingState | None
) -> None:
    """Train several models at once where that is faster, and leave them in their states.

    There :func:`train_model` finds them, which trains the others: on a CPU all of them, and any
    that cannot be trained, for it raises the error.
    """
    device = find_device(experiment.compute.accelerator)
    is_faster = captured.is_asynchronous(device) and not experiment.windows.one_by_one
    if training_state is None or experiment.rates is not None or not is_faster:
        return
    with torch_threads(experiment.compute.threads):
        for first in range(0, len(models), together.MOST):
            some = models[first : first + together.MOST]
            with random_numbers(some[0][0], device):
                begun = [
                    training
                    for model in some
                    if (training := begin_model(experiment, *model, training_state, device))
                ]
                if len(begun) > 1:
                    logger.info("%s: trains %d models at once", experiment.name, len(begun))
                    together.fit_together(begun)


def begin_model(
    experiment: Experiment,
    seed: int,
    name: str,
    training_state: TrainingState,
    device: torch.device,
) -> together.Training | None:
    """The training of a model, as far as a state has it; None if it is finished, or cannot be."""
    label, vds = experiment.label(name, seed), experiment.windows.models[name]
    with random_numbers(seed, device):
        forecaster = build_forecaster(describe_network(experiment)).to(device)
    made = made_with(experiment, name, device)
    kept = state_name(experiment.windows, seed, name, experiment.block)
    state = find_state(training_state, kept, made, forecaster, label)
    if forecaster.waits or (state is not None and "history" in state):
        return None
    learner = ValidatedLearner(forecaster, experiment, vds, seed)
    try:
        begin_validated(learner, label, state)
    except ValueError:
        return None

    def keep(later: State) -> None:
        training_state.save(kept, {"made_with": made, **later})

    return None if learner.is_finished else together.Training(learner, label, keep)


def warm_up(forecaster: Forecaster, experiment: Experiment, vds: slice) -> None:
    """Run one window forwards and backwards, so that what is compiled at its first use is ready.

    The kernels of the fused xLSTM take some seconds, once on every machine, unless they have been
    compiled ahead; they must not count as time of training. No random number is drawn that training
    would have drawn.
    """
    started, device = time.perf_counter(), next(forecaster.parameters()).device
    model, is_compiled = experiment.model_parameters, False
    if isinstance(model, XLSTMModel) and model.is_fused and device.type == "cpu":
        is_compiled = True
        kernels_ahead.wait(model.embedding_dim)
    inputs, _ = WindowBatches(experiment.windows, vds, "train", batch_size=1).at(slice(0, 1))
    inputs = inputs.to(device)
    with random_numbers(0, inputs.device):
        forecaster.train()(inputs).sum().backward()
        with torch.inference_mode():
            forecaster.eval()(inputs)
    forecaster.train().zero_grad()
    seconds = time.perf_counter() - started
    if is_compiled and seconds > NOTABLE_SECONDS:
        logger.info(
            "The kernels of the network are compiled, once for this machine: %.0f s", seconds
        )


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run torch on so many CPU threads; None takes one per core."""
    before, number = torch.get_num_threads(), threads or os.cpu_count() or 1
    if number > 1:
        kernels_ahead.make_way()
    torch.set_num_threads(number)
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


def describe_network(experiment: Experiment) -> dict[str, Any]:
    """What checkpoint and configuration both say of the network, its inputs and its outputs.

    Its ``network`` are the fields of :class:`~vd_forecasting.models.Network`, the same for all
    models of an experiment.
    """
    windows = experiment.windows
    vds = windows.parts(next(iter(windows.models)))[0]
    num_vds, num_features = vds.stop - vds.start, len(windows.features)
    num_shared = windows.calendar.shape[1] + windows.static.shape[1]
    targets = [n * num_features + f for n in range(num_vds) for f in windows.target_positions]
    return {
        "model": experiment.model,
        "model_parameters": experiment.model_parameters.model_dump(mode="json"),
        "network": {
            "num_channels": num_vds * num_features + num_shared,
            "num_vd_features": num_features,
            "target_channels": targets,
            "target_shape": [num_vds, len(windows.targets)],
            **windows.lengths,
            "known_vds": len(windows.vdids) if windows.one_by_one else 0,
        },
        "vdids": windows.vdids,
        "input_features": windows.features,
        "target_features": windows.targets,
        "interval_minutes": windows.interval_minutes,
    }


def make_checkpoint(
    experiment: Experiment, weights: Mapping[str, Weights], seed: int
) -> Checkpoint:
    """Put together what :mod:`vd_forecasting.models.checkpoint` lists."""
    windows = experiment.windows
    return {
        **describe_network(experiment),
        "weights": weights,
        "seed": seed,
        "scaler": {name: torch.from_numpy(of_vds) for name, of_vds in windows.scaler.items()},
        "range": {name: torch.from_numpy(of_vds) for name, of_vds in windows.range.items()},
        "static": {name: torch.from_numpy(of) for name, of in windows.static_values.items()},
        **windows.lengths,
        "units": windows.units,
        "holidays": windows.holidays,
        "cleaning": windows.cleaning,
        "utc_offset": windows.utc_offset,
        "format": FORMAT,
    }


def describe_experiment(
    experiment: Experiment, best_seed: int, blocks: WindowBlocks, failed: dict[int, str]
) -> Config:
    """The configuration of a trained experiment."""
    windows, described = experiment.windows, describe_network(experiment)
    packages = (PACKAGE, "torch", *(["xlstm"] if experiment.model == "xlstm" else []))
    return Config(
        **described,
        experiment=experiment.name,
        mode=windows.mode,
        source=windows.source,
        best_seed=best_seed,
        windows=WindowLengths(**windows.lengths),
        units=windows.units,
        holidays=windows.holidays,
        num_parameters=sum(p.numel() for p in build_forecaster(described).parameters()),
        num_models=len(windows.models),
        split=describe_split(windows),
        earlier={number: describe_split(of_block) for number, of_block in blocks.earlier.items()},
        failed=failed,
        versions={package: version_of(package) for package in packages},
        training=experiment.training,
        compute=experiment.compute,
    )


def describe_split(windows: WindowSet) -> dict[str, SplitSpan]:
    """The spans of the three splits of a test block."""
    split = {}
    for name in SPLITS:
        starts = windows.starts(name)
        ends = windows.time[[starts[0], windows.target_steps(windows.origins(name))[-1, -1]]]
        start, end = (pd.Timestamp(time).isoformat() for time in ends)
        split[name] = SplitSpan(start=start, end=end, windows=len(starts))
    return split
