"""What LSTM and xLSTM share: the input projection in front of the core, the head behind it, and a
linear forecast beside both.

Shapes: B windows, S input steps, C channels, D width of the core, H horizons, N VDs, P input
features of a VD, K channels that are no VD's (the calendar), F target features; C = N*P + K.
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


class Autoregression(nn.Module):
    """A linear map from how a VD came to its last values, and the calendar, to its changes.

    The linear bypass of Lai et al. (2018), "Modeling long- and short-term temporal patterns with
    deep neural networks", section 3.5. What a linear model explains the recurrent part need not
    learn. Inputs are differences from the last step, for what is forecast is a change from there: a
    road that is busier than ever before is then nothing new to it. It starts at zero.

    Args:
        num_vds: N.
        num_vd_features: P.
        num_shared: K.
        sequence_length: S.
        prediction_length: H.
        num_targets: F.
    """

    def __init__(
        self,
        num_vds: int,
        num_vd_features: int,
        num_shared: int,
        sequence_length: int,
        prediction_length: int,
        num_targets: int,
    ) -> None:
        super().__init__()
        self.inputs = (num_vds, num_vd_features)
        self.outputs = (prediction_length, num_targets)
        width = (sequence_length - 1) * num_vd_features + num_shared
        self.weight = nn.Parameter(torch.zeros(num_vds, width, prediction_length * num_targets))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, C]`` to ``[B, H, N, F]``."""
        num_vds, num_features = self.inputs
        of_vds = x[:, :, : num_vds * num_features].unflatten(2, self.inputs)  # [B, S, N, P]
        past = (of_vds[:, :-1] - of_vds[:, -1:]).transpose(1, 2).flatten(2)
        shared = x[:, -1:, num_vds * num_features :].expand(-1, num_vds, -1)  # [B, N, K]
        inputs = torch.cat([past, shared], dim=2)  # [B, N, (S-1)*P + K]
        forecast: Tensor = torch.einsum("bni,nio->bno", inputs, self.weight)
        forecast = forecast.unflatten(2, self.outputs).transpose(1, 2)  # [B, H, N, F]
        return forecast


class Forecaster(nn.Module):
    """Forecasts every target at every horizon as a change from its last value.

    The change is the sum of what the network and a linear map, :class:`Autoregression`, learn;
    while both are zero the forecast is persistence.

    Args:
        core: the recurrent part; its ``width`` is D.
        num_channels: C, input channels, those of the VDs before the others.
        num_vd_features: P.
        target_channels: for every target, VD by VD and feature by feature, the input channel that
            holds its past; N*F indices below C.
        target_shape: (N, F).
        sequence_length: S.
        prediction_length: H.
    """

    target_channels: Tensor

    def __init__(
        self,
        core: nn.Module,
        *,
        num_channels: int,
        num_vd_features: int,
        target_channels: Sequence[int],
        target_shape: tuple[int, int],
        sequence_length: int,
        prediction_length: int,
    ) -> None:
        super().__init__()
        width: int = core.width  # type: ignore[assignment]
        self.output_shape = (prediction_length, *target_shape)
        self.register_buffer("target_channels", torch.tensor(target_channels), persistent=False)
        self.embedding = nn.Linear(num_channels, width)
        self.core = core
        self.norm = nn.LayerNorm(width)
        num_vds, num_targets = target_shape
        self.head = nn.Linear(width, prediction_length * num_vds * num_targets)
        self.autoregression = Autoregression(
            num_vds,
            num_vd_features,
            num_channels - num_vds * num_vd_features,
            sequence_length,
            prediction_length,
            num_targets,
        )
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
        last = x[:, -1, self.target_channels].unflatten(
            1, (1, *self.output_shape[1:])
        )  # [B, 1, N, F]
        state = self.core(self.embedding(x))  # [B, D]
        change = self.head(self.norm(state)).unflatten(1, self.output_shape)
        forecast: Tensor = last + change + self.autoregression(x)
        return forecast
