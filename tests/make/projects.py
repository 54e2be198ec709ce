"""Copies of the project, and ``kedro`` in them, as a user runs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import xarray as xr

from tests import PROJECT
from tests.make.arrays import make_clean
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.vocabulary import EVERY_EXPERIMENT

SMALL = "vd_file=small.h5,num_vds=2,compute.threads=1," + ",".join(
    f"{experiment}.{setting}"
    for experiment in EVERY_EXPERIMENT
    for setting in (
        "training.epochs=1",
        "windows.prediction_length=4",
        "windows.target_features=[avg_speed,total_volume]",
    )
)
COMPILED = Path("src/vd_forecasting/models/fused_xlstm/compiled/__pycache__")
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d  \S")


def copy_of_the_project(folder: Path) -> Path:
    """Configuration, code and empty data folders; with a small detector file, small.h5.

    What numba compiles is common to all copies, so that it does so once.
    """
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
    for name in ("conf", "src"):
        shutil.copytree(PROJECT / name, folder / name, ignore=left_out)
    (PROJECT / COMPILED).mkdir(exist_ok=True)
    (folder / COMPILED).symlink_to(PROJECT / COMPILED)
    (folder / "conf" / "local").mkdir()
    for name in ("pyproject.toml", "README.md", ".telemetry"):
        shutil.copy(PROJECT / name, folder)
    save(make_clean(700, vds=3), folder / "small.h5")
    return folder


def save(clean: xr.DataArray, path: Path) -> None:
    VDHDF5Dataset(filepath=str(path)).save(clean.assign_attrs(source_file=path.name))


def kedro(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,  # against an endless wait, not a busy machine
    )


def run(folder: Path, *arguments: str, params: str = SMALL, **environment: str) -> str:
    """A run that must succeed; returns what it printed."""
    result = kedro(folder, "run", "--env", "quick", *arguments, "--params", params, **environment)
    assert result.returncode == 0, result.stderr
    return result.stderr
