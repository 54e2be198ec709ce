"""Ctrl-C, while an experiment is trained."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make.forked_runs import ForkedRuns
from tests.make.killed_runs import assert_all_files_are_whole, printed
from tests.make.projects import SMALL, copy_of_the_project

TRAINING = "single_vd_lstm.training"
FOR_EVER = ",".join(f"{TRAINING}.{key}=9999" for key in ("epochs", "decay_epochs", "patience"))
LONG = f"{SMALL},{FOR_EVER}"


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.integration
@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_run_stops_at_once_and_says_that_it_can_go_on(
    runs: ForkedRuns, tmp_path: Path, runner: str
) -> None:
    folder = copy_of_the_project(tmp_path)
    log = folder / "printed.log"
    part = ("--namespace", "single_vd_lstm", "--to-nodes", "single_vd_lstm.train")
    command = ("run", "--env", "quick", "--runner", runner, *part)
    pid = runs.start(folder, log, *command, "--params", LONG)
    wait_until(lambda: "epoch 2/9999" in printed(folder), 120)
    os.kill(pid, signal.SIGINT)
    try:
        wait_until(lambda: not runs.is_running(pid), 10)
    finally:
        os.kill(pid, signal.SIGKILL)  # it has yet to be waited for
    assert runs.wait(pid) == 130
    last = printed(folder).splitlines()[-5:]  # a worker may log after it
    assert any(line.startswith("Stopped. Type the same command again to resume") for line in last)
    assert "Traceback" not in printed(folder)
    assert list((folder / "data" / ".runs").iterdir()) == [], "its files are free at once"
    assert_all_files_are_whole(folder)
    log.unlink()
    again = runs.start(folder, log, *command, "--params", LONG)
    wait_until(lambda: re.search(r"resumes after epoch \d", printed(folder)), 120)
    os.kill(again, signal.SIGINT)
    assert runs.wait(again) == 130
