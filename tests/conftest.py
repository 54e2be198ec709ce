"""What several test modules need."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from tests import PROJECT
from tests.make.forked_runs import ForkedRuns, forked_runs
from vd_forecasting.parameters import Evaluation


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The models here are so small that a second thread only costs."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def runs() -> Iterator[ForkedRuns]:
    """Starts ``kedro`` without importing torch and the like again; not as a user does."""
    if os.name != "posix":
        pytest.skip("forks")
    with forked_runs() as started:
        yield started


@pytest.fixture
def shared_data() -> Path:
    """The folder of real detector data, which is not part of the project."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real detector data is not at {folder}")
    return folder


def make_clean(
    steps: int = 400, vds: int = 3, missing: float = 0.05, seed: int = 0, interval: str = "5min"
) -> xr.DataArray:
    """A clean VD array of daily waves and noise: what data_engineering hands on."""
    random = np.random.default_rng(seed)
    time = pd.date_range("2024-03-04", periods=steps, freq=interval)
    phase = 2 * np.pi * (time.hour.to_numpy() * 60 + time.minute.to_numpy()) / 1440
    wave = np.sin(phase)[:, None] + 0.2 * np.arange(vds)
    features = [80 - 15 * wave, 120 + 60 * wave, 10 + 5 * wave]
    values = np.stack(features, axis=-1) + random.normal(size=(steps, vds, 3))
    values[random.random(values.shape) < missing] = np.nan
    return xr.DataArray(
        values.astype("float32"),
        dims=("time", "vd", "feature"),
        coords={
            "time": time.to_numpy().astype("datetime64[ns]"),
            "vd": [f"VD-{n}" for n in range(vds)],
            "feature": ["avg_speed", "total_volume", "avg_occupancy"],
            "unit": ("feature", ["km/h", "veh/5 min", "%"]),
        },
        attrs={
            "source_file": "made.h5",
            "interval_minutes": float(pd.Timedelta(interval) / pd.Timedelta("1min")),
        },
        name="features",
    )


def make_evaluation(**changed: object) -> Evaluation:
    """How forecasts are scored by default, but for what is changed."""
    default = {
        "mape_min_truth": 1.0,
        "congestion_speed": 0.6,
        "bootstrap_block": "24h",
        "bootstrap_repetitions": 100,
        "confidence": 0.95,
    }
    return Evaluation.model_validate(default | changed)
