"""The LSTM core: Hochreiter and Schmidhuber (1997), as PyTorch has it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vd_forecasting.models.unrolled_lstm import lstm_layer


@dataclass(frozen=True)
class LSTMConfig:
    """Size of the core."""

    hidden_size: int  # D, width of every layer
    num_layers: int
    dropout: float  # share of values dropped in training; a single layer drops none


class Layers(nn.LSTM):
    """``nn.LSTM`` of one width that runs layer by layer, with a dropout of its own between them.

    That of cuDNN has random numbers of its own, which no seed sets anew and no state of a training
    holds; that of a CPU takes a fifteenth of a training step.
    """

    is_unrolled = False
    """Whether each layer runs step by step, without cuDNN, so that ``torch.vmap`` can take it."""

    def flatten_parameters(self) -> None:
        """Put the weights of every layer in one piece, as cuDNN wants them."""
        weights = self._flat_weights
        if len(weights) < len(self._flat_weights_names) or not all(
            isinstance(weight, Tensor) and torch.backends.cudnn.is_acceptable(weight)
            for weight in weights
        ):
            return
        width, mode = self.hidden_size, torch.backends.cudnn.rnn.get_cudnn_mode(self.mode)
        with torch.no_grad(), torch.cuda.device_of(weights[0]):
            for of_layer in self._by_layer():
                torch._cudnn_rnn_flatten_weight(
                    of_layer, len(of_layer), width, mode, width, 0, 1, True, False
                )

    def _by_layer(self) -> list[list[Tensor]]:
        # By name: what stands in for weights for the time of a call is not in _flat_weights.
        weights = [getattr(self, name) for name in self._flat_weights_names]
        count = len(weights) // self.num_layers
        return [weights[n * count :][:count] for n in range(self.num_layers)]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Map ``[B, S, D]`` to the output of the last layer, ``[B, S, D]``."""
        for n, weights in enumerate(self._by_layer()):
            if n and self.training:
                x = drop(x, self.dropout)
            if self.is_unrolled:
                x = lstm_layer(x, weights)
            else:
                zero = x.new_zeros(1, x.shape[0], self.hidden_size)  # as export can trace it
                state = zero, zero
                x = torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, True)[0]
        return x


def drop(x: Tensor, share: float) -> Tensor:
    """Dropout. On a CPU, numbers between 0 and 1 are drawn faster than those that are either."""
    if x.is_cuda or share in (0, 1):
        return functional.dropout(x, share)
    return x * (torch.rand_like(x) >= share).to(x.dtype).mul_(1 / (1 - share))


class LSTMCore(nn.Module):
    """Stacked LSTM layers with dropout between them.

    Their output is kept whole: the layer norm behind the core would see another variance in
    training than in a forecast. With dropout there, errors were higher on most records.
    """

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.width = width = config.hidden_size
        self.waits = False
        # PyTorch warns where there is no between.
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = Layers(width, width, config.num_layers, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, D]``, the output of the last step."""
        output: Tensor = self.lstm(x)[:, -1]
        return output
