from statistics import median
from typing import Any

import pytest

from tests.make.artefacts import make_cost, make_fit_errors, make_history, make_predictions
from vd_forecasting.artefacts import Forecasts, History
from vd_forecasting.pipelines.reporting.scores import errors_and_metrics
from vd_forecasting.tracking.numbers import MAX_CURVES, Point, points_of


def curve(points: list[Point], name: str) -> dict[int, float]:
    return {point.step: point.value for point in points if point.name == name}


def test_curves_of_training_and_validation_are_those_of_the_history() -> None:
    history = make_history(make_predictions(origins=50), epochs=5)
    [(_, _, fit)] = history.fits()
    points = points_of(history, None, None)
    for split in ("train", "val"):
        expected = {epoch.epoch: getattr(epoch, split) for epoch in fit.epochs}
        assert curve(points, f"epoch/{split}_loss") == {at: of.loss for at, of in expected.items()}
        assert curve(points, f"epoch/{split}_mae_avg_speed") == {
            at: of.features["avg_speed"]["mae"] for at, of in expected.items()
        }
    assert curve(points, "best_epoch") == {0: fit.best_epoch}
    assert curve(points, "cost/training_seconds") == {0: fit.seconds}


def test_each_of_several_trainings_has_curves_of_its_own() -> None:
    vdids = ("VD-1", "VD-2")
    predictions = make_predictions("independent_multi_vd", vdids=vdids, origins=50, seeds=(1, 2))
    history = make_history(predictions, epochs=3)
    points = points_of(history, None, None)
    names = {point.name for point in points if "val_loss" in point.name}
    assert names == {f"epoch/val_loss {vdid} seed {seed}" for vdid in vdids for seed in (1, 2)}
    seconds = sum(fit.seconds for _, _, fit in history.fits())
    assert curve(points, "cost/training_seconds") == {0: pytest.approx(seconds)}


def test_of_many_trainings_the_median_of_those_that_reached_an_epoch_is_logged() -> None:
    vdids = [f"VD-{number}" for number in range(MAX_CURVES + 1)]
    predictions = make_predictions("independent_multi_vd", vdids=vdids, origins=20)
    whole = make_history(predictions, epochs=3).model_dump(mode="json")
    fits = whole["42"]
    for vdid in vdids[:10]:  # these stopped early
        fits[vdid]["epochs"] = fits[vdid]["epochs"][:2]
        fits[vdid]["best_epoch"] = 2
    points = points_of(History.model_validate(whole), None, None)
    losses = curve(points, "epoch/val_loss median")

    def of(epoch: int, names: list[str]) -> Any:
        return median(fits[name]["epochs"][epoch - 1]["val"]["loss"] for name in names)

    assert losses == {1: of(1, vdids), 2: of(2, vdids), 3: of(3, vdids[10:])}
    assert not any("VD-" in point.name for point in points)


def test_errors_have_the_horizon_as_their_step_and_persistence_beside_them() -> None:
    predictions = make_predictions(origins=300, horizons=3)
    forecasts, fit_errors = Forecasts.from_xarray(predictions), make_fit_errors(predictions)
    _, metrics = errors_and_metrics(forecasts, fit_errors, 1.0)
    points = points_of(None, metrics, make_cost(predictions))
    speed = abs(predictions["prediction"] - predictions["truth"]).sel(feature="avg_speed", seed=42)
    by_horizon = speed.mean(["origin", "vd"]).values
    assert curve(points, "horizon/mae_avg_speed") == pytest.approx(
        dict(enumerate(map(float, by_horizon), start=1)), rel=1e-5
    )
    last = abs(predictions["persistence"] - predictions["truth"]).sel(feature="avg_speed")
    assert curve(points, "test/persistence_mae_avg_speed") == pytest.approx(
        {0: float(last.mean())}, rel=1e-5
    )
    assert curve(points, "cost/latency_ms_batch_1") == pytest.approx({0: 2.1})
    assert not any("unit" in point.name for point in points)


def test_what_is_undefined_is_left_out() -> None:
    predictions = make_predictions(origins=100, horizons=2)
    predictions["truth"][:] = float("nan")
    forecasts, fit_errors = Forecasts.from_xarray(predictions), make_fit_errors(predictions)
    _, metrics = errors_and_metrics(forecasts, fit_errors, 1.0)
    names = {point.name for point in points_of(None, metrics, None)}
    assert "test/n_avg_speed" in names
    assert not any("mae" in name for name in names)
    assert points_of(None, None, None) == []
