"""The sLSTM block, compiled: from its input to its output and back.

Shapes: B windows, S input steps, T output steps (the last ones), D width of the stream, H heads,
P = D / H width of a head, F width of the feed-forward part. Gates are in the package's order:
input, forget, cell input (z), output. Everything of a few windows is done before the next ones;
their rows are ordered by step, so that one product serves all windows at a step.

The recurrence is that of Beck et al. (2024), arXiv:2405.04517, equations 8 to 17. Cell and
normaliser share the factor exp(-m) of the stabiliser m and only their ratio is used, so m is a
constant for the gradient.
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
    transpose,
)
from vd_forecasting.models.fused_xlstm.compiled.rows import (
    add_to,
    kept,
    normalize,
    normalize_backward,
)
from vd_forecasting.models.fused_xlstm.compiled.vectors import (
    HALF,
    INNER,
    ONE,
    exp,
    f32,
    fill,
    fma,
    load,
    log1p,
    magnitude,
    sigmoid,
    store,
    tanh,
    where_less,
)

LANES = 0  # set by kernel()
KERNEL = 4  # steps of the convolution
SKEW = 80  # between matrices: at equal places of pages they would share few lines of the cache
STATES = 4  # numbers that a channel keeps of a step for the gradient

# Where the vectors of a block lie, in numbers of D.
TAPS, CONV_BIAS, GATE_BIAS, NORM, HEADS_NORM, FEED_NORM, END = 0, 4, 5, 9, 10, 11, 12


class Sizes(NamedTuple):
    """The sizes of a block and of its input."""

    batch: int  # B
    length: int  # S
    steps: int  # T
    width: int  # D
    heads: int  # H
    feed: int  # F


class Places(NamedTuple):
    """Where in the scratch memory of a part the matrices of a few windows lie."""

    normed: int  # [S, D]
    convolved: int  # [S, D]
    slopes: int  # [S, D]
    y: int  # [S, D]
    fed: int  # [T, D], the normed input of the feed-forward part
    opened: int  # [T, F]
    output: int  # [T, D]
    cells: int  # [S, D]
    normalizers: int  # [S, D]
    d_y: int  # [S, D]
    d_normed: int  # [S, D]
    d_convolved: int  # [S, D]
    d_middle: int  # [T, D]
    d_fed: int  # [T, D]
    d_ups: int  # [T, 2F]
    d_opened: int  # [T, F]
    gates: int  # [S, 4P]
    cell: int  # [P]
    normalizer: int  # [P]
    stabilizer: int  # [P]
    end: int


ROWS_TOGETHER = 80
WINDOWS_TOGETHER = 4  # at least: fewer rows make a product slow


@njit(**INNER)
def _together(length):
    return max(WINDOWS_TOGETHER, ROWS_TOGETHER // length // 4 * 4)


def _places(base, many, sizes, backward):
    _, length, steps, width, heads, feed = sizes
    rows, late = many * length, many * steps
    back = 1 if backward else 0
    normed = base
    convolved = normed + rows * width + SKEW
    slopes = convolved + rows * width + SKEW
    y = slopes + back * rows * width + SKEW
    fed = y + rows * width + SKEW
    opened = fed + late * width + SKEW
    output = opened + late * feed + SKEW
    cells = output + late * width + SKEW
    normalizers = cells + back * rows * width + SKEW
    d_y = normalizers + back * rows * width + SKEW
    d_normed = d_y + back * rows * width + SKEW
    d_convolved = d_normed + back * rows * width + SKEW
    d_middle = d_convolved + back * rows * width + SKEW
    d_fed = d_middle + back * late * width + SKEW
    d_ups = d_fed + back * late * width + SKEW
    d_opened = d_ups + back * late * 2 * feed + SKEW
    gates = d_opened + back * late * feed + SKEW
    cell = gates + rows * 4 * (width // heads) + SKEW
    normalizer = cell + many * width + SKEW
    stabilizer = normalizer + many * width + SKEW
    end = stabilizer + many * width + SKEW
    end = base + (end - base + 15) // 16 * 16
    return Places(
        normed, convolved, slopes, y, fed, opened, output, cells, normalizers, d_y, d_normed,
        d_convolved, d_middle, d_fed, d_ups, d_opened, gates, cell, normalizer, stabilizer, end,
    )  # fmt: skip


_compiled_places = njit(**INNER)(_places)


@njit(**INNER)
def _place(part, many, sizes, backward):
    size = _compiled_places(0, many, sizes, backward).end
    return _compiled_places(part * size, many, sizes, backward)


@cache
def size_of_scratch(sizes: Sizes, backward: bool) -> int:
    """Numbers that a part needs."""
    many = max(WINDOWS_TOGETHER, ROWS_TOGETHER // sizes.length // 4 * 4)
    size: int = _places(0, max(1, min(many, sizes.batch)), sizes, backward).end
    return size


@kernel
def lay_out(
    part, parts, conv, conv_bias, gate_bias, norm, heads_norm, feed_norm, intake, forget, z, o,
    recurrent, up, down, vectors, early, late, recurrent_turned, up_turned, down_turned, sizes,
):  # fmt: skip
    """Bring the parameters of a block into the order in which :func:`forward` reads them."""
    like = fill(LANES, f32(0))
    width, feed = sizes.width, sizes.feed
    of_head = width // sizes.heads
    for c in range(width):
        for k in range(KERNEL):
            vectors[(TAPS + k) * width + c] = conv[c * KERNEL + k]
        vectors[CONV_BIAS * width + c] = conv_bias[c]
        vectors[NORM * width + c] = ONE + norm[c]
        vectors[HEADS_NORM * width + c] = ONE + heads_norm[c]
        vectors[FEED_NORM * width + c] = ONE + feed_norm[c]
        h, p = c // of_head, c % of_head
        for gate in range(4):
            vectors[_bias_at(sizes, h, gate) + p] = gate_bias[gate * width + c]
    for h in range(sizes.heads):
        at, wide = h * of_head * of_head, 2 * of_head
        transpose(like, of_head, of_head, intake, at, early, 2 * at, wide)
        transpose(like, of_head, of_head, forget, at, early, 2 * at + of_head, wide)
        transpose(like, of_head, of_head, z, at, late, 2 * at, wide)
        transpose(like, of_head, of_head, o, at, late, 2 * at + of_head, wide)
        transpose(like, 2 * wide, of_head, recurrent, 4 * at, recurrent_turned, 4 * at, 2 * wide)
    transpose(like, 2 * feed, width, up, START, up_turned, START, 2 * feed)
    transpose(like, width, feed, down, START, down_turned, START, width)


@kernel
def lay_back(
    part, parts, d_vectors, d_conv, d_conv_bias, d_gate_bias, d_norm, d_heads_norm, d_feed_norm,
    sizes,
):  # fmt: skip
    """The gradients of the vectors of :func:`lay_out`."""
    width = sizes.width
    of_head = width // sizes.heads
    for c in range(width):
        for k in range(KERNEL):
            d_conv[c * KERNEL + k] = d_vectors[(TAPS + k) * width + c]
        d_conv_bias[c] = d_vectors[CONV_BIAS * width + c]
        d_norm[c] = d_vectors[NORM * width + c]
        d_heads_norm[c] = d_vectors[HEADS_NORM * width + c]
        d_feed_norm[c] = d_vectors[FEED_NORM * width + c]
        for gate in range(4):
            at = _bias_at(sizes, c // of_head, gate) + c % of_head
            d_gate_bias[gate * width + c] = d_vectors[at]


@njit(**INNER)
def _bias_at(sizes, h, gate):
    """Where the bias of a gate of a head begins."""
    return GATE_BIAS * sizes.width + (4 * h + gate) * (sizes.width // sizes.heads)


@njit(**INNER)
def _enter(like, sizes, first, count, x, vectors, scratch, at, epsilon, back):
    """Norm and convolution of some windows; the slope of its activation where ``back`` is true."""
    length, width = sizes.length, sizes.width
    for w in range(count):
        for s in range(length):
            normalize(like, x, ((first + w) * length + s) * width, width,
                      vectors, NORM * width, epsilon,
                      scratch, at.normed + (s * count + w) * width)  # fmt: skip
        for c in range(0, width, lanes_of(like)):
            bias = load(like, vectors, CONV_BIAS * width + c)
            tap0 = load(like, vectors, TAPS * width + c)
            tap1 = load(like, vectors, (TAPS + 1) * width + c)
            tap2 = load(like, vectors, (TAPS + 2) * width + c)
            tap3 = load(like, vectors, (TAPS + 3) * width + c)
            x1, x2, x3 = like, like, like
            for s in range(length):
                here = (s * count + w) * width + c
                x0 = load(like, scratch, at.normed + here)
                raw = fma(tap3, x0, fma(tap2, x1, fma(tap1, x2, fma(tap0, x3, bias))))
                gate = sigmoid(raw)
                convolved = raw * gate
                store(convolved, scratch, at.convolved + here)
                if back:
                    store(fma(convolved, ONE - gate, gate), scratch, at.slopes + here)
                x3, x2, x1 = x2, x1, x0


@njit(**INNER)
def _recur(
    like, sizes, h, first, count, early, late, recurrent, vectors, scratch, at, states, keep
):
    """The recurrence of a head; ``states`` get what the gradient needs where ``keep`` is true."""
    length, width = sizes.length, sizes.width
    of_head = width // sizes.heads
    wide, channel = 4 * of_head, h * of_head
    rows, step = count * length, lanes_of(like)
    multiply(like, rows, 2 * of_head, of_head, scratch, at.convolved + channel, width, NEXT,
             early, channel * 2 * of_head, 2 * of_head,
             scratch, at.gates, wide, NEW)  # fmt: skip
    multiply(like, rows, 2 * of_head, of_head, scratch, at.normed + channel, width, NEXT,
             late, channel * 2 * of_head, 2 * of_head,
             scratch, at.gates + 2 * of_head, wide, NEW)  # fmt: skip
    for k in range(0, count * of_head, step):
        store(like, scratch, at.cell + k)
        store(like, scratch, at.normalizer + k)
        store(like - f32(np.inf), scratch, at.stabilizer + k)
    for s in range(length):
        gates = at.gates + s * count * wide
        if s > 0:
            multiply(like, count, wide, of_head,
                     scratch, at.y + (s - 1) * count * width + channel, width, NEXT,
                     recurrent, channel * wide, wide, scratch, gates, wide, ADDED)  # fmt: skip
        for w in range(count):
            for p in range(0, of_head, step):
                raw, of = gates + w * wide + p, GATE_BIAS * width + h * wide + p
                intake = load(like, scratch, raw) + load(like, vectors, of)
                raw, of = raw + of_head, of + of_head
                forget = load(like, scratch, raw) + load(like, vectors, of)
                raw, of = raw + of_head, of + of_head
                z = tanh(load(like, scratch, raw) + load(like, vectors, of))
                raw, of = raw + of_head, of + of_head
                o = sigmoid(load(like, scratch, raw) + load(like, vectors, of))
                # exp(-|f|) gives both log sigmoid(f) and 1 - sigmoid(f).
                small = exp(-magnitude(forget))
                shut = where_less(like, forget, small, ONE) / (small + ONE)
                here = w * of_head + p
                log_f = where_less(forget, like, forget, like) - log1p(small)
                log_f = log_f + load(like, scratch, at.stabilizer + here)
                # The stabiliser is the larger exponent, so one of both gates is exp(0).
                other = exp(-magnitude(intake - log_f))
                # Before the first step there is nothing to keep.
                f = where_less(log_f, intake, other, ONE) if s > 0 else like
                i = where_less(log_f, intake, ONE, other) if s > 0 else ONE + like
                store(where_less(log_f, intake, intake, log_f), scratch, at.stabilizer + here)
                cell = fma(f, load(like, scratch, at.cell + here), i * z)
                normalizer = fma(f, load(like, scratch, at.normalizer + here), i)
                store(cell, scratch, at.cell + here)
                store(normalizer, scratch, at.normalizer + here)
                row = (s * count + w) * width + channel + p
                store(o * cell / normalizer, scratch, at.y + row)
                if keep:
                    to = (first * length * width + row) * STATES
                    # One of both gates is 1: the other, negative if it is the input gate.
                    store(where_less(log_f, intake, f, -i), states, to)
                    store(z, states, to + step)
                    store(o, states, to + 2 * step)
                    store(shut, states, to + 3 * step)


A0, A1, A2 = f32(0.254829592), f32(-0.284496736), f32(1.421413741)
A3, A4, P0 = f32(-1.453152027), f32(1.061405429), f32(0.3275911)
ROOT_HALF, DENSITY = f32(0.5**0.5), f32((2 * math.pi) ** -0.5)


@njit(inline="always", **INNER)
def _normal(like, x):
    """Distribution and density of the normal distribution, to 1e-7.

    Abramowitz and Stegun (1964), equation 7.1.26.
    """
    bell = exp(x * x * -HALF)
    t = ONE / fma(magnitude(x), P0 * ROOT_HALF, ONE + like)
    tail = fma(fma(fma(fma(t, A4, A3), t, A2), t, A1), t, A0) * t * bell * HALF
    return where_less(x, like, tail, ONE - tail), bell * DENSITY


@njit(**INNER)
def _row(sizes, first, count, r, steps):
    """The row of [B, steps, D] that row r of some windows is."""
    return (first + r % count) * steps + r // count


@kernel
def forward(
    part, parts, x, early, late, recurrent, up, down, vectors, scratch, states, middle, ups, output,
    sizes, keep, epsilon, heads_epsilon, feed_epsilon, share, feed_share, seed, feed_seed,
):  # fmt: skip
    """From ``x`` [B, S, D] to ``middle``, what the feed-forward part takes, [B, T, D], ``ups``, its
    projection, [B, T, 2F], and the output, [B, T, D].

    ``early`` and ``late`` are [H, P, 2P], ``recurrent`` [H, P, 4P], ``up`` [D, 2F], ``down``
    [F, D]. Rows of ``states``, ``middle`` and ``ups`` are ordered by step among the windows that
    are done together.
    """
    like = fill(LANES, f32(0))
    batch, length, steps, width, heads, feed = sizes
    of_head, many = width // heads, max(1, min(_together(length), batch))
    at = _place(part, many, sizes, False)
    stop = batch * (part + 1) // parts
    for first in range(batch * part // parts, stop, many):
        count = min(many, stop - first)
        _enter(like, sizes, first, count, x, vectors, scratch, at, epsilon, False)
        for h in range(heads):
            _recur(like, sizes, h, first, count, early, late, recurrent, vectors, scratch, at,
                   states, keep)  # fmt: skip
        rows = count * steps
        for r in range(rows):
            row, to = _row(sizes, first, count, r, steps), (first * steps + r) * width
            x_at = (_row(sizes, first, count, r, length) + length - steps) * width
            y_at = at.y + ((length - steps) * count + r) * width
            if share > 0:
                for c in range(0, width, LANES):
                    mask = kept(like, row * width + c, seed, share)
                    store(load(like, scratch, y_at + c) * mask, scratch, y_at + c)
            for h in range(heads):
                normalize(like, scratch, y_at + h * of_head, of_head,
                          vectors, HEADS_NORM * width + h * of_head, heads_epsilon,
                          middle, to + h * of_head)  # fmt: skip
            for c in range(0, width, LANES):
                add_to(middle, to + c, load(like, x, x_at + c))
            normalize(like, middle, to, width, vectors, FEED_NORM * width, feed_epsilon,
                      scratch, at.fed + r * width)  # fmt: skip
        multiply(like, rows, 2 * feed, width, scratch, at.fed, width, NEXT,
                 up, START, 2 * feed, ups, first * steps * 2 * feed, 2 * feed, NEW)  # fmt: skip
        for r in range(rows):
            gate_at = (first * steps + r) * 2 * feed
            for c in range(0, feed, LANES):
                gate = load(like, ups, gate_at + c)
                distribution, _ = _normal(like, gate)
                opened = gate * distribution * load(like, ups, gate_at + feed + c)
                store(opened, scratch, at.opened + r * feed + c)
        multiply(like, rows, width, feed, scratch, at.opened, feed, NEXT,
                 down, START, width, scratch, at.output, width, NEW)  # fmt: skip
        for r in range(rows):
            row, from_ = _row(sizes, first, count, r, steps), (first * steps + r) * width
            for c in range(0, width, LANES):
                y = load(like, scratch, at.output + r * width + c)
                if feed_share > 0:
                    y = y * kept(like, row * width + c, feed_seed, feed_share)
                store(load(like, middle, from_ + c) + y, output, row * width + c)


@njit(**INNER)
def _gates_of(like, states, of):
    """Input and forget gate of a state."""
    smaller = load(like, states, of)
    i = where_less(smaller, like, -smaller, ONE)
    return i, where_less(smaller, like, ONE, smaller)


@njit(**INNER)
def _recur_again(like, sizes, first, count, scratch, at, states):
    """Cells, normalisers and output of some windows from their states."""
    length, width, step = sizes.length, sizes.width, lanes_of(like)
    before = count * width
    for row in range(0, count * length * width, step):
        of = (first * length * width + row) * STATES
        i, f = _gates_of(like, states, of)
        cell, normalizer = i * load(like, states, of + step), i
        if row >= before:
            cell = fma(f, load(like, scratch, at.cells + row - before), cell)
            normalizer = fma(f, load(like, scratch, at.normalizers + row - before), normalizer)
        store(cell, scratch, at.cells + row)
        store(normalizer, scratch, at.normalizers + row)
        y = load(like, states, of + 2 * step) * cell / normalizer
        store(y, scratch, at.y + row)
        store(like, scratch, at.d_y + row)


@njit(**INNER)
def _recur_backward(
    like, sizes, h, first, count, i_weight, f_weight, z_weight, o_weight, recurrent,
    d_i_weight, d_f_weight, d_z_weight, d_o_weight, d_recurrent, part_at, further, d_vectors,
    vectors_at, scratch, at, states,
):  # fmt: skip
    """The gradients through the recurrence of a head, from ``at.d_y``."""
    length, width = sizes.length, sizes.width
    of_head = width // sizes.heads
    wide, channel = 4 * of_head, h * of_head
    rows, step = count * length, lanes_of(like)
    for k in range(0, count * of_head, step):
        store(like, scratch, at.cell + k)  # the gradients of both
        store(like, scratch, at.normalizer + k)
    for s in range(length - 1, -1, -1):
        gates = at.gates + s * count * wide
        for w in range(count):
            for p in range(0, of_head, step):
                row, here = (s * count + w) * width + channel + p, w * of_head + p
                of = (first * length * width + row) * STATES
                i, f = _gates_of(like, states, of)
                z, o = load(like, states, of + step), load(like, states, of + 2 * step)
                shut = load(like, states, of + 3 * step)
                n_before, c_before = like, like
                if s > 0:
                    n_before = load(like, scratch, at.normalizers + row - count * width)
                    c_before = load(like, scratch, at.cells + row - count * width)
                d_y, y = load(like, scratch, at.d_y + row), load(like, scratch, at.y + row)
                over = d_y / load(like, scratch, at.normalizers + row)
                d_cell = fma(over, o, load(like, scratch, at.cell + here))
                d_normalizer = load(like, scratch, at.normalizer + here) - over * y
                d_raw = gates + w * wide + p
                store(i * fma(d_cell, z, d_normalizer), scratch, d_raw)
                store(d_cell * i * (ONE - z * z), scratch, d_raw + 2 * of_head)
                store(d_y * y * (ONE - o), scratch, d_raw + 3 * of_head)
                d_cell, d_normalizer = d_cell * f, d_normalizer * f
                d_forget = shut * fma(d_cell, c_before, d_normalizer * n_before)
                store(d_forget, scratch, d_raw + of_head)
                store(d_cell, scratch, at.cell + here)
                store(d_normalizer, scratch, at.normalizer + here)
        if s > 0:
            multiply(like, count, of_head, wide, scratch, gates, wide, NEXT,
                     recurrent, channel * wide, of_head,
                     scratch, at.d_y + (s - 1) * count * width + channel, width, ADDED)  # fmt: skip
    for k in range(0, wide, step):
        sums = like
        for r in range(rows):
            sums = sums + load(like, scratch, at.gates + r * wide + k)
        add_to(d_vectors, vectors_at + GATE_BIAS * width + h * wide + k, sums)
    for gate, weight, d_weight, given, d_given, add in (
        (0, i_weight, d_i_weight, at.convolved, at.d_convolved, NEW),
        (1, f_weight, d_f_weight, at.convolved, at.d_convolved, ADDED),
        (2, z_weight, d_z_weight, at.normed, at.d_normed, NEW),
        (3, o_weight, d_o_weight, at.normed, at.d_normed, ADDED),
    ):
        gates, of = at.gates + gate * of_head, channel * of_head
        multiply(like, rows, of_head, of_head, scratch, gates, wide, NEXT, weight, of, of_head,
                 scratch, d_given + channel, width, add)  # fmt: skip
        multiply(like, of_head, of_head, rows, scratch, gates, NEXT, wide,
                 scratch, given + channel, width,
                 d_weight, part_at + of, of_head, further)  # fmt: skip
    multiply(like, wide, of_head, rows - count, scratch, at.gates + count * wide, NEXT, wide,
             scratch, at.y + channel, width,
             d_recurrent, part_at + channel * wide, of_head, further)  # fmt: skip


@njit(**INNER)
def _enter_backward(
    like, sizes, first, count, x, vectors, d_vectors, vectors_at, scratch, at, epsilon, d_x
):
    """The gradients through convolution and norm, added to that of ``x``."""
    length, width = sizes.length, sizes.width
    for w in range(count):
        for c in range(0, width, lanes_of(like)):
            tap0 = load(like, vectors, TAPS * width + c)
            tap1 = load(like, vectors, (TAPS + 1) * width + c)
            tap2 = load(like, vectors, (TAPS + 2) * width + c)
            tap3 = load(like, vectors, (TAPS + 3) * width + c)
            d_tap0, d_tap1, d_tap2, d_tap3, d_bias = like, like, like, like, like
            d1, d2, d3 = like, like, like
            for s in range(length - 1, -1, -1):
                here = (s * count + w) * width + c
                d0 = load(like, scratch, at.d_convolved + here)
                d0 = d0 * load(like, scratch, at.slopes + here)
                x0 = load(like, scratch, at.normed + here)
                d_in = fma(d0, tap3, fma(d1, tap2, fma(d2, tap1, d3 * tap0)))
                add_to(scratch, at.d_normed + here, d_in)
                d_bias = d_bias + d0
                d_tap3, d_tap2 = fma(x0, d0, d_tap3), fma(x0, d1, d_tap2)
                d_tap1, d_tap0 = fma(x0, d2, d_tap1), fma(x0, d3, d_tap0)
                d3, d2, d1 = d2, d1, d0
            to = vectors_at + TAPS * width + c
            add_to(d_vectors, to, d_tap0)
            add_to(d_vectors, to + width, d_tap1)
            add_to(d_vectors, to + 2 * width, d_tap2)
            add_to(d_vectors, to + 3 * width, d_tap3)
            add_to(d_vectors, vectors_at + CONV_BIAS * width + c, d_bias)
        for s in range(length):
            x_at = ((first + w) * length + s) * width
            normalize_backward(
                like, scratch, at.d_normed + (s * count + w) * width, x, x_at, width,
                vectors, NORM * width, epsilon, d_vectors, vectors_at + NORM * width, d_x, x_at,
            )  # fmt: skip


@kernel
def backward(
    part, parts, x, intake, forget, z, o, recurrent, up, down, vectors, scratch, states, middle,
    ups, d_output, d_x, d_intake, d_forget, d_z, d_o, d_recurrent, d_up, d_down, d_vectors,
    sizes, each, epsilon, heads_epsilon, feed_epsilon, share, feed_share, seed, feed_seed,
):  # fmt: skip
    """The gradients; those but of ``x`` are one for each part, ``each`` numbers apart.

    Parameters are as the package has them.
    """
    like = fill(LANES, f32(0))
    batch, length, steps, width, heads, feed = sizes
    of_head, many = width // heads, max(1, min(_together(length), batch))
    at = _place(part, many, sizes, True)
    vectors_at = part * each
    for k in range(END * width):
        d_vectors[vectors_at + k] = 0
    start, stop = batch * part // parts, batch * (part + 1) // parts
    for first in range(start, stop, many):
        count, further = min(many, stop - first), first > start
        rows, late_from = count * steps, (length - steps) * count
        _enter(like, sizes, first, count, x, vectors, scratch, at, epsilon, True)
        for r in range(rows):
            row = _row(sizes, first, count, r, steps) * width
            for c in range(0, width, LANES):
                d_y = load(like, d_output, row + c)
                if feed_share > 0:
                    d_y = d_y * kept(like, row + c, feed_seed, feed_share)
                store(d_y, scratch, at.output + r * width + c)
            normalize(like, middle, (first * steps + r) * width, width,
                      vectors, FEED_NORM * width, feed_epsilon,
                      scratch, at.fed + r * width)  # fmt: skip
        multiply(like, rows, feed, width, scratch, at.output, width, NEXT, down, START, feed,
                 scratch, at.d_opened, feed, NEW)  # fmt: skip
        for r in range(rows):
            gate_at = (first * steps + r) * 2 * feed
            for c in range(0, feed, LANES):
                gate, value = load(like, ups, gate_at + c), load(like, ups, gate_at + feed + c)
                distribution, density = _normal(like, gate)
                active = gate * distribution
                store(active * value, scratch, at.opened + r * feed + c)
                d_opened = load(like, scratch, at.d_opened + r * feed + c)
                d_gate = d_opened * value * fma(gate, density, distribution)
                store(d_gate, scratch, at.d_ups + r * 2 * feed + c)
                store(d_opened * active, scratch, at.d_ups + r * 2 * feed + feed + c)
        multiply(like, width, feed, rows, scratch, at.output, NEXT, width, scratch, at.opened, feed,
                 d_down, part * each, feed, further)  # fmt: skip
        multiply(like, 2 * feed, width, rows, scratch, at.d_ups, NEXT, 2 * feed,
                 scratch, at.fed, width, d_up, part * each, width, further)  # fmt: skip
        multiply(like, rows, width, 2 * feed, scratch, at.d_ups, 2 * feed, NEXT, up, START, width,
                 scratch, at.d_fed, width, NEW)  # fmt: skip

        _recur_again(like, sizes, first, count, scratch, at, states)
        for r in range(count * length):
            row, t = _row(sizes, first, count, r, length) * width, r // count - length + steps
            if t < 0:
                for c in range(0, width, LANES):
                    store(like, d_x, row + c)
                continue
            out, mid = _row(sizes, first, count, r - late_from, steps) * width, r - late_from
            for c in range(0, width, LANES):
                store(load(like, d_output, out + c), scratch, at.d_middle + mid * width + c)
            normalize_backward(
                like, scratch, at.d_fed + mid * width, middle, (first * steps + mid) * width, width,
                vectors, FEED_NORM * width, feed_epsilon,
                d_vectors, vectors_at + FEED_NORM * width, scratch, at.d_middle + mid * width,
            )  # fmt: skip
            y_at = at.y + r * width
            dropped = y_at
            if share > 0:
                dropped = at.output + mid * width  # no longer needed
                for c in range(0, width, LANES):
                    mask = kept(like, out + c, seed, share)
                    store(load(like, scratch, y_at + c) * mask, scratch, dropped + c)
            for h in range(heads):
                normalize_backward(
                    like, scratch, at.d_middle + mid * width + h * of_head,
                    scratch, dropped + h * of_head, of_head,
                    vectors, HEADS_NORM * width + h * of_head, heads_epsilon,
                    d_vectors, vectors_at + HEADS_NORM * width + h * of_head,
                    scratch, at.d_y + r * width + h * of_head,
                )  # fmt: skip
            for c in range(0, width, LANES):
                store(load(like, scratch, at.d_middle + mid * width + c), d_x, row + c)
                if share > 0:
                    d_y = load(like, scratch, at.d_y + r * width + c)
                    d_y = d_y * kept(like, out + c, seed, share)
                    store(d_y, scratch, at.d_y + r * width + c)
        for h in range(heads):
            _recur_backward(
                like, sizes, h, first, count, intake, forget, z, o, recurrent,
                d_intake, d_forget, d_z, d_o, d_recurrent, part * each, further, d_vectors,
                vectors_at, scratch, at, states,
            )  # fmt: skip
        _enter_backward(like, sizes, first, count, x, vectors, d_vectors, vectors_at, scratch, at,
                        epsilon, d_x)  # fmt: skip
