"""Errors then and now."""

from typing import Any

import numpy as np
import pytest

from tests.make.recent_files import both, recent_file
from vd_forecasting.artefacts import RecentForecasts
from vd_forecasting.pipelines.forecast.drift import Drift, find_drift


def promised(forecasts: RecentForecasts, factor: float = 1.0, persistence: float = 1.0) -> Any:
    """Metrics as of a comparison whose errors were a part of those of these forecasts."""
    seen = forecasts.has("seen_in_training").sel(model="lstm").isel(horizon=0, vd=0, feature=0)
    error = abs(forecasts.prediction - forecasts.truth).where(~seen.drop_vars("model"))

    def mae(model: str, scale: float) -> dict[str, dict[str, list[float]]]:
        values = error.sel(model=model).mean(["origin", "vd"])
        return {
            str(name): {"mae": [float(x) / scale for x in values.sel(feature=name)]}
            for name in values["feature"].values
        }

    return {
        "source": "made.h5",
        "by_horizon": mae("lstm", factor),
        "persistence_by_horizon": mae("persistence", persistence),
    }


def drift_of(**factors: float) -> Drift:
    raw = recent_file(first=0)
    recent, forecasts = both(raw, origins="all")
    drift, scores = find_drift(recent, forecasts, promised(forecasts, **factors))
    assert scores is drift.scores
    return drift


# The test split, 100 steps of 5 min, is less than a day, so that is not asked for.
@pytest.fixture(autouse=True)
def few_origins_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "vd_forecasting.pipelines.forecast.drift.LEAST_SCORED"
    monkeypatch.setattr(name, np.timedelta64(1, "h"))


def test_scores_are_mean_absolute_errors_of_what_training_has_not_seen() -> None:
    drift = drift_of()
    own = drift.scores[drift.scores["model"].isin(["lstm", "persistence"])]
    np.testing.assert_allclose(own["mae"], own["promised_mae"], rtol=1e-4)
    assert (own["n"] < 2 * 101).all()
    assert drift.origins == 100
    others = drift.scores[~drift.scores["model"].isin(["lstm", "persistence"])]
    assert others["promised_mae"].isna().all()
    assert not drift.train_again
    assert drift.verdict.startswith("no need to train it again: avg_speed")


@pytest.mark.parametrize(
    ("factors", "again"),
    [
        ({"factor": 1.05}, False),
        ({"factor": 1.2}, True),
        ({"factor": 1.2, "persistence": 1.2}, False),  # harder days, for every forecast
        ({"factor": 0.8, "persistence": 0.6}, False),  # lost against persistence on calm days
        ({"factor": 1.5, "persistence": 1.2}, True),
    ],
)
def test_a_model_is_to_be_trained_again_when_it_lost(
    factors: dict[str, float], again: bool
) -> None:
    assert drift_of(**factors).train_again is again


def test_values_beyond_those_of_training_are_a_reason() -> None:
    raw = recent_file(first=400)
    moved = raw.copy(data=raw.values + np.array([60, 0, 0], "float32"))
    recent, forecasts = both(moved)
    drift, _ = find_drift(recent, forecasts, promised(forecasts))
    assert drift.verdict.startswith("train it again: ")
    assert "of avg_speed lie beyond the range of training" in drift.verdict


def test_intervals_that_no_longer_cover_are_a_reason() -> None:
    recent, forecasts = both(recent_file(first=0), origins="all")
    points = dict.fromkeys(("lower_90", "upper_90"), forecasts.prediction)
    narrow = RecentForecasts(forecasts.data.assign(points))
    drift, _ = find_drift(recent, narrow, promised(forecasts))
    assert drift.verdict == ("train it again: 0.0 % of the truths lie within the 90 % intervals")


def test_what_is_not_known_yet_is_not_scored() -> None:
    raw = recent_file(first=400)
    usual = raw.copy(data=np.tile(np.array([80, 120, 10], "float32"), (*raw.shape[:2], 1)))
    recent, forecasts = both(usual)
    drift, scores = find_drift(recent, forecasts, promised(forecasts))
    assert drift.origins == 0
    assert drift.verdict == (
        "not known whether to train it again: no forecast after the training data has a truth"
    )
    assert scores["mae"].isna().all()
