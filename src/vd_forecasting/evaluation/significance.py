"""Is one forecaster better than another beyond chance?

Losses are strongly autocorrelated and follow the day, so that a few days of five-minute steps hold
far less evidence than their number suggests. Two answers to that:

- :func:`diebold_mariano` takes the autocorrelation within a day into account. It cannot see that
  whole days may suit one forecaster or the other: where they do, it finds too many differences.
- :func:`ratio_intervals` and :func:`model_confidence_set` take sums over calendar days. They cover
  that too, at the price of wide intervals where there are few days.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MIN_DAYS: Final = 5
"""With fewer days nothing is known about another week."""

MIN_DAYS_OF_SET: Final = 10
"""With fewer days a model confidence set excludes next to nothing."""

MIN_POINTS: Final = 30
"""With fewer points the bandwidth takes up more than half of the series."""


@dataclass(frozen=True)
class DieboldMariano:
    """Negative ``statistic``: the first forecaster has the smaller loss."""

    statistic: float
    p_value: float
    lag: int
    n: int


@dataclass(frozen=True)
class Interval:
    """``estimate`` within ``low`` and ``high``, which are NaN where they are not known."""

    estimate: float
    low: float
    high: float


def diebold_mariano(first: ArrayLike, second: ArrayLike, horizon: int) -> DieboldMariano:
    """Two-sided test that two forecasters have the same expected loss.

    The test S₁ of Diebold & Mariano (1995, sec. 1.1) on ``d = first − second``, which is
    ``mean(d) / sqrt(long_run_variance / n)``, with three choices for series as dependent as these:

    - Variance: Bartlett kernel (Newey & West 1987) up to ``lag = max(horizon − 1, 2.4·sqrt(n))``.
      Lazarus, Lewis, Stock & Watson (2018) derive ``1.3·sqrt(n)`` for AR(1) with ρ = 0.7; their
      rule grows with ``sqrt(2ρ / (1 − ρ²))``, which makes it 2.4 for ρ = 0.9. Automatic bandwidths
      (Newey & West 1994) aim at the variance's squared error, are smaller (37 rather than 108 at
      n = 2000 and ρ = 0.9) and reject 10 % instead of 5 %.
    - Correction: the variance is estimated around the sample mean and so too small. The factor of
      Harvey, Leybourne & Newbold (1997, sec. 2) is derived for equal weights of ``horizon − 1``
      lags; :func:`_small_sample_factor` is the same derivation for the weights used here.
    - Reference: Student t with ``1.5·n / (lag + 1)`` degrees of freedom, the Bartlett kernel's
      equivalent (Lazarus et al. 2018), instead of n − 1. With the correction this is within
      2 % of the fixed-b critical values of Kiefer & Vogelsang (2005, table 1) for lags up to n / 5.

    Both losses are ``[T]``, in order of time; errors overlap for ``horizon − 1`` steps. Time stamps
    with a NaN in either are dropped; ``n`` counts the rest. No difference anywhere: statistic 0 and
    p 1. The same difference everywhere: an infinite statistic and p 0. Both are NaN with fewer than
    ``MIN_POINTS``, with ``lag`` above n / 2 or with an infinite loss. Losses of other shapes and a
    ``horizon`` below 1 are a ValueError.
    """
    from scipy.special import stdtr  # noqa: PLC0415  (slow to import, scipy.stats far more so)

    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, not {horizon}")
    losses = _aligned([first, second])
    losses = losses[~np.isnan(losses).any(axis=1)]
    n = len(losses)
    lag = max(horizon - 1, math.ceil(2.4 * math.sqrt(n)))
    if n < MIN_POINTS or lag > n / 2 or np.isinf(losses).any():
        return DieboldMariano(math.nan, math.nan, lag, n)

    difference = losses[:, 0] - losses[:, 1]
    largest = np.abs(difference).max()
    if largest == 0:
        return DieboldMariano(0.0, 1.0, lag, n)
    difference /= largest  # no effect on the statistic, but squares neither over- nor underflow
    mean = float(difference.mean())
    if np.ptp(difference) == 0:
        return DieboldMariano(math.copysign(math.inf, mean), 0.0, lag, n)
    weights = 1 - np.arange(1, lag + 1) / (lag + 1)
    variance = _long_run_variance(difference, weights)
    statistic = mean / math.sqrt(variance / n / _small_sample_factor(weights, n))
    p_value = 2 * stdtr(1.5 * n / (lag + 1), -abs(statistic))
    return DieboldMariano(statistic, float(p_value), lag, n)


def _long_run_variance(series: Floats, weights: Floats) -> float:
    """That of a series ``[n]``, from its autocovariances by the kernel's ``weights`` ``[lag]``."""
    deviation, n = series - series.mean(), len(series)
    products = [deviation[lag:] @ deviation[: n - lag] for lag in range(len(weights) + 1)]
    return float(products[0] + 2 * (weights @ products[1:])) / n


