"""A disk that is full or read-only: one line that names the file, the old file whole, no crash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.name != "posix", reason="limits and mounts are those of POSIX"),
]

SAVE_EVERYTHING = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch, xarray as xr
from matplotlib.figure import Figure
from tests.make.arrays import make_clean
from vd_forecasting import datasets
from vd_forecasting.cli import in_one_line
from vd_forecasting.rendering.page import Page

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
numbers = np.random.default_rng(0).random(20_000)
figure = Figure()
figure.add_subplot().imshow(numbers.reshape(200, 100))
def page(filepath):
    return datasets.PageDataset(filepath=str(folder / "a.md"), figures="")
examples = {
    "a.json": (datasets.AtomicJSONDataset, numbers.tolist()),
    "a.csv": (datasets.AtomicCSVDataset, pd.DataFrame(numbers)),
    "a.txt": (datasets.AtomicTextDataset, "x" * 200_000),
    "a.png": (page, Page("", {"a": figure})),
    "a.pt": (datasets.CheckpointDataset, {"a": torch.from_numpy(numbers)}),
    "a.nc": (datasets.XarrayDataset, xr.Dataset({"a": ("x", numbers)})),
    "a.h5": (datasets.VDHDF5Dataset, make_clean(10_000)),
}
for name in examples:
    (folder / name).write_bytes(b"old")
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for name, (dataset, data) in examples.items():
    try:
        dataset(filepath=str(folder / name)).save(data)
    except Exception as error:
        print(in_one_line(error))
    assert (folder / name).read_bytes() == b"old"
try:
    datasets.TrainingState(folder).save("a", {"a": torch.from_numpy(numbers)})
except Exception as error:
    print(in_one_line(error))
assert sorted(path.name for path in folder.iterdir()) == sorted(examples)
"""
FILES = ["a.json", "a.csv", "a.txt", "a.png", "a.pt", "a.nc", "a.h5", "a-"]


def told(result: subprocess.CompletedProcess[str], folder: str, problem: str) -> None:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert len(lines) == len(FILES)
    for line, name in zip(lines, FILES, strict=True):
        assert line.startswith(f"{folder}/{name}")
        assert line.endswith(f": cannot be written, {problem}")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=200
    )


def test_files_that_cannot_grow(tmp_path: Path) -> None:
    result = run(sys.executable, "-c", SAVE_EVERYTHING, str(tmp_path), "5000")
    told(result, str(tmp_path), "the file is larger than is allowed here")


def mounting(*commands: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands where mounting is allowed and nobody else sees it."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare command to mount a file system with")
    if run("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt").returncode:
        pytest.skip("mounting a file system is not permitted here")
    return run("unshare", "-rm", "sh", "-c", " && ".join(commands))


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "save.py").write_text(SAVE_EVERYTHING)
    python = f"PYTHONPATH={PROJECT}:$PYTHONPATH {sys.executable} {tmp_path}/save.py /mnt 0"
    result = mounting("mount -t tmpfs -o size=40k none /mnt", python)
    told(result, "/mnt", "the disk is full")


def test_a_read_only_disk() -> None:
    save = (
        "from vd_forecasting.datasets import AtomicTextDataset as D\n"
        "for path in ('/mnt/a.txt', '/mnt/new/a.txt'):\n"
        "    try: D(filepath=path).save('a')\n"
        "    except Exception as error: print(error)"
    )
    result = mounting("mount -t tmpfs -o ro none /mnt", f'{sys.executable} -c "{save}"')
    assert result.stdout.splitlines() == [
        "/mnt/a.txt: cannot be written, the file system is read-only",
        "/mnt/new/a.txt: cannot be written, the file system is read-only",
    ]
