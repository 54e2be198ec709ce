"""Prediction intervals against quantiles by hand, the published recursion and known chances."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vd_forecasting.evaluation.intervals import (
    Calibration,
    Forecasted,
    UsualSize,
    adaptive_quantiles,
    around,
    half_widths,
    interval_bounds,
)

Floats = npt.NDArray[np.float64]
NO_LIMITS = (np.full((1, 1), -np.inf), np.full((1, 1), np.inf))


def forecasted(residuals: Floats, start: str = "2026-03-23", **changes: Any) -> Forecasted:
    """Forecasts of 100, hourly, with residuals ``[T, H, N, F]``."""
    given: dict[str, Any] = {
        "origins": pd.date_range(start, periods=len(residuals), freq="1h").to_numpy(),
        "forecast": np.full(residuals.shape, 100.0),
        "truth": 100.0 + residuals,
        "interval_minutes": 60.0,
    }
    return Forecasted(**(given | changes))


def ends(
    past: Sequence[Forecasted],
    now: Forecasted,
    levels: Sequence[float],
    step: float = 0.0,
    possible: tuple[Floats, Floats] = NO_LIMITS,
) -> tuple[Floats, Floats]:
    """Lower and upper ends ``[L, T, H, N, F]``."""
    by_horizon = list(interval_bounds(Calibration.learn(past), now, possible, levels, step))
    lower, upper = (np.stack(of, axis=2) for of in zip(*by_horizon, strict=True))
    return lower, upper


def column(*values: float) -> Floats:
    return np.array(values, dtype="float64").reshape(-1, 1)


def test_ends_are_half_widths_around_a_forecast_and_possible() -> None:
    """Nine residuals at one time of day: the 8th covers 80 %, for 95 % there are too few."""
    days = pd.date_range("2026-03-23", periods=9, freq="1D").to_numpy()
    past = forecasted(np.arange(1.0, 10)[:, None, None, None], origins=days)
    now = forecasted(np.full((1, 1, 1, 1), np.nan), "2026-05-01")
    [widths] = half_widths(Calibration.learn([past]), now, [0.8, 0.95], 0.0)
    assert widths.ravel().tolist() == pytest.approx([8.0, np.inf])
    widths = widths.round(9)
    possible = (column(0.0), column(105.0))
    low, high = around(column(100.0)[None], widths, possible)
    assert (low.ravel().tolist(), high.ravel().tolist()) == ([92.0, 0.0], [105.0, 105.0])
    low, high = around(column(50.0)[None], widths, possible)
    assert (low.ravel().tolist(), high.ravel().tolist()) == ([42.0, 0.0], [58.0, 105.0])


# --- split conformal ------------------------------------------------------------------------------


def test_quantiles_by_hand() -> None:
    """Of nine scores the 8th covers 80 % and the 9th 90 %; for 95 % there are too few."""
    calibration = column(*[3, 1, 2, 9, 5, 4, 7, 6, 8, np.nan])
    found = adaptive_quantiles(
        np.sort(calibration, axis=0),
        column(np.nan, np.nan),
        np.array([0, 1]),
        np.array([0.2, 0.1, 0.05]),
        0.0,
    )
    np.testing.assert_array_equal(found[:, :, 0], [[8, 8], [9, 9], [np.inf, np.inf]])


def test_without_calibration_scores_quantiles_stay_infinite() -> None:
    """... although nothing is missed, so that the chance to exceed them comes to lie above 1."""
    found = adaptive_quantiles(
        column(np.nan, np.nan), column(*range(9)), np.arange(9), np.array([0.5, 0.1]), 0.5
    )
    np.testing.assert_array_equal(found, np.full((2, 9, 1), np.inf))


@given(st.integers(1, 60), st.floats(0.02, 0.98), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_those_of_numpy(n: int, level: float, seed: int) -> None:
    scores = np.random.default_rng(seed).exponential(size=(n, 1))
    found = adaptive_quantiles(
        np.sort(scores, axis=0), column(np.nan), np.array([0]), np.array([1 - level]), 0.0
    )
    rank = math.ceil((n + 1) * level - 1e-9)
    middle = (rank - 0.5) / n  # between two ranks, so that rounding does not matter
    expected = np.quantile(scores, middle, method="inverted_cdf") if rank <= n else np.inf
    assert found.item() == expected


@pytest.mark.parametrize(("n", "level"), [(19, 0.9), (9, 0.5), (30, 0.75)])
def test_the_chance_to_cover_exchangeable_draws_is_known(n: int, level: float) -> None:
    """⌈(n + 1) level⌉ / (n + 1), whatever the distribution; here 20,000 draws of n + 1."""
    draws = np.random.default_rng(n).pareto(1.5, (n + 1, 20_000))
    quantile = adaptive_quantiles(
        np.sort(draws[:-1], axis=0), draws[-1:], np.array([0]), np.array([1 - level]), step=0.005
    )
    chance = math.ceil((n + 1) * level) / (n + 1)
    sd = math.sqrt(chance * (1 - chance) / 20_000)
    assert (draws[-1] <= quantile[0, 0]).mean() == pytest.approx(chance, abs=4 * sd)


def test_intervals_are_the_forecast_and_the_quantile_on_both_sides() -> None:
    """At one time of day alone there is no profile, so the usual size cancels."""
    sizes = np.arange(1.0, 20.0)
    signs = np.where(np.arange(19) % 2, 1, -1)
    every_day = pd.date_range("2026-03-01", periods=19, freq="24h").to_numpy()
    past = forecasted((sizes * signs).reshape(19, 1, 1, 1), origins=every_day)
    now = forecasted(np.full((1, 1, 1, 1), np.nan), "2026-03-23")
    lower, upper = ends([past], now, [0.5, 0.9])
    np.testing.assert_allclose(lower.ravel(), [90, 82])
    np.testing.assert_allclose(upper.ravel(), [110, 118])


def test_residuals_of_several_periods_count_together() -> None:
    residuals = np.random.default_rng(0).normal(size=(60, 2, 1, 1))
    now = forecasted(np.full((3, 2, 1, 1), np.nan), "2026-04-23")
    whole = forecasted(residuals)
    parts = [forecasted(residuals[:20]), forecasted(residuals[20:], "2026-03-23T20:00")]
    for one, two in zip(ends([whole], now, [0.8]), ends(parts, now, [0.8]), strict=True):
        np.testing.assert_allclose(one, two)


def test_without_residuals_an_interval_is_all_that_is_possible() -> None:
    possible = np.zeros((1, 1)), np.full((1, 1), 200.0)
    past = forecasted(np.full((30, 1, 1, 1), np.nan))
    now = forecasted(np.full((5, 1, 1, 1), 3.0), "2026-04-23")
    lower, upper = ends([past], now, [0.5], 0.005, possible)
    assert (lower == 0).all()
    assert (upper == 200).all()


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.1))
@settings(max_examples=25, deadline=None)
def test_ends_are_possible_and_hold_the_forecast_and_the_narrower_levels(
    seed: int, step: float
) -> None:
    rng = np.random.default_rng(seed)
    possible = np.full((2, 1), 90.0), np.full((2, 1), 105.0)
    past = forecasted(rng.standard_t(2, (40, 3, 2, 1)))
    now = forecasted(3 * rng.standard_t(2, (80, 3, 2, 1)), "2026-04-23")
    lower, upper = ends([past], now, [0.1, 0.5, 0.9], 0.0, possible)
    assert (np.diff(lower, axis=0) <= 0).all()
    assert (np.diff(upper, axis=0) >= 0).all()
    lower, upper = ends([past], now, [0.1, 0.5, 0.9], step, possible)
    assert ((lower >= 90) & (lower <= 100) & (upper >= 100) & (upper <= 105)).all()


# --- usual size -----------------------------------------------------------------------------------


def test_intervals_are_wide_where_residuals_are_usually_large() -> None:
    """Residuals four times as large from 8:00 to 20:00, and twice as large at horizon 2.

    Means of 1.6 and 0.4 of all, each with a quarter of the weight on 1.
    """
    rng = np.random.default_rng(0)
    hour = (np.arange(30 * 24)[:, None] + np.array([1, 2])) % 24
    factor = np.where((hour >= 8) & (hour < 20), 4.0, 1.0) * np.array([1.0, 2.0])
    past = forecasted((rng.normal(size=factor.shape) * factor)[..., None, None])
    now = forecasted(np.full((24, 2, 1, 1), np.nan), "2026-05-04")
    lower, upper = ends([past], now, [0.9])
    width = (upper - lower)[0, :, :, 0, 0]
    assert width[13, 0] / width[1, 0] == pytest.approx(1.85 / 0.65, rel=0.1)
    np.testing.assert_allclose(width[1:, 0] * 2, width[:-1, 1], rtol=0.15)
    coverage = [(abs(past.residuals) <= width[np.arange(720) % 24][..., None, None] / 2).mean()]
    assert coverage[0] == pytest.approx(0.9, abs=0.02)


def test_a_profile_over_one_day_is_smooth_and_round() -> None:
    residuals = np.zeros((24, 1, 1, 1))
    residuals[0] = 24.0  # of the target at 1:00
    size = UsualSize.learn(residuals, forecasted(residuals).bins)
    profile = size.of_bin[:, 0, 0]
    assert size.of_horizon.item() == 1.0
    assert profile.argmax() == 4  # quarters of an hour
    np.testing.assert_allclose(profile[3::-1], profile[5:9], rtol=1e-6)
    np.testing.assert_allclose(profile[:4][::-1], [profile[5], *profile[6:9]], rtol=1e-6)
    assert profile[-1] == pytest.approx(profile[9]), "the day is a circle"
    assert 0 < profile.min() < 0.3


def test_the_usual_size_of_nothing_is_one() -> None:
    for residuals in (np.full((5, 2, 1, 1), np.nan), np.zeros((5, 2, 1, 1))):
        size = UsualSize.learn(residuals, forecasted(residuals).bins)
        assert (size.of_horizon == 1).all()
        assert np.isfinite(size.of_bin).all()


# --- adaptive -------------------------------------------------------------------------------------


def by_hand(
    calibration: Floats, scores: Floats, positions: Sequence[int], horizon: int, aimed: float
) -> list[float]:
    """Gibbs and Candès (2021), equation 2, one outcome after the other, held at 0."""
    ordered = sorted(one for one in calibration if not math.isnan(one))
    n, step = len(ordered), 0.03
    quantiles: list[float] = []
    for t, now in enumerate(positions):
        chance = aimed
        for u in range(t):
            if positions[u] + horizon <= now and not math.isnan(scores[u]):
                miss = 1.0 if scores[u] > quantiles[u] else 0.0
                chance = max(chance + step * (aimed - miss), 0.0)
        rank = math.ceil((n + 1) * (1 - chance) - 1e-9)
        quantiles.append(ordered[min(max(rank, 1), n) - 1])
    return quantiles


@pytest.mark.parametrize("horizon", [1, 2, 5])
@pytest.mark.parametrize("gaps", [False, True])
def test_the_recursion_is_that_of_gibbs_and_candes(horizon: int, *, gaps: bool) -> None:
    rng = np.random.default_rng(horizon)
    calibration, scores = rng.exponential(size=(50, 3)), 2 * rng.exponential(size=(150, 3))
    scores[rng.random(scores.shape) < 0.2] = np.nan
    calibration[:10, 1] = np.nan
    positions = np.cumsum(rng.integers(1, 4, 150)) if gaps else np.arange(150)
    known = np.searchsorted(positions, positions - horizon, side="right")
    aimed = np.array([0.5, 0.1])
    found = adaptive_quantiles(np.sort(calibration, axis=0), scores, known, aimed, 0.03)
    for row, chance in enumerate(aimed):
        for k in range(3):
            expected = by_hand(
                calibration[:, k], scores[:, k], positions.tolist(), horizon, float(chance)
            )
            np.testing.assert_array_equal(found[row, :, k], expected)


@given(st.integers(0, 39), st.integers(0, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_no_interval_depends_on_a_truth_of_a_later_step(at: int, horizon: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    past = forecasted(rng.normal(size=(30, 3, 2, 1)))
    residuals = 2 * rng.normal(size=(40, 3, 2, 1))
    changed = residuals.copy()
    changed[at, horizon] = rng.choice([1e3, 0.0, np.nan], size=(2, 1))
    kept = at + horizon + 1  # its truth is known from the origin ``at + horizon + 1`` on
    before, after = (
        np.stack(ends([past], forecasted(of, "2026-04-23"), [0.5, 0.9], 0.05))
        for of in (residuals, changed)
    )
    np.testing.assert_array_equal(before[:, :, :kept], after[:, :, :kept])


def test_a_truth_does_widen_the_intervals_that_come_after_it_is_known() -> None:
    rng = np.random.default_rng(0)
    past = forecasted(rng.normal(size=(200, 2, 1, 1)))
    residuals = np.full((12, 2, 1, 1), np.nan)
    residuals[3] = 1e3
    lower, upper = ends([past], forecasted(residuals, "2026-04-23"), [0.5], 0.1)
    width = (upper - lower)[0, :, :, 0, 0]
    still, _ = ends([past], forecasted(np.full_like(residuals, np.nan), "2026-04-23"), [0.5])
    unmoved = 2 * (100 - still[0, :, :, 0, 0])
    for at, first in ((0, 4), (1, 5)):
        np.testing.assert_allclose(width[:first, at], unmoved[:first, at])
        assert (width[first:, at] > unmoved[first:, at]).all()


def test_coverage_follows_where_errors_grow() -> None:
    """Errors 1.4 times as large: 90 % intervals of before cover 76 %."""
    rng = np.random.default_rng(1)
    past = forecasted(rng.normal(size=(500, 2, 1, 1)))
    now = forecasted(1.4 * rng.normal(size=(4000, 2, 1, 1)), "2026-04-23")

    def coverage(step: float) -> float:
        lower, upper = ends([past], now, [0.9], step)
        return float(((lower <= now.truth) & (now.truth <= upper)).mean())

    assert coverage(0.0) == pytest.approx(0.76, abs=0.03)
    assert coverage(0.005) == pytest.approx(0.9, abs=0.015)
