"""Networks of base sizes, and single steps of them whose time can be taken."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vd_forecasting.models import (
    Forecaster,
    LSTMConfig,
    LSTMCore,
    Network,
    XLSTMConfig,
    XLSTMCore,
)

FEATURES, CALENDAR, HORIZONS = 3, 9, 12


@dataclass(frozen=True)
class Size:
    """What the cost of a step depends on; without arguments that of ``conf/base``."""

    batch: int = 32
    length: int = 20
    detectors: int = 9
    width: int = 128  # of the xLSTM
    blocks: int = 6
    slstm_at: tuple[int, ...] = (1, 3)
    hidden: int = 256  # of the LSTM
    layers: int = 3

    @property
    def channels(self) -> int:
        return self.detectors * FEATURES + CALENDAR


def make_xlstm(size: Size, backend: str) -> Forecaster:
    torch.manual_seed(0)
    config = XLSTMConfig(
        embedding_dim=size.width,
        num_blocks=size.blocks,
        slstm_at=size.slstm_at,
        slstm_backend=backend,
        mlstm_backend=backend,
        dropout=0.1,
        context_length=256,
    )
    return Forecaster(XLSTMCore(config), _network(size))


def make_lstm(size: Size) -> Forecaster:
    torch.manual_seed(0)
    config = LSTMConfig(hidden_size=size.hidden, num_layers=size.layers, dropout=0.3)
    return Forecaster(LSTMCore(config), _network(size))


def _network(size: Size) -> Network:
    """All detectors jointly, every feature a target."""
    return Network(
        num_channels=size.channels,
        num_vd_features=FEATURES,
        target_channels=range(size.detectors * FEATURES),
        target_shape=(size.detectors, FEATURES),
        sequence_length=size.length,
        prediction_length=HORIZONS,
    )


def make_batch(size: Size) -> tuple[Tensor, Tensor]:
    """Noise: inputs ``[B, S, C]`` and targets ``[B, H, N, F]``."""
    return (
        torch.randn(size.batch, size.length, size.channels),
        torch.randn(size.batch, HORIZONS, size.detectors, FEATURES),
    )


def training_step(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    parameters = [*network.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.l1_loss(network(x), y).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def inference(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    network.eval()

    def step() -> None:
        with torch.inference_mode():
            network(x)

    return step


WORK = {"training": training_step, "inference": inference}
