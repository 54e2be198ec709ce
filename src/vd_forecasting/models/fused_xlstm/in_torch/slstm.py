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


def slstm_layer(layer: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of the cell of ``layer(x)``, ``[B, S, D]`` to ``[B, T, D]``, before dropout
    and norm; ``layer`` is an ``sLSTMLayer`` of the ``xlstm`` package, whose parameters are used."""
    cell, conv = layer.slstm_cell, layer.conv1d.conv
    # The package feeds the input gate by what it calls fgate, and vice versa.
    from_convolved = torch.cat([layer.fgate.weight, layer.igate.weight], 1)
    from_input = torch.cat([layer.zgate.weight, layer.ogate.weight], 1)
    bias = cell._bias_.view(4, cell.config.num_heads, -1).transpose(0, 1).flatten(1)
    weights = (conv.weight, conv.bias, from_convolved, from_input, cell._recurrent_kernel_, bias)
    output: Tensor = _SLSTM.apply(x, *weights, steps, torch.is_grad_enabled())
    return output


class _SLSTM(torch.autograd.Function):
    """From the normed stream to the output of the cell."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # [B, S, D]
        kernel: Tensor,  # [D, 1, K]
        kernel_bias: Tensor,  # [D]
        from_convolved: Tensor,  # [H, 2P, P]
        from_input: Tensor,  # [H, 2P, P]
        recurrent: Tensor,  # [H, 4P, P]
        bias: Tensor,  # [H, 4P]
        steps: int,
        keep: bool,  # states for the gradient
    ) -> Tensor:
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
        output: Tensor
        output, states = kernels.recur(early, late, recurrent, bias, steps, keep)
        ctx.save_for_backward(
            x, kernel, kernel_bias, from_convolved, from_input, recurrent, convolved, *states
        )
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, kernel_bias, from_convolved, from_input, recurrent, convolved, *states = (
            ctx.saved_tensors
        )
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
