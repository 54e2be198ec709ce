"""Scores of prediction intervals against scikit-learn's pinball loss and sums by hand."""

from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import mean_pinball_loss

from tests.make.artefacts import BASELINES, make_baselines, make_predictions, make_validation
from tests.make.parameters import INTERVALS
from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.evaluation import aligned
from vd_forecasting.evaluation.aligned import AlignedForecasts, Member, align
from vd_forecasting.evaluation.differences import difference_between
from vd_forecasting.evaluation.interval_scores import (
    CENTRAL,
    SummedIntervals,
    interval_scores_of,
    sum_intervals,
)
from vd_forecasting.evaluation.intervals import Calibration, Forecasted, interval_bounds
from vd_forecasting.evaluation.sums_over_time import AVERAGE

VDS = [f"VD{n}" for n in range(10)]
LEVELS = sorted({*CENTRAL, *INTERVALS.levels})

Both = tuple[AlignedForecasts, dict[int, AlignedForecasts]]


def side_by_side(networks: Mapping[str, xr.Dataset], number: int = 1) -> Both:
    """Test and, as of a test block, validation of networks and of the first one's baselines."""
    baselines = make_baselines(next(iter(networks.values())))
    test, validation = (
        align(
            {name: Forecasts.from_xarray(change(one)) for name, one in networks.items()},
            {"": BaselineForecasts.from_xarray(change(baselines))},
        )
        for change in (lambda same: same, make_validation)
    )
    return test, {number: validation}


@pytest.fixture(scope="module")
def both() -> Both:
    """Two seeds of an LSTM, an xLSTM and the baselines, on ten detectors."""
    shape = {"vdids": VDS, "origins": 240, "horizons": 3, "interval_minutes": 60.0}
    return side_by_side(
        {
            "lstm": make_predictions(model="lstm", seeds=(1, 2), **shape),  # type: ignore[arg-type]
            "xlstm": make_predictions(model="xlstm", error=0.4, **shape),  # type: ignore[arg-type]
        }
    )


@pytest.fixture(scope="module")
def whole(both: Both) -> SummedIntervals:
    return sum_intervals(*both, INTERVALS)


def plain(of: AlignedForecasts, member: int) -> Forecasted:
    dims = ("origin", "horizon", "vd", "feature")
    forecast = of.forecast.isel(member=member).transpose(*dims).values
    return Forecasted(of.origins, forecast, of.truth.transpose(*dims).values, of.interval_minutes)


