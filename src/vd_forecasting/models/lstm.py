"""The LSTM core: Hochreiter and Schmidhuber (1997), as PyTorch has it."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class LSTMConfig:
    """Size of the core."""

    hidden_size: int  # D, width of every layer
    num_layers: int
    dropout: float  # share of values dropped in training; a single layer drops none


class LSTMCore(nn.Module):
    """Stacked LSTM layers with dropout between them.

    Their output is kept whole: the layer norm behind the core would see another variance in
    training than in a forecast. With dropout there, errors were higher on most records.
    """

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.width = width = config.hidden_size
        # PyTorch warns where there is no between.
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.lstm = nn.LSTM(width, width, config.num_layers, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, D]``, the output of the last step."""
        output: Tensor = self.lstm(x)[0][:, -1]
        return output