def _small_sample_factor(weights: Floats, n: int) -> float:
    """Expected share of the long-run variance that a kernel estimate finds in white noise.

    The kernel has ``weights`` ``[lag]`` at lags 1, 2, …. Around the sample mean of n values, the
    autocovariance at lag j has the expectation −(1 − j/n)/n, and the variance 1 − 1/n (Harvey,
    Leybourne & Newbold 1997, sec. 2). With h − 1 equal weights this is their
    ``(n + 1 − 2h + h(h − 1)/n) / n``.
    """
    lags = np.arange(1, len(weights) + 1)
    return 1 - (1 + 2 * float((weights * (1 - lags / n)).sum())) / n


def holm(p_values: ArrayLike) -> Floats:
    """P-values ``[tests]`` adjusted for their number by Holm (1979); NaN stay NaN, uncounted.

    Rejecting those below α keeps the chance of any false rejection below α.
    """
    raw = np.array(p_values, dtype="float64")
    order = np.argsort(raw)[: np.isfinite(raw).sum()]  # NaN are last
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full_like(raw, np.nan)
    adjusted[order] = np.maximum.accumulate(raw[order] * factors).clip(max=1)
    return adjusted


def ratio_intervals(
    numerators: ArrayLike, denominators: ArrayLike, days: Sequence[int], level: float
) -> list[Interval]:
    """Ratios of the sums of series ``[D, K]``, each with its interval: K of them.

    The values are sums over calendar days, which are taken for independent. The interval is that
    of Fieller (1954) for the ratio of two means, exact for normal sums: all ratios r for which
    ``numerator − r · denominator`` has a mean within Student's t standard errors of zero. Where
    these are not bounded, for the denominator of so few and uneven days might be zero if it were
    normal, it is a t interval of the logarithm. Both cover 94 to 96 % at 5 to 73 days, also where
    whole days suit one forecaster.

    ``days`` ``[K]`` says how many days count; fewer than ``MIN_DAYS`` have no interval. All is NaN
    where the denominator is zero or a sum no number. Arrays of other shapes are a ValueError.
    """
    above, below = (np.asarray(values, dtype="float64") for values in (numerators, denominators))
    if above.shape != below.shape or above.ndim != 2 or above.shape[1] != len(days):
        raise ValueError(f"numerators {above.shape} and denominators {below.shape} must be [D, K]")
    return [_fieller(*of_one, level) for of_one in zip(above.T, below.T, days, strict=True)]


def _fieller(above: Floats, below: Floats, days: int, level: float) -> Interval:
    """The ratio of the sums of ``[D]`` above and below."""
    from scipy.special import stdtrit  # noqa: PLC0415

    largest = np.abs(above).max(initial=0), np.abs(below).max(initial=0)
    if not np.isfinite(largest).all() or below.sum() <= 0:
        return Interval(math.nan, math.nan, math.nan)
    with np.errstate(over="ignore"):  # a ratio to almost nothing
        scale = float(np.divide(largest[0] or 1.0, largest[1]))
        above, below = above / (largest[0] or 1.0), below / largest[1]  # squares stay in range
        ratio = float(above.mean() / below.mean())
        estimate = ratio * scale
    if days < MIN_DAYS or not math.isfinite(estimate):
        return Interval(estimate if math.isfinite(estimate) else math.nan, math.nan, math.nan)
    # Around the ratio: the variances of the mean below and of what it leaves of the one above.
    (of_below, of_both), (_, of_rest) = np.cov(below, above - ratio * below) / len(below)
    t = float(stdtrit(days - 1, (1 + level) / 2)) ** 2
    curvature = below.mean() ** 2 - t * of_below
    if curvature > 0:
        middle = -t * of_both / curvature
        margin = math.sqrt(middle**2 + t * of_rest / curvature)
        low, high = ratio + middle - margin, ratio + middle + margin
    else:
        factor = math.exp(math.sqrt(t * of_rest) / above.mean()) if ratio > 0 else math.nan
        low, high = ratio / factor, ratio * factor
    low, high = low * scale, high * scale
    # Rounding leaves a ratio that is the same on all days outside of an interval of no width.
    return Interval(estimate, min(low, estimate), max(high, estimate))


