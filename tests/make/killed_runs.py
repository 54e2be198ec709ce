"""Runs that are killed, and what they leave behind."""

import json
import os
import signal
from pathlib import Path

import matplotlib.image

from tests.make.forked_runs import ForkedRuns
from vd_forecasting.datasets import VDHDF5Dataset, XarrayDataset
from vd_forecasting.datasets.tensors import load_plain


def printed(folder: Path) -> str:
    path = folder / "printed.log"
    return path.read_text() if path.exists() else ""


def kill(runs: ForkedRuns, pid: int, folder: Path) -> bool:
    """Kill a run; tells whether there was still one."""
    os.kill(pid, signal.SIGKILL)  # not yet waited for, so it is this run and no other
    code = runs.wait(pid)
    assert code in (0, -signal.SIGKILL), printed(folder)
    return code != 0


def assert_all_files_are_whole(folder: Path) -> None:
    for path in (folder / "data").rglob("*"):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix == ".pt":
            load_plain(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".nc":
            XarrayDataset(filepath=str(path)).load()
        elif path.suffix == ".h5":
            VDHDF5Dataset(filepath=str(path)).load().load()
        elif path.suffix == ".png":
            matplotlib.image.imread(path)
        else:
            assert path.stat().st_size or path.suffix == ".log", path
