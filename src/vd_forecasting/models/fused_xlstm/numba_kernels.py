"""The kernels of :mod:`.torch_kernels`, compiled by numba: float32 on a CPU.

Every kernel walks over windows and heads, so that what it works on stays in the processor's first
cache, and reads and writes main memory once. The inner loops run over a head's channels, which the
compiler turns into vector instructions. A kernel does one part of the windows or heads; the parts
are done on as many threads, and what they add up is kept apart until all are done, so that the same
number of threads gives the same numbers. Numba keeps the compiled code beside this file.
"""

import math
from types import FunctionType
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

from vd_forecasting.models.fused_xlstm.threads import in_parts, parts_of

f32 = np.float32
i32 = np.int32
u32 = np.uint32

# Sums may be reordered, and a*b + c rounded once. NaN and infinity keep their meaning.
OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
    "nogil": True,
    "cache": True,
}
# Only called by compiled code, which is kept with it.
OF_A_PART = OPTIONS | {"cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

ONE, HALF = f32(1), f32(0.5)
LOWEST, HIGHEST = f32(-87), f32(88)
LOG2_E = f32(1.4426950408889634)
# ln 2 in two parts, the first short enough that its multiples are exact.
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)
# exp(r) = 1 + r + r² (...), |r| <= ln(2)/2: the minimax polynomial of Cephes' expf.
E0, E1, E2 = f32(1.9875691500e-4), f32(1.3981999507e-3), f32(8.3334519073e-3)
E3, E4, E5 = f32(4.1665795894e-2), f32(1.6666665459e-1), f32(5.0000001201e-1)
T0, T1, T2 = f32(-5.70498872745e-3), f32(2.06390887954e-2), f32(-5.37397155531e-2)
T3, T4 = f32(1.33314422036e-1), f32(-3.33332819422e-1)
L3, L5, L7, L9, L11, L13, L15 = (f32(1 / n) for n in range(3, 16, 2))


