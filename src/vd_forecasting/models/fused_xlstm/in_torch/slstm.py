"""The sLSTM layer in few operations, its gradient written by hand.

Shapes: B windows, S input steps, T output steps (the last ones), D width, H heads, P = D / H width
of a head. Gates are in the package's order: input, forget, cell input (z), output.

The recurrence is that of Beck et al. (2024), arXiv:2405.04517, equations 8 to 17. Cell and
normaliser share the factor exp(-m) of the stabiliser m and only their ratio is used, so m is a
constant for the gradient.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vd_forecasting.models.fused_xlstm.in_torch import kernels
from vd_forecasting.models.fused_xlstm.in_torch.several import (
    apart,
    beside,
    keep_for_gradient,
    models_first,
)


def slstm_layer(layer: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of the cell of ``layer(x)``, ``[B, S, D]`` to ``[B, T, D]``, before dropout
    and norm; ``layer`` is an ``sLSTMLayer`` of the ``xlstm`` package, whose parameters are used."""
    cell, conv = layer.slstm_cell, layer.conv1d.conv
    # The package feeds the input gate by what it calls fgate, and vice versa.
    from_convolved = torch.cat([layer.fgate.weight, layer.igate.weight], 1)
    from_input = torch.cat([layer.zgate.weight, layer.ogate.weight], 1)
    bias = cell._bias_.view(4, cell.config.num_heads, -1).transpose(0, 1).flatten(1)
    weights = (conv.weight, conv.bias, from_convolved, from_input, cell._recurrent_kernel_, bias)
    output: Tensor = _SLSTM.apply(x, *weights, steps, torch.is_grad_enabled())[0]
    return output


class _SLSTM(torch.autograd.Function):
    """From the normed stream to the output of the cell."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, S, D]
        kernel: Tensor,  # [D, 1, K]
        kernel_bias: Tensor,  # [D]
        from_convolved: Tensor,  # [H, 2P, P]
        from_input: Tensor,  # [H, 2P, P]
        recurrent: Tensor,  # [H, 4P, P]
        bias: Tensor,  # [H, 4P]
        steps: int,
        keep: bool,  # states for the gradient
    ) -> tuple[Tensor, ...]:
        """The output, and what only the gradient needs."""
        used_by_kernels = (x.contiguous(), kernel, kernel_bias, recurrent, bias)
        x, kernel, kernel_bias, recurrent, bias = (tensor.detach() for tensor in used_by_kernels)
        batch, length, _ = x.shape
        heads, _, width = from_input.shape
        rows = batch * length
        by_head = (heads, batch, length, 2 * width)

        convolved = kernels.convolve(x, kernel, kernel_bias, heads)  # [H, B, S, P]
        x_rows = x.view(rows, heads, width).transpose(0, 1)  # [H, BS, P]
        early = torch.bmm(convolved.view(heads, rows, width), from_convolved.mT).view(by_head)
        late = torch.bmm(x_rows, from_input.mT).view(by_head)
        output, states = kernels.recur(early, late, recurrent, bias, steps, keep)
        return (output, convolved, *states) if keep else (output,)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        keep_for_gradient(ctx, inputs[:6], outputs)

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """Several models are one with the heads of all, as heads have nothing in common."""
        x, *weights, steps, keep = models_first(info, in_dims, inputs)
        outputs = _SLSTM.apply(beside(x), *(of.flatten(0, 1) for of in weights), steps, keep)
        return apart(info, outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if d_output is None:
            return (None,) * len(ctx.needs_input_grad)
        x, kernel, kernel_bias, from_convolved, from_input, recurrent, convolved, *states = (
            ctx.saved_tensors
        )
        x = x.contiguous()
        with torch.autocast(x.device.type, enabled=False):
            heads, batch, length, width = convolved.shape
            rows = batch * length
            x_rows = x.view(rows, heads, width).transpose(0, 1)
            convolved_rows = convolved.view(heads, rows, width)

            d_gates, before = kernels.recur_backward(d_output.contiguous(), recurrent, states)
            d_gates, before = d_gates.view(heads, rows, -1), before.view(heads, rows, width)
            d_early, d_late = d_gates.chunk(2, dim=2)  # [H, BS, 2P]
            d_convolved = torch.bmm(d_early, from_convolved).view_as(convolved)
            d_direct = torch.bmm(d_late, from_input).view_as(convolved)
            return (
                *kernels.convolve_backward(d_convolved, d_direct, x, kernel, kernel_bias),
                torch.bmm(d_early.mT, convolved_rows), torch.bmm(d_late.mT, x_rows),
                torch.bmm(d_gates.mT, before), d_gates.sum(1), None, None,
            )  # fmt: skip
