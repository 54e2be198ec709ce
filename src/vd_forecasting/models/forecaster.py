"""What LSTM and xLSTM share: the input projection in front of the core and the head behind it.

Shapes: B windows, S input steps, C channels, D width of the core, H horizons, N VDs, F features.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class Core(Protocol):
    """The recurrent part, the only one in which the two models differ."""

    width: int

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, D]``, the output of the last step."""


class Forecaster(nn.Module):
    """Forecasts every target at every horizon as a change from its last value.

    The change is what the network learns; with an output of zero the forecast is persistence.

    Args:
        core: the recurrent part; its ``width`` is D.
        num_channels: C, input channels.
        target_channels: for every target, VD by VD and feature by feature, the input channel that
            holds its past; N*F indices below C.
        target_shape: (N, F).
        prediction_length: H.
    """

    target_channels: Tensor

    def __init__(
        self,
        core: nn.Module,
        *,
        num_channels: int,
        target_channels: Sequence[int],
        target_shape: tuple[int, int],
        prediction_length: int,
    ) -> None:
        super().__init__()
        width: int = core.width  # type: ignore[assignment]
        self.output_shape = (prediction_length, *target_shape)
        self.register_buffer("target_channels", torch.tensor(target_channels), persistent=False)
        self.embedding = nn.Linear(num_channels, width)
        self.core = core
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, prediction_length * target_shape[0] * target_shape[1])
        # Training starts from persistence instead of from noise.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast, in the scaled units of the input.

        Args:
            x: ``[B, S, C]``, without NaN.

        Returns:
            ``[B, H, N, F]``.
        """
        last = x[:, -1, self.target_channels].unflatten(1, (1, *self.output_shape[1:]))
        state = self.core(self.embedding(x))  # [B, D]
        change = self.head(self.norm(state)).unflatten(1, self.output_shape)
        forecast: Tensor = last + change  # [B, 1, N, F] + [B, H, N, F]
        return forecast
