"""The kernels of the fused layers in plain torch: any device and type, and the reference.

:mod:`.numba_kernels` has the same functions. Shapes: B windows, S steps, T output steps (the last
ones), H heads, P width of a head, I = HP; ``d_`` begins the gradient of what follows.
"""

import torch
from torch import Tensor
from torch.nn import functional


def _taps(kernel: Tensor, heads: int) -> Tensor:
    """``[I, 1, K]`` to ``[K, H, 1, 1, P]``."""
    return kernel.view(heads, -1, kernel.shape[-1]).permute(2, 0, 1)[:, :, None, None, :]


def _by_head(x: Tensor, heads: int) -> Tensor:
    """A view of ``[B, S, I]`` as ``[H, B, S, P]``."""
    return x.view(*x.shape[:2], heads, -1).permute(2, 0, 1, 3)


def _from_heads(x: Tensor) -> Tensor:
    """``[H, B, S, P]`` to ``[B, S, I]``, contiguous."""
    return x.permute(1, 2, 0, 3).flatten(2)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor, heads: int) -> Tensor:
    x, taps = _by_head(x, heads), _taps(kernel, heads)
    output = torch.addcmul(bias.view(heads, 1, 1, -1), x, taps[-1])
    for lag in range(1, min(len(taps), x.shape[2])):
        output[:, :, lag:].addcmul_(x[:, :, :-lag], taps[-1 - lag])
    return output


def convolve(x: Tensor, kernel: Tensor, bias: Tensor, heads: int) -> Tensor:
    """SiLU of a causal depthwise convolution of ``[B, S, I]``: ``[H, B, S, P]``, contiguous.

    ``kernel`` is ``[I, 1, K]``, as ``torch.nn.Conv1d`` has it, and ``bias`` ``[I]``.
    """
    return functional.silu(_convolve(x, kernel, bias, heads)).contiguous()


