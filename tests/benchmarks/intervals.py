"""Do prediction intervals cover 90 % on the test splits of many records?

::

    python -m tests.benchmarks.intervals coverage.csv --models persistence ridge
    python -m tests.benchmarks.intervals coverage.csv --models lstm --size base --records "year 2"

The records are those of :mod:`.recipes`; ``VD_TEST_DATA`` names the folder of the files. Each model
learns from the training split of a record; its residuals on validation make the intervals. A row of
the file is a model, a feature and a step of the adaption, 0 for split conformal: coverage, mean
width and interval score of all detectors and horizons together.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.recipes import (
    RECIPES,
    RECORDS,
    forecast_network,
    models_without_network,
    parameters,
    record,
    trained,
    windows_of,
)
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.evaluation.intervals import Calibration, Forecasted, interval_bounds

LEVEL = 0.9
ALL = ["sample 10", *(f"year {number}" for number in range(1, RECORDS + 1))]


def forecasts(windows: WindowSet, model: str, size: str) -> list[Forecasted]:
    """Of validation and of test, by a baseline or by a network of one seed."""
    splits = ("val", "test")
    known = models_without_network()
    if model in known:
        origins = [windows.origins(split) for split in splits]
        both = known[model](windows, np.concatenate(origins))
        scaled = np.split(both, [len(origins[0])])
    else:
        forecaster, _ = trained(windows, RECIPES["product"], model, size, seed=42)
        scaled = [forecast_network(windows, forecaster, split) for split in splits]
    return [
        as_forecasted(windows, split, of_split)
        for split, of_split in zip(splits, scaled, strict=True)
    ]


def as_forecasted(windows: WindowSet, split: str, scaled: np.ndarray) -> Forecasted:
    """Scaled forecasts of a split ``[W, H, N, F]`` in physical units, with what came true."""
    values, observed = windows.target_series
    origins = windows.origins(split)
    steps = windows.target_steps(origins)
    truth = np.where(observed[steps], windows.to_physical(values[steps]), np.nan)
    forecast = windows.to_possible(scaled)
    return Forecasted(windows.time[origins], forecast, truth, windows.interval_minutes)


def rows(windows: WindowSet, past: Forecasted, now: Forecasted) -> Iterator[dict[str, Any]]:
    """Scores of the intervals that residuals of the past put around forecasts of now."""
    truth = now.truth.astype("float64")
    known = np.isfinite(truth)
    for step in (0.0, parameters("base/parameters.yml")["intervals"]["adaptive_step"]):
        of_horizons = interval_bounds(
            Calibration.learn([past]), now, windows.target_range, [LEVEL], step
        )
        lower, upper = (np.stack(of, axis=2)[0] for of in zip(*of_horizons, strict=True))
        outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
        scores = {
            "coverage": outside == 0,
            "width": upper - lower,
            "winkler": upper - lower + 2 / (1 - LEVEL) * outside,
        }
        for f, feature in enumerate(windows.targets):
            seen = known[..., f]
            means = {name: float(of[..., f][seen].mean()) for name, of in scores.items()}
            yield {"step": step, "feature": feature, **means}


def table(path: Path) -> str:
    """Coverage in per cent by record and model, and the mean, lowest and highest of all."""
    found = pd.read_csv(path)
    found["coverage"] *= 100
    by_record = found.pivot_table("coverage", ["record", "model"], ["step", "feature"])
    together = found.groupby(["model", "step"])["coverage"].agg(["count", "mean", "min", "max"])
    return f"{by_record.round(1).to_string()}\n\n{together.round(1).to_string()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    known = [*models_without_network(), "lstm", "xlstm"]
    parser.add_argument("--models", nargs="+", default=known, choices=known)
    parser.add_argument("--records", nargs="+", default=ALL)
    parser.add_argument("--size", default="small", choices=["base", "small"])
    wanted = parser.parse_args()
    for name in wanted.records:
        windows = windows_of(record(name), "prove", RECIPES["product"])
        for model in wanted.models:
            both = forecasts(windows, model, wanted.size)
            new = [{"record": name, "model": model, **row} for row in rows(windows, *both)]
            with wanted.file.open("a") as file:
                pd.DataFrame(new).to_csv(file, index=False, header=file.tell() == 0)
    print(table(wanted.file))  # noqa: T201


if __name__ == "__main__":
    main()
