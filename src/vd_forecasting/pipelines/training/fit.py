"""The training loop of one model, on pytorch-lightning."""

import copy
import logging
import math
import sys
import time
import warnings
from multiprocessing import parent_process
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from vd_forecasting.models import Forecaster
from vd_forecasting.parameters import Training
from vd_forecasting.pipelines.training.batches import Batch, WindowBatches
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums, masked_mae

logger = logging.getLogger(__name__)

# On import Lightning makes itself talkative: which accelerators there are not, tips for products.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

UNFOUNDED_WARNINGS = (
    # Lightning's own use of a part of torch that is on its way out.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


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

    def __init__(self, forecaster: Forecaster, training: Training, sums: ErrorSums) -> None:
        super().__init__()
        self.forecaster = forecaster
        # A few days of validation data judge single steps by luck. The average over many steps
        # (Polyak and Juditsky 1992) is judged, kept and used instead.
        self.average = AveragedModel(forecaster, multi_avg_fn=move_average).requires_grad_(False)
        self.training_parameters = training
        self.train_sums = sums
        self.val_sums = copy.copy(sums)
        self.val_sums.totals = {}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        inputs, targets = batch
        forecast = self.forecaster(inputs)
        self.train_sums.add(forecast, targets)
        return masked_mae(forecast, targets)

    def on_train_batch_end(self, *_: Any) -> None:
        self.average.update_parameters(self.forecaster)

    def validation_step(self, batch: Batch, _: int) -> None:
        inputs, targets = batch
        self.val_sums.add(self.average(inputs), targets)

    def on_validation_epoch_end(self) -> None:
        self.val_errors = self.val_sums.result()
        self.log("val_loss", torch.tensor(self.val_errors["loss"], dtype=torch.float32))

    def configure_optimizers(self) -> Any:
        parameters = self.training_parameters
        optimizer = torch.optim.AdamW(
            self.forecaster.parameters(),
            lr=parameters.learning_rate,
            weight_decay=parameters.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=parameters.lr_patience
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"},
        }


class _EpochLog(Callback):
    """Records every epoch, keeps the weights of the best and writes a line to the log."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.epochs: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.started = time.perf_counter()

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
        loss = epoch["val"]["loss"]
        best = loss < self.best_loss
        if best:
            self.best_loss = loss
            self.best_epoch = epoch["epoch"]
            self.best_weights = {
                name: value.detach().cpu().clone()
                for name, value in module.average.module.state_dict().items()
            }
        logger.info(
            "%s: epoch %d/%s  train loss %.4f  val loss %.4f%s  %.1f s",
            self.label,
            epoch["epoch"],
            trainer.max_epochs,
            epoch["train"]["loss"],
            loss,
            " (best)" if best else "",
            epoch["seconds"],
        )


class _EpochBar(Callback):
    """A progress bar for every epoch, gone when the epoch is, so that log lines stand clear."""

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar = tqdm(
            total=trainer.num_training_batches,
            desc=f"{self.label}: epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            unit="batch",
            leave=False,
        )

    def on_train_batch_end(self, *_: Any) -> None:
        self.bar.update()

    def on_train_epoch_end(self, *_: Any) -> None:
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
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train until validation stops improving.

    Args:
        forecaster: trained in place; afterwards it holds the weights of the best epoch.
        train: shuffled batches.
        val: batches in order.
        training: settings of the loop.
        sums: empty, with the scale of the targets.
        accelerator: Lightning's name of the device, ``auto`` for the best there is.
        label: begins every log line.

    Returns:
        The averaged weights of the epoch with the lowest validation loss, and the history:
        ``best_epoch`` (counted from 1), ``stopped_early``, ``seconds`` and the list of ``epochs``.

    Raises:
        ValueError: there is nothing to train on.
    """
    if not len(train):
        raise ValueError(f"{label}: no training window has an observed target; choose other VDs")
    if not any(targets.isfinite().any() for _, targets in val):
        raise ValueError(f"{label}: no validation window has an observed target; choose other VDs")
    logger.info(
        "%s: %d training windows, %d parameters, %d threads",
        label,
        len(train.starts),
        sum(parameter.numel() for parameter in forecaster.parameters()),
        torch.get_num_threads(),
    )
    module = _LightningForecaster(forecaster, training, sums)
    log = _EpochLog(label)
    stopping = EarlyStopping("val_loss", patience=training.patience)
    # Parallel bars would write over each other, and a bar in a file is noise.
    bar = sys.stderr.isatty() and parent_process() is None
    started = time.perf_counter()
    with warnings.catch_warnings():
        for message in UNFOUNDED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=training.epochs,
            gradient_clip_val=training.gradient_clip,
            callbacks=[*([_EpochBar(label)] if bar else []), stopping, log],
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            logger=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, train, val)
    if not log.best_weights:
        raise ValueError(
            f"{label}: the validation loss was not finite in any epoch; lower learning_rate"
        )
    forecaster.cpu().load_state_dict(log.best_weights)
    seconds = time.perf_counter() - started
    logger.info("%s: best epoch %d of %d, %.0f s", label, log.best_epoch, len(log.epochs), seconds)
    history = {
        "best_epoch": log.best_epoch,
        "stopped_early": stopping.stopped_epoch > 0,
        "seconds": seconds,
        "epochs": log.epochs,
    }
    return log.best_weights, history
