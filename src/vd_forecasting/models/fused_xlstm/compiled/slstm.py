"""The sLSTM block as one function with a gradient, on the compiled kernels."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vd_forecasting.models.fused_xlstm.compiled import slstm_kernels as kernels
from vd_forecasting.models.fused_xlstm.compiled.kernel import lanes_of
from vd_forecasting.models.fused_xlstm.compiled.sums import add_up, in_one
from vd_forecasting.models.fused_xlstm.compiled.threads import parts_of
from vd_forecasting.models.fused_xlstm.compiled.workspace import workspace


def slstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``sLSTMBlock`` with the vanilla backend."""
    layer, feed = block.xlstm, block.ffn
    cell, conv = layer.slstm_cell, layer.conv1d.conv
    norms = block.xlstm_norm, layer.group_norm, block.ffn_norm
    shares = [of.p if of.training else 0.0 for of in (layer.dropout, feed.dropout)]
    seeds = torch.randint(2**32, (2,)).tolist() if any(shares) else [0, 0]
    output: Tensor = _Block.apply(
        x, conv.weight, conv.bias, cell._bias_, *(norm.weight for norm in norms),
        # The package feeds the input gate by what it calls fgate, and vice versa.
        layer.fgate.weight, layer.igate.weight, layer.zgate.weight, layer.ogate.weight,
        cell._recurrent_kernel_, feed.proj_up.weight, feed.proj_down.weight,
        steps, (*(norm.eps for norm in norms), *shares), seeds, torch.is_grad_enabled(),
    )  # fmt: skip
    return output


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        *parameters, steps, numbers, seeds, keep = given
        x = x.contiguous()
        vectors, weights = parameters[:6], parameters[6:]
        (batch, length, width), (heads, _, of_head) = x.shape, weights[0].shape
        sizes = kernels.Sizes(batch, length, steps, width, heads, weights[-1].shape[1])
        lanes, parts = lanes_of(math.gcd(of_head, sizes.feed)), parts_of(batch)
        laid_out = [
            x.new_empty(size)
            for size in (kernels.END * width, 2 * width * of_head, 2 * width * of_head,
                         *(weight.numel() for weight in weights[4:]))
        ]  # fmt: skip
        kernels.lay_out(lanes, (1, 0), (*parameters, *laid_out), (sizes,))
        vector, *turned = laid_out
        scratch = workspace(parts[0] * kernels.size_of_scratch(sizes, False))
        states = x.new_empty(kernels.STATES * x.numel() if keep else 0)
        middle, output = x.new_empty(batch, steps, width), x.new_empty(batch, steps, width)
        ups = x.new_empty(batch, steps, 2 * sizes.feed)
        numbers = (*map(np.float32, numbers), *seeds)
        tensors = (x, *turned, vector, scratch, states, middle, ups, output)
        kernels.forward(lanes, parts, tensors, (sizes, keep, *numbers))
        ctx.sizes, ctx.lanes, ctx.numbers, ctx.parts = sizes, lanes, numbers, parts
        ctx.save_for_backward(x, *vectors, *weights, vector, states, middle, ups)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters, vector, states, middle, ups = ctx.saved_tensors
        vectors, weights = parameters[:6], parameters[6:]
        sizes, lanes, parts = ctx.sizes, ctx.lanes, ctx.parts
        scratch = workspace(parts[0] * kernels.size_of_scratch(sizes, True))
        d_x = torch.empty_like(x)
        sums, gradients = in_one(parts[0], (*weights, vector))
        d_output = d_output.contiguous()
        tensors = (x, *weights, vector, scratch, states, middle, ups, d_output, d_x, *gradients)
        kernels.backward(lanes, parts, tensors, (sizes, sums.shape[1], *ctx.numbers))
        add_up(sums)
        *d_weights, d_vector = gradients
        d_vectors = [torch.empty_like(of) for of in vectors]
        kernels.lay_back(lanes, (1, 0), (d_vector, *d_vectors), (sizes,))
        return d_x, *d_vectors, *d_weights, None, None, None, None
