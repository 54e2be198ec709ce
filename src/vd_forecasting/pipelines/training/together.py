"""Several models trained at once, each as if it were alone: for a GPU, which one leaves idle.

Shapes: M models, Q weights of each, B windows, H horizons, N detectors, F target features.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from vd_forecasting.models.several import several
from vd_forecasting.pipelines.training import captured
from vd_forecasting.pipelines.training.batches import Pass, cut_together
from vd_forecasting.pipelines.training.epoch_errors import (
    LOSS,
    NAMES,
    Scaling,
    error_sums,
    masked_mae,
)
from vd_forecasting.pipelines.training.loop import Diverged, ValidatedLearner, average_moves_by
from vd_forecasting.pipelines.training.resume import State
from vd_forecasting.running.stop import end_if_stopped

logger = logging.getLogger(__name__)

MOST: Final = 64
"""Models at once: more take more memory, and a GPU has then little to gain from them."""

VALIDATED: Final = 4096
"""Windows of all models that are validated at once."""

STATES_EVERY: Final = 60.0
"""Seconds between two states of a training; those of many models are large."""

Errors = dict[str, Any]


class Training(NamedTuple):
    """One that has begun or was resumed, see :func:`.loop.begin_validated`."""

    learner: ValidatedLearner
    label: str
    keep: Callable[[State], None]


def fit_together(trainings: Sequence[Training]) -> None:
    """Train each as :func:`.loop.fit` would, and keep what that would yield.

    Each takes an equal share of the time of an epoch. States before the last are kept once in
    :data:`STATES_EVERY`. A training that diverges in its first epoch keeps nothing. Where memory
    does not hold all at once, they are trained half by half.
    """
    left, kept = list(trainings), time.perf_counter()
    while left:
        if (group := _group(left)) is None:
            fit_together(left[: len(left) // 2])
            fit_together(left[len(left) // 2 :])
            return
        while 2 * len(left) > len(group.learners):  # then the others go on without those finished
            started = time.perf_counter()
            results = group.epoch([training.learner for training in left])
            seconds = time.perf_counter() - started
            is_due = time.perf_counter() - kept > STATES_EVERY
            ended = [
                _end_epoch(*of_one, seconds, len(left), is_due)
                for of_one in zip(left, results, strict=True)
            ]
            left = [training for training, over in zip(left, ended, strict=True) if not over]
            kept = time.perf_counter() if is_due else kept


def _group(trainings: Sequence[Training]) -> "Group | None":
    """These as a group; None if there are several and memory does not hold them.

    To record their steps, the group takes some, so that memory ends here if it does.
    """
    try:
        return Group([training.learner for training in trainings])
    except torch.OutOfMemoryError:
        if len(trainings) == 1:
            raise
        return None


def _end_epoch(
    training: Training,
    result: tuple[Errors, Errors] | Diverged,
    seconds: float,
    models: int,
    is_due: bool,
) -> bool:
    """Note what became of an epoch of so many models; true if it was the last of this one."""
    learner, label, keep = training
    try:
        if isinstance(result, Diverged):
            learner.give_up(label, result)
        else:
            logger.info("%s", learner.end_epoch(label, *result, seconds / models))
    except ValueError:
        return True
    learner.begun = time.perf_counter() - sum(epoch["seconds"] for epoch in learner.epochs)
    if learner.is_finished:
        keep(learner.result(label))
    elif is_due:
        keep(learner.state())
    return learner.is_finished


class Group:
    """Learners of networks of one shape, whose weights, moments and sums become rows of common
    tensors; learners and their networks see them as before."""

    def __init__(self, learners: Sequence[ValidatedLearner]) -> None:
        first = learners[0]
        self.learners, self.first = learners, first
        named = dict(first.forecaster.named_parameters())
        self.shapes = {name: parameter.shape for name, parameter in named.items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self._share_weights()
        self._share_sums()
        self.rates = torch.zeros(len(learners), 1, device=first.device)

        self.learning, self.judging = several(first.forecaster), several(first.average)
        self.cut = cut_together([learner.train for learner in learners])
        self.cut_val = cut_together([learner.val for learner in learners])
        at_once = max(VALIDATED // len(learners), 1)
        self.rows, self.val_rows = (
            torch.zeros(len(learners), size, dtype=torch.int64, device=first.device)
            for size in (first.train.batch_size, at_once)
        )
        changing = [self.weights, self.averages, *self.moments, self.steps]
        self.learn = captured.recorded(self._learn, lambda: changing, first.device)
        self.judge = captured.recorded(self._judge, list, first.device)

    def _share_weights(self) -> None:
        first, learners = self.first, self.learners
        steps = [[float(learner.steps)] for learner in learners]
        self.steps = torch.tensor(steps, device=first.device)  # [M, 1], as all numbers by model
        self.weights = _stacked([learner.weights for learner in learners]).requires_grad_()
        self.averages = _stacked([learner.averages for learner in learners])
        self.moments = [
            _stacked([_moments(learner, name) for learner in learners])
            for name in ("exp_avg", "exp_avg_sq")
        ]
        for m, learner in enumerate(learners):
            learner.weights, learner.averages, mean, square = (
                self._parts(rows.detach()[m])
                for rows in (self.weights, self.averages, *self.moments)
            )
            parameters = [*learner.forecaster.parameters()]
            for network, rows in (
                (learner.forecaster, learner.weights),
                (learner.average, learner.averages),
            ):
                for parameter, row in zip(network.parameters(), rows, strict=True):
                    parameter.data = row
            for parameter, *of_weight in zip(parameters, mean, square, strict=True):
                names = ("step", "exp_avg", "exp_avg_sq")
                values = (self.steps[m, 0], *of_weight)
                learner.optimizer.state[parameter] = dict(zip(names, values, strict=True))

    def _share_sums(self) -> None:
        of_learners = [learner.sums for learner in self.learners]
        self.scaling = Scaling(
            *map(torch.stack, zip(*(of.scaling for of in of_learners), strict=True))
        )
        horizons = self.first.forecaster.output_shape[0]
        shape = (len(NAMES), horizons, *self.scaling.mean.shape[1:])
        self.added = torch.zeros(
            len(of_learners), *shape, dtype=torch.float64, device=self.first.device
        )
        self.finite = torch.zeros(len(of_learners), dtype=torch.int64, device=self.first.device)
        for m, sums in enumerate(of_learners):
            sums.added, sums.finite = self.added[m], self.finite[m]

    def epoch(self, active: Sequence[ValidatedLearner]) -> list[tuple[Errors, Errors] | Diverged]:
        """Train and validate these learners for an epoch; others stay as they are."""
        rates = [[learner.learning_rate] for learner in self.learners]
        self.rates.copy_(torch.tensor(rates))
        drawn = {m: of.train.draw() for m, of in enumerate(self.learners) if of in active}
        self._pass_through(self.learn, self.rows, drawn)
        for m, of_epoch in drawn.items():
            self.learners[m].steps += len(of_epoch)
        results: dict[int, Any] = {m: self._errors("training", m, of) for m, of in drawn.items()}
        size = self.val_rows.shape[1]
        judged = {
            m: replace(self.learners[m].val.draw(), batch_size=size)
            for m, result in results.items()
            if not isinstance(result, Diverged)
        }
        self._pass_through(self.judge, self.val_rows, judged)
        for m, of_val in judged.items():
            val = self._errors("validation", m, of_val)
            results[m] = val if isinstance(val, Diverged) else (results[m], val)
        return list(results.values())

    def _pass_through(
        self, step: Callable[[], None], rows: Tensor, passes: Mapping[int, Pass]
    ) -> None:
        """Take a step for each batch of these passes, by model; those of others are empty."""
        self.added.zero_()
        self.finite.zero_()
        if not passes:
            return  # all have diverged
        nothing, size = rows[0, :0], rows.shape[1]
        orders = [passes[m].order.long() if m in passes else nothing for m in range(len(rows))]
        order = pad_sequence(orders, batch_first=True, padding_value=-1)
        order = functional.pad(order, (0, -order.shape[1] % size), value=-1)
        for batch in order.split(size, dim=1):
            end_if_stopped()
            rows.copy_(batch)
            step()

    def _errors(self, loss: str, m: int, drawn: Pass) -> Errors | Diverged:
        learner = self.learners[m]
        batches = learner.train if loss == "training" else learner.val
        try:
            learner.end_if_diverged(loss, batches, drawn, len(drawn))
        except Diverged as error:
            return error
        return learner.sums.result()

    def _learn(self) -> None:
        """A step of every model that has windows in its batch, as :func:`.loop.take_step`."""
        inputs, targets = self.cut(self.rows)
        forecast = self.learning(self._named(self.weights), inputs)
        active = (self.rows >= 0).any(1, keepdim=True)  # [M, 1]
        self._add(forecast, targets, active)
        loss = torch.vmap(masked_mae)(forecast, targets).sum()
        [gradient] = torch.autograd.grad(loss, [self.weights])
        with torch.no_grad():
            norm = gradient.norm(dim=1, keepdim=True)
            clip = self.first.training.gradient_clip
            self._move(gradient * (clip / (norm + 1e-6)).clamp(max=1), active.float())

    def _move(self, gradient: Tensor, active: Tensor) -> None:
        """AdamW, Loshchilov and Hutter (2019), with a learning rate by model; then the average."""
        settings = self.first.optimizer.param_groups[0]
        (keep_mean, keep_square), (mean, square) = settings["betas"], self.moments
        done = self.steps + 1
        self.weights.mul_(1 - active * self.rates * settings["weight_decay"])
        mean.lerp_(gradient, active * (1 - keep_mean))
        square.lerp_(gradient.square(), active * (1 - keep_square))
        scale = (square / (1 - keep_square**done)).sqrt_().add_(settings["eps"])
        self.weights.sub_(active * self.rates / (1 - keep_mean**done) * mean / scale)
        self.averages.lerp_(self.weights, active * average_moves_by(self.steps))
        self.steps += active

    @torch.no_grad()
    def _judge(self) -> None:
        inputs, targets = self.cut_val(self.val_rows)
        forecast = self.judging(self._named(self.averages), inputs)
        self._add(forecast, targets, (self.val_rows >= 0).any(1, keepdim=True))

    def _add(self, forecast: Tensor, targets: Tensor, active: Tensor) -> None:
        """Add forecasts and targets ``[M, B, H, N, F]`` to the sums."""
        sums_of = torch.vmap(error_sums, in_dims=(0, 0, 0, None, None))
        mape_min_truth = self.first.sums.mape_min_truth
        self.added += sums_of(self.scaling, forecast, targets, None, mape_min_truth).double()
        self.finite += self.added[:, LOSS].flatten(1).sum(1).isfinite() & active[:, 0]

    def _parts(self, row: Tensor) -> list[Tensor]:
        """The weights ``[Q]`` of a model, each in its shape."""
        parts = zip(row.split(self.sizes), self.shapes.values(), strict=True)
        return [part.view(shape) for part, shape in parts]

    def _named(self, rows: Tensor) -> dict[str, Tensor]:
        """Weights ``[M, Q]`` by name, ``[M, ...]``."""
        parts = zip(self.shapes.items(), rows.split(self.sizes, dim=1), strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in parts}


def _stacked(of_models: Sequence[Sequence[Tensor]]) -> Tensor:
    """All tensors of every model in a row, ``[M, Q]``."""
    return torch.stack([torch.cat([of.flatten() for of in tensors]) for tensors in of_models])


def _moments(learner: ValidatedLearner, name: str) -> list[Tensor]:
    """The moments of a learner's weights; before the first step they are zero."""
    state = learner.optimizer.state
    return [
        state[parameter][name] if parameter in state else torch.zeros_like(parameter)
        for parameter in learner.forecaster.parameters()
    ]
