"""The process that shares memory among workers, where processes are spawned."""

import subprocess
import sys

import pytest

# What nodes hand on comes from modules that import each other's packages.
SCRIPT = """
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn", force=True)
    from vd_forecasting.artefacts import Outcome
    from vd_forecasting.evaluation.aligned import AlignedForecasts
    from vd_forecasting.evaluation.errors import Errors
    from vd_forecasting.pipelines.reporting.across_modes import Found
    from vd_forecasting.pipelines.reporting.costs import Costs
    from vd_forecasting.running.runners import ParallelRunner

    kept = [Outcome, AlignedForecasts, Errors, Found, Costs]
    runner, together = ParallelRunner(), Barrier(len(kept))

    def keep(value):
        dataset = runner._manager.MemoryDataset()
        together.wait()
        dataset.save(value)
        return dataset.load()

    with ThreadPoolExecutor(len(kept)) as threads:
        assert list(threads.map(keep, kept)) == kept
"""


@pytest.mark.integration
def test_it_takes_what_several_workers_hand_on_at_the_same_time() -> None:
    """... though Python cannot import a package in two threads at once."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=200
    )
    assert (ran.returncode, ran.stderr) == (0, "")
