"""The mLSTM block, compiled: from its input to its output and back.

Shapes: B windows, S input steps, T output steps (the last ones), D width of the stream, I the
inner width, H heads, P = I / H width of a head. Everything of a few windows is done before the
next ones, so that it stays in the processor's second cache; between forward and backward pass only
the projected input is kept, and what lies in between is computed again.

Three rewritings of Beck et al. (2024), arXiv:2405.04517, section 2.3, leave the result as it is:

- Queries meet keys only in q·k = aᵀ(Wqᵀ Wk)a', so the activations a themselves are the keys, and
  one map, Wqᵀ Wk, makes the queries. The gates are linear in q, k and v, hence in a and x.
- The norm behind the cell subtracts the mean over a head's channels and undoes any scale of a step,
  so the cell's normaliser need not divide; it is left only where the norm's epsilon sees it.
- The exponents of the weights, i_s + log f_{s+1} + ... + log f_t, are sums from s on. Differences
  of sums from the start would lose the digits of all that is forgotten.

The maps of q, k and v are blocks of 4 by 4 on the diagonal. A vector meets them as four vectors of
coefficients: coefficient r of a channel belongs to the channel r places on in its group of four.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from vd_forecasting.models.fused_xlstm.compiled.kernel import kernel
from vd_forecasting.models.fused_xlstm.compiled.products import (
    ADDED,
    NEW,
    NEXT,
    START,
    lanes_of,
    multiply,
    multiply_rows,
    transpose,
)
from vd_forecasting.models.fused_xlstm.compiled.rows import (
    add_to,
    kept,
    moments,
    normalize,
    normalize_backward,
)
from vd_forecasting.models.fused_xlstm.compiled.vectors import (
    HALF,
    INNER,
    LOWEST,
    ONE,
    exp,
    f32,
    fetch,
    fill,
    fma,
    load,
    log1p,
    magnitude,
    ramp,
    sigmoid,
    store,
    total,
    totals,
    turn,
    where_less,
)

LANES = 0  # set by kernel()
NORMALIZER_EPSILON = f32(1e-6)  # added to the normaliser, as in the package
KERNEL = 4  # steps of the convolution
BLOCK = 4  # channels that the maps of queries, keys and values mix
GATES = np.intp(8)  # input and forget gates of all heads
MOST_HEADS = 4
SKEW = 80  # between matrices: at equal places of pages they would share few lines of the cache

# Where the maps lie, in numbers of inner widths.
TAPS, CONV_BIAS, SKIP, OUT_NORM = 0, 4, 5, 6
KEY_GATES_BACK, X_GATES_BACK = 7, 15  # gate by gate, [8, I]
KEY_GATES, X_GATES = 23, 31  # the same, channel by channel
# Coefficients, [4, I]: of the channel that is read (BACK), or of the one that is written.
QUERIES, VALUES, QUERIES_BACK, VALUES_BACK = 39, 43, 47, 51
QUERY, KEY, VALUE, QUERY_BACK, KEY_BACK, VALUE_BACK = 55, 59, 43, 63, 67, 51  # the package's maps
REST = 71  # bias of the gates, [8], and weight of the norm, [D]


def size_of_maps(inner: int, width: int) -> int:
    """How many numbers they are."""
    return REST * inner + int(GATES) + width


@njit(**INNER)
def _mixed(like, x, x_at, maps, at, inner):
    """Four channels mixed by the coefficients at ``at``."""
    x = load(like, x, x_at)
    y = x * load(like, maps, at)
    y = fma(turn(x, 1), load(like, maps, at + inner), y)
    y = fma(turn(x, 2), load(like, maps, at + 2 * inner), y)
    return fma(turn(x, 3), load(like, maps, at + 3 * inner), y)


@njit(**INNER)
def _add_outer(like, x, x_at, y, y_at, d_maps, at, inner):
    """Add to the gradient of coefficients (BACK) of what reads x, from that of what it makes, y."""
    x, y = load(like, x, x_at), load(like, y, y_at)
    store(fma(x, y, load(like, d_maps, at)), d_maps, at)
    at += inner
    store(fma(x, turn(y, 1), load(like, d_maps, at)), d_maps, at)
    at += inner
    store(fma(x, turn(y, 2), load(like, d_maps, at)), d_maps, at)
    at += inner
    store(fma(x, turn(y, 3), load(like, d_maps, at)), d_maps, at)


@kernel
def lay_out(
    part, parts, conv, conv_bias, query, key, value, input_gate, input_bias, forget_gate,
    forget_bias, norm, skip, out_norm, up, down, maps, up_turned, down_turned, sizes,
):  # fmt: skip
    """Bring the parameters of a block into the order in which the kernels read them."""
    like = fill(LANES, f32(0))
    transpose(like, 2 * sizes.inner, sizes.width, up, START, up_turned, START, 2 * sizes.inner)
    transpose(like, sizes.width, sizes.inner, down, START, down_turned, START, sizes.width)
    inner, heads = sizes.inner, sizes.heads
    for c in range(inner):
        for k in range(KERNEL):
            maps[(TAPS + k) * inner + c] = conv[c * KERNEL + k]
        maps[CONV_BIAS * inner + c] = conv_bias[c]
        maps[SKIP * inner + c] = skip[c]
        maps[OUT_NORM * inner + c] = ONE + out_norm[c]
    for c in range(sizes.width):
        maps[REST * inner + GATES + c] = ONE + norm[c]
    scale = f32(1 / math.sqrt(inner // heads))
    for block in range(0, inner, BLOCK):
        first = block * BLOCK
        for here in range(BLOCK):
            for r in range(BLOCK):
                there = (here + r) % BLOCK
                c = r * inner + block + here
                made, read = first + here * BLOCK + there, first + there * BLOCK + here
                maps[QUERY * inner + c], maps[QUERY_BACK * inner + c] = query[made], query[read]
                maps[KEY * inner + c], maps[KEY_BACK * inner + c] = key[made], key[read]
                maps[VALUE * inner + c], maps[VALUE_BACK * inner + c] = value[made], value[read]
                to_here, to_there = f32(0), f32(0)
                for mid in range(BLOCK):
                    row = first + mid * BLOCK
                    to_here += query[row + there] * key[row + here]
                    to_there += query[row + here] * key[row + there]
                maps[QUERIES * inner + c] = to_here * scale
                maps[QUERIES_BACK * inner + c] = to_there * scale
    for gate in range(GATES):
        of_key, of_x = (KEY_GATES_BACK + gate) * inner, (X_GATES_BACK + gate) * inner
        if gate < 2 * heads:
            h = gate % heads
            weight = input_gate if gate < heads else forget_gate
            bias = input_bias if gate < heads else forget_bias
            maps[REST * inner + gate] = bias[h]
            for c in range(0, inner, LANES):
                at = 3 * h * inner + c
                y = _mixed(like, weight, at, maps, QUERY_BACK * inner + c, inner)
                y = y + _mixed(like, weight, at + inner, maps, KEY_BACK * inner + c, inner)
                store(y, maps, of_key + c)
                store(
                    _mixed(like, weight, at + 2 * inner, maps, VALUE_BACK * inner + c, inner),
                    maps, of_x + c,
                )  # fmt: skip
        else:
            maps[REST * inner + gate] = 0
            for c in range(0, inner, LANES):
                store(like, maps, of_key + c)
                store(like, maps, of_x + c)
        for c in range(inner):
            maps[KEY_GATES * inner + GATES * c + gate] = maps[of_key + c]
            maps[X_GATES * inner + GATES * c + gate] = maps[of_x + c]


@kernel
def lay_back(
    part, parts, query, key, input_gate, forget_gate, maps, d_maps, d_conv, d_conv_bias,
    d_query, d_key, d_value, d_input_gate, d_input_bias, d_forget_gate, d_forget_bias, d_norm,
    d_skip, d_out_norm, sizes,
):  # fmt: skip
    """The gradients of the parameters from those of the maps."""
    like = fill(LANES, f32(0))
    inner, heads = sizes.inner, sizes.heads
    for c in range(inner):
        for k in range(KERNEL):
            d_conv[c * KERNEL + k] = d_maps[(TAPS + k) * inner + c]
        d_conv_bias[c] = d_maps[CONV_BIAS * inner + c]
        d_skip[c] = d_maps[SKIP * inner + c]
        d_out_norm[c] = d_maps[OUT_NORM * inner + c]
    for c in range(sizes.width):
        d_norm[c] = d_maps[REST * inner + GATES + c]
    for gate in range(2 * heads):
        of_key, of_x = (KEY_GATES_BACK + gate) * inner, (X_GATES_BACK + gate) * inner
        h = gate % heads
        weight = input_gate if gate < heads else forget_gate
        d_weight = d_input_gate if gate < heads else d_forget_gate
        d_bias = d_input_bias if gate < heads else d_forget_bias
        d_bias[h] = d_maps[REST * inner + gate]
        for c in range(0, inner, LANES):
            at = 3 * h * inner + c
            store(_mixed(like, d_maps, of_key + c, maps, QUERY * inner + c, inner), d_weight, at)
            store(
                _mixed(like, d_maps, of_key + c, maps, KEY * inner + c, inner), d_weight, at + inner
            )
            store(
                _mixed(like, d_maps, of_x + c, maps, VALUE * inner + c, inner),
                d_weight, at + 2 * inner,
            )  # fmt: skip
            for of, made, start in (
                (QUERY_BACK, of_key, at), (KEY_BACK, of_key, at + inner),
                (VALUE_BACK, of_x, at + 2 * inner),
            ):  # fmt: skip
                _add_outer(like, d_maps, made + c, weight, start, d_maps, of * inner + c, inner)
    scale = f32(1 / math.sqrt(inner // heads))
    for block in range(0, inner, BLOCK):
        first = block * BLOCK
        for here in range(BLOCK):
            for r in range(BLOCK):
                there = (here + r) % BLOCK
                c, read = r * inner + block + here, first + there * BLOCK + here
                d_query[read] = d_maps[QUERY_BACK * inner + c]
                d_key[read] = d_maps[KEY_BACK * inner + c]
                d_value[read] = d_maps[VALUE_BACK * inner + c]
        for here in range(BLOCK):
            for r in range(BLOCK):
                there = (here + r) % BLOCK
                d_map = d_maps[QUERIES_BACK * inner + r * inner + block + here] * scale
                for mid in range(BLOCK):
                    row = first + mid * BLOCK
                    d_query[row + here] += d_map * key[row + there]
                    d_key[row + there] += d_map * query[row + here]


@njit(**INNER)
def _enter(like, xs, x_at, length, steps, inner, maps, scratch, keys, queries, values, slopes):
    """Keys, queries and values of a window, and the slope of the activation if ``slopes`` >= 0."""
    for c in range(0, inner, lanes_of(like)):
        bias = load(like, maps, CONV_BIAS * inner + c)
        tap0 = load(like, maps, TAPS * inner + c)
        tap1 = load(like, maps, (TAPS + 1) * inner + c)
        tap2 = load(like, maps, (TAPS + 2) * inner + c)
        tap3 = load(like, maps, (TAPS + 3) * inner + c)
        q0 = load(like, maps, QUERIES * inner + c)
        q1 = load(like, maps, (QUERIES + 1) * inner + c)
        q2 = load(like, maps, (QUERIES + 2) * inner + c)
        q3 = load(like, maps, (QUERIES + 3) * inner + c)
        v0 = load(like, maps, VALUES * inner + c)
        v1 = load(like, maps, (VALUES + 1) * inner + c)
        v2 = load(like, maps, (VALUES + 2) * inner + c)
        v3 = load(like, maps, (VALUES + 3) * inner + c)
        x1, x2, x3 = like, like, like
        for s in range(length):
            x = load(like, xs, x_at + s * inner + c)
            raw = fma(tap3, x, fma(tap2, x1, fma(tap1, x2, fma(tap0, x3, bias))))
            gate = sigmoid(raw)
            key = raw * gate
            store(key, scratch, keys + s * inner + c)
            if slopes >= 0:
                fetch(xs, x_at + (length + s) * inner + c)  # of the next window
                store(fma(key, ONE - gate, gate), scratch, slopes + s * inner + c)
            value = fma(turn(x, 1), v1, fma(turn(x, 2), v2, fma(turn(x, 3), v3, x * v0)))
            store(value, scratch, values + s * inner + c)
            t = s - length + steps
            if t >= 0:
                query = fma(
                    turn(key, 1), q1, fma(turn(key, 2), q2, fma(turn(key, 3), q3, key * q0))
                )
                store(query, scratch, queries + t * inner + c)
            x3, x2, x1 = x2, x1, x


class Sizes(NamedTuple):
    """The sizes of a block and of its input."""

    batch: int  # B
    length: int  # S
    steps: int  # T
    width: int  # D
    inner: int  # I
    heads: int  # H


class Places(NamedTuple):
    """Where in the scratch memory of a part the matrices of a few windows lie."""

    # of the windows that are done together
    normed: int  # [S, D] each
    late: int  # [T, D], the last steps of these
    output: int  # [T, D]
    hidden: int  # [T, I], behind the output gate
    d_hidden: int  # [T, I]
    d_normed: int  # [S, D]
    d_late: int  # [T, D]
    d_xs: int  # [S, I]
    d_zs: int  # [T, I]
    # of one window
    keys: int  # [S, I]
    queries: int  # [T, I]
    values: int  # [S, I]
    slopes: int  # [S, I]
    d_keys: int  # [S, I]
    d_queries: int  # [T, I]
    d_values: int  # [S, I]
    d_state: int  # [T, I]
    d_gates: int  # [S, 8]
    state: int  # [T, I]
    weights: int  # [H, T, S], rows of whole vectors
    scores: int  # [H, T, S]
    stabilizers: int  # [H, T]
    strongest: int  # [H, T], steps of the largest exponents
    normalizers: int  # [H, T]
    signs: int  # [H, T]
    d_normalizers: int  # [H, T]
    # of one head
    d_scores: int  # [T, S]
    exponents: int  # [S]
    forget: int  # [S]
    taken: int  # [S]
    end: int


ROWS_TOGETHER = 80
"""About so many rows are done together: enough for products of high speed, few enough for the
second cache."""


@njit(**INNER)
def _together(length):
    return max(1, ROWS_TOGETHER // length)


def _places(lanes, base, sizes, backward):
    """Matrices begin at a multiple of the lanes and have some rows more than they need."""
    _, length, steps, width, inner, heads = sizes
    many, padded = max(1, ROWS_TOGETHER // length), (length + lanes - 1) // lanes * lanes
    length, steps = (length + 3) // 4 * 4, (steps + 3) // 4 * 4
    back = 1 if backward else 0
    normed = base
    late = normed + many * length * width + SKEW
    output = late + many * steps * width + SKEW
    hidden = output + many * steps * width + SKEW
    d_hidden = hidden + many * steps * inner + SKEW
    d_normed = d_hidden + back * many * steps * inner + SKEW
    d_late = d_normed + back * many * length * width + SKEW
    d_xs = d_late + back * many * steps * width + SKEW
    d_zs = d_xs + back * many * length * inner + SKEW
    keys = d_zs + back * many * steps * inner + SKEW
    queries = keys + length * inner + SKEW
    values = queries + steps * inner + SKEW
    slopes = values + length * inner + SKEW
    d_keys = slopes + back * length * inner + SKEW
    d_queries = d_keys + back * length * inner + SKEW
    d_values = d_queries + back * steps * inner + SKEW
    d_state = d_values + back * length * inner + SKEW
    d_gates = d_state + back * steps * inner + SKEW
    state = d_gates + length * GATES + lanes + SKEW
    weights = state + steps * inner + SKEW
    scores = weights + heads * steps * padded + SKEW
    stabilizers = scores + heads * steps * padded + SKEW
    strongest = stabilizers + heads * padded + SKEW
    normalizers = strongest + heads * padded + SKEW
    signs = normalizers + heads * padded + SKEW
    d_normalizers = signs + heads * padded + SKEW
    d_scores = d_normalizers + heads * padded + SKEW
    exponents = d_scores + back * steps * padded + SKEW
    forget = exponents + padded + SKEW
    taken = forget + padded + SKEW
    end = taken + padded + SKEW
    end = base + (end - base + 15) // 16 * 16
    return Places(
        normed, late, output, hidden, d_hidden, d_normed, d_late, d_xs, d_zs, keys, queries, values,
        slopes, d_keys, d_queries, d_values, d_state, d_gates, state, weights, scores, stabilizers,
        strongest, normalizers, signs, d_normalizers, d_scores, exponents, forget, taken, end,
    )  # fmt: skip


_compiled_places = njit(**INNER)(_places)


@njit(**INNER)
def _place(lanes, part, sizes, backward):
    size = _compiled_places(lanes, 0, sizes, backward).end
    return _compiled_places(lanes, part * size, sizes, backward)


@cache
def size_of_scratch(lanes: int, sizes: Sizes, backward: bool) -> int:
    """Numbers that a part needs."""
    size: int = _places(lanes, 0, sizes, backward).end
    return size


class Head(NamedTuple):
    """The places of what every head has of a window."""

    state: int
    weights: int
    scores: int
    stabilizers: int
    strongest: int
    normalizers: int
    signs: int
    d_normalizers: int


@njit(**INNER)
def _head(like, sizes, at, h):
    step = lanes_of(like)
    rows = h * ((sizes.length + step - 1) // step * step)
    matrix = rows * ((sizes.steps + 3) // 4 * 4)
    return Head(
        at.state + h * (sizes.inner // sizes.heads), at.weights + matrix, at.scores + matrix,
        at.stabilizers + rows, at.strongest + rows, at.normalizers + rows, at.signs + rows,
        at.d_normalizers + rows,
    )  # fmt: skip


@njit(**INNER)
def _gates(gates_like, sizes, xs, x_at, maps, scratch, at, gates, gates_at):
    """Input and forget gates of a window before their bias and activation."""
    length, inner = sizes.length, sizes.inner
    multiply(gates_like, length, GATES, inner, scratch, at.keys, inner, NEXT,
             maps, KEY_GATES * inner, GATES, gates, gates_at, GATES, NEW)  # fmt: skip
    multiply(gates_like, length, GATES, inner, xs, x_at, inner, NEXT,
             maps, X_GATES * inner, GATES, gates, gates_at, GATES, ADDED)  # fmt: skip


@njit(**INNER)
def _forget_gates(sizes, h, maps, scratch, at, gates, gates_at):
    """The forget gates of a head at all steps before their activation."""
    gate = sizes.heads + h
    bias = maps[REST * sizes.inner + gate]
    for s in range(sizes.length):
        scratch[at.forget + s] = gates[gates_at + GATES * s + gate] + bias


@njit(**INNER)
def _weigh(like, sizes, h, maps, scratch, at, gates, gates_at):
    """The weights of all steps for the last ones, and their stabilisers."""
    length, steps, step = sizes.length, sizes.steps, lanes_of(like)
    padded = (length + step - 1) // step * step
    of = _head(like, sizes, at, h)
    bias = maps[REST * sizes.inner + h]
    lanes = ramp(like)
    for k in range(0, padded, step):
        store(like - f32(np.inf), scratch, at.exponents + k)
    _forget_gates(sizes, h, maps, scratch, at, gates, gates_at)
    for s in range(0, length, step):
        f = load(like, scratch, at.forget + s)
        log_f = where_less(f, like, f, like) - log1p(exp(-magnitude(f)))
        store(log_f, scratch, at.forget + s)
    stabilizer, strongest = -f32(np.inf), 0
    for s in range(length):
        t = s - length + steps
        log_f, taken = scratch[at.forget + s], gates[gates_at + GATES * s + h] + bias
        stabilizer += log_f
        if not taken < stabilizer:  # or NaN
            stabilizer, strongest = taken, s
        for k in range(0, s + 1, step):
            exponent = load(like, scratch, at.exponents + k) + log_f
            exponent = where_less(magnitude(lanes + f32(k - s)), HALF, taken, exponent)
            store(exponent, scratch, at.exponents + k)
        if t >= 0:
            scratch[of.stabilizers + t] = stabilizer
            scratch[of.strongest + t] = strongest
            for k in range(0, padded, step):
                exponent = load(like, scratch, at.exponents + k) - stabilizer
                weight = where_less(exponent, LOWEST, like, exp(exponent))
                store(weight, scratch, of.weights + t * padded + k)


@njit(**INNER)
def _attend(like, sizes, h, maps, scratch, at, gates, gates_at):
    """The state of a head, not divided by its normaliser, the normaliser, and its sign.

    The sign is that of the scores' sum where the normaliser is its size, and 0 where it is its
    lower bound.
    """
    length, steps, inner = sizes.length, sizes.steps, sizes.inner
    step = lanes_of(like)
    width, late = inner // sizes.heads, length - steps
    of = _head(like, sizes, at, h)
    padded = (length + step - 1) // step * step
    _weigh(like, sizes, h, maps, scratch, at, gates, gates_at)
    multiply_rows(like, steps, length, width, scratch, at.queries + h * width, inner,
                  scratch, at.keys + h * width, inner,
                  scratch, of.scores, padded, late)  # fmt: skip
    lanes = ramp(like)
    for t in range(steps):
        row, sums = t * padded, like
        for k in range(0, padded, step):
            score = load(like, scratch, of.scores + row + k)
            score = score * load(like, scratch, of.weights + row + k)
            score = where_less(lanes, f32(late + t - k) + HALF, score, like)  # not the future
            store(score, scratch, of.scores + row + k)
            sums = sums + score
        scratch[of.normalizers + t] = total(sums)
    for t in range(0, steps, step):
        score = load(like, scratch, of.normalizers + t)
        size, sign = magnitude(score), where_less(like, score, ONE, like - ONE)
        # If exp did not end before, shut input gates would make it infinite, and infinity times 0
        # a gradient of NaN.
        bound = exp(-load(like, scratch, of.stabilizers + t))
        normalizer = where_less(size, bound, bound, size) + NORMALIZER_EPSILON
        store(normalizer, scratch, of.normalizers + t)
        store(where_less(size, bound, like, sign), scratch, of.signs + t)
    for t in range(0, steps, 4):
        multiply(like, min(4, steps - t), width, min(length, late + t + 4),
                 scratch, of.scores + t * padded, padded, NEXT,
                 scratch, at.values + h * width, inner,
                 scratch, of.state + t * inner, inner, NEW)  # fmt: skip


@njit(**INNER)
def _scale(like, scratch, state, width, normalizer, epsilon):
    """The mean of a head's state, and one over the deviation of ``state / normalizer``, over
    ``normalizer``."""
    # It is huge while the gates are shut; its square must not overflow.
    normalizer = normalizer if normalizer < f32(1e18) else f32(1e18)
    mean, variance = moments(like, scratch, state, width)
    return mean, ONE / f32(math.sqrt(variance + epsilon * normalizer * normalizer))


@njit(**INNER)
def _leave(like, sizes, zs, z_at, maps, scratch, at, hidden, epsilon):
    """Norm, skip connection and output gate of a window."""
    inner, width = sizes.inner, sizes.inner // sizes.heads
    late = sizes.length - sizes.steps
    for t in range(sizes.steps):
        for h in range(sizes.heads):
            of = _head(like, sizes, at, h)
            state = of.state + t * inner
            mean, scale = _scale(like, scratch, state, width, scratch[of.normalizers + t], epsilon)
            for p in range(0, width, lanes_of(like)):
                c = h * width + p
                normed = (load(like, scratch, state + p) - mean) * scale
                key = load(like, scratch, at.keys + (late + t) * inner + c)
                value = normed * load(like, maps, OUT_NORM * inner + c)
                value = fma(key, load(like, maps, SKIP * inner + c), value)
                z = load(like, zs, z_at + t * inner + c)
                store(value * z * sigmoid(z), scratch, hidden + t * inner + c)


@njit(**INNER)
def _normalize_windows(like, sizes, first, count, x, maps, scratch, at, epsilon):
    """Norm some windows; returns where the last steps of theirs lie, one behind the other."""
    length, steps, width = sizes.length, sizes.steps, sizes.width
    for r in range(count * length):
        normalize(like, x, (first * length + r) * width, width,
                  maps, REST * sizes.inner + GATES, epsilon,
                  scratch, at.normed + r * width)  # fmt: skip
    if steps == length:
        return at.normed
    for b in range(count):
        for r in range(steps):
            row = at.normed + ((b + 1) * length - steps + r) * width
            for c in range(width):
                scratch[at.late + (b * steps + r) * width + c] = scratch[row + c]
    return at.late


@kernel
def forward(
    part, parts, x, up, down, maps, scratch, xs, zs, gates, output,
    sizes, epsilon, out_epsilon, share, seed,
):  # fmt: skip
    """From ``x`` [B, S, D] to what is projected from it, ``xs`` [B, S, I] and ``zs`` [B, T, I], its
    ``gates`` [B, S, 8], and the output of the block, [B, T, D].

    ``up`` is [D, 2I], ``down`` [I, D].
    """
    like, gates_like = fill(LANES, f32(0)), fill(8, f32(0))
    batch, length, steps, width, inner, heads = sizes
    at = _place(LANES, part, sizes, False)
    stop, many = batch * (part + 1) // parts, _together(length)
    for first in range(batch * part // parts, stop, many):
        count = min(many, stop - first)
        late = _normalize_windows(like, sizes, first, count, x, maps, scratch, at, epsilon)
        multiply(like, count * length, inner, width, scratch, at.normed, width, NEXT,
                 up, START, 2 * inner, xs, first * length * inner, inner, NEW)  # fmt: skip
        multiply(like, count * steps, inner, width, scratch, late, width, NEXT,
                 up, inner, 2 * inner, zs, first * steps * inner, inner, NEW)  # fmt: skip
        for b in range(count):
            x_at, z_at = (first + b) * length * inner, (first + b) * steps * inner
            _enter(like, xs, x_at, length, steps, inner, maps, scratch,
                   at.keys, at.queries, at.values, -1)  # fmt: skip
            gates_at = (first + b) * length * GATES
            _gates(gates_like, sizes, xs, x_at, maps, scratch, at, gates, gates_at)
            for h in range(heads):
                _attend(like, sizes, h, maps, scratch, at, gates, gates_at)
            _leave(like, sizes, zs, z_at, maps, scratch, at,
                   at.hidden + b * steps * inner, out_epsilon)  # fmt: skip
        multiply(like, count * steps, width, inner, scratch, at.hidden, inner, NEXT,
                 down, START, width, scratch, at.output, width, NEW)  # fmt: skip
        for r in range(count * steps):
            window, t = first + r // steps, r % steps
            x_at = (window * length + length - steps + t) * width
            out_at = (first * steps + r) * width
            for c in range(0, width, LANES):
                y = load(like, scratch, at.output + r * width + c)
                if share > 0:
                    y = y * kept(like, out_at + c, seed, share)
                store(load(like, x, x_at + c) + y, output, out_at + c)


@njit(**INNER)
def _leave_backward(
    like, sizes, zs, z_at, maps, d_maps, d_maps_at, scratch, at, hidden, d_hidden, d_zs, epsilon
):
    """The output of :func:`_leave` once more, and all gradients but that of the keys through the
    scores."""
    inner, width = sizes.inner, sizes.inner // sizes.heads
    late, share = sizes.length - sizes.steps, ONE / f32(width)
    for t in range(sizes.steps):
        for h in range(sizes.heads):
            of = _head(like, sizes, at, h)
            state, normalizer = of.state + t * inner, scratch[of.normalizers + t]
            mean, scale = _scale(like, scratch, state, width, normalizer, epsilon)
            sums, along = like, like
            for p in range(0, width, lanes_of(like)):
                c = h * width + p
                row = t * inner + c
                normed = (load(like, scratch, state + p) - mean) * scale
                key = load(like, scratch, at.keys + late * inner + row)
                weight = load(like, maps, OUT_NORM * inner + c)
                skip = load(like, maps, SKIP * inner + c)
                value = fma(key, skip, normed * weight)
                z = load(like, zs, z_at + row)
                fetch(zs, z_at + sizes.steps * inner + row)  # of the next window
                gate = sigmoid(z)
                opened = z * gate
                store(value * opened, scratch, hidden + row)
                d_out = load(like, scratch, d_hidden + row)
                store(d_out * value * fma(opened, ONE - gate, gate), scratch, d_zs + row)
                d_value = d_out * opened
                add_to(d_maps, d_maps_at + OUT_NORM * inner + c, d_value * normed)
                add_to(d_maps, d_maps_at + SKIP * inner + c, d_value * key)
                store(d_value * skip, scratch, at.d_keys + late * inner + row)
                d_normed = d_value * weight
                store(d_normed, scratch, at.d_state + row)
                sums = sums + d_normed
                along = fma(d_normed, normed, along)
            shift, shrink = totals(sums, along)
            scratch[of.d_normalizers + t] = -shrink * scale * scale * normalizer * epsilon
            shift, shrink = shift * share, shrink * share
            for p in range(0, width, lanes_of(like)):
                here = at.d_state + t * inner + h * width + p
                normed = (load(like, scratch, state + p) - mean) * scale
                store((load(like, scratch, here) - shift - normed * shrink) * scale, scratch, here)


@njit(**INNER)
def _attend_backward(like, sizes, h, maps, scratch, at, gates, gates_at):
    """The gradients of queries, keys, values and gates of a head."""
    length, steps, inner, heads = sizes.length, sizes.steps, sizes.inner, sizes.heads
    step = lanes_of(like)
    width, late = inner // heads, length - steps
    padded = (length + step - 1) // step * step
    of, of_head = _head(like, sizes, at, h), h * width
    for s in range(0, length, 4):  # a step is no value of those before it
        t = max(0, s - late)
        multiply(like, min(4, length - s), width, steps - t,
                 scratch, of.scores + t * padded + s, NEXT, padded,
                 scratch, at.d_state + t * inner + of_head, inner,
                 scratch, at.d_values + s * inner + of_head, inner, NEW)  # fmt: skip
    multiply_rows(like, steps, length, width, scratch, at.d_state + of_head, inner,
                  scratch, at.values + of_head, inner,
                  scratch, at.d_scores, padded, late)  # fmt: skip
    taken = at.taken
    lanes = ramp(like)
    for k in range(0, padded, step):
        store(like, scratch, taken + k)
    for s in range(length):
        scratch[at.d_gates + GATES * s + heads + h] = 0
    for t in range(steps):
        s, row, sums = late + t, t * padded, like
        d_normalizer = scratch[of.d_normalizers + t]
        d_total = d_normalizer * scratch[of.signs + t]
        for k in range(0, padded, step):
            d_score = load(like, scratch, at.d_scores + row + k) + d_total
            d_score = where_less(lanes, f32(s - k) + HALF, d_score, like)
            d_exponent = d_score * load(like, scratch, of.scores + row + k)
            weight = load(like, scratch, of.weights + row + k)
            store(d_score * weight, scratch, at.d_scores + row + k)
            store(load(like, scratch, taken + k) + d_exponent, scratch, taken + k)
            sums = sums + d_exponent
        # Without the epsilon, the stabiliser would cancel.
        d_stabilizer = d_normalizer * NORMALIZER_EPSILON
        scratch[taken + int(scratch[of.strongest + t])] += d_stabilizer
        scratch[at.d_gates + GATES * s + heads + h] = total(sums) + d_stabilizer
    _forget_gates(sizes, h, maps, scratch, at, gates, gates_at)
    for s in range(0, length, step):  # 1 - f, the slope of log f
        store(sigmoid(-load(like, scratch, at.forget + s)), scratch, at.forget + s)
    d_decay = f32(0)
    for s in range(length - 1, -1, -1):
        gate = at.d_gates + GATES * s + h
        d_decay += scratch[gate + heads] - scratch[taken + s]
        scratch[gate] = scratch[taken + s]
        scratch[gate + heads] = d_decay * scratch[at.forget + s]
    for t in range(0, steps, 4):
        multiply(like, min(4, steps - t), width, min(length, late + t + 4),
                 scratch, at.d_scores + t * padded, padded, NEXT,
                 scratch, at.keys + of_head, inner,
                 scratch, at.d_queries + t * inner + of_head, inner, NEW)  # fmt: skip
    for s in range(0, length, 4):
        t = max(0, s - late)
        multiply(like, min(4, length - s), width, steps - t,
                 scratch, at.d_scores + t * padded + s, NEXT, padded,
                 scratch, at.queries + t * inner + of_head, inner,
                 scratch, at.d_keys + s * inner + of_head, inner, ADDED)  # fmt: skip


@njit(**INNER)
def _enter_backward(like, sizes, xs, x_at, maps, d_maps, d_maps_at, scratch, at, d_xs):
    """Gradients through the maps of queries, keys and values and through the convolution."""
    length, steps, inner = sizes.length, sizes.steps, sizes.inner
    for c in range(0, inner, lanes_of(like)):
        q0 = load(like, maps, QUERIES_BACK * inner + c)
        q1 = load(like, maps, (QUERIES_BACK + 1) * inner + c)
        q2 = load(like, maps, (QUERIES_BACK + 2) * inner + c)
        q3 = load(like, maps, (QUERIES_BACK + 3) * inner + c)
        v0 = load(like, maps, VALUES_BACK * inner + c)
        v1 = load(like, maps, (VALUES_BACK + 1) * inner + c)
        v2 = load(like, maps, (VALUES_BACK + 2) * inner + c)
        v3 = load(like, maps, (VALUES_BACK + 3) * inner + c)
        d_q0, d_q1, d_q2, d_q3 = like, like, like, like
        d_v0, d_v1, d_v2, d_v3 = like, like, like, like
        for s in range(length):
            here = s * inner + c
            t = s - length + steps
            if t >= 0:
                key = load(like, scratch, at.keys + here)
                d0 = load(like, scratch, at.d_queries + t * inner + c)
                d1, d2, d3 = turn(d0, 1), turn(d0, 2), turn(d0, 3)
                d_key = load(like, scratch, at.d_keys + here)
                d_key = fma(d0, q0, fma(d1, q1, fma(d2, q2, fma(d3, q3, d_key))))
                store(d_key, scratch, at.d_keys + here)
                d_q0, d_q1 = fma(key, d0, d_q0), fma(key, d1, d_q1)
                d_q2, d_q3 = fma(key, d2, d_q2), fma(key, d3, d_q3)
            x = load(like, xs, x_at + here)
            d0 = load(like, scratch, at.d_values + here)
            d1, d2, d3 = turn(d0, 1), turn(d0, 2), turn(d0, 3)
            d_x = load(like, scratch, d_xs + here)
            d_x = fma(d0, v0, fma(d1, v1, fma(d2, v2, fma(d3, v3, d_x))))
            store(d_x, scratch, d_xs + here)
            d_v0, d_v1 = fma(x, d0, d_v0), fma(x, d1, d_v1)
            d_v2, d_v3 = fma(x, d2, d_v2), fma(x, d3, d_v3)
        of = d_maps_at + QUERIES_BACK * inner + c
        add_to(d_maps, of, d_q0)
        add_to(d_maps, of + inner, d_q1)
        add_to(d_maps, of + 2 * inner, d_q2)
        add_to(d_maps, of + 3 * inner, d_q3)
        of = d_maps_at + VALUES_BACK * inner + c
        add_to(d_maps, of, d_v0)
        add_to(d_maps, of + inner, d_v1)
        add_to(d_maps, of + 2 * inner, d_v2)
        add_to(d_maps, of + 3 * inner, d_v3)

        tap0 = load(like, maps, TAPS * inner + c)
        tap1 = load(like, maps, (TAPS + 1) * inner + c)
        tap2 = load(like, maps, (TAPS + 2) * inner + c)
        tap3 = load(like, maps, (TAPS + 3) * inner + c)
        d_tap0, d_tap1, d_tap2, d_tap3, d_bias = like, like, like, like, like
        d1, d2, d3 = like, like, like
        for s in range(length - 1, -1, -1):
            here = s * inner + c
            d0 = load(like, scratch, at.d_keys + here) * load(like, scratch, at.slopes + here)
            x = load(like, xs, x_at + here)
            d_x = load(like, scratch, d_xs + here)
            d_x = fma(d0, tap3, fma(d1, tap2, fma(d2, tap1, fma(d3, tap0, d_x))))
            store(d_x, scratch, d_xs + here)
            d_bias = d_bias + d0
            d_tap3, d_tap2 = fma(x, d0, d_tap3), fma(x, d1, d_tap2)
            d_tap1, d_tap0 = fma(x, d2, d_tap1), fma(x, d3, d_tap0)
            d3, d2, d1 = d2, d1, d0
        of = d_maps_at + TAPS * inner + c
        add_to(d_maps, of, d_tap0)
        add_to(d_maps, of + inner, d_tap1)
        add_to(d_maps, of + 2 * inner, d_tap2)
        add_to(d_maps, of + 3 * inner, d_tap3)
        add_to(d_maps, d_maps_at + CONV_BIAS * inner + c, d_bias)


@kernel
def backward(
    part, parts, x, up, down, maps, scratch, xs, zs, gates, d_output, d_x, d_up, d_down, d_maps,
    sizes, each, epsilon, out_epsilon, share, seed,
):  # fmt: skip
    """The gradients of ``x``, ``up`` [2I, D], ``down`` [D, I] and the maps; those but of ``x`` are
    one for each part, ``each`` numbers apart."""
    like, gates_like = fill(LANES, f32(0)), fill(8, f32(0))
    batch, length, steps, width, inner, heads = sizes
    at = _place(LANES, part, sizes, True)
    up_at = down_at = maps_at = part * each
    rest = REST * inner
    for k in range(rest + GATES + width):
        d_maps[maps_at + k] = 0
    start, stop, many = batch * part // parts, batch * (part + 1) // parts, _together(length)
    for first in range(start, stop, many):
        count, further = min(many, stop - first), first > start
        late = _normalize_windows(like, sizes, first, count, x, maps, scratch, at, epsilon)
        for r in range(count * steps):
            out_at = (first * steps + r) * width
            for c in range(0, width, LANES):
                d_y = load(like, d_output, out_at + c)
                if share > 0:
                    d_y = d_y * kept(like, out_at + c, seed, share)
                store(d_y, scratch, at.output + r * width + c)
        multiply(like, count * steps, inner, width, scratch, at.output, width, NEXT,
                 down, START, inner, scratch, at.d_hidden, inner, NEW)  # fmt: skip
        for b in range(count):
            x_at, z_at = (first + b) * length * inner, (first + b) * steps * inner
            d_xs = at.d_xs + b * length * inner
            of_steps = b * steps * inner
            _enter(like, xs, x_at, length, steps, inner, maps, scratch,
                   at.keys, at.queries, at.values, at.slopes)  # fmt: skip
            gates_at = (first + b) * length * GATES
            for k in range(0, (length - steps) * inner, LANES):
                store(like, scratch, at.d_keys + k)
            for s in range(length):
                store(gates_like, scratch, at.d_gates + GATES * s)
            for h in range(heads):
                _attend(like, sizes, h, maps, scratch, at, gates, gates_at)
            _leave_backward(
                like, sizes, zs, z_at, maps, d_maps, maps_at, scratch, at,
                at.hidden + of_steps, at.d_hidden + of_steps, at.d_zs + of_steps, out_epsilon,
            )  # fmt: skip
            for h in range(heads):
                _attend_backward(like, sizes, h, maps, scratch, at, gates, gates_at)
            multiply(like, length, inner, GATES, scratch, at.d_gates, GATES, NEXT,
                     maps, KEY_GATES_BACK * inner, inner,
                     scratch, at.d_keys, inner, ADDED)  # fmt: skip
            multiply(like, length, inner, GATES, scratch, at.d_gates, GATES, NEXT,
                     maps, X_GATES_BACK * inner, inner, scratch, d_xs, inner, NEW)  # fmt: skip
            multiply(like, GATES, inner, length, scratch, at.d_gates, NEXT, GATES,
                     scratch, at.keys, inner,
                     d_maps, maps_at + KEY_GATES_BACK * inner, inner, ADDED)  # fmt: skip
            multiply(like, GATES, inner, length, scratch, at.d_gates, NEXT, GATES,
                     xs, x_at, inner,
                     d_maps, maps_at + X_GATES_BACK * inner, inner, ADDED)  # fmt: skip
            for s in range(length):
                d_gates = load(gates_like, scratch, at.d_gates + GATES * s)
                add_to(d_maps, maps_at + rest, d_gates)
            _enter_backward(like, sizes, xs, x_at, maps, d_maps, maps_at, scratch, at, d_xs)
        rows, late_rows = count * length, count * steps
        multiply(like, width, inner, late_rows, scratch, at.output, NEXT, width,
                 scratch, at.hidden, inner, d_down, down_at, inner, further)  # fmt: skip
        multiply(like, inner, width, rows, scratch, at.d_xs, NEXT, inner,
                 scratch, at.normed, width, d_up, up_at, width, further)  # fmt: skip
        multiply(like, inner, width, late_rows, scratch, at.d_zs, NEXT, inner,
                 scratch, late, width, d_up, up_at + inner * width, width, further)  # fmt: skip
        multiply(like, rows, width, inner, scratch, at.d_xs, inner, NEXT,
                 up, START, width, scratch, at.d_normed, width, NEW)  # fmt: skip
        d_late = at.d_normed if steps == length else at.d_late
        multiply(like, late_rows, width, inner, scratch, at.d_zs, inner, NEXT,
                 up, inner * width, width, scratch, d_late, width, steps == length)  # fmt: skip
        for r in range(rows):
            window, t = first + r // length, r % length - length + steps
            x_at = (first * length + r) * width
            for c in range(0, width, LANES):
                residual = like
                if t >= 0:
                    residual = load(like, d_output, (window * steps + t) * width + c)
                    if steps < length:
                        late_at = at.d_late + (r // length * steps + t) * width + c
                        add_to(scratch, at.d_normed + r * width + c, load(like, scratch, late_at))
                store(residual, d_x, x_at + c)
            normalize_backward(
                like, scratch, at.d_normed + r * width, x, x_at, width, maps, rest + GATES, epsilon,
                d_maps, maps_at + rest + GATES, d_x, x_at,
            )  # fmt: skip
