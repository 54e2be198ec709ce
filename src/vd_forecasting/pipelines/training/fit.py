"""The training loop of one model, on pytorch-lightning."""

import copy
import logging
import sys
import time
import warnings
from collections.abc import Callable
from multiprocessing import parent_process
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from vd_forecasting.models import Forecaster
from vd_forecasting.parameters import Training
from vd_forecasting.pipelines.training.batches import Batch, WindowBatches
from vd_forecasting.pipelines.training.divergence import Diverged, likely_cause
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums, masked_mae
from vd_forecasting.pipelines.training.resume import (
    State,
    Weights,
    capture,
    on_cpu,
)

logger = logging.getLogger(__name__)

# On import Lightning makes itself talkative: which accelerators there are not, tips for products.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

# Lightning's own use of a part of torch that is on its way out. For the whole process: where
# threads train, the end of an exception made for one training would end that of the others.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")

Keep = Callable[[State], None]

AVERAGING_DECAY = 0.999
"""How much of the running average of the weights is kept at every step, after a warm-up."""


def move_average(average: Any, current: Any, steps: Any) -> None:
    """Move an exponential average of weights, in place, one step towards the current ones.

    Args:
        average: tensors to move.
        current: tensors of the same shapes.
        steps: how many were averaged before; while they are few, the average forgets faster.
    """
    decay = min(AVERAGING_DECAY, (1 + int(steps)) / (10 + int(steps)))
    torch._foreach_lerp_(average, current, 1 - decay)


class _LightningForecaster(pl.LightningModule):
    """What Lightning needs to train a :class:`Forecaster`."""

    def __init__(
        self, forecaster: Forecaster, training: Training, sums: ErrorSums, log: "_EpochLog"
    ) -> None:
        super().__init__()
        self.forecaster = forecaster
        # A few days of validation data judge single steps by luck. The average over many steps
        # (Polyak and Juditsky 1992) is judged, kept and used instead.
        self.average = AveragedModel(forecaster).requires_grad_(False)
        self.training_parameters = training
        self.train_sums = sums
        self.val_sums = copy.copy(sums)
        self.val_sums.totals = {}
        self.log_of_epochs = log
        self.moments: dict[int, Any] = {}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        inputs, targets = batch
        forecast = self.forecaster(inputs)
        self.train_sums.add(forecast, targets)
        # The sums are on the CPU already, so looking at them does not wait for a GPU.
        if not self.train_sums.are_finite():
            raise self._diverged("training", inputs, index)
        return masked_mae(forecast, targets)

    def on_train_start(self) -> None:
        # update_parameters of the average looks for all weights at every step, which takes longer
        # than averaging them.
        self.weights = [weight.detach() for weight in self.forecaster.parameters()]
        self.averages = [weight.detach() for weight in self.average.module.parameters()]

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average.n_averaged == 0:
            torch._foreach_copy_(self.averages, self.weights)
        else:
            move_average(self.averages, self.weights, self.average.n_averaged)
        self.average.n_averaged += 1

    def validation_step(self, batch: Batch, index: int) -> None:
        inputs, targets = batch
        self.val_sums.add(self.average(inputs), targets)
        if not self.val_sums.are_finite():
            raise self._diverged("validation", inputs, index)

    def on_validation_epoch_end(self) -> None:
        self.val_errors = self.val_sums.result()

    def configure_optimizers(self) -> Any:
        parameters = self.training_parameters
        self.optimizer = torch.optim.AdamW(
            self.forecaster.parameters(),
            lr=parameters.learning_rate,
            weight_decay=parameters.weight_decay,
            fused=True,
        )
        if self.moments:
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": self.moments, "param_groups": groups})
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=0.5, patience=parameters.lr_patience
        )
        for epoch in self.log_of_epochs.epochs:
            self.schedule.step(epoch["val"]["loss"])
        return self.optimizer  # the schedule is stepped by the log, before it keeps the state

    def _diverged(self, loss: str, inputs: Tensor, index: int) -> Diverged:
        of_validation = loss == "validation"
        batches = self.trainer.num_val_batches[0] if of_validation else None
        return Diverged(
            loss,
            epoch=len(self.log_of_epochs.epochs) + 1,
            step=index + 1,
            steps=int(batches or self.trainer.num_training_batches),
            cause=likely_cause(
                inputs,
                self.optimizer.param_groups[0]["lr"],
                steps_before=int(self.average.n_averaged),
            ),
        )


