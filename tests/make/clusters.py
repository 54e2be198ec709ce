"""Dask schedulers and workers on this machine, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

WORKERS = 2


@dataclass(frozen=True)
class Cluster:
    """A scheduler, and what supervises its workers."""

    scheduler_file: Path
    scheduler: subprocess.Popen[bytes]
    nannies: subprocess.Popen[bytes]

    def busiest(self) -> psutil.Process:
        """The worker that takes most processor time."""
        workers = [
            process
            for process in psutil.Process(self.nannies.pid).children()
            if "spawn_main" in " ".join(process.cmdline())
        ]
        before = [sum(process.cpu_times()[:2]) for process in workers]
        time.sleep(0.5)
        taken = [
            sum(process.cpu_times()[:2]) - was for process, was in zip(workers, before, strict=True)
        ]
        return workers[taken.index(max(taken))]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler and two workers, started as a user starts them in ``folder``."""
    path = folder / "s.json"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}

    def start(what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(path), *arguments]
        with (folder / f"{what}.log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    scheduler = start("scheduler", "--port", "0", "--dashboard-address", ":0")
    while not path.exists():
        assert scheduler.poll() is None, (folder / "scheduler.log").read_text()
        time.sleep(0.1)
    nannies = start("worker", "--nworkers", str(WORKERS), "--nthreads", "1", "--memory-limit", "0")
    try:
        yield Cluster(path, scheduler, nannies)
    finally:
        for process in (nannies, scheduler):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
