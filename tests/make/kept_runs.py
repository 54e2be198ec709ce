"""Runs as they are kept, made by hand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vd_forecasting.evaluation.daily_errors import DailyErrors
from vd_forecasting.running.history.kept import KeptData, KeptExperiment, KeptRun


def make_daily_errors(maes: list[float], truth: float = 80.0, **changed: object) -> DailyErrors:
    """Of hourly forecasts one step ahead, of which each day from 2 March on has this MAE."""
    days = range(len(maes))
    given: dict[str, Any] = {
        "interval_minutes": 60.0,
        "pairs": [("avg_speed", 1), ("avg_speed", 0)],
        "dates": [f"2026-03-{2 + day:02}" for day in days],
        "losses": [(24 * mae,) * 2 for mae in maes],
        "scored": [(24, 24) for _ in days],
        "origins": [(24, 24) for _ in days],
        "truths": [(24 * truth,) * 2 for _ in days],
        "units": {"avg_speed": "km/h"},
        "persistence": {"avg_speed": 4.0},
    }
    return DailyErrors.model_validate(given | changed)


def make_experiment(
    errors: DailyErrors,
    *,
    parameters: Mapping[str, Any] | None = None,
    code: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
    data: Mapping[str, Any] | None = None,
    seeds: int = 1,
) -> KeptExperiment:
    of_data = {
        "file": "small.h5",
        "sha256": "0123456789abcdef",
        "detectors": 1,
        "vdids": "one",
        "start": "2026-01-01T00:00:00",
        "end": "2026-03-08T23:55:00",
        "interval_minutes": 60.0,
    }
    return KeptExperiment(
        parameters=dict(parameters or {}),
        code=dict(code or {}),
        versions=dict(versions or {}),
        data=KeptData(**{**of_data, **(data or {})}),
        seeds=seeds,
        errors=errors,
    )


def make_run(
    experiments: Mapping[str, KeptExperiment],
    *,
    minute: int = 0,
    command: str = "kedro run",
    failed: Mapping[str, str] | None = None,
) -> KeptRun:
    return KeptRun(
        command=command,
        began=datetime(2026, 11, 28, 9, minute).astimezone(),
        seconds=75.0,
        experiments=dict(experiments),
        failed=dict(failed or {}),
    )
