"""The training loop: one model, epoch by epoch, until validation stops improving; or, without
validation, for given epochs."""

import copy
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import parent_process
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vd_forecasting.artefacts import Divergence, Experiment
from vd_forecasting.models import Forecaster
from vd_forecasting.parameters import Training
from vd_forecasting.pipelines.training import captured
from vd_forecasting.pipelines.training.batches import Pass, WindowBatches, without_target
from vd_forecasting.pipelines.training.epoch_errors import (
    ErrorSums,
    Scaling,
    masked_mae,
    scaling_of,
)
from vd_forecasting.pipelines.training.resume import State, Weights, on_cpu
from vd_forecasting.running.stop import end_if_stopped
from vd_forecasting.wording import plural

logger = logging.getLogger(__name__)

AVERAGING_DECAY = 0.999
"""How much of the running average of the weights is kept at every step, after a warm-up."""

VALIDATION_BATCH_SIZE = 512
"""Without gradients a batch can be larger than in training; the size does not change a result."""

FAR_OUT = 1000.0
"""An input so many standard deviations from the training mean is no traffic."""


class Learner:
    """A network in training: all that changes from step to step and from epoch to epoch.

    The network sees and forecasts the detectors ``vds``. It is trained in place, on the device
    where it is. The seed shuffles the training windows.
    """

    def __init__(
        self, forecaster: Forecaster, experiment: Experiment, vds: slice, seed: int
    ) -> None:
        windows, training = experiment.windows, experiment.training
        self.training = training
        self.forecaster = forecaster.train()
        self.device = next(forecaster.parameters()).device
        self.shuffling = torch.Generator().manual_seed(seed)
        batches = WindowBatches(
            windows, vds, "train", training.batch_size, self.shuffling, self.device
        )
        self.train = batches.at_most(training.windows_per_epoch)
        scaling = Scaling(*(of.to(self.device) for of in scaling_of(windows, vds)))
        self.sums = ErrorSums(scaling, windows.targets, experiment.mape_min_truth)
        # A few days of validation data judge single steps by luck. The average over many steps
        # (Polyak and Juditsky 1992) is judged, kept and used instead.
        self.average = copy.deepcopy(forecaster).eval().requires_grad_(False)
        self.average.to(self.device)  # cuDNN wants the weights of an LSTM in one piece again
        self.parameters = [*forecaster.parameters()]
        self.weights, self.averages = (
            [weight.detach() for weight in of]
            for of in (self.parameters, self.average.parameters())
        )
        self.is_asynchronous = captured.is_asynchronous(self.device)
        self.is_recorded = self.is_asynchronous and not forecaster.waits
        self.optimizer = make_optimizer(forecaster, training, self.is_recorded)
        self.steps = 0
        self.epochs: list[dict[str, Any]] = []
        self.begun = time.perf_counter()

    @property
    def learning_rate(self) -> float:
        rate = self.optimizer.param_groups[0]["lr"]
        # In single precision, where a graph reads it, it is the shortest number that rounds to it.
        return float(str(rate.cpu().numpy())) if isinstance(rate, Tensor) else float(rate)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def changing(self) -> list[Tensor]:
        """What a step changes, but for random numbers and sums; moments appear with the first."""
        moments = [of for of_weight in self.optimizer.state.values() for of in of_weight.values()]
        return [*self.weights, *self.averages, *moments]

    @property
    def seconds(self) -> float:
        """Duration of this training, also before it was killed."""
        return time.perf_counter() - self.begun

    @property
    def averaged(self) -> Weights:
        """A copy of the averaged weights as they are now."""
        average = on_cpu(self.average.state_dict())
        return {name: value.clone() for name, value in average.items()}

    def end_if_diverged(self, loss: str, batches: WindowBatches, drawn: Pass, seen: int) -> None:
        """Raise a :class:`Diverged` if a batch of this pass made the loss one that is not finite.

        The loss is that of ``training`` or ``validation``, of which so many batches were ``seen``.
        """
        step = self.sums.first_not_finite(seen)
        if step is None:
            return
        inputs, _ = batches.at(drawn.rows(step - 1))
        before = self.steps - (seen - step + 1 if loss == "training" else 0)
        values = inputs[:, :, : self.forecaster.num_values]
        cause = likely_cause(values, self.training.learning_rate, before)
        record = Divergence(loss=loss, epoch=len(self.epochs) + 1, step=step, cause=cause)
        raise Diverged(record, len(drawn))

    def state(self) -> State:
        """All that the next epoch depends on; its tensors change with the next step."""
        moments = self.optimizer.state_dict()["state"]
        random = {"cpu": torch.get_rng_state(), "shuffling": self.shuffling.get_state()}
        if self.device.type != "cpu":
            random[self.device.type] = getattr(torch, self.device.type).get_rng_state()
        return {
            "weights": on_cpu(self.forecaster.state_dict()),
            "average": on_cpu(self.average.state_dict()),
            "moments": {index: on_cpu(of_weight) for index, of_weight in moments.items()},
            "random": random,
            "steps": self.steps,
            "epochs": self.epochs,
            "seconds": self.seconds,
        }

    def restore(self, state: State) -> None:
        """Continue where a state was taken."""
        self.forecaster.load_state_dict(state["weights"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["moments"]})
        self.steps, self.epochs = state["steps"], state["epochs"]
        self.begun -= state["seconds"]
        torch.set_rng_state(state["random"]["cpu"])
        self.shuffling.set_state(state["random"]["shuffling"])
        if self.device.type != "cpu":
            getattr(torch, self.device.type).set_rng_state(state["random"][self.device.type])


