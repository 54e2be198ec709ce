"""What lies between the products of the layers, and its gradients.

Shapes: B windows, S steps, T output steps (the last ones), H
heads, P width of a head, I = HP; ``d_`` begins the gradient of what follows.
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
    taps, size = _taps(kernel, heads), kernel.shape[-1]
    d_x = torch.addcmul(d_direct, d_total, taps[-1])
    for lag in range(1, min(size, x.shape[1])):
        d_x[:, :, :-lag].addcmul_(d_total[:, :, lag:], taps[-1 - lag])
    seen = functional.pad(_by_head(x, heads), (0, 0, size - 1, 0)).unfold(2, size, 1)
    d_kernel = (d_total.unsqueeze(-1) * seen).sum((1, 2)).reshape(kernel.shape)
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
    # Where all input gates are shut it may overflow; the output is zero either way.
    floor = torch.exp(-stabilizer).clamp_(max=torch.finfo(scores.dtype).max)
    size = total.abs()
    sign = total.sign() * (size >= floor)
    return weights, torch.maximum(size, floor).add_(epsilon), sign, strongest


def attend_backward(
    d_scores: Tensor, d_normalizer: Tensor, gates: Tensor, scores: Tensor, weights: Tensor,
    sign: Tensor, strongest: Tensor, epsilon: float,
) -> Tensor:  # fmt: skip
    """The gradient of the gates; ``d_scores`` becomes, in place, that of the scores unweighed."""
    steps = scores.shape[2]
    d_scores.add_((d_normalizer * sign).unsqueeze(-1))
    d_exponent = d_scores * scores
    d_scores.mul_(weights)
    # Without the epsilon, the stabiliser would cancel. Each target is added to once, so that a GPU
    # gives the same sum every time.
    d_stabilizer = (d_normalizer * epsilon).unsqueeze(-1)
    d_exponent.scatter_add_(-1, strongest.unsqueeze(-1), d_stabilizer)
    d_input = d_exponent.sum(-2)  # [H, B, S]
    d_decay = -d_input
    d_decay[..., -steps:] += d_exponent.sum(-1)
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

    Only the ratio r of cell and normaliser is used, which moves towards the cell input z by the
    share a that the input gate has in the normaliser, to r + a (z - r). The normaliser is kept as
    its logarithm, ``level``; a is the sigmoid of a difference. So a step has ten operations, and
    on a GPU their number is the time.

    Args:
        early: ``[H, B, S, 2P]``, what input and forget gates get from the input.
        late: ``[H, B, S, 2P]``, what cell input and output gate get.
        recurrent: ``[H, 4P, P]``, what all four get from the output one step before.
        bias: ``[H, 4P]``.

    Returns:
        ``[B, T, I]`` and, where ``keep`` is true, what :func:`recur_backward` needs.
    """
    heads, batch, length, _ = early.shape
    given = torch.cat([early, late], -1).add_(bias[:, None, None])  # [H, B, S, 4P]
    y = ratio = early.new_zeros(heads, batch, recurrent.shape[2])
    level = torch.full_like(y, -torch.inf)
    states: list[tuple[Tensor, ...]] = []
    for s in range(length):
        raw = torch.baddbmm(given[:, :, s], y, recurrent.mT)
        intake, forget, raw_z, raw_output = raw.chunk(4, -1)
        kept = functional.logsigmoid(forget) + level
        level = torch.logaddexp(intake, kept)
        share = torch.sigmoid(intake - kept)
        z, o = torch.tanh(raw_z), torch.sigmoid(raw_output)
        ratio = torch.lerp(ratio, z, share)
        y = o * ratio
        states.append((share, forget, z, o, ratio, y))
    output = torch.stack([state[-1] for state in states[-steps:]], 2)
    by_name = zip(*states, strict=True) if keep else ()
    return _from_heads(output), tuple(torch.stack(name, 2) for name in by_name)  # [H, B, S, P]


def recur_backward(
    d_output: Tensor, recurrent: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The gradient of the gates, ``[H, B, S, 4P]``, and the output one step before each.

    All that does not depend on a later step is computed before the loop; in it, what one operation
    can do lies side by side.
    """
    share, forget, z, o, ratio, y = states
    heads, batch, length, width = y.shape
    ratio_before, y_before = (functional.pad(x[:, :, :-1], (0, 0, 1, 0)) for x in (ratio, y))
    kept_share = 1 - share
    of_share = share * kept_share * (z - ratio_before)
    # By what a step multiplies the gradients of its ratio, and of its output and the level before.
    by_ratio = torch.stack([share * (1 - z.square()), kept_share, -of_share, of_share], 3)
    by_others = torch.stack([o * (1 - o) * ratio, torch.sigmoid(-forget)], 3)
    shares = torch.stack([kept_share, share], 3)
    # Gradients of the output; the level before; input, output and forget gate and z; the ratio
    # before; and of that of the share, less and more of it for the level and the input gate.
    d_all = y.new_zeros(heads, batch, length + 1, 9, width)
    d_all[:, :, length - d_output.shape[1] : length, 0] = _by_head(d_output, heads)
    d_gates = d_all[:, :, :, 2:6].flatten(3)
    intake, forget_rows, z_rows, o_rows = recurrent.chunk(4, 1)
    recurrent = torch.cat([intake, o_rows, forget_rows, z_rows], 1)  # as the gates lie in d_all
    for s in range(length - 1, -1, -1):
        d, d_later = d_all[:, :, s], d_all[:, :, s + 1]  # [H, B, 9, P]
        d[:, :, 0].baddbmm_(d_gates[:, :, s + 1], recurrent)
        d_ratio = torch.addcmul(d_later[:, :, 6], d[:, :, 0], o[:, :, s])
        torch.mul(d_ratio.unsqueeze(2), by_ratio[:, :, s], out=d[:, :, 5:])
        torch.addcmul(d[:, :, 7:], shares[:, :, s], d_later[:, :, 1:2], out=d[:, :, 1:3])
        torch.mul(d[:, :, :2], by_others[:, :, s], out=d[:, :, 3:5])
    d_intake, d_o, d_forget, d_z = d_all[:, :, :-1, 2:6].unbind(3)
    return torch.cat([d_intake, d_forget, d_z, d_o], -1), y_before
