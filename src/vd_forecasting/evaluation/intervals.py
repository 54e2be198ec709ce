"""Prediction intervals from the residuals of earlier forecasts, whatever made these.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018) widens a forecast by a
quantile of earlier residuals. It covers as promised where these and the new one are exchangeable.
Two things are done about traffic, which is not:

- Residuals count in units of their usual size at the horizon and the time of day
  (:class:`UsualSize`).
- The chance to miss that an interval aims at follows what came true, as in adaptive conformal
  inference (Gibbs and Candès 2021, equation 2).

Residuals are absolute. Quantiles of signed ones, each end with its own, took twice the time and
were no better: on inner data of three records of five weeks CRPS and interval score were the same.

Shapes: C earlier origins, T origins, H horizons from 1, N detectors, F features, L levels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vd_forecasting.vd_array import MINUTES_PER_DAY, as_interval, minute_of_week

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Range = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]
"""Lowest and highest possible values, ``[N, F]``."""

BIN_MINUTES: Final = 15
"""Resolution of the usual size by time of day."""
SMOOTHING_MINUTES: Final = 60
"""Standard deviation of the Gaussian kernel over the time of day; few days of residuals are not
enough for less."""
PRIOR: Final = 0.25
"""Weight of all times of day together, where one is that of the residuals near a time."""


@dataclass(frozen=True)
class Forecasted:
    """Forecasts of one model and what came true, in order of time."""

    origins: npt.NDArray[np.datetime64]
    """``[T]``, with or without gaps."""
    forecast: npt.NDArray[np.floating]
    """``[T, H, N, F]`` in physical units."""
    truth: npt.NDArray[np.floating]
    """The same, NaN where it is not observed or not known yet."""
    interval_minutes: float

    @property
    def residuals(self) -> Floats:
        """Truth − forecast, ``[T, H, N, F]``."""
        left: Floats = self.truth.astype("float64") - self.forecast
        return left

    @property
    def positions(self) -> Ints:
        """The origins in steps since the first, ``[T]``."""
        since: Ints = np.rint(
            (self.origins - self.origins[:1]) / as_interval(self.interval_minutes)
        ).astype("int64")
        return since

    @property
    def bins(self) -> Ints:
        """Which part of the day each target is in, ``[T, H]``."""
        ahead = np.arange(1, self.forecast.shape[1] + 1) * as_interval(self.interval_minutes)
        minutes = minute_of_week(self.origins[:, None] + ahead) % MINUTES_PER_DAY
        return minutes // BIN_MINUTES


@dataclass(frozen=True)
class UsualSize:
    """The mean absolute residual at a horizon, times a profile over the day that all share."""

    of_horizon: Floats
    """``[H, N, F]``, above zero."""
    of_bin: Floats
    """``[bins, N, F]``, about one on average: a mean over the days, smoothed."""

    @classmethod
    def learn(cls, residuals: Floats, bins: Ints) -> "UsualSize":
        """From residuals ``[C, H, N, F]``, NaN where not known, with targets in bins ``[C, H]``.

        One where nothing is known or all is exact.
        """
        size = abs(residuals)
        known = np.isfinite(size)
        size = np.where(known, size, 0)
        total, count = size.sum(0), known.sum(0)  # [H, N, F]
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        mean = np.where(mean > 0, mean, 1.0)
        number = MINUTES_PER_DAY // BIN_MINUTES
        sums, counts = np.zeros((2, number, *size.shape[2:]))
        np.add.at(sums, bins, size / mean)
        np.add.at(counts, bins, known.astype("float64"))  # truth values take five times as long
        distance = np.arange(number) * BIN_MINUTES
        distance = np.minimum(distance, MINUTES_PER_DAY - distance)
        kernel = np.exp(-((distance / SMOOTHING_MINUTES) ** 2) / 2)
        at = np.arange(number)
        weights = kernel[abs(at[:, None] - at)]  # [bins, bins], symmetric and circular
        sums, counts = (np.tensordot(weights, of, 1) for of in (sums, counts))
        prior = PRIOR * counts.mean(0)
        whole = sums + prior
        profile = np.divide(whole, counts + prior, out=np.ones_like(sums), where=whole > 0)
        return cls(mean, profile)

    def at(self, horizon: int, bins: Ints) -> Floats:
        """At a horizon by position, for targets in bins ``[T]``: ``[T, N, F]``."""
        size: Floats = self.of_horizon[horizon] * self.of_bin[bins]
        return size


@dataclass(frozen=True)
class Calibration:
    """What intervals are learnt from: earlier residuals in units of their usual size."""

    size: UsualSize
    scores: Floats
    """``[H, C, N, F]``, ascending along C; NaN, where not known, come last."""

    @classmethod
    def learn(cls, past: Sequence[Forecasted]) -> "Calibration":
        """From forecasts of the same model, in one or several periods."""
        residuals = np.concatenate([of.residuals for of in past])
        bins = np.concatenate([of.bins for of in past])
        size = UsualSize.learn(residuals, bins)
        scores = np.ascontiguousarray(np.moveaxis(residuals, 1, 0))
        for at, of_horizon in enumerate(scores):
            of_horizon[:] = np.sort(abs(of_horizon) / size.at(at, bins[:, at]), axis=0)
        return cls(size, scores)


def interval_bounds(
    past: Calibration,
    now: Forecasted,
    possible: Range,
    levels: Sequence[float],
    step: float,
) -> Iterator[tuple[Floats, Floats]]:
    """Lower and upper ends of intervals around forecasts, horizon by horizon: ``[L, T, N, F]``.

    They are ``possible``, and as far from the forecast as :func:`half_widths` says.
    """
    for at, widths in enumerate(half_widths(past, now, levels, step)):
        yield around(now.forecast[:, at], widths, possible)


def half_widths(
    past: Calibration, now: Forecasted, levels: Sequence[float], step: float
) -> Iterator[Floats]:
    """How far the ends of intervals are from the forecasts, horizon by horizon: ``[L, T, N, F]``.

    Those at an origin do not depend on truths of later steps. With too few residuals for a level
    they are infinite.

    Args:
        past: of forecasts of the same model before ``now``, all of whose truths were known at its
            first origin.
        now: the forecasts that need intervals; what is known of their truths at an origin adapts
            the interval there.
        levels: shares of the truths that are to lie within, each above 0 and below 1.
        step: γ of Gibbs and Candès, how far a miss moves the chance to miss; 0 is split conformal.
    """
    aimed = 1 - np.asarray(levels, dtype="float64")
    positions, bins_now, residuals_now = now.positions, now.bins, now.residuals
    for at in range(now.forecast.shape[1]):
        scale = past.size.at(at, bins_now[:, at])
        widths = adaptive_quantiles(
            past.scores[at],
            abs(residuals_now[:, at]) / scale,
            np.searchsorted(positions, positions - (at + 1), side="right"),
            aimed,
            step,
        )
        widths *= scale
        yield widths


def around(
    forecast: npt.NDArray[np.floating], widths: Floats, possible: Range
) -> tuple[Floats, Floats]:
    """The ends so far from forecasts ``[T, N, F]``, within the possible: ``[L, T, N, F]`` each."""
    point = forecast.astype("float64")
    low, high = (np.asarray(end, dtype="float64") for end in possible)
    lower, upper = point - widths, point + widths
    for ends in (lower, upper):  # NumPy's clip takes a half more time
        np.minimum(np.maximum(ends, low, out=ends), high, out=ends)
    return lower, upper


def adaptive_quantiles(
    calibration: Floats, scores: Floats, known: Ints, aimed: Floats, step: float
) -> Floats:
    """What scores exceed with a chance that adapts to how often they did: ``[L, T, ...]``.

    The quantile for a chance a is the ⌈(n + 1)(1 − a)⌉-th smallest of n calibration scores;
    infinite where that is more than n for the chance aimed at. Whenever an outcome becomes known,
    the chance moves by ``step × (aimed − miss)``, miss being 1 or 0. It stays at 0 where it would
    fall below, and the quantile is then the largest calibration score: on inner data of two
    records the infinite one of Gibbs and Candès made intervals 1.5 times as wide and the interval
    score 1.3 times as high, for the same coverage.

    Args:
        calibration: ``[C, ...]``, ascending; NaN, where not known, come last.
        scores: ``[T, ...]``, NaN where not known, which moves nothing.
        known: how many of the origins ``[T]``, from the first, have come true at each.
        aimed: chances to exceed, ``[L]``.
        step: how far a miss moves the chance.
    """
    shape = scores.shape[1:]
    ordered, scores = (of.reshape(len(of), -1) for of in (calibration, scores))  # [..., K]
    known_scores = np.isfinite(ordered)
    n = known_scores.sum(0)  # [K]
    unknown, target = np.isnan(scores)[:, None], aimed[:, None]
    most = np.maximum(_rank(n, target), n)
    infinite = np.full_like(ordered[:1], np.inf)
    quantiles = np.concatenate([np.where(known_scores, ordered, np.inf), infinite]).ravel()
    column = np.arange(len(n)) - len(n)
    found = np.empty((len(aimed), *scores.shape))  # [L, T, K]
    chance = np.empty((len(scores) + 1, *most.shape))  # once the first t outcomes are known
    chance[0] = target
    start = 0
    while start < len(scores):
        # All origins at which no outcome from ``start`` on is known.
        rows = slice(start, int(np.searchsorted(known, start, side="right")))
        ranks = _rank(n, chance[known[rows]])
        np.minimum(ranks, most, out=ranks)
        now = quantiles[np.maximum(ranks, 1).astype("int64") * len(n) + column]
        found[:, rows] = now.swapaxes(0, 1)
        missed = (scores[rows, None] > now) | (ranks < 1)
        moves = np.where(missed, step * (target - 1), step * target)
        np.copyto(moves, 0, where=unknown[rows])
        for at, move in enumerate(moves, start):
            np.maximum(np.add(chance[at], move, out=move), 0, out=chance[at + 1])
        start = rows.stop
    return found.reshape(*found.shape[:2], *shape)


def _rank(n: Ints, chance: Floats) -> Floats:
    """Of the quantile that is exceeded with a chance; rounding makes no rank of its own."""
    rank: Floats = (n + 1) * (1 - chance)
    rank -= 1e-9
    return np.ceil(rank, out=rank)