class ValidatedLearner(Learner):
    """One that the validation split judges after every epoch.

    Early stopping and the best epoch follow from its errors.
    """

    def __init__(
        self, forecaster: Forecaster, experiment: Experiment, vds: slice, seed: int
    ) -> None:
        super().__init__(forecaster, experiment, vds, seed)
        batches = self.train.in_order(experiment.windows, "val", VALIDATION_BATCH_SIZE)
        self.val = batches.at_most(self.training.windows_per_epoch)
        self.decays_in = self.training.decays_in(len(self.train))
        self.best_weights: Weights = {}
        self.diverged: dict[str, Any] | None = None

    @property
    def best_epoch(self) -> int:
        """Counted from 1, the first of equals; 0 before the first."""
        losses = [epoch["val"]["loss"] for epoch in self.epochs]
        return 1 + losses.index(min(losses)) if losses else 0

    @property
    def stalled(self) -> bool:
        """True after ``patience`` epochs without improvement."""
        return len(self.epochs) - self.best_epoch >= self.training.patience

    @property
    def last_epoch(self) -> int:
        """The one that training ends with if validation does not end it before."""
        return min(self.training.epochs, self.decays_in)

    @property
    def is_finished(self) -> bool:
        """True if there is no epoch left to train."""
        over = len(self.epochs) >= self.last_epoch or self.stalled
        return over or self.diverged is not None

    def end_epoch(
        self, label: str, train: dict[str, Any], val: dict[str, Any], seconds: float
    ) -> str:
        """Note the errors of an epoch that took so long, and what follows from them: the line to
        log once that is kept."""
        number, rate = len(self.epochs) + 1, self.learning_rate
        self.epochs.append(
            {"epoch": number, "seconds": seconds, "learning_rate": rate, "train": train, "val": val}
        )
        self.set_rate()
        is_best = self.best_epoch == number
        if is_best:
            self.best_weights = self.averaged
        line = f"{label}: epoch {number}/{self.last_epoch}  train loss {train['loss']:.4f}"
        line += f"  val loss {val['loss']:.4f}" + (" (best)" if is_best else "")
        return f"{line}  {seconds:.1f} s"

    def give_up(self, label: str, error: "Diverged") -> None:
        """End a training that diverged; a ValueError if no epoch came before."""
        if not self.epochs:
            raise ValueError(f"{label}: {error}") from error
        logger.warning("%s: %s; kept the best epoch before, %d", label, error, self.best_epoch)
        self.diverged = error.record.model_dump()

    def result(self, label: str) -> State:
        """The finished training, as :func:`fit` yields it last."""
        seconds = self.seconds
        line = "%s: best epoch %d of %d, %.0f s"
        logger.info(line, label, self.best_epoch, len(self.epochs), seconds)
        history = {
            "best_epoch": self.best_epoch,
            "stopped_early": self.stalled or self.diverged is not None,
            "decayed": len(self.epochs) == self.decays_in,
            "diverged": self.diverged,
            "seconds": seconds,
            "epochs": self.epochs,
        }
        return {"weights": self.best_weights, "history": history}

    def state(self) -> State:
        return {**super().state(), "best": self.best_weights}

    def restore(self, state: State) -> None:
        super().restore(state)
        self.best_weights = on_cpu(state["best"])
        self.set_rate()

    def set_rate(self) -> None:
        """Make the learning rate that of the next epoch."""
        if not self.is_finished:
            self.learning_rate = self.training.rate_of(len(self.epochs) + 1, self.decays_in)


