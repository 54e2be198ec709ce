"""An LSTM layer step by step, of one model or, by ``torch.vmap``, of several at once.

For a single model cuDNN is faster; it takes no several models. Shapes: M models, B windows, S
steps, D width; gates are in the order of PyTorch: input, forget, cell input (g), output.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def lstm_layer(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """A layer of ``torch.nn.LSTM`` from a state of zero, ``[B, S, D]`` to ``[B, S, D]``.

    The weights are those of the layer, in its order.
    """
    input_weight, recurrent, input_bias, recurrent_bias = weights
    given = functional.linear(x, input_weight, input_bias + recurrent_bias)
    output: Tensor = _Recurrence.apply(given.unsqueeze(0), recurrent.unsqueeze(0))[0]
    return output.squeeze(0)


class _Recurrence(torch.autograd.Function):
    """From what the gates get from the input, ``[M, B, S, 4D]``, to outputs, ``[M, B, S, D]``."""

    @staticmethod
    def forward(given: Tensor, recurrent: Tensor) -> tuple[Tensor, ...]:
        """The output, gates after activation ``[M, B, S, 4D]`` and the cell ``[M, B, S, D]``."""
        y = cell = given.new_zeros(*given.shape[:2], recurrent.shape[2])
        states = []
        for s in range(given.shape[2]):
            gates = torch.baddbmm(given[:, :, s], y, recurrent.mT)
            i, f, g, o = gates.chunk(4, -1)
            gates[..., : 2 * y.shape[-1]].sigmoid_()
            cell = torch.addcmul(f * cell, i, g.tanh_())
            y = o.sigmoid_() * torch.tanh(cell)
            states.append((y, gates, cell))
        return tuple(torch.stack(of_steps, 2) for of_steps in zip(*states, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[1], *outputs)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, int], given: Tensor, recurrent: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Models of models are models."""
        inputs = (of.movedim(dim, 0) for of, dim in zip((given, recurrent), in_dims, strict=True))
        outputs = _Recurrence.apply(*(of.flatten(0, 1) for of in inputs))
        return tuple(of.unflatten(0, (info.batch_size, -1)) for of in outputs), (0, 0, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """All that does not depend on a later step is computed before the loop."""
        if d_output is None:
            return None, None
        recurrent, y, gates, cell = ctx.saved_tensors
        models, batch, length, width = y.shape
        i, f, g, o = gates.chunk(4, -1)
        y_before, before = (functional.pad(of[:, :, :-1], (0, 0, 1, 0)) for of in (y, cell))
        squashed = torch.tanh(cell)
        # By what a step multiplies the gradients of its output and of its cell.
        to_cell, to_o = o * (1 - squashed.square()), squashed * o * (1 - o)
        by_cell = torch.stack([f, g * i * (1 - i), before * f * (1 - f), i * (1 - g.square())], 3)
        # Gradients of the output; the cell before; the gates in their order.
        d_all = y.new_zeros(models, batch, length + 1, 6, width)
        d_all[:, :, :length, 0] = d_output
        d_gates = d_all[:, :, :, 2:].flatten(3)
        for s in range(length - 1, -1, -1):
            d, d_later = d_all[:, :, s], d_all[:, :, s + 1]  # [M, B, 6, D]
            d[:, :, 0].baddbmm_(d_gates[:, :, s + 1], recurrent)
            d_cell = torch.addcmul(d_later[:, :, 1], d[:, :, 0], to_cell[:, :, s])
            torch.mul(d_cell.unsqueeze(2), by_cell[:, :, s], out=d[:, :, 1:5])
            torch.mul(d[:, :, 0], to_o[:, :, s], out=d[:, :, 5])
        d_given = d_gates[:, :, :length].contiguous()
        rows = d_given.flatten(1, 2)
        return d_given, torch.bmm(rows.mT, y_before.flatten(1, 2))