def convolve_backward(
    d_output: Tensor, d_direct: Tensor, x: Tensor, kernel: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``x`` (with ``d_direct``, ``[H, B, S, P]``, added), kernel and bias."""
    heads = len(d_output)
    d_total = torch.ops.aten.silu_backward(d_output, _convolve(x, kernel, bias, heads))
    x_heads, taps = _by_head(x, heads), _taps(kernel, heads)
    d_taps = torch.zeros_like(taps)
    d_x = torch.addcmul(d_direct, d_total, taps[-1])
    d_taps[-1] = (d_total * x_heads).sum((1, 2), keepdim=True)
    for lag in range(1, min(len(taps), x.shape[1])):
        d_x[:, :, :-lag].addcmul_(d_total[:, :, lag:], taps[-1 - lag])
        product = d_total[:, :, lag:] * x_heads[:, :, :-lag]
        d_taps[-1 - lag] = product.sum((1, 2), keepdim=True)
    d_kernel = d_taps.flatten(1).T.reshape(kernel.shape)
    return _from_heads(d_x), d_kernel, d_total.sum((1, 2)).flatten()


def attend(gates: Tensor, scores: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weigh the scores of an mLSTM by its gates: the parallel, stabilised form.

    ``gates`` are ``[B, S, 2, H]``, input and forget gates before their activation, and ``scores``
    ``[H, B, T, S]``, products of queries and keys, weighed in place; epsilon is added to the
    normaliser.

    Returns:
        The weights ``[H, B, T, S]``; the normaliser ``[H, B, T]``; the sign of the scores' sum
        where the normaliser is its size and 0 where it is its lower bound; and the step with the
        strongest weight, which sets the stabiliser.
    """
    steps, length = scores.shape[2:]
    input_gate, forget_gate = gates.permute(2, 3, 0, 1)  # [H, B, S]
    decay = functional.logsigmoid(forget_gate).cumsum(-1)
    exponent = (decay[..., -steps:].unsqueeze(-1) - decay.unsqueeze(-2)) + input_gate.unsqueeze(-2)
    future = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(length - steps + 1)
    stabilizer, strongest = exponent.masked_fill_(future, -torch.inf).max(-1)
    weights = exponent.sub_(stabilizer.unsqueeze(-1)).exp_()
    total = scores.mul_(weights).sum(-1)
    floor = torch.exp(-stabilizer)
    sign = torch.where(total.abs() >= floor, torch.where(total > 0, 1.0, -1.0), 0.0)
    return weights, torch.maximum(total.abs(), floor) + epsilon, sign.to(scores), strongest


def attend_backward(
    d_scores: Tensor, d_normalizer: Tensor, gates: Tensor, scores: Tensor, weights: Tensor,
    sign: Tensor, strongest: Tensor, epsilon: float,
) -> Tensor:  # fmt: skip
    """The gradient of the gates; ``d_scores`` becomes, in place, that of the scores unweighed."""
    steps = scores.shape[2]
    d_scores.add_((d_normalizer * sign).unsqueeze(-1))
    d_exponent = d_scores * scores
    d_scores.mul_(weights)
    # Without the epsilon, the stabiliser would cancel.
    d_stabilizer = d_normalizer * epsilon
    d_input = d_exponent.sum(-2).scatter_add_(-1, strongest, d_stabilizer)  # [H, B, S]
    d_decay = -d_input
    d_decay[..., -steps:] += d_exponent.sum(-1) + d_stabilizer
    d_forget = d_decay.flip(-1).cumsum(-1).flip(-1) * torch.sigmoid(-gates[:, :, 1].movedim(2, 0))
    return torch.stack([d_input, d_forget]).permute(2, 3, 0, 1).contiguous()


def _scale(hidden: Tensor, normalizer: Tensor, epsilon: float) -> Tensor:
    """One over the standard deviation of ``hidden / normalizer``, over ``normalizer``."""
    return torch.rsqrt(hidden.square().mean(-1) + epsilon * normalizer.square()).unsqueeze(-1)


def leave(
    hidden: Tensor, normalizer: Tensor, keys: Tensor, z: Tensor, weight: Tensor, skip: Tensor,
    epsilon: float,
) -> Tensor:  # fmt: skip
    """Normalise the mLSTM's state, add the skip connection and apply the output gate.

    Args:
        hidden: ``[H, B, T, P]``, with mean zero over P.
        normalizer: ``[H, B, T]``.
        keys: ``[H, B, S, P]``, of which the last T steps are skipped to here.
        z: ``[B, T, I]``, output gate before its activation; the output's shape.
        weight, skip: ``[I]``, of the norm, as is epsilon, and of the skip connection.
    """
    heads, _, steps, _ = hidden.shape
    weight, skip = weight.view(heads, 1, 1, -1), skip.view(heads, 1, 1, -1)
    value = hidden * _scale(hidden, normalizer, epsilon) * weight
    return _from_heads(value.addcmul_(keys[:, :, -steps:], skip)) * functional.silu(z)


def leave_backward(
    d_output: Tensor, hidden: Tensor, normalizer: Tensor, keys: Tensor, z: Tensor, weight: Tensor,
    skip: Tensor, epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of the six tensors that :func:`leave` takes, in its order."""
    heads, _, steps, width = hidden.shape
    weight, skip = weight.view(heads, 1, 1, -1), skip.view(heads, 1, 1, -1)
    late_keys = keys[:, :, -steps:]
    scale = _scale(hidden, normalizer, epsilon)
    normed = hidden * scale
    value = _from_heads(normed * weight + late_keys * skip)
    d_z = torch.ops.aten.silu_backward(d_output * value, z)
    d_value = _by_head(d_output * functional.silu(z), heads)
    d_keys = torch.zeros_like(keys)
    d_keys[:, :, -steps:] = d_value * skip
    d_normed = d_value * weight
    along = (d_normed * normed).sum(-1)
    d_hidden = scale * (d_normed - normed * along.unsqueeze(-1) / width)
    d_normalizer = -along * scale.squeeze(-1).square() * normalizer * epsilon
    d_weight, d_skip = (d_value * normed).sum((1, 2)), (d_value * late_keys).sum((1, 2))
    return d_hidden.contiguous(), d_normalizer, d_keys, d_z, d_weight.flatten(), d_skip.flatten()


def recur(
    early: Tensor, late: Tensor, recurrent: Tensor, bias: Tensor, steps: int, keep: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The sLSTM's recurrence from a state of zero.

    Args:
        early: ``[H, B, S, 2P]``, what input and forget gates get from the input.
        late: ``[H, B, S, 2P]``, what cell input and output gate get.
        recurrent: ``[H, 4P, P]``, what all four get from the output one step before.
        bias: ``[H, 4P]``.

    Returns:
        ``[B, T, I]`` and, where ``keep`` is true, what :func:`recur_backward` needs.
    """
    heads, batch, length, _ = early.shape
    width = recurrent.shape[2]
    given = torch.cat([early, late], -1).add_(bias[:, None, None])  # [H, B, S, 4P]
    y = cell = normalizer = stabilizer = early.new_zeros(heads, batch, width)
    states: list[tuple[Tensor, ...]] = []
    for s in range(length):
        raw = torch.baddbmm(given[:, :, s], y, recurrent.mT)
        raw_input, raw_forget, raw_cell, raw_output = raw.chunk(4, -1)
        kept = functional.logsigmoid(raw_forget) + stabilizer
        stabilizer = torch.maximum(raw_input, kept) if s else raw_input
        i, f = torch.exp(raw_input - stabilizer), torch.exp(kept - stabilizer)
        z, o = torch.tanh(raw_cell), torch.sigmoid(raw_output)
        # Before the first step there is nothing to keep.
        cell = f * cell + i * z if s else i * z
        normalizer = f * normalizer + i if s else i
        y = o * cell / normalizer
        states.append((i, f, z, o, torch.sigmoid(-raw_forget), normalizer, cell, y))
    output = torch.stack([state[-1] for state in states[-steps:]], 2)
    by_name = zip(*states, strict=True) if keep else ()
    return _from_heads(output), tuple(torch.stack(name) for name in by_name)


def recur_backward(
    d_output: Tensor, recurrent: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The gradient of the gates, ``[H, B, S, 4P]``, and the output one step before each."""
    length, heads = states[0].shape[:2]
    late = length - d_output.shape[1]
    d_output = _by_head(d_output, heads)
    before = [functional.pad(state[:-1], (0, 0, 0, 0, 0, 0, 1, 0)) for state in states[5:]]
    d_y = d_cell = d_normalizer = torch.zeros_like(states[0][0])
    d_gates = d_output.new_empty(*d_y.shape[:2], length, recurrent.shape[1])
    for s in range(length - 1, -1, -1):
        i, f, z, o, kept, n, _, y = (state[s] for state in states)
        n_before, c_before, _ = (state[s] for state in before)
        d_y = d_y + d_output[:, :, s - late] if s >= late else d_y
        d_cell = d_cell + d_y * o / n
        d_normalizer = d_normalizer - d_y * y / n
        d_input = i * (d_cell * z + d_normalizer)
        d_z, d_o = d_cell * i * (1 - z.square()), d_y * y * (1 - o)
        d_cell, d_normalizer = d_cell * f, d_normalizer * f
        d_forget = kept * (d_cell * c_before + d_normalizer * n_before)
        d_gates[:, :, s] = torch.cat([d_input, d_forget, d_z, d_o], -1)
        d_y = torch.bmm(d_gates[:, :, s], recurrent)
    return d_gates, before[2].permute(1, 2, 0, 3).contiguous()


def normalize(x: Tensor, weight: Tensor, heads: int, epsilon: float) -> Tensor:
    """Normalise every head of ``[B, T, I]`` over its channels; ``weight`` is ``[I]``."""
    normed = functional.layer_norm(x.unflatten(2, (heads, -1)), (x.shape[2] // heads,), eps=epsilon)
    return normed.flatten(2) * weight


def normalize_backward(
    d_output: Tensor, x: Tensor, weight: Tensor, heads: int, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The gradients of ``x`` and ``weight``."""
    x = x.unflatten(2, (heads, -1))
    normed, mean, scale = torch.native_layer_norm(x, x.shape[-1:], None, None, epsilon)
    d_normed = (d_output * weight).view_as(x)
    d_x = torch.ops.aten.native_layer_norm_backward(
        d_normed, x, x.shape[-1:], mean, scale, None, None, (True, False, False)
    )[0]
    return d_x.flatten(2), (d_output * normed.flatten(2)).sum((0, 1))


def drop(x: Tensor, share: float, seed: int) -> Tensor:
    """Dropout, of the same values wherever share, seed and shape are the same."""
    generator = torch.Generator(x.device).manual_seed(seed)
    kept = torch.empty_like(x).bernoulli_(1 - share, generator=generator)
    return x * kept.div_(1 - share)
