"""xLSTM blocks, run by the package itself or fused."""

import torch
from torch import Tensor, nn
from xlstm import (
    FeedForwardConfig,
    mLSTMBlockConfig,
    mLSTMLayerConfig,
    sLSTMBlockConfig,
    sLSTMLayerConfig,
)
from xlstm.blocks.mlstm.block import mLSTMBlock
from xlstm.blocks.slstm.block import sLSTMBlock

from vd_forecasting.models.fused_xlstm import mlstm_block, slstm_block

FUSED = {"mlstm": mlstm_block, "slstm": slstm_block}
KINDS = list(FUSED)
LONGEST = 256


def make_block(
    kind: str,
    width: int = 32,
    heads: int = 4,
    dropout: float = 0.0,
    seed: int = 0,
    convolved: int = 4,
) -> nn.Module:
    """With all weights away from their initial values, many of which are zero."""
    torch.manual_seed(seed)
    block: nn.Module
    if kind == "mlstm":
        layer = mLSTMLayerConfig(
            embedding_dim=width,
            num_heads=heads,
            dropout=dropout,
            context_length=LONGEST,
            conv1d_kernel_size=convolved,
        )
        block = mLSTMBlock(mLSTMBlockConfig(mlstm=layer, _num_blocks=2, _block_idx=1))
    else:
        layer = sLSTMLayerConfig(
            embedding_dim=width,
            num_heads=heads,
            dropout=dropout,
            backend="vanilla",
            conv1d_kernel_size=convolved,
        )
        feedforward = FeedForwardConfig(dropout=dropout)
        block = sLSTMBlock(
            sLSTMBlockConfig(slstm=layer, feedforward=feedforward, _num_blocks=2, _block_idx=1)
        )
    with torch.no_grad():
        for parameter in block.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 1
            parameter.add_(torch.randn_like(parameter), alpha=0.3 / fan_in**0.5)
    return block


def run(
    block: nn.Module, kind: str | None, x: Tensor, weight: Tensor, autocast: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and gradients, of the package's own forward pass where ``kind`` is None."""
    steps = weight.shape[1]
    x = x.clone().requires_grad_()
    block.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = block(x)[:, -steps:] if kind is None else FUSED[kind](block, x, steps)
        (output * weight).sum().backward()
    assert x.grad is not None
    gradients = {"x": x.grad}
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        gradients[name] = parameter.grad.clone()
    return output.detach(), gradients


def error(actual: Tensor, expected: Tensor, floor: float = 0.0) -> float:
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=floor))
