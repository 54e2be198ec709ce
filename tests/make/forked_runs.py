"""Runs of ``kedro`` that are cheap to start.

A run takes seconds to import torch and the like. So one process imports them, once, and forks for
every run; it is told what to run, line by line, as JSON.
"""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import PROJECT

IMPORTS = (
    "h5netcdf",
    "kedro.framework.cli.cli",
    "kedro.framework.session",
    "torch._dynamo",
    "vd_forecasting.cli",
    "vd_forecasting.pipeline_registry",
)


class ForkedRuns:
    """Starts runs and tells how they ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, folder: Path, *arguments: str) -> tuple[int, str]:
        """Run ``kedro`` in a folder to its end; returns its exit code and all that it printed."""
        log = folder / "printed_by_the_last_run.log"
        log.unlink(missing_ok=True)
        code = self.wait(self.start(folder, log, *arguments))
        return code, log.read_text()

    def start(self, folder: Path, log: Path, *arguments: str, largest_file: int = 0) -> int:
        """Start ``kedro`` in a folder; all it prints goes to ``log``. Returns the process id.

        A file cannot grow beyond ``largest_file`` bytes, if that is given.
        """
        run = {"folder": str(folder), "log": str(log), "arguments": arguments}
        return int(self._ask({**run, "largest_file": largest_file}))

    def is_running(self, pid: int) -> bool:
        """Whether a run has not ended; it still has to be waited for."""
        return bool(self._ask({"is_running": pid}))

    def wait(self, pid: int) -> int:
        """Exit code of a run, negative for a signal."""
        return int(self._ask({"wait": pid}))

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def forked_runs() -> Iterator[ForkedRuns]:
    """The process that forks, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.make.forked_runs"],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is ready
    try:
        yield ForkedRuns(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _fork(folder: str, log: str, arguments: list[str], largest_file: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    from kedro.framework.cli.cli import main  # noqa: PLC0415

    code = 1
    # Where the tests run in the background, it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.chdir(folder)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(output, standard)
        if largest_file:
            import resource  # noqa: PLC0415  (there is none on Windows, where nothing here runs)

            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        sys.argv = ["kedro", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    for name in IMPORTS:
        __import__(name)
    for group in importlib.metadata.entry_points().groups:
        if group.startswith("kedro."):
            for plugin in importlib.metadata.entry_points(group=group):
                plugin.load()
    print("null", flush=True)  # noqa: T201  (ready)
    for line in sys.stdin:
        question = json.loads(line)
        if "folder" in question:
            answer = _fork(**question)
        elif "is_running" in question:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            answer = int(os.waitid(os.P_PID, question["is_running"], options) is None)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
