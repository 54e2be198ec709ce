"""The mLSTM block as one function with a gradient, on the compiled kernels."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vd_forecasting.models.fused_xlstm.compiled import mlstm_kernels as kernels
from vd_forecasting.models.fused_xlstm.compiled.kernel import lanes_of
from vd_forecasting.models.fused_xlstm.compiled.sums import add_up, in_one
from vd_forecasting.models.fused_xlstm.compiled.threads import parts_of
from vd_forecasting.models.fused_xlstm.compiled.workspace import workspace


def mlstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``mLSTMBlock``: ``[B, S, D]`` to ``[B, T, D]``."""
    layer, norm = block.xlstm, block.xlstm_norm
    cell, conv = layer.mlstm_cell, layer.conv1d.conv
    dropout = layer.dropout
    share = dropout.p if dropout.training else 0.0
    seed = int(torch.randint(2**32, ())) if share else 0
    output: Tensor = _Block.apply(
        x, layer.proj_up.weight, layer.proj_down.weight, conv.weight, conv.bias,
        layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight, cell.igate.weight,
        cell.igate.bias, cell.fgate.weight, cell.fgate.bias, norm.weight, layer.learnable_skip,
        cell.outnorm.weight, cell.config.num_heads, steps, (norm.eps, cell.outnorm.eps),
        (share, seed),
    )  # fmt: skip
    return output


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, *given: Any) -> Tensor:
        *small, heads, steps, epsilons, drop = given
        x = x.contiguous()
        batch, length, width = x.shape
        inner = down.shape[1]
        lanes = lanes_of(math.gcd(width, inner // heads))
        sizes = kernels.Sizes(batch, length, steps, width, inner, heads)
        maps = x.new_empty(kernels.size_of_maps(inner, width))
        turned = torch.empty_like(up), torch.empty_like(down)
        kernels.lay_out(lanes, (1, 0), (*small, up, down, maps, *turned), (sizes,))
        parts = parts_of(batch)
        scratch = workspace(parts[0] * kernels.size_of_scratch(lanes, sizes, False))
        xs, zs = x.new_empty(batch, length, inner), x.new_empty(batch, steps, inner)
        gates, output = x.new_empty(batch, length, 8), x.new_empty(batch, steps, width)
        share, seed = drop
        numbers = (*map(np.float32, (*epsilons, share)), seed)
        tensors = (x, *turned, maps, scratch, xs, zs, gates, output)
        kernels.forward(lanes, parts, tensors, (sizes, *numbers))
        ctx.sizes, ctx.lanes, ctx.numbers = sizes, lanes, numbers
        ctx.save_for_backward(x, up, down, maps, xs, zs, gates, *small)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        x, up, down, maps, xs, zs, gates, *small = ctx.saved_tensors
        sizes = ctx.sizes
        lanes, parts = ctx.lanes, parts_of(sizes.batch)
        scratch = workspace(parts[0] * kernels.size_of_scratch(lanes, sizes, True))
        d_x = torch.empty_like(x)
        sums, gradients = in_one(parts[0], (up, down, maps))
        d_output = d_output.contiguous()
        tensors = (x, up, down, maps, scratch, xs, zs, gates, d_output, d_x, *gradients)
        kernels.backward(lanes, parts, tensors, (sizes, sums.shape[1], *ctx.numbers))
        add_up(sums)
        d_up, d_down, d_maps = gradients
        d_small = [torch.empty_like(weight) for weight in small]
        _, _, query, key, _, input_gate, _, forget_gate, *_ = small
        tensors = (query, key, input_gate, forget_gate, maps, d_maps, *d_small)
        kernels.lay_back(lanes, (1, 0), tensors, (sizes,))
        return d_x, d_up, d_down, *d_small, None, None, None, None
