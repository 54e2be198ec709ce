"""The parts that LSTM and xLSTM share: the input projection in front of the core, the head behind
it, and a linear forecast beside both.

Shapes: B windows, S input steps, C channels, D width of the core, H horizons, N VDs, P input
features of a VD, K channels that are no VD's (the calendar), F target features; C = N*P + K.

A global network forecasts each of many VDs by itself: N is 1, and the window of a VD has one more
channel, which holds its number.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

UNKNOWN_VD = 0
"""Number of a VD that a global network was not trained on."""

VD_WIDTH = 8
"""Width of what a global network learns about a VD."""


@dataclass(frozen=True)
class Network:
    """The shape of a forecaster, but for its core."""

    num_channels: int  # C, those of the VDs before the others
    num_vd_features: int  # P
    target_channels: Sequence[int]
    """For every target, VD by VD and feature by feature, the input channel that holds its past;
    N*F indices below C."""
    target_shape: Sequence[int]  # (N, F)
    sequence_length: int  # S
    prediction_length: int  # H
    known_vds: int = 0
    """VDs that a global network knows by their numbers, from 1; 0 of any other network."""


class Autoregression(nn.Module):
    """A linear map from the differences that led to a VD's last values, and the calendar, to its
    changes.

    The linear bypass of Lai et al. (2018), "Modeling long- and short-term temporal patterns with
    deep neural networks", section 3.5. The recurrent part need not learn again whatever a linear
    model explains. Inputs are differences from the last step, because forecasts are changes from
    there: a road that is busier than ever before is then no new situation. The map starts at zero.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        num_vds, num_targets = network.target_shape
        self.inputs = (num_vds, network.num_vd_features)
        self.outputs = (network.prediction_length, num_targets)
        shared = network.num_channels - math.prod(self.inputs)  # K
        width = (network.sequence_length - 1) * network.num_vd_features + shared
        self.weight = nn.Parameter(torch.zeros(num_vds, width, math.prod(self.outputs)))

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
    while both are zero the forecast is persistence. The core is the recurrent part, ``[B, S, D]``
    to ``[B, D]``; its ``width`` is D, and where it ``waits``, it looks at what a GPU computed.

    A global network (Montero-Manso and Hyndman 2021) learns some numbers about each VD it knows,
    which its core sees beside the inputs. They are zero before training and of an unknown VD.
    """

    target_channels: Tensor

    def __init__(self, core: nn.Module, network: Network) -> None:
        super().__init__()
        width: int = core.width  # type: ignore[assignment]
        self.output_shape = (network.prediction_length, *network.target_shape)
        channels = torch.tensor(network.target_channels)
        self.register_buffer("target_channels", channels, persistent=False)
        self.num_values = network.num_vd_features * network.target_shape[0]  # N*P
        self.of_vd: nn.Embedding | None = None
        num_inputs = network.num_channels + self.num_values
        if network.known_vds:
            self.of_vd = nn.Embedding(network.known_vds + 1, VD_WIDTH, padding_idx=UNKNOWN_VD)
            nn.init.zeros_(self.of_vd.weight)
            num_inputs += VD_WIDTH
        self.embedding = nn.Linear(num_inputs, width)
        self.core = core
        self.waits: bool = core.waits  # type: ignore[assignment]
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, math.prod(self.output_shape))
        self.autoregression = Autoregression(network)
        # Training starts from persistence instead of from noise.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def numbers(self, x: Tensor) -> Tensor | None:
        """The number of the VD of each window, int64 ``[B]``; None if the network is not global."""
        return None if self.of_vd is None else x[:, -1, -1].long()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, C]``, without NaN, to ``[B, H, N, F]`` in the same scaled units.

        A global network takes ``[B, S, C + 1]``, the last channel the number of the VD.
        """
        about_vd = []
        if self.of_vd is not None:
            about_vd = [self.of_vd(x[:, :, -1].long())]  # [B, S, VD_WIDTH]
            x = x[:, :, :-1]
        last = x[:, -1, self.target_channels].unflatten(1, (1, *self.output_shape[1:]))
        values = x[:, :, : self.num_values]
        differences = values - values[:, -1:]  # where they lead matters more than the level
        state = self.core(self.embedding(torch.cat([x, differences, *about_vd], dim=2)))
        change = self.head(self.norm(state)).unflatten(1, self.output_shape)
        forecast: Tensor = last + change + self.autoregression(x)
        return forecast