@intrinsic
def _float_of_bits(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", **OPTIONS)
def _exp(x: Any) -> Any:
    """exp, to 2e-7 relative; the C library's cannot be vectorised. NaN stays NaN."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    n = i32(x * LOG2_E + f32(256.5)) - i32(256)  # round to nearest, without a call
    r = x - f32(n) * LN2_HIGH - f32(n) * LN2_LOW
    y = ((((E0 * r + E1) * r + E2) * r + E3) * r + E4) * r + E5
    y = y * r * r + r + ONE
    return y * _float_of_bits((n + i32(127)) << i32(23))


@njit(inline="always", **OPTIONS)
def _sigmoid(x: Any) -> Any:
    return ONE / (ONE + _exp(-x))


@njit(inline="always", **OPTIONS)
def _tanh(x: Any) -> Any:
    """tanh, to 2e-7 relative; the polynomial, for small x, is that of Cephes' tanhf."""
    square = x * x
    small = (((T0 * square + T1) * square + T2) * square + T3) * square + T4
    small = x + x * square * small
    large = ONE - f32(2) / (ONE + _exp(x + x))
    return small if abs(x) < f32(0.625) else large


@njit(inline="always", **OPTIONS)
def _log1p(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1, to 1e-7 relative: 2 artanh(x / (2 + x)) as a series."""
    ratio = x / (f32(2) + x)
    square = ratio * ratio
    series = ((L15 * square + L13) * square + L11) * square + L9
    series = (((series * square + L7) * square + L5) * square + L3) * square + ONE
    return f32(2) * ratio * series


_one_part: Any = None


def _all_parts(parts, openmp, *arguments):
    in_parts(_one_part, parts, openmp, arguments)


def _kernel(one_part: Any) -> Any:
    """Compile ``one_part(part, parts, *arrays)`` into a function of :func:`parts_of` and tensors.

    ``_all_parts`` is copied, with the kernel among its globals: in a closure, numba's cache would
    not know it again.
    """
    all_parts = FunctionType(
        _all_parts.__code__, {**globals(), "_one_part": njit(**OF_A_PART)(one_part)}
    )
    all_parts.__qualname__ = one_part.__qualname__  # names its file in the cache
    compiled = njit(**OPTIONS)(all_parts)

    def call(parts: tuple[int, int], *arguments: Any) -> None:
        compiled(*parts, *(x.numpy() if isinstance(x, Tensor) else x for x in arguments))

    return call


@njit(inline="always", **OPTIONS)
def _share(part, parts, size):
    """Which of ``size`` equal pieces of work a part does."""
    return range(size * part // parts, size * (part + 1) // parts)


@njit(inline="always", **OPTIONS)
def _copy_row(target, x):
    for c in range(len(target)):
        target[c] = x[c]


@njit(inline="always", **OPTIONS)
def _add(target, x):
    for c in range(len(target)):
        target[c] += x[c]


@njit(inline="always", **OPTIONS)
def _add_product(target, x, y):
    for c in range(len(target)):
        target[c] += x[c] * y[c]


@njit(inline="always", **OPTIONS)
def _convolved(x, b, s, taps, bias, row):
    """One step of the convolution, into ``row``."""
    kernel, inner = taps.shape
    now, tap = x[b, s], taps[kernel - 1]
    for c in range(inner):
        row[c] = bias[c] + now[c] * tap[c]
    for lag in range(1, min(kernel, s + 1)):
        _add_product(row, x[b, s - lag], taps[kernel - 1 - lag])


@_kernel
def _convolve(part, parts, x, taps, bias, output):
    batch, length, inner = x.shape
    heads, width = len(output), output.shape[3]
    by_head = np.empty((heads, width), f32)
    row = by_head.ravel()
    for b in _share(part, parts, batch):
        for s in range(length):
            _convolved(x, b, s, taps, bias, row)
            for c in range(inner):
                row[c] *= _sigmoid(row[c])
            for h in range(heads):
                _copy_row(output[h, b, s], by_head[h])


@_kernel
def _convolve_backward(part, parts, d_output, d_direct, x, taps, bias, d_x, d_sums):
    batch, length, inner = x.shape
    heads, width = len(d_output), d_output.shape[3]
    kernel = len(taps)
    d_rows = np.empty((length, inner), f32)
    d_here = np.empty((kernel + 1, inner), f32)  # taps and bias, of one window
    by_head = np.empty((heads, width), f32)
    d_out = by_head.ravel()
    for b in _share(part, parts, batch):
        d_here[:] = 0
        for s in range(length):
            row = d_rows[s]
            for h in range(heads):
                _copy_row(by_head[h], d_output[h, b, s])
            _convolved(x, b, s, taps, bias, row)
            for c in range(inner):
                gate = _sigmoid(row[c])
                row[c] = d_out[c] * gate * (ONE + row[c] * (ONE - gate))
            _add(d_here[kernel], row)
            for lag in range(min(kernel, s + 1)):
                _add_product(d_here[kernel - 1 - lag], row, x[b, s - lag])
        for s in range(length):
            d_now = d_x[b, s]
            for h in range(heads):
                _copy_row(d_now[h * width : (h + 1) * width], d_direct[h, b, s])
            for lag in range(min(kernel, length - s)):
                _add_product(d_now, d_rows[s + lag], taps[kernel - 1 - lag])
        for k in range(kernel + 1):
            _add(d_sums[part, k], d_here[k])


def convolve(x: Tensor, kernel: Tensor, bias: Tensor, heads: int) -> Tensor:
    batch, length, inner = x.shape
    output = x.new_empty(heads, batch, length, inner // heads)
    taps = kernel.squeeze(1).T.contiguous()  # [K, I]
    _convolve(parts_of(batch), x, taps, bias, output)
    return output


def convolve_backward(
    d_output: Tensor, d_direct: Tensor, x: Tensor, kernel: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    taps = kernel.squeeze(1).T.contiguous()  # [K, I]
    parts = parts_of(len(x))
    d_x, d_sums = torch.empty_like(x), x.new_zeros(parts[0], len(taps) + 1, len(bias))
    _convolve_backward(parts, d_output, d_direct, x, taps, bias, d_x, d_sums)
    d_sums = d_sums.sum(0)
    return d_x, d_sums[:-1].T.reshape(kernel.shape), d_sums[-1]


@_kernel
def _attend(part, parts, gates, scores, weights, normalizer, sign, strongest, epsilon):
    heads, batch, steps, length = scores.shape
    decay, intake = np.empty(length, f32), np.empty(length, f32)
    stabilizer = np.empty(steps, f32)
    for h in range(heads):
        for b in _share(part, parts, batch):
            total = f32(0)
            highest, at = -f32(np.inf), 0
            for s in range(length):
                forget = gates[b, s, 1, h]
                total += (forget if forget < 0 else f32(0)) - _log1p(_exp(-abs(forget)))
                decay[s] = total
                intake[s] = gates[b, s, 0, h]
                if intake[s] - total >= highest:
                    highest, at = intake[s] - total, s
                if s >= length - steps:
                    stabilizer[s - length + steps] = total + highest
                    strongest[h, b, s - length + steps] = at
            here = weights[h, b].ravel()  # [TS], one long loop for what costs most
            for t in range(steps):
                s = t + length - steps
                row = here[t * length : (t + 1) * length]
                for past in range(length):
                    row[past] = (decay[s] - decay[past]) + intake[past] - stabilizer[t]
            for k in range(steps * length):
                here[k] = _exp(here[k])
            for t in range(steps):
                s = t + length - steps
                row, score = here[t * length : (t + 1) * length], scores[h, b, t]
                row[s + 1 :] = 0
                total = f32(0)
                for past in range(length):
                    score[past] *= row[past]
                    total += score[past]
                floor = f32(math.exp(-stabilizer[t]))
                inside = abs(total) >= floor
                normalizer[h, b, t] = (abs(total) if inside else floor) + epsilon
                sign[h, b, t] = (ONE if total > 0 else -ONE) if inside else f32(0)


@_kernel
def _attend_backward(
    part, parts, d_scores, d_normalizer, gates, scores, weights, sign, strongest, epsilon, d_gates
):
    heads, batch, steps, length = scores.shape
    taken, given = np.empty(length, f32), np.empty(length, f32)
    for h in range(heads):
        for b in _share(part, parts, batch):
            taken[:], given[:] = 0, 0
            for t in range(steps):
                s = t + length - steps
                d_total = d_normalizer[h, b, t] * sign[h, b, t]
                total = f32(0)
                for past in range(s + 1):
                    d_score = d_scores[h, b, t, past] + d_total
                    d_exponent = d_score * scores[h, b, t, past]
                    d_scores[h, b, t, past] = d_score * weights[h, b, t, past]
                    taken[past] += d_exponent
                    total += d_exponent
                d_scores[h, b, t, s + 1 :] = 0
                d_stabilizer = d_normalizer[h, b, t] * epsilon
                taken[strongest[h, b, t]] += d_stabilizer
                given[s] = total + d_stabilizer
            d_decay = f32(0)
            for s in range(length - 1, -1, -1):
                d_decay += given[s] - taken[s]
                d_gates[b, s, 0, h] = taken[s]
                d_gates[b, s, 1, h] = d_decay * _sigmoid(-gates[b, s, 1, h])


def attend(gates: Tensor, scores: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = scores.shape[:-1]
    weights = torch.empty_like(scores)
    normalizer, sign = scores.new_empty(rows), scores.new_empty(rows)
    strongest = scores.new_empty(rows, dtype=torch.int64)
    parts = parts_of(scores.shape[1])
    _attend(parts, gates, scores, weights, normalizer, sign, strongest, f32(epsilon))
    return weights, normalizer, sign, strongest


def attend_backward(
    d_scores: Tensor, d_normalizer: Tensor, gates: Tensor, scores: Tensor, weights: Tensor,
    sign: Tensor, strongest: Tensor, epsilon: float,
) -> Tensor:  # fmt: skip
    d_gates = torch.empty_like(gates)
    _attend_backward(
        parts_of(scores.shape[1]), d_scores, d_normalizer, gates, scores, weights, sign, strongest,
        f32(epsilon), d_gates,
    )  # fmt: skip
    return d_gates


@njit(inline="always", **OPTIONS)
def _scale(hidden, normalizer, epsilon):
    """One over the standard deviation of ``hidden / normalizer``, over ``normalizer``."""
    # It is huge while the gates are shut; its square must not overflow.
    normalizer = normalizer if normalizer < f32(1e18) else f32(1e18)
    square = f32(0)
    for p in range(len(hidden)):
        square += hidden[p] * hidden[p]
    return ONE / f32(math.sqrt(square / f32(len(hidden)) + epsilon * normalizer * normalizer))


@_kernel
def _leave(part, parts, hidden, normalizer, keys, z, weight, skip, epsilon, output):
    heads, batch, steps, width = hidden.shape
    before = keys.shape[2] - steps
    for h in range(heads):
        w, k = weight[h], skip[h]
        for b in _share(part, parts, batch):
            for t in range(steps):
                value, key, gate = hidden[h, b, t], keys[h, b, before + t], z[b, t, h]
                out = output[b, t, h]
                scale = _scale(value, normalizer[h, b, t], epsilon)
                for p in range(width):
                    out[p] = (value[p] * scale * w[p] + key[p] * k[p]) * gate[p] * _sigmoid(gate[p])


@_kernel
def _leave_backward(part, parts, d_output, hidden, normalizer, keys, z, weight, skip, epsilon,
    d_hidden, d_normalizer, d_keys, d_z, d_sums,
):  # fmt: skip
    heads, batch, steps, width = hidden.shape
    before, inner = keys.shape[2] - steps, heads * width
    normed, scales = np.empty(inner, f32), np.empty(heads, f32)
    opened, d_value = np.empty(inner, f32), np.empty(inner, f32)
    key_by_head = np.empty((heads, width), f32)
    key = key_by_head.ravel()
    d_here = np.empty((2, inner), f32)  # weight and skip, of one window
    # A loop that writes one array only is a loop the compiler vectorises.
    for b in _share(part, parts, batch):
        d_here[:] = 0
        for h in range(heads):
            d_keys[h, b, :before] = 0
        for t in range(steps):
            gate, d_out, d_gate = z[b, t], d_output[b, t], d_z[b, t]
            for h in range(heads):
                value, start = hidden[h, b, t], h * width
                scales[h] = scale = _scale(value, normalizer[h, b, t], epsilon)
                for p in range(width):
                    normed[start + p] = value[p] * scale
                _copy_row(key_by_head[h], keys[h, b, before + t])
            for c in range(inner):
                opened[c] = _sigmoid(gate[c])
            for c in range(inner):
                d_value[c] = normed[c] * weight[c] + key[c] * skip[c]
            for c in range(inner):
                d_gate[c] = d_out[c] * d_value[c] * opened[c] * (ONE + gate[c] * (ONE - opened[c]))
            for c in range(inner):
                d_value[c] = d_out[c] * gate[c] * opened[c]
            _add_product(d_here[0], d_value, normed)
            _add_product(d_here[1], d_value, key)
            for c in range(inner):
                key[c] = d_value[c] * skip[c]
            for c in range(inner):
                d_value[c] *= weight[c]
            for h in range(heads):
                d_inner, start = d_hidden[h, b, t], h * width
                along, scale = f32(0), scales[h]
                for p in range(width):
                    along += d_value[start + p] * normed[start + p]
                shrink = along / f32(width)
                for p in range(width):
                    d_inner[p] = scale * (d_value[start + p] - normed[start + p] * shrink)
                _copy_row(d_keys[h, b, before + t], key_by_head[h])
                d_normalizer[h, b, t] = -along * scale * scale * normalizer[h, b, t] * epsilon
        for k in range(2):
            _add(d_sums[part, k], d_here[k])


def leave(
    hidden: Tensor, normalizer: Tensor, keys: Tensor, z: Tensor, weight: Tensor, skip: Tensor,
    epsilon: float,
) -> Tensor:  # fmt: skip
    heads, batch, steps, width = hidden.shape
    output = torch.empty_like(z)
    by_head = (batch, steps, heads, width)
    _leave(
        parts_of(batch), hidden, normalizer, keys, z.view(by_head), weight.view(heads, width),
        skip.view(heads, width), f32(epsilon), output.view(by_head),
    )  # fmt: skip
    return output


def leave_backward(
    d_output: Tensor, hidden: Tensor, normalizer: Tensor, keys: Tensor, z: Tensor, weight: Tensor,
    skip: Tensor, epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    d_hidden, d_normalizer, d_keys, d_z = (
        torch.empty_like(like) for like in (hidden, normalizer, keys, z)
    )
    parts = parts_of(hidden.shape[1])
    d_sums = weight.new_zeros(parts[0], 2, len(weight))
    _leave_backward(
        parts, d_output, hidden, normalizer, keys, z, weight, skip, f32(epsilon),
        d_hidden, d_normalizer, d_keys, d_z, d_sums,
    )  # fmt: skip
    d_weight, d_skip = d_sums.sum(0)
    return d_hidden, d_normalizer, d_keys, d_z, d_weight, d_skip


TILE = 32
"""Windows that the recurrence takes at a time: all their states at a step fit the first cache."""


@_kernel
def _recur(part, parts, early, late, recurrent, bias, output, states):
    heads, batch, length, _ = early.shape
    width = recurrent.shape[1]
    row = np.empty(4 * width, f32)
    tiles = (batch + TILE - 1) // TILE
    for unit in _share(part, parts, heads * tiles):
        h, first = unit // tiles, unit % tiles * TILE
        last, offset = min(first + TILE, batch), bias[h]
        start, stop = first * width, last * width
        size = stop - start
        gates = np.empty((4, size), f32)
        stabilizer, cell = np.zeros(size, f32), np.zeros(size, f32)
        normalizer, y = np.zeros(size, f32), np.zeros(size, f32)
        for s in range(length):
            for b in range(first, last):
                _copy_row(row[: 2 * width], early[h, b, s])
                _copy_row(row[2 * width :], late[h, b, s])
                _add(row, offset)
                at = (b - first) * width
                previous = y[at : at + width]
                for q in range(0, width - 3, 4):
                    p0, p1 = previous[q], previous[q + 1]
                    p2, p3 = previous[q + 2], previous[q + 3]
                    r0, r1 = recurrent[h, q], recurrent[h, q + 1]
                    r2, r3 = recurrent[h, q + 2], recurrent[h, q + 3]
                    for j in range(4 * width):
                        row[j] += p0 * r0[j] + p1 * r1[j] + p2 * r2[j] + p3 * r3[j]
                for q in range(width - width % 4, width):
                    p0, r0 = previous[q], recurrent[h, q]
                    for j in range(4 * width):
                        row[j] += p0 * r0[j]
                for gate in range(4):
                    _copy_row(gates[gate, at : at + width], row[gate * width :])

            slot = s % states.shape[2]  # one only where no gradient is wanted
            i, f = states[0, h, slot, start:stop], states[1, h, slot, start:stop]
            z, o = states[2, h, slot, start:stop], states[3, h, slot, start:stop]
            kept, n = states[4, h, slot, start:stop], states[5, h, slot, start:stop]
            c, y_kept = states[6, h, slot, start:stop], states[7, h, slot, start:stop]
            for k in range(size):
                o[k] = _sigmoid(gates[3, k])
            for k in range(size):
                z[k] = _tanh(gates[2, k])
            # exp(-|f|) gives both log sigmoid(f) and 1 - sigmoid(f).
            forget = gates[1]
            for k in range(size):
                f[k] = _exp(-abs(forget[k]))
            for k in range(size):
                kept[k] = (f[k] if forget[k] > 0 else ONE) / (ONE + f[k])
            for k in range(size):
                f[k] = (forget[k] if forget[k] < 0 else f32(0)) - _log1p(f[k])
            # The stabiliser is the larger exponent, so one of both gates is exp(0).
            for k in range(size):
                f[k] += stabilizer[k]
            if s == 0:
                f[:] = -np.inf
            intake = gates[0]
            for k in range(size):
                stabilizer[k] = intake[k] if intake[k] > f[k] else f[k]
            for k in range(size):
                i[k] = _exp(-abs(intake[k] - f[k]))
            for k in range(size):
                f[k] = i[k] if intake[k] > f[k] else ONE
            for k in range(size):
                i[k] = ONE if intake[k] >= stabilizer[k] else i[k]
            for k in range(size):
                cell[k] = f[k] * cell[k] + i[k] * z[k]
            for k in range(size):
                normalizer[k] = f[k] * normalizer[k] + i[k]
            for k in range(size):
                y[k] = o[k] * cell[k] / normalizer[k]
            _copy_row(n, normalizer)
            _copy_row(c, cell)
            _copy_row(y_kept, y)
            late_enough = s - length + output.shape[1]
            if late_enough >= 0:
                for b in range(first, last):
                    _copy_row(output[b, late_enough, h], y[(b - first) * width :])


@_kernel
def _recur_backward(part, parts, d_output, recurrent, states, d_gates, before):
    heads, batch, length, _ = d_gates.shape
    width = recurrent.shape[1]
    tiles = (batch + TILE - 1) // TILE
    for unit in _share(part, parts, heads * tiles):
        h, first = unit // tiles, unit % tiles * TILE
        last = min(first + TILE, batch)
        start, stop = first * width, last * width
        size = stop - start
        zero = np.zeros(size, f32)
        d_cell, d_normalizer = np.zeros(size, f32), np.zeros(size, f32)
        d_y, d_raw = np.zeros(size, f32), np.empty((4, size), f32)
        d_i, d_f, d_z, d_o = d_raw[0], d_raw[1], d_raw[2], d_raw[3]
        for s in range(length - 1, -1, -1):
            i, f = states[0, h, s, start:stop], states[1, h, s, start:stop]
            z, o = states[2, h, s, start:stop], states[3, h, s, start:stop]
            kept, n = states[4, h, s, start:stop], states[5, h, s, start:stop]
            y = states[7, h, s, start:stop]
            n_before, c_before, y_before = zero, zero, zero
            if s > 0:
                n_before = states[5, h, s - 1, start:stop]
                c_before = states[6, h, s - 1, start:stop]
                y_before = states[7, h, s - 1, start:stop]
            late_enough = s - length + d_output.shape[1]
            if late_enough >= 0:
                for b in range(first, last):
                    at = (b - first) * width
                    _add(d_y[at : at + width], d_output[b, late_enough, h])
            for k in range(size):
                d_cell[k] += d_y[k] * o[k] / n[k]
            for k in range(size):
                d_normalizer[k] -= d_y[k] * y[k] / n[k]
            for k in range(size):
                d_o[k] = d_y[k] * y[k] * (ONE - o[k])
            for k in range(size):
                d_z[k] = d_cell[k] * i[k] * (ONE - z[k] * z[k])
            for k in range(size):
                d_i[k] = i[k] * (d_cell[k] * z[k] + d_normalizer[k])
            for k in range(size):
                d_cell[k] *= f[k]
            for k in range(size):
                d_normalizer[k] *= f[k]
            for k in range(size):
                d_f[k] = kept[k] * (d_cell[k] * c_before[k] + d_normalizer[k] * n_before[k])
            for b in range(first, last):
                at = (b - first) * width
                row = d_gates[h, b, s]
                for gate in range(4):
                    _copy_row(row[gate * width : (gate + 1) * width], d_raw[gate, at:])
                _copy_row(before[h, b, s], y_before[at:])
                for q in range(0, width - 3, 4):
                    r0, r1 = recurrent[h, q], recurrent[h, q + 1]
                    r2, r3 = recurrent[h, q + 2], recurrent[h, q + 3]
                    t0, t1, t2, t3 = f32(0), f32(0), f32(0), f32(0)
                    for j in range(4 * width):
                        t0 += row[j] * r0[j]
                        t1 += row[j] * r1[j]
                        t2 += row[j] * r2[j]
                        t3 += row[j] * r3[j]
                    d_y[at + q], d_y[at + q + 1] = t0, t1
                    d_y[at + q + 2], d_y[at + q + 3] = t2, t3
                for q in range(width - width % 4, width):
                    r0 = recurrent[h, q]
                    t0 = f32(0)
                    for j in range(4 * width):
                        t0 += row[j] * r0[j]
                    d_y[at + q] = t0


def recur(
    early: Tensor, late: Tensor, recurrent: Tensor, bias: Tensor, steps: int, keep: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    heads, batch, length, _ = early.shape
    width = recurrent.shape[2]
    output = early.new_empty(batch, steps, heads * width)
    states = early.new_empty(8, heads, length if keep else 1, batch * width)
    parts, recurrent = parts_of(heads * math.ceil(batch / TILE)), recurrent.mT.contiguous()
    output_by_head = output.view(batch, steps, heads, width)
    _recur(parts, early, late, recurrent, bias, output_by_head, states)
    return output, (states,)


def recur_backward(
    d_output: Tensor, recurrent: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    heads, _, width = recurrent.shape
    batch, length = len(d_output), states[0].shape[2]
    d_gates = d_output.new_empty(heads, batch, length, 4 * width)
    before = d_output.new_empty(heads, batch, length, width)
    parts, recurrent = parts_of(heads * math.ceil(batch / TILE)), recurrent.mT.contiguous()
    d_output = d_output.view(batch, -1, heads, width)
    _recur_backward(parts, d_output, recurrent, *states, d_gates, before)
    return d_gates, before


@njit(inline="always", **OPTIONS)
def _random(counter: Any, key: Any) -> Any:
    """32 random bits: the finaliser of MurmurHash3 (Appleby), twice, of counter and key."""
    # Numba widens every product and sum to 64 bits, so each is cut back.
    bits = u32(u32(counter * u32(0x9E3779B9)) ^ key)
    for _ in range(2):
        bits = u32(u32(bits ^ (bits >> u32(16))) * u32(0x85EBCA6B))
        bits = u32(u32(bits ^ (bits >> u32(13))) * u32(0xC2B2AE35))
        bits = u32(u32(bits ^ (bits >> u32(16))) + key)
    return bits


@_kernel
def _drop(part, parts, x, dropped, key, factor, output):
    for k in _share(part, parts, len(x)):
        kept = _random(u32(k), key) >= dropped
        output[k] = x[k] * (factor if kept else f32(0))


def drop(x: Tensor, share: float, seed: int) -> Tensor:
    output = torch.empty_like(x)
    dropped, factor = u32(round(share * 2**32)), f32(1 / (1 - share))
    _drop(parts_of(x.numel()), x.view(-1), dropped, u32(seed), factor, output.view(-1))
    return output


@njit(inline="always", **OPTIONS)
def _moments(x, epsilon):
    """The mean and one over the standard deviation."""
    mean, square = f32(0), f32(0)
    for p in range(len(x)):
        mean += x[p]
    mean /= f32(len(x))
    for p in range(len(x)):
        square += (x[p] - mean) * (x[p] - mean)
    return mean, ONE / f32(math.sqrt(square / f32(len(x)) + epsilon))


@_kernel
def _normalize(part, parts, x, weight, epsilon, output):
    rows, heads, width = x.shape
    for r in _share(part, parts, rows):
        for h in range(heads):
            value, out, w = x[r, h], output[r, h], weight[h]
            mean, scale = _moments(value, epsilon)
            for p in range(width):
                out[p] = (value[p] - mean) * scale * w[p]


@_kernel
def _normalize_backward(part, parts, d_output, x, weight, epsilon, d_x, d_weight):
    rows, heads, width = x.shape
    normed = np.empty(width, f32)
    for r in _share(part, parts, rows):
        for h in range(heads):
            value, w, d_out, d_in = x[r, h], weight[h], d_output[r, h], d_x[r, h]
            mean, scale = _moments(value, epsilon)
            for p in range(width):
                normed[p] = (value[p] - mean) * scale
            _add_product(d_weight[part, h], d_out, normed)
            total, along = f32(0), f32(0)
            for p in range(width):
                total += d_out[p] * w[p]
            for p in range(width):
                along += d_out[p] * w[p] * normed[p]
            total, along = total / f32(width), along / f32(width)
            for p in range(width):
                d_in[p] = scale * (d_out[p] * w[p] - total - normed[p] * along)


def normalize(x: Tensor, weight: Tensor, heads: int, epsilon: float) -> Tensor:
    rows, weight = x.view(-1, heads, x.shape[-1] // heads), weight.view(heads, -1)
    output = torch.empty_like(rows)
    _normalize(parts_of(len(rows)), rows, weight, f32(epsilon), output)
    return output.view_as(x)


def normalize_backward(
    d_output: Tensor, x: Tensor, weight: Tensor, heads: int, epsilon: float
) -> tuple[Tensor, Tensor]:
    rows, weight = x.view(-1, heads, x.shape[-1] // heads), weight.view(heads, -1)
    parts = parts_of(len(rows))
    d_x, d_weight = torch.empty_like(rows), weight.new_zeros(parts[0], *weight.shape)
    d_rows = d_output.view_as(rows)
    _normalize_backward(parts, d_rows, rows, weight, f32(epsilon), d_x, d_weight)
    return d_x.view_as(x), d_weight.sum(0).flatten()
