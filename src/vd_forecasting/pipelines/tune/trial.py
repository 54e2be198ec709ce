"""One trial: the models of an experiment, trained epoch by epoch together."""

import logging
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from vd_forecasting.artefacts import Experiment
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.models.device import find_device
from vd_forecasting.pipelines.training import loop
from vd_forecasting.pipelines.training.loop import ValidatedLearner, fit
from vd_forecasting.pipelines.training.train import describe_network, random_numbers, warm_up
from vd_forecasting.pipelines.tune.settings import Settings, with_settings
from vd_forecasting.pipelines.tune.study import Epoch, TrialFailed
from vd_forecasting.wording import one_line


def train_trial(experiment: Experiment, settings: Settings, number: int) -> Iterator[Epoch]:
    """Train all models of an experiment with other settings, each as if it were alone, from the
    first seed; they take turns after every epoch.

    Raises:
        TrialFailed: a network cannot be built, or a training diverges.
    """
    lowest: dict[str, float] = {}
    started = time.perf_counter()
    try:
        model, training = with_settings(experiment.model_parameters, experiment.training, settings)
        tried = replace(experiment, model_parameters=model, training=training)
        left = {name: train_model(tried, name, number) for name in experiment.windows.models}
        while left:
            started, seconds = time.perf_counter(), 0.0
            for name, epochs in [*left.items()]:
                learner = next(epochs)
                last = learner.epochs[-1]
                seconds += last["seconds"]
                lowest[name] = min(last["val"]["loss"], lowest.get(name, last["val"]["loss"]))
                if learner.is_finished:
                    del left[name]
            yield Epoch(statistics.fmean(lowest.values()), seconds, is_last=not left)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise TrialFailed(one_line(error), time.perf_counter() - started) from error


def train_model(experiment: Experiment, name: str, number: int) -> Iterator[ValidatedLearner]:
    """Train one model; yields its learner after every epoch, and draws random numbers of its own.

    A ValueError says why it cannot be trained, or where it diverged.
    """
    seed, vds = experiment.training.seeds[0], experiment.windows.models[name]
    label = f"{experiment.name} trial {number}"
    device = find_device(experiment.compute.accelerator)
    with random_numbers(seed, device):
        forecaster = build_forecaster(describe_network(experiment)).to(device)
        warm_up(forecaster, experiment, vds)
        learner = ValidatedLearner(forecaster, experiment, vds, seed)
        random = _random_state(device)
    epochs = fit(learner, label)
    while not learner.is_finished:
        try:
            with random_numbers(seed, device), _without_lines_of(loop.logger):
                _restore_random_state(random)
                next(epochs)
                random = _random_state(device)
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{label}: ")) from error
        if of := learner.diverged:
            raise ValueError(
                f"diverged in epoch {of['epoch']}: the {of['loss']} loss is not finite; "
                f"{of['cause']}"
            )
        yield learner


def _random_state(device: torch.device) -> list[torch.Tensor]:
    on_cuda = device.type == "cuda"
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if on_cuda else [])]


def _restore_random_state(state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    for of_device in state[1:]:
        torch.cuda.set_rng_state(of_device)


@contextmanager
def _without_lines_of(silent: logging.Logger) -> Iterator[None]:
    """Log nothing there from this thread: a study has a line for each trial."""
    thread = threading.get_ident()

    def is_of_another(record: logging.LogRecord) -> bool:
        return record.thread != thread

    silent.addFilter(is_of_another)
    try:
        yield
    finally:
        silent.removeFilter(is_of_another)
