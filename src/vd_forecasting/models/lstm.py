"""The LSTM core: Hochreiter and Schmidhuber (1997), as PyTorch has it."""

from torch import Tensor, nn


class LSTMCore(nn.Module):
    """Stacked LSTM layers with dropout between them and on their output.

    Args:
        hidden_size: D, width of every layer.
        num_layers: layers on top of each other.
        dropout: share of values dropped in training.
    """

    def __init__(self, *, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.width = hidden_size
        # PyTorch drops between layers only, and warns where there is no between.
        between_layers = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            hidden_size, hidden_size, num_layers, dropout=between_layers, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, D]``, the output of the last step."""
        output: Tensor = self.dropout(self.lstm(x)[0][:, -1])
        return output
