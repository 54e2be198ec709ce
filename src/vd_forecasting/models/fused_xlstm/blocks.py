"""Blocks as the ``xlstm`` package composes them: residual branches of normed input.

Both compute in the type of their weights, also where autocast would take a shorter one. Their
dropout and the norm of every head are autograd functions on the kernels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vd_forecasting.models.fused_xlstm import torch_kernels
from vd_forecasting.models.fused_xlstm.kernels import kernels_for
from vd_forecasting.models.fused_xlstm.mlstm import mlstm_layer
from vd_forecasting.models.fused_xlstm.slstm import slstm_layer


def mlstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``mLSTMBlock``: ``[B, S, D]`` to ``[B, T, D]``."""
    layer = block.xlstm
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(layer.proj_up.weight.dtype)
        return x[:, -steps:] + drop(mlstm_layer(layer, block.xlstm_norm(x), steps), layer.dropout)


def slstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``sLSTMBlock`` with the vanilla backend."""
    layer, feedforward = block.xlstm, block.ffn
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(layer.fgate.weight.dtype)
        y = drop(slstm_layer(layer, block.xlstm_norm(x), steps), layer.dropout)
        x = x[:, -steps:] + normalize(y, layer.group_norm, layer.config.num_heads)
        gate, up = feedforward.proj_up(block.ffn_norm(x)).chunk(2, dim=-1)
        return x + drop(feedforward.proj_down(functional.gelu(gate) * up), feedforward.dropout)


def drop(x: Tensor, dropout: Any) -> Tensor:
    """``dropout(x)``; compiled, it has random numbers of its own, seeded by torch's generator.

    Nothing is then kept for the gradient, which draws the same numbers again.
    """
    if not (dropout.training and dropout.p):
        return x
    if kernels_for(x) is torch_kernels:
        return functional.dropout(x, dropout.p)
    output: Tensor = _Drop.apply(x, dropout.p, int(torch.randint(2**32, ())))
    return output


def normalize(x: Tensor, norm: Any, heads: int) -> Tensor:
    """The package's ``MultiHeadLayerNorm`` for ``[B, T, D]`` with the heads in D."""
    if kernels_for(x) is torch_kernels:
        by_head = x.unflatten(2, (heads, -1))
        normed = functional.layer_norm(by_head, by_head.shape[3:], eps=norm.eps).flatten(2)
        output: Tensor = normed * norm.weight_proxy
        return output
    output = _Normalize.apply(x, norm.weight_proxy, heads, norm.eps)
    return output


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float, seed: int) -> Tensor:
        ctx.share, ctx.seed = share, seed
        output: Tensor = kernels_for(x).drop(x.detach().contiguous(), share, seed)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, None, None]:
        return kernels_for(d_output).drop(d_output.contiguous(), ctx.share, ctx.seed), None, None


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, heads: int, epsilon: float) -> Tensor:
        x, weight = x.detach().contiguous(), weight.detach()
        ctx.heads, ctx.epsilon = heads, epsilon
        ctx.save_for_backward(x, weight)
        output: Tensor = kernels_for(x).normalize(x, weight, heads, epsilon)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        d_x, d_weight = kernels_for(x).normalize_backward(
            d_output.contiguous(), x, weight, ctx.heads, ctx.epsilon
        )
        return d_x, d_weight, None, None