def model_confidence_set(
    losses: Mapping[str, ArrayLike], days: int, level: float, repetitions: int, seed: int = 0
) -> dict[str, float]:
    """The models among which the best one is, each with its p-value, in the order of ``losses``.

    The model confidence set of Hansen, Lunde & Nason (2011) with the range statistic T_R (sec.
    3.1.2, ``method="R"`` of arch), which compares models in pairs: their T_max compares each with
    the average and misses a single good model among equal ones. Whole days are drawn, and the same
    ``seed`` draws the same.

    From few days the procedure as published rejects far too often, for it takes the variance of
    every pair as known. So the losses are spread around their means by
    ``sqrt(k / (k − 1)) · t / z`` for k days, with the quantiles of Student's t with k − 1 degrees
    of freedom and of the normal distribution at ``1 − size / 2 / pairs``, size being 1 − ``level``.
    With many days that does nothing.

    The losses are sums over calendar days, ``[D]`` per model, of which so many ``days`` count. A
    model is in the set where p > 1 − ``level``, the chance that the set misses the best model, for
    which p is 1. All are NaN with fewer than ``MIN_DAYS_OF_SET`` days or a loss that is no number.
    Models with the same losses have the same p-value. Losses of other shapes are a ValueError.
    """
    if not losses:
        return {}
    values = _aligned(list(losses.values()))
    if days < MIN_DAYS_OF_SET or not np.isfinite(values).all():
        return dict.fromkeys(losses, math.nan)

    distinct, column = np.unique(values, axis=1, return_inverse=True)
    models = distinct.shape[1]
    if models == 1:
        return dict.fromkeys(losses, 1.0)
    from arch.bootstrap import MCS  # noqa: PLC0415  (half a second, which few days do not need)
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415

    # Over their maximum, with noise of a billionth of each model's, because arch's MCS fails on
    # equal means and divides by zero where two models always differ by the same.
    scaled = distinct / np.abs(distinct).max()
    noise = 1e-9 * np.abs(scaled).max(axis=0) + 1e-100  # the latter where a loss is always zero
    scaled += noise * np.random.default_rng(0).standard_normal(scaled.shape)
    quantile = 1 - (1 - level) / (models * (models - 1))
    heavier_tails = float(stdtrit(days - 1, quantile) / ndtri(quantile))
    mean = scaled.mean(axis=0)
    spread = mean + math.sqrt(days / (days - 1)) * heavier_tails * (scaled - mean)
    draws = {"reps": repetitions, "block_size": 1, "seed": seed}
    test = MCS(spread, 1 - level, method="R", bootstrap="moving block", **draws)
    test.compute()
    # Models that leave the set at the same time share an entry of the index.
    p_values = {
        number: float(p)
        for numbers, p in zip(test.pvalues.index, test.pvalues["Pvalue"], strict=True)
        for number in np.ravel(numbers).tolist()
    }
    return {name: p_values[at] for name, at in zip(losses, column.ravel().tolist(), strict=True)}


def _aligned(losses: Sequence[ArrayLike]) -> Floats:
    """Copies the losses of several models, ``[T]`` each, into one array ``[T, models]``."""
    arrays = [np.asarray(loss, dtype="float64") for loss in losses]
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"losses must be of one dimension and of the same length, not {shapes}")
    return np.stack(arrays, axis=1)
