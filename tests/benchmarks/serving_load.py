"""How long a served forecast takes: ``python -m tests.benchmarks.serving_load path/to/project``.

Starts ``serve`` in a project whose experiments are trained and asks it over loopback, with so many
clients at a time, each of which waits for an answer before it asks again. The rows are the last of
the project's cleaned data. Prints a Markdown table, and how busy the machine was.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from tests.make.served import as_csv, ask, rows_of
from vd_forecasting.datasets import VDHDF5Dataset

CLIENTS = (1, 8, 64)
HEADER = ("model", "rows", "clients", "p50 ms", "p99 ms", "requests/s", "CPU ms each", "refused")


@contextmanager
def server(project: Path) -> Iterator[tuple[int, int]]:
    """``serve`` in a project; gives its process id and port."""
    command = [sys.executable, "-m", "vd_forecasting", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = re.search(r":(\d+)/$", process.stdout.readline().strip())
        assert address, "the server does not start"
        yield process.pid, int(address[1])
    finally:
        process.terminate()
        process.wait(60)


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far, on all cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answer_times(
    port: int, path: str, body: bytes, clients: int, seconds: float
) -> tuple[list[float], int]:
    """Seconds that each request took which began within some seconds; how many were refused."""
    taken, refused = list[float](), list[int]()
    until = time.monotonic() + seconds

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", port)
        while (begun := time.monotonic()) < until:
            connection.request("POST", path, body, {"Content-Type": "text/csv"})
            response = connection.getresponse()
            content = response.read()
            if response.status == 200:
                taken.append(time.monotonic() - begun)
                continue
            assert response.status == 429, content
            refused.append(1)
            time.sleep(int(response.headers["Retry-After"]))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, len(refused)


def measure(
    pid: int, port: int, model: Any, body: bytes, seconds: float
) -> Iterator[Sequence[object]]:
    """A row of the table per number of clients."""
    path = f"/forecast?model={model['name']}"
    answer_times(port, path, body, 1, 1)  # whatever is slow once
    for clients in CLIENTS:
        begun, computed = time.monotonic(), cpu_seconds(pid)
        taken, refused = answer_times(port, path, body, clients, seconds)
        passed, computed = time.monotonic() - begun, cpu_seconds(pid) - computed
        p50, p99 = 1000 * np.quantile(taken, [0.5, 0.99])
        name, rows = model["name"], body.count(b"\n") - 1
        rate, each = len(taken) / passed, 1000 * computed / len(taken)
        shown = [f"{number:.1f}" for number in (p50, p99, rate, each)]
        yield name, rows, clients, *shown, refused


def line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving_load")
    parser.add_argument("project", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="for each number of clients")
    parser.add_argument("--steps", type=int, help="of the rows; a window by default")
    parser.add_argument("models", nargs="*", help="all that are served by default")
    given = parser.parse_args()
    clean = VDHDF5Dataset(filepath=str(given.project / "data/03_primary/vd_clean.h5")).load()
    write = sys.stdout.write
    with server(given.project) as (pid, port):
        write(line(HEADER) + line(["---"] * len(HEADER)))
        for model in json.loads(ask(port, "GET", "/models")[1]):
            if given.models and model["name"] not in given.models:
                continue
            steps = given.steps or model["window_steps"]
            raw = clean.sel(vd=model["vdids"]).isel(time=slice(-steps, None)).load()
            for row in measure(pid, port, model, as_csv(rows_of(raw)), given.seconds):
                write(line(row))
                sys.stdout.flush()
        loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
        write(f"\n{os.cpu_count()} cores; load average at the end: {loads}\n")


if __name__ == "__main__":
    main()
