"""The causal convolution of both blocks, channel by channel, on its way back."""

from numba import njit

from vd_forecasting.models.fused_xlstm.compiled.rows import add_to
from vd_forecasting.models.fused_xlstm.compiled.vectors import INNER, fma, load

KERNEL = 4  # steps of the convolution


@njit(**INNER)
def convolve_backward(
    like, length, row, scratch, d_y_at, slopes_at, d_x_at, x, x_at, taps, taps_at, width, d_taps,
    d_taps_at,
):  # fmt: skip
    """Add the gradients of x, taps and bias for a vector of channels of a window.

    ``slopes`` are those of the activation behind the convolution. Steps are ``row`` numbers apart,
    taps ``width``, and the bias lies behind them.
    """
    tap0 = load(like, taps, taps_at)
    tap1 = load(like, taps, taps_at + width)
    tap2 = load(like, taps, taps_at + 2 * width)
    tap3 = load(like, taps, taps_at + 3 * width)
    d_tap0, d_tap1, d_tap2, d_tap3, d_bias = like, like, like, like, like
    d1, d2, d3 = like, like, like
    for s in range(length - 1, -1, -1):
        here = s * row
        d0 = load(like, scratch, d_y_at + here) * load(like, scratch, slopes_at + here)
        now = load(like, x, x_at + here)
        d_in = fma(d0, tap3, fma(d1, tap2, fma(d2, tap1, d3 * tap0)))
        add_to(scratch, d_x_at + here, d_in)
        d_bias = d_bias + d0
        d_tap3, d_tap2 = fma(now, d0, d_tap3), fma(now, d1, d_tap2)
        d_tap1, d_tap0 = fma(now, d2, d_tap1), fma(now, d3, d_tap0)
        d3, d2, d1 = d2, d1, d0
    add_to(d_taps, d_taps_at, d_tap0)
    add_to(d_taps, d_taps_at + width, d_tap1)
    add_to(d_taps, d_taps_at + 2 * width, d_tap2)
    add_to(d_taps, d_taps_at + 3 * width, d_tap3)
    add_to(d_taps, d_taps_at + 4 * width, d_bias)
