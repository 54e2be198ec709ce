"""The sLSTM block as one function with a gradient, on the compiled kernels."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vd_forecasting.models.fused_xlstm.compiled import slstm_kernels as kernels
from vd_forecasting.models.fused_xlstm.compiled.kernel import lanes_of
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
        *weights, steps, numbers, seeds, keep = given
        x = x.detach().contiguous()
        (conv, conv_bias, gate_bias, *norms, intake, forget, z, o, recurrent, up, down) = (
            weight.detach() for weight in weights
        )
        batch, length, width = x.shape
        heads, _, of_head = intake.shape
        sizes = kernels.Sizes(batch, length, steps, width, heads, down.shape[1])
        lanes, parts = lanes_of(math.gcd(of_head, sizes.feed)), parts_of(batch)
        early, late = torch.cat([intake, forget], 1), torch.cat([z, o], 1)  # [H, 2P, P]
        by_head = gate_bias.view(4, heads, of_head).transpose(0, 1).reshape(-1)
        scales = [1 + norm for norm in norms]
        vectors = torch.cat([conv.squeeze(1).T.reshape(-1), conv_bias, by_head, *scales])
        scratch = workspace(parts[0] * kernels.size_of_scratch(sizes, False))
        states = x.new_empty(kernels.STATES * x.numel() if keep else 0)
        middle, output = x.new_empty(batch, steps, width), x.new_empty(batch, steps, width)
        ups = x.new_empty(batch, steps, 2 * sizes.feed)
        numbers = (*map(kernels.f32, numbers), *seeds)
        laid_out = (of.mT.contiguous() for of in (early, late, recurrent, up, down))
        kernels.forward(
            lanes, parts, sizes, x, *laid_out, vectors, scratch, *numbers, states, middle, ups,
            output,
        )  # fmt: skip
        ctx.sizes, ctx.lanes, ctx.numbers, ctx.parts = sizes, lanes, numbers, parts
        ctx.save_for_backward(x, early, late, recurrent, up, down, vectors, states, middle, ups)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights, states, middle, ups = ctx.saved_tensors
        sizes, parts = ctx.sizes, ctx.parts
        heads, of_head, width = sizes.heads, sizes.width // sizes.heads, sizes.width
        scratch = workspace(parts[0] * kernels.size_of_scratch(sizes, True))
        d_x, sums = torch.empty_like(x), [x.new_zeros(parts[0], *of.shape) for of in weights]
        kernels.backward(
            ctx.lanes, parts, sizes, x, *weights, scratch, *ctx.numbers, states, middle,
            ups, d_output.contiguous(), d_x, *sums,
        )  # fmt: skip
        d_early, d_late, d_recurrent, d_up, d_down, d_vectors = (
            of.sum(0) if parts[0] > 1 else of[0] for of in sums
        )
        d_taps, d_conv_bias, d_by_head, *d_norms = d_vectors.split(
            [kernels.KERNEL * width, width, 4 * width, width, width, width]
        )
        d_gate_bias = d_by_head.view(heads, 4, of_head).transpose(0, 1).flatten()
        return (
            d_x, d_taps.view(-1, width).T.unsqueeze(1), d_conv_bias, d_gate_bias, *d_norms,
            *d_early.chunk(2, 1), *d_late.chunk(2, 1), d_recurrent, d_up, d_down,
            None, None, None, None,
        )  # fmt: skip