def fit(learner: ValidatedLearner, label: str, state: State | None = None) -> Iterator[State]:
    """Train until validation stops improving, from the start or from a state.

    A state is the last one of the same training, accepted by :func:`.resume.check_state`; the label
    begins every log line. It is a ValueError if there is nothing to train on or to validate with,
    or the loss is not finite before the first epoch has ended.

    Yields:
        After every epoch the state to resume from, :meth:`Learner.state`. Last the finished
        training: ``weights``, the averaged ones of the epoch with the lowest validation loss, and
        ``history``: ``best_epoch`` (counted from 1), ``stopped_early``, ``decayed`` (whether the
        learning rate had fallen to zero), ``diverged`` (None, or where and why a loss that is not
        finite ended the training), ``seconds`` and ``epochs``.
    """
    begin_validated(learner, label, state)
    step = stepper(learner)
    while not learner.is_finished:
        started = time.perf_counter()
        text = f"{label}: epoch {len(learner.epochs) + 1}/{learner.last_epoch}"
        try:
            train = train_epoch(learner, step, text)
            val = validate(learner)
        except Diverged as error:
            learner.give_up(label, error)
        else:
            line = learner.end_epoch(label, train, val, time.perf_counter() - started)
            yield learner.state()
            logger.info("%s", line)
    yield learner.result(label)


def fit_at(
    learner: Learner, label: str, rates: Sequence[float], state: State | None = None
) -> Iterator[State]:
    """Train for an epoch at each of these learning rates, without validation.

    Other arguments are as of :func:`fit`. It is a ValueError if there is nothing to train on, or a
    loss or a weight at the end is not finite.

    Yields:
        After every epoch the state to resume from. Last the finished training: ``weights``, the
        averaged ones of the last epoch, and ``history``: ``seconds`` and ``epochs``.
    """
    begin(learner, label, state)
    step = stepper(learner)
    for number, rate in enumerate(rates[len(learner.epochs) :], len(learner.epochs) + 1):
        started, learner.learning_rate = time.perf_counter(), rate
        text = f"{label}: epoch {number}/{len(rates)}"
        try:
            train = train_epoch(learner, step, text)
        except Diverged as error:
            raise ValueError(f"{label}: {error}") from error
        seconds = time.perf_counter() - started
        learner.epochs.append(
            {"epoch": number, "seconds": seconds, "learning_rate": rate, "train": train}
        )
        yield learner.state()
        logger.info("%s  train loss %.4f  %.1f s", text, train["loss"], seconds)
    weights = learner.averaged
    if not all(values.isfinite().all() for values in weights.values()):  # of the very last step
        raise ValueError(f"{label}: diverged at its end: a weight is not finite")
    history = {"seconds": learner.seconds, "epochs": learner.epochs}
    yield {"weights": weights, "history": history}


def begin_validated(learner: ValidatedLearner, label: str, state: State | None) -> None:
    """:func:`begin`; also a ValueError if there is nothing to validate with."""
    begin(learner, label, state)
    if not any(targets.isfinite().any() for _, targets in learner.val):
        raise ValueError(f"{label}: no validation window has an observed target; choose other VDs")


def begin(learner: Learner, label: str, state: State | None) -> None:
    """Restore a state, if there is one, and say what is trained; a ValueError if nothing can be."""
    if not len(learner.train):
        raise ValueError(f"{label}: no training window has an observed target; choose other VDs")
    if state is not None:
        learner.restore(state)
        logger.info("%s: resumes after epoch %d", label, len(learner.epochs))
    size = sum(parameter.numel() for parameter in learner.forecaster.parameters())
    cpu = learner.device.type == "cpu"
    where = plural(torch.get_num_threads(), "thread") if cpu else f"on {learner.device}"
    batches = learner.train
    drawn = f", {batches.num_seen} drawn an epoch" if batches.num_seen < batches.num_windows else ""
    line = "%s: %d training windows with an observed target%s, %d parameters, %s"
    logger.info(line, label, batches.num_windows, drawn, size, where)


def make_optimizer(
    forecaster: Forecaster, training: Training, is_recorded: bool
) -> torch.optim.Optimizer:
    """AdamW; recorded, it reads its learning rate anew every time."""
    rate: float | Tensor = training.learning_rate
    if is_recorded:
        rate = torch.tensor(rate, device=next(forecaster.parameters()).device)
    return torch.optim.AdamW(
        forecaster.parameters(),
        lr=rate,
        weight_decay=training.weight_decay,
        fused=True,
        capturable=is_recorded,
    )


def stepper(learner: Learner) -> Callable[[Tensor], None]:
    """What learns from the windows at some rows of ``learner.train``, by :func:`take_step`.

    As a graph, it is recorded now, of the tensors that the learner now has.
    """
    if not learner.is_recorded:
        return lambda rows: take_step(learner, *learner.train.at(rows), learner.steps)
    rows = torch.zeros(learner.train.batch_size, dtype=torch.int64, device=learner.device)
    steps = torch.tensor(float(learner.steps), device=learner.device)

    def take_captured_step() -> None:
        inputs, targets = learner.train.at(rows)
        take_step(learner, inputs, without_target(targets, rows), steps)
        steps.add_(1)

    replay = captured.recorded(
        take_captured_step, lambda: [steps, *learner.changing()], learner.device
    )

    def step(given: Tensor) -> None:
        rows[: len(given)] = given
        rows[len(given) :] = -1
        replay()

    return step


