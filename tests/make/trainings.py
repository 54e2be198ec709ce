"""A small experiment: its windows, networks and training."""

import io
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from tests.make.arrays import make_clean, with_places
from tests.make.windows import make_global_windows, make_independent_windows, make_joint_windows
from vd_forecasting.artefacts import WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets import TrainingState
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel
from vd_forecasting.pipelines.training import train_nodes

COMPUTE = Compute(threads=1, accelerator="cpu")
MAPE_MIN_TRUTH = 1.0
TRAINING = Training(
    seeds=(42,),
    epochs=3,
    batch_size=32,
    learning_rate=0.005,
    weight_decay=0.01,
    gradient_clip=1.0,
    decay_epochs=100,
    decay_steps=1,
    patience=3,
)
LSTM = LSTMModel(hidden_size=8, num_layers=1, dropout=0.1)
XLSTM = XLSTMModel(
    embedding_dim=8,
    num_blocks=2,
    slstm_at=(1,),
    slstm_backend="fused",
    mlstm_backend="fused",
    dropout=0.1,
    context_length=8,
)


def joint_windows(clean: xr.DataArray | None = None) -> WindowSet:
    return make_joint_windows(make_clean(500) if clean is None else clean)


def independent_windows(clean: xr.DataArray | None = None) -> WindowSet:
    """Two VDs of three."""
    clean = make_clean(500) if clean is None else clean
    return make_independent_windows(clean, num_vds=3, target_vd_index=(0, 2))


def global_windows(clean: xr.DataArray | None = None) -> WindowSet:
    """Three VDs, each by itself and described by its lanes, position and road."""
    return make_global_windows(with_places(make_clean(500)) if clean is None else clean)


PlainTrained = tuple[Checkpoint, dict[str, Checkpoint], Any, Any]
"""As a training returns it, with the configuration and the history as their files hold them."""


def train_lstm(windows: WindowSet, *arguments: Any) -> PlainTrained:
    """Train the LSTMs of an experiment with one test block."""
    return _plain(train_nodes.train_lstm(WindowBlocks.of_one(windows), *arguments))


def train_xlstm(windows: WindowSet, *arguments: Any) -> PlainTrained:
    """Train the xLSTMs of an experiment with one test block."""
    return _plain(train_nodes.train_xlstm(WindowBlocks.of_one(windows), *arguments))


def _plain(trained: train_nodes.Trained) -> PlainTrained:
    best, models, config, history = trained
    return best, models, config.model_dump(mode="json"), history.model_dump(mode="json")


class Killed(BaseException):
    """What a SIGKILL is made of here."""


class KilledAfter(TrainingState):
    """Kills the training right after so many states were kept."""

    left: int

    @classmethod
    def saves(cls, folder: Path, left: int) -> "KilledAfter":
        state = cls(folder)
        object.__setattr__(state, "left", left)
        return state

    def save(self, name: str, state: dict[str, Any]) -> None:
        super().save(name, state)
        object.__setattr__(self, "left", self.left - 1)
        if self.left == 0:
            raise Killed


def saved_bytes(result: tuple[Any, ...]) -> bytes:
    file = io.BytesIO()
    torch.save(result[:2], file)
    return file.getvalue()


def without_seconds(history: dict[str, Any]) -> dict[str, Any]:
    def drop(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: drop(inner) for key, inner in value.items() if key != "seconds"}
        return [drop(inner) for inner in value] if isinstance(value, list) else value

    return drop(history)  # type: ignore[no-any-return]