class _EpochLog(Callback):
    """Records every epoch, keeps the weights of the best and all that the next epoch needs, writes
    a line to the log and stops the training when validation stalls."""

    def __init__(
        self, label: str, training: Training, shuffling: torch.Generator, keep: Keep
    ) -> None:
        self.label = label
        self.training_parameters = training
        self.shuffling = shuffling
        self.keep = keep
        self.epochs: list[dict[str, Any]] = []
        self.best_weights: Weights = {}
        self.seconds_before = 0.0
        self.begun = time.perf_counter()
        self.started = self.begun
        self.random: dict[str, Tensor] = {}

    @property
    def best_epoch(self) -> int:
        """Counted from 1, the first of equals; 0 before the first."""
        losses = [epoch["val"]["loss"] for epoch in self.epochs]
        return 1 + losses.index(min(losses)) if losses else 0

    @property
    def stalled(self) -> bool:
        """Whether validation has not improved for as long as is waited for it."""
        return len(self.epochs) - self.best_epoch >= self.training_parameters.patience

    @property
    def ended(self) -> bool:
        return self.stalled or len(self.epochs) >= self.training_parameters.epochs

    @property
    def seconds(self) -> float:
        """Of this training so far, also before it was killed."""
        return self.seconds_before + time.perf_counter() - self.begun

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Only now, for what went before this may have drawn numbers.
        if self.random:
            torch.set_rng_state(self.random["cpu"])
            self.shuffling.set_state(self.random["shuffling"])
            if "cuda" in self.random and module.device.type == "cuda":
                torch.cuda.set_rng_state(self.random["cuda"], module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.perf_counter()
        self.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, _LightningForecaster)
        epoch = {
            "epoch": len(self.epochs) + 1,
            "seconds": time.perf_counter() - self.started,
            "learning_rate": self.learning_rate,
            "train": module.train_sums.result(),
            "val": module.val_errors,
        }
        self.epochs.append(epoch)
        best = self.best_epoch == epoch["epoch"]
        average = on_cpu(module.average.module.state_dict())
        if best:
            self.best_weights = {name: value.clone() for name, value in average.items()}
        module.schedule.step(epoch["val"]["loss"])
        trainer.should_stop = self.stalled
        self.keep(
            {
                "epochs": self.epochs,
                "seconds": self.seconds,
                **capture(
                    module.forecaster.state_dict(),
                    module.average.state_dict(),
                    self.best_weights,
                    module.optimizer,
                    self.shuffling,
                    module.device,
                ),
            }
        )
        logger.info(
            "%s: epoch %d/%s  train loss %.4f  val loss %.4f%s  %.1f s",
            self.label,
            epoch["epoch"],
            self.training_parameters.epochs,
            epoch["train"]["loss"],
            epoch["val"]["loss"],
            " (best)" if best else "",
            epoch["seconds"],
        )


class _EpochBar(Callback):
    """A progress bar for every epoch, gone when the epoch is, so that log lines stand clear."""

    def __init__(self, log: _EpochLog) -> None:
        self.log = log

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.num_training_batches,
            desc=f"{self.log.label}: epoch {len(self.log.epochs) + 1}"
            f"/{self.log.training_parameters.epochs}",
            unit="batch",
            leave=False,
        )

    def on_train_batch_end(self, *_: Any) -> None:
        self.bar.update()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        self.bar.close()


def fit(
    forecaster: Forecaster,
    train: WindowBatches,
    val: WindowBatches,
    training: Training,
    sums: ErrorSums,
    *,
    accelerator: str,
    label: str,
    state: State | None = None,
    keep: Keep = lambda _: None,
) -> tuple[Weights, dict[str, Any]]:
    """Train until validation stops improving.

    Args:
        forecaster: trained in place; afterwards it holds the weights of the best epoch.
        train: shuffled batches.
        val: batches in order.
        training: settings of the loop.
        sums: empty, with the scale of the targets.
        accelerator: Lightning's name of the device, ``auto`` for the best there is.
        label: begins every log line.
        state: what was kept last of the same training, to go on from there; it has passed
            :func:`.resume.check_state`.
        keep: called after every epoch with the state to go on from.

    Returns:
        The averaged weights of the epoch with the lowest validation loss, and the history:
        ``best_epoch`` (counted from 1), ``stopped_early``, ``diverged`` (None, or where and why it
        was ended by a loss that is not finite), ``seconds`` and the list of ``epochs``.

    Raises:
        ValueError: there is nothing to train on, or the loss was not finite before the first epoch
            ended.
    """
    if not len(train):
        raise ValueError(f"{label}: no training window has an observed target; choose other VDs")
    if not any(targets.isfinite().any() for _, targets in val):
        raise ValueError(f"{label}: no validation window has an observed target; choose other VDs")
    assert train.generator is not None
    log = _EpochLog(label, training, train.generator, keep)
    module = _LightningForecaster(forecaster, training, sums, log)
    if state is not None:
        forecaster.load_state_dict(state["weights"])
        module.average.load_state_dict(state["average"])
        module.moments = state["moments"]
        log.best_weights = on_cpu(state["best"])
        log.epochs, log.seconds_before = state["epochs"], state["seconds"]
        log.random = state["random"]
        logger.info("%s: goes on after epoch %d", label, len(log.epochs))
    logger.info(
        "%s: %d training windows, %d parameters, %d threads",
        label,
        len(train.starts),
        sum(parameter.numel() for parameter in forecaster.parameters()),
        torch.get_num_threads(),
    )
    diverged = None if log.ended else _run(module, log, train, val, accelerator)
    if diverged is not None:
        if not log.best_weights:
            raise ValueError(f"{label}: {diverged}")
        logger.warning("%s: %s; kept the best epoch before, %d", label, diverged, log.best_epoch)
    forecaster.cpu().load_state_dict(log.best_weights)
    seconds = log.seconds
    logger.info("%s: best epoch %d of %d, %.0f s", label, log.best_epoch, len(log.epochs), seconds)
    history = {
        "best_epoch": log.best_epoch,
        "stopped_early": log.stalled or diverged is not None,
        "diverged": None if diverged is None else diverged.describe(),
        "seconds": seconds,
        "epochs": log.epochs,
    }
    return log.best_weights, history


def _run(
    module: _LightningForecaster,
    log: _EpochLog,
    train: WindowBatches,
    val: WindowBatches,
    accelerator: str,
) -> Diverged | None:
    """Train the epochs that are left; tells if that ended with a loss that is not finite."""
    # Parallel bars would write over each other, and a bar in a file is noise.
    bar = sys.stderr.isatty() and parent_process() is None
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=log.training_parameters.epochs - len(log.epochs),
        gradient_clip_val=log.training_parameters.gradient_clip,
        callbacks=[*([_EpochBar(log)] if bar else []), log],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        logger=False,
        num_sanity_val_steps=0,
    )
    try:
        trainer.fit(module, train, val)
    except Diverged as diverged:
        return diverged
    return None
