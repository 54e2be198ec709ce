"""What the blocks do with single rows: norm and dropout."""

import math

from numba import njit

from vd_forecasting.models.fused_xlstm.compiled.products import lanes_of
from vd_forecasting.models.fused_xlstm.compiled.vectors import (
    INNER,
    ONE,
    f32,
    fma,
    load,
    store,
    totals,
    uniform,
    where_less,
)


@njit(**INNER)
def moments(like, x, at, width):
    """The mean of some numbers and their variance."""
    sums, squares, first = like, like, x[at]
    for c in range(0, width, lanes_of(like)):
        from_first = load(like, x, at + c) - first  # large means would cost digits
        sums = sums + from_first
        squares = fma(from_first, from_first, squares)
    mean, square = totals(sums, squares)
    share = ONE / f32(width)
    mean, square = mean * share, square * share
    return mean + first, max(square - mean * mean, f32(0))


@njit(**INNER)
def normalize(like, x, at, width, weight, weight_at, epsilon, y, y_at):
    """A row of mean 0 and variance 1, times a weight."""
    mean, variance = moments(like, x, at, width)
    scale = ONE / f32(math.sqrt(variance + epsilon))
    for c in range(0, width, lanes_of(like)):
        normed = (load(like, x, at + c) - mean) * scale
        store(normed * load(like, weight, weight_at + c), y, y_at + c)


@njit(**INNER)
def normalize_backward(
    like, d_y, d_y_at, x, at, width, weight, weight_at, epsilon, d_weight, d_weight_at, d_x, d_x_at
):
    """Add to the gradients of the weight and of ``x``."""
    step = lanes_of(like)
    mean, variance = moments(like, x, at, width)
    scale = ONE / f32(math.sqrt(variance + epsilon))
    sums, along = like, like
    for c in range(0, width, step):
        normed = (load(like, x, at + c) - mean) * scale
        d_out = load(like, d_y, d_y_at + c)
        store(fma(d_out, normed, load(like, d_weight, d_weight_at + c)), d_weight, d_weight_at + c)
        d_normed = d_out * load(like, weight, weight_at + c)
        sums = sums + d_normed
        along = fma(d_normed, normed, along)
    share = ONE / f32(width)
    shift, shrink = totals(sums, along)
    shift, shrink = shift * share, shrink * share
    for c in range(0, width, step):
        normed = (load(like, x, at + c) - mean) * scale
        d_normed = load(like, d_y, d_y_at + c) * load(like, weight, weight_at + c)
        d_in = (d_normed - shift - normed * shrink) * scale
        store(load(like, d_x, d_x_at + c) + d_in, d_x, d_x_at + c)


@njit(inline="always", **INNER)
def kept(like, counter, seed, share):
    """What dropout multiplies the values of these counters with."""
    return where_less(uniform(like, counter, seed), share, like, ONE / (ONE - share))


@njit(inline="always", **INNER)
def add_to(x, at, vector):
    store(load(vector, x, at) + vector, x, at)
