"""Dropout and the norm of every head, as autograd functions on the kernels."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vd_forecasting.models.fused_xlstm.kernels import kernels_for


def drop(x: Tensor, dropout: Any) -> Tensor:
    """``dropout(x)`` with random numbers of its own, seeded by torch's generator.

    Nothing is kept for the gradient, which draws the same numbers again.
    """
    if not (dropout.training and dropout.p):
        return x
    output: Tensor = _Drop.apply(x, dropout.p, int(torch.randint(2**32, ())))
    return output


def normalize(x: Tensor, norm: Any, heads: int) -> Tensor:
    """The package's ``MultiHeadLayerNorm`` for ``[B, T, D]`` with the heads in D."""
    output: Tensor = _Normalize.apply(x, norm.weight_proxy, heads, norm.eps)
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
