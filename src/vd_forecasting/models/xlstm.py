"""The xLSTM core: Beck et al. (2024), arXiv:2405.04517, as in the authors' ``xlstm`` package."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

NUM_HEADS = 4
CONV_KERNEL_SIZE = 4
BACKENDS = {"slstm": ("fused", "vanilla", "cuda"), "mlstm": ("fused", "vanilla")}

BlockFunction = Callable[[nn.Module, Tensor, int], Tensor]
"""A block, its input ``[B, S, D]`` and a number T to the last T steps of its output."""


@dataclass(frozen=True)
class XLSTMConfig:
    """Size and backends of the core."""

    embedding_dim: int  # D, a multiple of 4 (the number of heads), at least 8
    num_blocks: int
    slstm_at: Sequence[int]  # blocks, counted from 0, that are sLSTM; the others are mLSTM
    slstm_backend: str
    """``fused``, this project's own and fast on a CPU; ``vanilla``, the package's; or ``cuda``, the
    package's on a GPU with a CUDA compiler."""
    mlstm_backend: str
    """``fused`` or ``vanilla``. Fused and vanilla share their weights."""
    dropout: float  # share of values dropped in training, in every block
    context_length: int  # longest window the mLSTM blocks take


class XLSTMCore(nn.Module):
    """A stack of residual blocks, each an sLSTM or an mLSTM.

    The ``xlstm`` package is imported here and nowhere else, so an LSTM is built without it.
    """

    def __init__(self, config: XLSTMConfig) -> None:
        super().__init__()
        try:
            import xlstm  # noqa: PLC0415
        except ImportError as error:
            raise ImportError(
                f"an xLSTM needs the xlstm package, which cannot be imported ({error}): "
                "pip install xlstm==2.0.6"
            ) from error
        for cell, known in BACKENDS.items():
            if (backend := getattr(config, f"{cell}_backend")) not in known:
                raise ValueError(f"{cell}_backend {backend!r} is not known; there are {known}")
        sizes = {"num_heads": NUM_HEADS, "conv1d_kernel_size": CONV_KERNEL_SIZE}
        mlstm = xlstm.mLSTMLayerConfig(**sizes)
        slstm_backend = config.slstm_backend.replace("fused", "vanilla")
        slstm = xlstm.sLSTMLayerConfig(backend=slstm_backend, **sizes)
        # The stack hands its dropout to the cells, but not to the feed-forward part.
        feedforward = xlstm.FeedForwardConfig(dropout=config.dropout)
        self.width = config.embedding_dim
        self.waits = config.slstm_backend != "fused" and len(config.slstm_at) > 0
        self.stack = xlstm.xLSTMBlockStack(
            xlstm.xLSTMBlockStackConfig(
                mlstm_block=xlstm.mLSTMBlockConfig(mlstm=mlstm),
                slstm_block=xlstm.sLSTMBlockConfig(slstm=slstm, feedforward=feedforward),
                context_length=config.context_length,
                num_blocks=config.num_blocks,
                embedding_dim=config.embedding_dim,
                slstm_at=list(config.slstm_at),
                dropout=config.dropout,
            )
        )
        self.block_functions: dict[type[nn.Module], BlockFunction]
        self.block_functions = dict.fromkeys((xlstm.sLSTMBlock, xlstm.mLSTMBlock), _package_block)
        if "fused" in (config.slstm_backend, config.mlstm_backend):
            from vd_forecasting.models import fused_xlstm  # noqa: PLC0415  numba is slow to import

            if config.slstm_backend == "fused":
                self.block_functions[xlstm.sLSTMBlock] = fused_xlstm.slstm_block
            if config.mlstm_backend == "fused":
                self.block_functions[xlstm.mLSTMBlock] = fused_xlstm.mlstm_block

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
