"""The xLSTM core: Beck et al. (2024), arXiv:2405.04517, as in the authors' ``xlstm`` package."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

NUM_HEADS = 4
CONV_KERNEL_SIZE = 4
SLSTM_BACKENDS = ("fused", "vanilla", "cuda")
MLSTM_BACKENDS = ("fused", "vanilla")

BlockFunction = Callable[[nn.Module, Tensor, int], Tensor]
"""A block, its input ``[B, S, D]`` and a number T to the last T steps of its output."""


@dataclass(frozen=True)
class XLSTMConfig:
    """Size and backends of the core."""

    embedding_dim: int
    """D, a multiple of 4 (the number of heads), at least 8."""
    num_blocks: int
    slstm_at: Sequence[int]
    """Blocks, counted from 0, that are sLSTM; the others are mLSTM."""
    slstm_backend: str
    """``fused``, this project's own and fast on a CPU; ``vanilla``, the package's; or ``cuda``, the
    package's on a GPU with a CUDA compiler."""
    mlstm_backend: str
    """``fused`` or ``vanilla``. Fused and vanilla share their weights."""
    dropout: float
    """Share of values dropped in training, in every block."""
    context_length: int
    """Longest window the mLSTM blocks take."""


class XLSTMCore(nn.Module):
    """A stack of residual blocks, each an sLSTM or an mLSTM.

    The ``xlstm`` package is imported here and nowhere else, so an LSTM is built without it.

    Raises:
        ImportError: the ``xlstm`` package is not installed.
        ValueError: a backend is not known.
    """

    def __init__(self, config: XLSTMConfig) -> None:
        super().__init__()
        try:
            from xlstm import (  # noqa: PLC0415
                FeedForwardConfig,
                mLSTMBlock,
                mLSTMBlockConfig,
                mLSTMLayerConfig,
                sLSTMBlock,
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
        for cell, backend, known in (
            ("slstm", config.slstm_backend, SLSTM_BACKENDS),
            ("mlstm", config.mlstm_backend, MLSTM_BACKENDS),
        ):
            if backend not in known:
                raise ValueError(f"{cell}_backend {backend!r} is not known; there are {known}")
        self.width = config.embedding_dim
        self.stack = xLSTMBlockStack(
            xLSTMBlockStackConfig(
                mlstm_block=mLSTMBlockConfig(
                    mlstm=mLSTMLayerConfig(num_heads=NUM_HEADS, conv1d_kernel_size=CONV_KERNEL_SIZE)
                ),
                slstm_block=sLSTMBlockConfig(
                    slstm=sLSTMLayerConfig(
                        backend=config.slstm_backend.replace("fused", "vanilla"),
                        num_heads=NUM_HEADS,
                        conv1d_kernel_size=CONV_KERNEL_SIZE,
                    ),
                    # The stack hands its dropout to the cells, but not to the feed-forward part.
                    feedforward=FeedForwardConfig(dropout=config.dropout),
                ),
                context_length=config.context_length,
                num_blocks=config.num_blocks,
                embedding_dim=config.embedding_dim,
                slstm_at=list(config.slstm_at),
                dropout=config.dropout,
            )
        )

        self.block_functions: dict[type[nn.Module], BlockFunction] = {
            sLSTMBlock: _package_block,
            mLSTMBlock: _package_block,
        }
        if "fused" in (config.slstm_backend, config.mlstm_backend):
            # Here, because numba takes its time to import.
            from vd_forecasting.models.fused_xlstm import (  # noqa: PLC0415
                mlstm_block,
                slstm_block,
            )

            if config.slstm_backend == "fused":
                self.block_functions[sLSTMBlock] = slstm_block
            if config.mlstm_backend == "fused":
                self.block_functions[mLSTMBlock] = mlstm_block

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, S, D]`` to ``[B, D]``, the output of the last step."""
        last = len(self.stack.blocks) - 1
        for index, block in enumerate(self.stack.blocks):
            steps = 1 if index == last else x.shape[1]
            x = self.block_functions[type(block)](block, x, steps)
        output: Tensor = self.stack.post_blocks_norm(x[:, -1])
        return output


def _package_block(block: nn.Module, x: Tensor, steps: int) -> Tensor:
    output: Tensor = block(x)[:, -steps:]
    return output