def take_step(learner: Learner, inputs: Tensor, targets: Tensor, steps: int | Tensor) -> None:
    """Learn from a batch, after so many steps; its errors are those of the forecasts before.

    Nothing here may wait for a GPU or depend on what is there, so that a graph can hold it.
    """
    forecast = learner.forecaster(inputs)
    learner.sums.add(forecast, targets, learner.forecaster.numbers(inputs))
    learner.optimizer.zero_grad()
    masked_mae(forecast, targets).backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters, learner.training.gradient_clip)
    learner.optimizer.step()
    move_average(learner.averages, learner.weights, steps)


def train_epoch(learner: Learner, step: Callable[[Tensor], None], text: str) -> dict[str, Any]:
    """Take a step per batch; returns the errors of the forecasts before each step.

    The text stands before the progress bar.
    """
    batches, drawn = learner.train, learner.train.draw()
    learner.sums.clear()
    with bar(drawn, text) as shown:
        for seen, rows in enumerate(shown, start=1):
            end_if_stopped()
            step(rows)
            learner.steps += 1
            if not learner.is_asynchronous:
                learner.end_if_diverged("training", batches, drawn, seen)
    learner.end_if_diverged("training", batches, drawn, len(drawn))
    return learner.sums.result()


@torch.inference_mode()
def validate(learner: ValidatedLearner) -> dict[str, Any]:
    """The errors of the averaged weights."""
    batches, drawn = learner.val, learner.val.draw()
    learner.sums.clear()
    for seen, rows in enumerate(drawn, start=1):
        end_if_stopped()
        inputs, targets = batches.at(rows)
        learner.sums.add(learner.average(inputs), targets, learner.average.numbers(inputs))
        if not learner.is_asynchronous:
            learner.end_if_diverged("validation", batches, drawn, seen)
    learner.end_if_diverged("validation", batches, drawn, len(drawn))
    return learner.sums.result()


class Diverged(Exception):
    """The loss is NaN or infinite; an epoch has so many steps."""

    def __init__(self, record: Divergence, steps: int) -> None:
        super().__init__(
            f"diverged in epoch {record.epoch}, step {record.step} of {steps}: the {record.loss} "
            f"loss is not finite; {record.cause}"
        )
        self.record = record


def likely_cause(inputs: Tensor, learning_rate: float, steps_before: int) -> str:
    """Why a forecast of scaled values ``[B, S, N*P]`` may not be finite after so many steps."""
    if not inputs.isfinite().all():
        return "its inputs are not finite"
    largest = float(inputs.abs().max())
    if largest > FAR_OUT:
        return (
            f"an input lies {largest:.3g} standard deviations from the training mean; clean the "
            "data (cleaning.features.<name>.range)"
        )
    if steps_before == 0:
        return "not even the untrained network has a finite forecast; make it smaller"
    return f"learning_rate {learning_rate:g} is likely too high; lower it"


def move_average(average: list[Tensor], current: list[Tensor], steps: int | Tensor) -> None:
    """Move an exponential average of weights, in place, one step towards the current ones.

    ``steps`` were averaged before; the first is the average, and while they are few, it forgets
    faster.
    """
    if isinstance(steps, Tensor):  # which a graph reads; a lerp takes none
        difference = torch._foreach_sub(current, average)
        torch._foreach_mul_(difference, average_moves_by(steps))
        torch._foreach_add_(average, difference)
    elif steps == 0:
        torch._foreach_copy_(average, current)
    else:
        decay = min(AVERAGING_DECAY, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(average, current, 1 - decay)


def average_moves_by(steps: Tensor) -> Tensor:
    """The share of the current weights in their average after so many steps before."""
    kept = ((1 + steps) / (10 + steps)).clamp(max=AVERAGING_DECAY)
    return (1 - kept).masked_fill(steps == 0, 1)


def bar(drawn: Pass, text: str) -> AbstractContextManager[Iterable[Tensor]]:
    """The batches of a pass with a progress bar, gone at its end so that log lines stand clear.

    Only on a terminal and not in a worker process: a bar in a file is noise, and parallel bars
    would write over each other.
    """
    if not sys.stderr.isatty() or parent_process() is not None:
        return nullcontext(drawn)
    return tqdm(drawn, desc=text, unit="batch", leave=False)  # type: ignore[no-any-return]