def bounds(past: list[Forecasted], now: Forecasted) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends ``[L, T, H, N, F]`` without limits."""
    none = np.full(now.forecast.shape[2:], np.inf)
    of_horizons = interval_bounds(
        Calibration.learn(past), now, (-none, none), LEVELS, INTERVALS.adaptive_step
    )
    lower, upper = (np.stack(of, axis=2) for of in zip(*of_horizons, strict=True))
    return lower, upper


def test_the_crps_is_twice_the_mean_pinball_loss_of_scikit_learn(
    both: Both, whole: SummedIntervals
) -> None:
    test, validation = both
    scores = interval_scores_of(whole)
    for member, model in ((2, "xlstm"), (3, "persistence"), (6, "ridge")):
        assert test.members[member].model == model
        now = plain(test, member)
        lower, upper = bounds([plain(validation[1], member)], now)
        for f, feature in enumerate(test.features):
            known = np.isfinite(now.truth[..., f])
            truth = now.truth[..., f][known]
            losses = [mean_pinball_loss(truth, now.forecast[..., f][known], alpha=0.5)]
            for level in CENTRAL:
                at = LEVELS.index(level)
                for end, quantile in ((lower, (1 - level) / 2), (upper, (1 + level) / 2)):
                    of_end = end[at][..., f][known]
                    losses.append(mean_pinball_loss(truth, of_end, alpha=quantile))
            assert len(losses) == 19
            found, _ = scores.at("crps", model, feature)
            assert found == pytest.approx(2 * np.mean(losses), rel=1e-6)


def test_coverage_width_and_winkler_score_by_hand(both: Both, whole: SummedIntervals) -> None:
    test, validation = both
    now = plain(test, 2)
    lower, upper = (of[LEVELS.index(0.9)] for of in bounds([plain(validation[1], 2)], now))
    known = np.isfinite(now.truth)
    scores = interval_scores_of(whole)
    for f, feature in enumerate(test.features):
        low, high, truth = (of[..., f][known[..., f]] for of in (lower, upper, now.truth))
        outside = np.where(truth < low, low - truth, np.where(truth > high, truth - high, 0))
        expected = {
            "coverage": np.mean((low <= truth) & (truth <= high)),
            "width": np.mean(high - low),
            "winkler": np.mean(high - low + 2 / 0.1 * outside),
        }
        for name, value in expected.items():
            assert scores.at(name, "xlstm", feature, 0.9)[0] == pytest.approx(value, rel=1e-6)
    of_day = scores.by_day.sel(model="xlstm", level=0.9).isel(day=1)
    inside = (lower <= now.truth) & (now.truth <= upper)
    second = np.flatnonzero(test.origins.astype("M8[D]") == np.unique(of_day["day"].values)[0])
    for f, feature in enumerate(test.features):
        by_hand = inside[second][..., f].sum() / known[second][..., f].sum()
        assert float(of_day.sel(feature=feature)) == pytest.approx(by_hand)


def test_every_member_has_intervals_of_its_own_the_joined_seeds_too(
    both: Both, whole: SummedIntervals
) -> None:
    scores = interval_scores_of(whole)
    models = ["lstm", "xlstm", "persistence", *BASELINES, "lstm_joined"]
    assert list(scores.average["model"].values) == models
    assert whole.members[-1] == Member("lstm", "joined", best=False)
    assert list(whole.by_origin["model"].values) == ["lstm", *models[:-1]]
    for model in models:
        assert scores.at("coverage", model, "avg_speed", 0.9)[0] == pytest.approx(0.9, abs=0.05)
        assert scores.at("coverage", model, "avg_speed", 0.5)[0] == pytest.approx(0.5, abs=0.07)
    joined, alone = (scores.at("crps", name, "avg_speed")[0] for name in ("lstm_joined", "lstm"))
    assert joined < alone
    assert scores.at("crps", "lstm", "avg_speed")[1] > 0


def test_blocks_of_detectors_do_not_change_the_sums(
    both: Both, whole: SummedIntervals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aligned, "BLOCK_BYTES", 1)
    assert [len(block.vdids) for block in both[0].blocks()] == [1] * 10
    found = sum_intervals(*both, INTERVALS)
    xr.testing.assert_allclose(found.by_vd, whole.by_vd, rtol=1e-12)
    xr.testing.assert_allclose(found.by_horizon, whole.by_horizon, rtol=1e-12)
    shown = whole.by_horizon.sel(level=whole.by_vd["level"])
    xr.testing.assert_allclose(shown, whole.by_vd.sum("vd", skipna=False), rtol=1e-12)
    xr.testing.assert_allclose(found.by_origin, whole.by_origin, rtol=1e-12)
    xr.testing.assert_allclose(found.by_day, whole.by_day, rtol=1e-12)


def test_the_losses_over_time_are_those_of_the_table(both: Both, whole: SummedIntervals) -> None:
    n = both[0].truth.notnull().sum()
    assert int(whole.by_origin["n"].sum()) == int(n)
    crps = whole.by_vd["crps"].isel(member=slice(8)).sum(["block", "vd"])
    np.testing.assert_allclose(whole.by_origin["loss"].sum("origin"), crps)


def test_the_networks_are_tested_on_their_crps(whole: SummedIntervals) -> None:
    found = difference_between(whole, 0.95)
    scores = interval_scores_of(whole)
    for feature in ("avg_speed", "total_volume"):
        lstm, xlstm = (scores.at("crps", name, feature)[0] for name in ("lstm", "xlstm"))
        difference = found[feature, AVERAGE]
        assert difference.change == pytest.approx(xlstm / lstm - 1)
        assert difference.low < difference.change < difference.high < 0
        assert difference.p_value < 0.05


def test_earlier_test_blocks_join_the_residuals_of_later_ones() -> None:
    shape = {"vdids": ["A"], "origins": 96, "horizons": 2, "interval_minutes": 60.0}
    first = make_predictions(start="2026-03-23", **shape)  # type: ignore[arg-type]
    second = make_predictions(start="2026-04-13", error=0.9, **shape)  # type: ignore[arg-type]
    test = align({"lstm": Forecasts.of_blocks({1: Forecasts(first), 2: Forecasts(second)})})
    validation = {
        number: align({"lstm": Forecasts.of_blocks({number: Forecasts(make_validation(of))})})
        for number, of in ((1, first), (2, second))
    }
    found = sum_intervals(test, validation, INTERVALS).by_vd.sel(level=0.9).isel(member=0)
    blocks = test.by_test_block()
    earlier: dict[int, list[Forecasted]] = {1: [], 2: [plain(blocks[1], 0)]}
    for number in (1, 2):
        past = [plain(validation[number], 0), *earlier[number]]
        lower, upper = (of[LEVELS.index(0.9)] for of in bounds(past, plain(blocks[number], 0)))
        known = blocks[number].truth.notnull()
        width = np.where(known, upper - lower, 0).sum(axis=0)
        np.testing.assert_allclose(found["width"].sel(block=number), width)


def test_a_network_that_diverged_has_no_score() -> None:
    network = make_predictions(origins=60, horizons=2, interval_minutes=60.0)
    network["prediction"][0, 7] = np.nan
    scores = interval_scores_of(sum_intervals(*side_by_side({"lstm": network}), INTERVALS))
    for name in ("coverage", "width", "winkler"):
        assert np.isnan(scores.at(name, "lstm", "avg_speed", 0.9)[0])
        assert np.isfinite(scores.at(name, "ridge", "avg_speed", 0.9)[0])
    assert np.isnan(scores.at("crps", "lstm", "avg_speed")[0])
