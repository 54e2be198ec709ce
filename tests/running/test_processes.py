"""Processes that do a part of the work of a run."""

import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vd_forecasting.running.processes import in_order

Tasks = list[tuple[Callable[..., Any], tuple[Any, ...]]]

SCRIPT = """\
import operator, os, time
from vd_forecasting.running.processes import in_order

print("runs", flush=True)
pids = [*in_order([(os.getpid, ())] * 4, 2)]
print(*sorted({*pids} - {os.getpid()}), flush=True)
for _ in in_order([(os.getpid, ()), (time.sleep, (60,))], 2):
    print(_, flush=True)
"""


@pytest.mark.parametrize("at_once", [1, 2])
def test_results_come_in_the_order_of_the_tasks(at_once: int) -> None:
    tasks: Tasks = [(time.sleep, (0.2,)), *((operator.mul, (n, n)) for n in range(5))]
    assert [*in_order(tasks, at_once)] == [None, 0, 1, 4, 9, 16]
    assert [*in_order([], at_once)] == []
    assert ({*in_order([(os.getpid, ())] * 3, at_once)} == {os.getpid()}) == (at_once == 1)


@pytest.mark.parametrize("at_once", [1, 2])
def test_tasks_are_taken_as_there_is_room_and_an_error_is_that_of_the_task(at_once: int) -> None:
    taken = []

    def tasks() -> Iterator[tuple[type[int], tuple[str]]]:
        for text in ["3", "x", *"123456789"]:
            taken.append(text)
            yield int, (text,)

    results = in_order(tasks(), at_once)
    assert next(results) == 3
    assert len(taken) == at_once + 1
    with pytest.raises(ValueError, match="invalid literal for int"):
        next(results)


def test_each_process_has_one_thread() -> None:
    threads: list[str | None] = [*in_order([(os.getenv, ("OMP_NUM_THREADS",))], 2)]
    assert threads == ["1"]


@pytest.mark.integration
def test_threads_that_start_processes_at_the_same_time_leave_the_main_module() -> None:
    main = sys.modules["__main__"]

    def start() -> None:
        assert len([*in_order([(os.getpid, ())] * 3, 2)]) == 3

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.modules["__main__"] is main


@pytest.mark.integration
def test_a_process_that_is_killed_is_an_error_of_one_line() -> None:
    with pytest.raises(ChildProcessError, match=r"was killed, .* compute.threads"):
        [*in_order([(os.abort, ()), (os.getpid, ())], 2)]


@pytest.mark.integration
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_processes_run_no_script_again_and_end_with_the_one_that_started_them(
    sent: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"  # without a guard for its main module
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "runs\n"
        assert len(run.stdout.readline().split()) in (1, 2)
        last = int(run.stdout.readline())
        os.kill(last, 0)  # it is there, sleeping or waiting
        run.send_signal(sent)
        if sent == signal.SIGINT:
            run.kill()  # it waits for what its processes do
        assert run.stdout.read() == ""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(last, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {last} is still there")
