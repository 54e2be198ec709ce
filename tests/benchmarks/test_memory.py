"""How much memory forecasts take where there are many: ``pytest tests/benchmarks/test_memory.py``.

A week of METR-LA is tiled, with noise, to four weeks of 207 detectors with three features. Joint
networks that were never trained forecast them. Every step runs alone in a process of its own, which
ends with the most memory it ever held.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from tests import PROJECT
from tests.make.artefacts import BASELINES, make_config, make_cost, make_history
from tests.make.catalogs import catalog_entries
from tests.make.parameters import INTERVALS, make_evaluation
from tests.make.trainings import COMPUTE, MAPE_MIN_TRUTH, TRAINING
from tests.make.windows import make_joint_windows
from vd_forecasting.artefacts import Experiment, WindowBlocks
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.parameters import LSTMModel, XLSTMModel
from vd_forecasting.pipeline_registry import experiment_report
from vd_forecasting.pipelines.reporting import create_comparison
from vd_forecasting.pipelines.training.evaluate import evaluate
from vd_forecasting.pipelines.training.train import describe_network, make_checkpoint

MOST_BYTES = 1.2e9
WEEKS = 4
SEED = 42
TARGETS = {"avg_speed": (1.0, 3.0), "total_volume": (2.0, 10.0), "avg_occupancy": (0.3, 1.0)}
"""By target feature what the speeds are multiplied by, and the size of the noise."""

MODELS: dict[str, LSTMModel | XLSTMModel] = {
    "lstm": LSTMModel(hidden_size=256, num_layers=3, dropout=0.3),
    "xlstm": XLSTMModel(
        embedding_dim=128,
        num_blocks=6,
        slstm_at=(1, 3, 5),
        slstm_backend="fused",
        mlstm_backend="fused",
        dropout=0.1,
        context_length=256,
    ),
}


def catalog() -> DataCatalog:
    """The project's, for data in the current folder."""
    entries = {name: entry for name, entry in catalog_entries().items() if name[0] == "{"}
    found = DataCatalog.from_config(entries)
    found["params:evaluation"] = MemoryDataset(make_evaluation())
    found["params:evaluation.confidence"] = MemoryDataset(0.95)
    found["params:intervals"] = MemoryDataset(INTERVALS)
    found["params:evaluation.mape_min_truth"] = MemoryDataset(MAPE_MIN_TRUTH)
    return found


def tiled(path: Path) -> xr.DataArray:
    """Four weeks with three features, made of a week of speeds."""
    week = VDHDF5Dataset(filepath=str(path)).load().compute()
    random = np.random.default_rng(0)
    speeds = np.tile(week.transpose("time", "vd", "feature").values, (WEEKS, 1, 1))
    values = np.concatenate(
        [
            factor * speeds + random.normal(0, noise, speeds.shape)
            for factor, noise in TARGETS.values()
        ],
        axis=2,
    )
    time = pd.date_range(week["time"].values[0], periods=len(values), freq="5min")
    return xr.DataArray(
        np.clip(values, 0, None).astype("float32"),
        dims=("time", "vd", "feature"),
        coords={
            "time": time.to_numpy(),
            "vd": week["vd"].values,
            "feature": list(TARGETS),
            "unit": ("feature", ["mph", "veh", "%"]),
        },
        attrs={"source_file": path.name, "interval_minutes": 5.0},
    )


def prepare(path: str) -> None:
    """Save windows and networks that were never trained."""
    windows = make_joint_windows(
        tiled(Path(path)),
        num_vds=207,
        sequence_length=20,
        prediction_length=12,
        target_features=tuple(TARGETS),
    )
    files = catalog()
    for model, parameters in MODELS.items():
        experiment = Experiment(windows, model, parameters, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
        torch.manual_seed(SEED)
        network = build_forecaster(describe_network(experiment))
        checkpoint = make_checkpoint(experiment, {"joint": network.state_dict()}, SEED)
        files[f"multi_vd_{model}.windows"].save(WindowBlocks.of_one(windows))
        files[f"multi_vd_{model}.best_model"].save(checkpoint)
        files[f"multi_vd_{model}.models"].save({str(SEED): checkpoint})


def forecast(model: str) -> None:
    """Forecast and save, as the node does."""
    files = catalog()
    names = ("best_model", "models", "windows")
    best, models, windows = (files[f"multi_vd_{model}.{name}"].load() for name in names)
    outputs = evaluate(best, models, windows, MAPE_MIN_TRUTH, COMPUTE)
    for name, output in zip(("predictions", "fit_errors", "validation"), outputs, strict=True):
        files[f"multi_vd_{model}.{name}"].save(output)


def make_the_rest() -> None:
    """Save the baselines' forecasts, made up, and what else the reports read."""
    files = catalog()
    for model in MODELS:
        data = files[f"multi_vd_{model}.predictions"].load().data.assign_attrs(best_seed=SEED)
        files[f"multi_vd_{model}.config"].save(make_config(data))
        files[f"multi_vd_{model}.training_history"].save(make_history(data))
        files[f"multi_vd_{model}.cost"].save(make_cost(data))
    attrs = {name: data.attrs[name] for name in ("mode", "source", "interval_minutes")}
    for split in ("predictions", "validation"):
        truth = files[f"multi_vd_lstm.{split}"].load().truth.compute()
        made_up = xr.concat(
            [truth.fillna(0) + 1.0 + number for number in range(len(BASELINES))],
            pd.Index(BASELINES, name="model"),
        )
        arrays = {"prediction": made_up, "fit_seconds": ("model", [1.0] * len(BASELINES))}
        files[f"multi_vd_baselines.{split}"].save(xr.Dataset(arrays, attrs=attrs))


def report(model: str) -> None:
    """Make all pages and plots of one experiment."""
    SequentialRunner().run(experiment_report("multi_vd", model), catalog())


def compare() -> None:
    """Make all pages and plots of the comparison."""
    pipeline = create_comparison("multi_vd")
    for model in MODELS:
        pipeline += experiment_report("multi_vd", model)
    made = ("compare_multi_vd.page", "compare_multi_vd.scores")
    SequentialRunner().run(pipeline.to_outputs(*made), catalog())


STEPS: dict[str, Callable[..., None]] = {
    step.__name__: step for step in (prepare, forecast, make_the_rest, report, compare)
}


def test_memory_stays_small_where_forecasts_are_many(
    tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {}
    for step in (
        ("prepare", str(real_data / "metr_la_week_vd.h5")),
        *(("forecast", model) for model in MODELS),
        ("make_the_rest",),
        *(("report", model) for model in MODELS),
        ("compare",),
    ):
        started = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", __name__, *step],
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        peak = int(result.stdout.splitlines()[-1])
        with capsys.disabled():
            seconds = time.monotonic() - started
            sys.stdout.write(f"\n{' '.join(step)}: {peak / 1e6:,.0f} MB, {seconds:.0f} s")
        if step[0] in ("forecast", "report", "compare"):
            measured[step] = peak
    assert max(measured.values()) < MOST_BYTES, measured


if __name__ == "__main__":
    STEPS[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(f"\n{1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
