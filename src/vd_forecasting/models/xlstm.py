"""The xLSTM core: Beck et al. (2024), arXiv:2405.04517, as in the authors' ``xlstm`` package."""

from collections.abc import Sequence

from torch import Tensor, nn

NUM_HEADS = 4
CONV_KERNEL_SIZE = 4


class XLSTMCore(nn.Module):
    """A stack of residual blocks, each an sLSTM or an mLSTM.

    The ``xlstm`` package is imported here and nowhere else, so an LSTM is built without it.

    Args:
        embedding_dim: D, a multiple of 4 (the number of heads), at least 8.
        num_blocks: blocks on top of each other.
        slstm_at: which blocks, counted from 0, are sLSTM; the others are mLSTM.
        slstm_backend: ``vanilla``, or ``cuda`` on a GPU with a CUDA compiler.
        mlstm_backend: ``vanilla``.
        dropout: share of values dropped in training, in every block.
        context_length: longest window the mLSTM blocks take.

    Raises:
        ImportError: the ``xlstm`` package is not installed.
    """

    def __init__(
        self,
        *,
        embedding_dim: int,
        num_blocks: int,
        slstm_at: Sequence[int],
        slstm_backend: str,
        mlstm_backend: str,
        dropout: float,
        context_length: int,
    ) -> None:
        super().__init__()
        try:
            from xlstm import (  # noqa: PLC0415
                FeedForwardConfig,
                mLSTMBlockConfig,
                mLSTMLayerConfig,
                sLSTMBlockConfig,
                sLSTMLayerConfig,
                xLSTMBlockStack,
                xLSTMBlockStackConfig,
            )
        except ImportError as error:
            raise ImportError(
                f"an xLSTM needs the xlstm package, which cannot be imported ({error}): "
                "pip install xlstm==2.0.6"
            ) from error
        if mlstm_backend != "vanilla":
            raise ValueError(f"mlstm_backend {mlstm_backend!r} is not known; there is 'vanilla'")
        self.width = embedding_dim
        self.stack = xLSTMBlockStack(
            xLSTMBlockStackConfig(
                mlstm_block=mLSTMBlockConfig(
                    mlstm=mLSTMLayerConfig(num_heads=NUM_HEADS, conv1d_kernel_size=CONV_KERNEL_SIZE)
                ),
                slstm_block=sLSTMBlockConfig(
                    slstm=sLSTMLayerConfig(
                        backend=slstm_backend,
                        num_heads=NUM_HEADS,
                        conv1d_kernel_size=CONV_KERNEL_SIZE,
                    ),
                    # The stack hands its dropout to the cells, but not to the feed-forward part.
                    feedforward=FeedForwardConfig(dropout=dropout),
                ),
                context_length=context_length,
                num_blocks=num_blocks,
                embedding_dim=embedding_dim,
                slstm_at=list(slstm_at),
                dropout=dropout,
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, S, D]``."""
        output: Tensor = self.stack(x)
        return output
