"""The mLSTM layer in few operations, its gradient written by hand.

Shapes: B windows, S input steps, T output steps (the last ones), D width of the stream, I inner
width, H heads, P = I / H width of a head, K length of the convolution.

Tensors between the convolution and the output gate are head-major, ``[H, B, steps, P]``, so that
all products are batched ones of contiguous matrices. Three rewritings of Beck et al. (2024),
arXiv:2405.04517, section 2.3, leave the result as it is and save most of the work:

- Queries meet keys only in q·k = aᵀ(Wqᵀ Wk)a', so the activations a themselves are the keys, and
  one projection by Wqᵀ Wk makes the queries. The gates are linear in q, k and v, hence in a and x.
- The norm behind the cell subtracts the mean over a head's channels. The cell is linear in its
  values, so they are made with mean zero instead, by centring Wv.
- That norm also undoes any scale of a step, so the cell's normaliser need not divide; it is left
  only where the norm's epsilon sees it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vd_forecasting.models.fused_xlstm.in_torch import kernels
from vd_forecasting.models.fused_xlstm.in_torch.several import (
    apart,
    beside,
    keep_for_gradient,
    models_first,
)

NORMALIZER_EPSILON = 1e-6
"""Added to the normaliser, as in the package's mLSTM."""


def mlstm_layer(layer: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of the output of ``layer(x)``, ``[B, S, D]`` to ``[B, T, D]``, up to the
    dropout; ``layer`` is an ``mLSTMLayer`` of the ``xlstm`` package, whose parameters are used."""
    conv, norm = layer.conv1d.conv, layer.mlstm_cell.outnorm
    into_cell, into_gate = layer.proj_up.weight.chunk(2)
    x, z = functional.linear(x, into_cell), functional.linear(x[:, -steps:], into_gate)
    outside_cell = (norm.weight_proxy, layer.learnable_skip, norm.eps)
    hidden = _MLSTM.apply(x, z, conv.weight, conv.bias, *_maps(layer), *outside_cell)[0]
    return functional.linear(hidden, layer.proj_down.weight)


def _maps(layer: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The layer's projections, multiplied out and by head: activations to queries and inputs to
    centred values, ``[H, P, P]``; activations and inputs to gates, ``[H, P, 2H]``, input gates
    first; and the bias of the gates, ``[2H]``."""
    cell = layer.mlstm_cell
    heads: int = cell.config.num_heads
    queries, keys, values = layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight
    blocks, size, _ = queries.shape  # I = blocks * size
    width = blocks * size // heads

    def by_head(maps: Tensor) -> Tensor:  # [blocks, size, size] -> [H, P, P]
        maps = maps.view(heads, blocks // heads, size, size).permute(0, 2, 3, 1)
        return torch.diag_embed(maps, dim1=1, dim2=3).reshape(heads, width, width)

    query_map = by_head(torch.bmm(queries.mT, keys) * width**-0.5)
    value_map = by_head(values.mT)
    value_map = value_map - value_map.mean(2, keepdim=True)

    gates = torch.cat([cell.igate.weight, cell.fgate.weight])  # [2H, 3I]
    gates = gates.view(2 * heads, 3, blocks, size).permute(2, 0, 1, 3)  # [blocks, 2H, 3, size]
    from_keys = torch.bmm(
        gates[:, :, :2].reshape(blocks, 2 * heads, 2 * size), torch.cat([queries, keys], 1)
    )
    from_values = torch.bmm(gates[:, :, 2], values)
    key_gates, value_gates = (
        maps.mT.reshape(heads, width, 2 * heads) for maps in (from_keys, from_values)
    )
    gate_bias = torch.cat([cell.igate.bias, cell.fgate.bias])
    return query_map, value_map, key_gates, value_gates, gate_bias


def _by_model(x: Tensor, models: int) -> Tensor:
    """``[B, S, MI]`` as ``[M, BS, I]``."""
    return x.view(-1, models, x.shape[2] // models).transpose(0, 1)


class _MLSTM(torch.autograd.Function):
    """From the up-projection to the down-projection."""

    @staticmethod
    def forward(
        x: Tensor,  # [B, S, I]
        z: Tensor,  # [B, T, I]
        kernel: Tensor,  # [I, 1, K]
        bias: Tensor,  # [I]
        query_map: Tensor,  # [H, P, P]
        value_map: Tensor,  # [H, P, P]
        key_gates: Tensor,  # [H, P, 2H]; where there are M models, [MH, P, 2H]
        value_gates: Tensor,  # [H, P, 2H]
        gate_bias: Tensor,  # [2H]; [2MH]
        norm_weight: Tensor,  # [I]
        skip: Tensor,  # [I]
        epsilon: float,
    ) -> tuple[Tensor, ...]:
        """The output, and what only the gradient needs."""
        used_by_kernels = (x.contiguous(), z.contiguous(), kernel, bias, norm_weight, skip)
        x, z, kernel, bias, norm_weight, skip = (tensor.detach() for tensor in used_by_kernels)
        heads, width, num_gates = key_gates.shape
        models = 2 * heads // num_gates
        batch, length, _ = x.shape
        steps = z.shape[1]
        rows = batch * length

        keys = kernels.convolve(x, kernel, bias, heads)  # [H, B, S, P]
        key_rows = keys.view(heads, rows, width)
        x_rows = x.view(rows, heads, width).transpose(0, 1)  # [H, BS, P]
        late_keys = keys[:, :, -steps:].reshape(heads, batch * steps, width)
        queries = torch.bmm(late_keys, query_map).view(-1, steps, width)  # [HB, T, P]
        values = torch.bmm(x_rows, value_map).view(-1, length, width)  # [HB, S, P]
        gates = torch.bmm(key_rows, key_gates).view(models, -1, rows, num_gates).sum(1)
        gates.baddbmm_(_by_model(x, models), value_gates.view(models, -1, num_gates))
        gates.add_(gate_bias.view(models, 1, num_gates))
        gates = gates.view(models, batch, length, 2, -1).permute(1, 2, 3, 0, 4).flatten(3)

        scores = torch.bmm(queries, keys.flatten(0, 1).mT)  # [HB, T, S]
        weights, normalizer, sign, strongest = kernels.attend(
            gates, scores.view(heads, batch, steps, length), NORMALIZER_EPSILON
        )
        hidden = torch.bmm(scores, values).view(heads, batch, steps, width)
        output: Tensor = kernels.leave(hidden, normalizer, keys, z, norm_weight, skip, epsilon)
        return (
            output, keys, queries, values, gates, scores, weights, normalizer, sign, strongest,
            hidden,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        ctx.epsilon = inputs[-1]
        keep_for_gradient(ctx, (*inputs[:8], *inputs[9:11]), outputs)

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """Several models are one with the heads of all, whose gates mix those of a model."""
        x, z, *weights, epsilon = models_first(info, in_dims, inputs)
        flat = (weight.flatten(0, 1) for weight in weights)
        return apart(info, _MLSTM.apply(beside(x), beside(z), *flat, epsilon))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if d_output is None:
            return (None,) * len(ctx.needs_input_grad)
        (
            x, z, kernel, bias, query_map, value_map, key_gates, value_gates, norm_weight, skip,
            keys, queries, values, gates, scores, weights, normalizer, sign, strongest, hidden,
        ) = ctx.saved_tensors  # fmt: skip
        with torch.autocast(x.device.type, enabled=False):
            x, z = x.contiguous(), z.contiguous()
            heads, batch, length, width = keys.shape
            num_gates = key_gates.shape[2]
            models = 2 * heads // num_gates
            steps = z.shape[1]
            rows = batch * length
            x_rows = x.view(rows, heads, width).transpose(0, 1)
            key_rows = keys.view(heads, rows, width)
            late_keys = keys[:, :, -steps:].reshape(heads, batch * steps, width)

            d_hidden, d_normalizer, d_keys, d_z, d_norm_weight, d_skip = kernels.leave_backward(
                d_output.contiguous(), hidden, normalizer, keys, z, norm_weight, skip, ctx.epsilon
            )
            d_hidden = d_hidden.flatten(0, 1)
            d_scores = torch.bmm(d_hidden, values.mT)
            d_values = torch.bmm(scores.mT, d_hidden).view(heads, rows, width)
            by_head = (heads, batch, steps, length)
            d_gates = kernels.attend_backward(
                d_scores.view(by_head), d_normalizer, gates, scores.view(by_head), weights, sign,
                strongest, NORMALIZER_EPSILON,
            )  # fmt: skip
            d_gates = d_gates.view(rows, 2, models, -1).permute(2, 0, 1, 3).flatten(2)
            d_queries = torch.bmm(d_scores, keys.flatten(0, 1)).view(heads, batch * steps, width)
            d_keys.flatten(0, 1).baddbmm_(d_scores.mT, queries)
            d_late_keys = torch.bmm(d_queries, query_map.mT).view(heads, batch, steps, width)
            d_keys[:, :, -steps:].add_(d_late_keys)
            by_head = (models, heads // models, rows, num_gates)
            d_gates_by_head = d_gates.unsqueeze(1).expand(by_head).flatten(0, 1)
            d_keys.view(heads, rows, width).baddbmm_(d_gates_by_head, key_gates.mT)
            d_x = torch.bmm(d_values, value_map.mT).baddbmm_(d_gates_by_head, value_gates.mT)
            d_x, d_kernel, d_bias = kernels.convolve_backward(
                d_keys, d_x.view_as(keys), x, kernel, bias
            )
            d_value_gates = torch.bmm(_by_model(x, models).mT, d_gates).view_as(value_gates)
            return (
                d_x, d_z, d_kernel, d_bias, torch.bmm(late_keys.mT, d_queries),
                torch.bmm(x_rows.mT, d_values), torch.bmm(key_rows.mT, d_gates_by_head),
                d_value_gates, d_gates.sum(1).flatten(), d_norm_weight, d_skip, None,
            )  # fmt: skip
