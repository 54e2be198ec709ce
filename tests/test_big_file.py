"""A file of 2.4 GB, 2,000 VDs × 100,000 steps × 3 features, in less memory than that."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.make.projects import copy_of_the_project
from vd_forecasting.datasets import VDHDF5Dataset

pytestmark = pytest.mark.slow

STEPS, VDS = 100_000, 2_000
SLAB = 4_000
MOST_BYTES = 1.5e9

# Not of this process: what it has used itself would count as its children's.
MEASURED = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = copy_of_the_project(tmp_path_factory.mktemp("big"))
    write_big_file(folder / "big.h5")
    yield folder
    shutil.rmtree(folder)


def write_big_file(path: Path) -> None:
    """Daily waves and noise; every seventh step of VD 5 and the whole of VD 7 are error codes."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((SLAB, VDS, 3), dtype="f4")
    middle, swing, spread = np.array([[80, 120, 10], [-15, 60, 5], [5, 20, 1]], dtype="f4")
    start = np.datetime64("2023-01-01T00:00", "s")
    with h5py.File(path, "w") as file:
        file["metadata/vdids"] = [f"VD-{n}" for n in range(VDS)]
        file["metadata/feature_names"] = ["avg_speed", "total_volume", "avg_occupancy"]
        stamps = np.datetime_as_string(start + 300 * np.arange(STEPS)).astype("S")
        file["metadata/timestamps"] = stamps
        features = file.create_dataset("data/features", (STEPS, VDS, 3), "f4")
        for first in range(0, STEPS, SLAB):
            steps = np.arange(first, first + SLAB)
            wave = np.sin(2 * np.pi * steps / 288).astype("f4")[:, None, None]
            values = np.round(middle + swing * wave + spread * noise, 1)
            values[steps % 7 == 0, 5] = -99
            values[:, 7] = -1
            features[first : first + SLAB] = values
            noise = np.roll(noise, 11, axis=1)


def kedro_run(folder: Path, *arguments: str) -> tuple[float, int]:
    """Seconds, and the most memory in bytes."""
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", MEASURED, "kedro", "run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return time.perf_counter() - start, 1024 * int(result.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss is in other units")
@pytest.mark.parametrize("resample", [None, "15min"])
def test_it_is_cleaned_and_windowed_in_little_memory(
    project: Path, resample: str | None, record_property: Callable[[str, object], None]
) -> None:
    parameters = "vd_file=big.h5" + (f",cleaning.resample={resample}" if resample else "")
    assert (project / "big.h5").stat().st_size > 2.4e9
    seconds, peak = kedro_run(project, "--pipeline", "data_engineering", "--params", parameters)
    record_property("data_engineering", f"{seconds:.0f} s, {peak / 1e6:.0f} MB")
    assert peak < MOST_BYTES

    raw, clean = (
        VDHDF5Dataset(filepath=str(project / path)).load()
        for path in ("big.h5", "data/03_primary/vd_clean.h5")
    )
    if resample is None:
        for vd in (0, 5, 7, 1_999):
            values = raw[:, vd].to_numpy()
            np.testing.assert_array_equal(clean[:, vd], np.where(values < 0, np.nan, values))
    else:
        assert clean.shape == (-(-STEPS // 3), VDS, 3)
    page = (project / "data" / "08_reporting" / "data_quality.md").read_text()
    assert "**1,999 of 2,000 detectors are fit" in page

    node = ("--nodes", "multi_vd_lstm.make_windows")
    seconds, peak = kedro_run(project, *node, "--params", parameters)
    record_property("make_windows", f"{seconds:.0f} s, {peak / 1e6:.0f} MB")
    assert seconds < 60  # most of them to start
    assert peak < MOST_BYTES
