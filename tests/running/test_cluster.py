"""Runs on a Dask cluster: the same files, and what becomes of them when something is lost."""

import hashlib
import os
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, DatasetError

from tests.make.clusters import Cluster, cluster
from tests.make.forked_runs import ForkedRuns
from tests.make.killed_runs import printed
from tests.make.projects import SMALL, copy_of_the_project
from vd_forecasting.models.device import choose_gpu
from vd_forecasting.running import cluster as running_cluster
from vd_forecasting.running.cluster import (
    OnWorkerDataset,
    _number_on_machine,
    check_workers,
    describe,
    threads_for_each,
    threads_of_workers,
)

TRAINING = "single_vd_lstm.training"
TIMES = ("cost.json", "training.log", "training_history.json", "config.json")
"""Files in which a time or a thread count stands."""


class Workers:
    """Stands for a client whose only worker says something else of itself."""

    def __init__(self, **other: Any) -> None:
        self.other = other

    def run(self, _: Callable[..., Any], token: str) -> dict[str, dict[str, Any]]:
        return {"tcp://a:1": {**describe(token), "host": "elsewhere", **self.other}}


def test_workers_like_this_process_are_taken(tmp_path: Path) -> None:
    assert check_workers(Workers(), tmp_path).keys() == {"tcp://a:1"}  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [], "nothing is left in the folder"


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"sees": False}, "does not see .*; mount that folder there"),
        ({"threads": 4}, "has 4 threads; start it with --nthreads 1"),
        ({"versions": {"Python": "2.7"}}, "has Python 2.7, here it is .*; install the same there"),
        ({"versions": {**describe("")["versions"], "torch": "1.0"}}, "has torch 1.0, here it is"),
    ],
)
def test_a_worker_that_differs_is_named(other: Any, line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"Dask worker tcp://a:1 on elsewhere {line}"):
        check_workers(Workers(**other), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_of_its_own_shares_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert [threads_of_workers(max_workers=most) for most in (None, 4, 16)] == [1, 4, 1]


def test_every_worker_gets_the_threads_of_the_fullest_machine() -> None:
    small: dict[str, Any] = {"host": "a", "cores": 8}
    large: dict[str, Any] = {"host": "b", "cores": 64}
    assert threads_for_each([small, small, large, large]) == 4
    assert threads_for_each([large, large]) == 32
    assert threads_for_each([small] * 9 + [large]) == 1


def test_workers_of_a_machine_are_numbered_as_their_nannies_are() -> None:
    workers: dict[str, dict[str, Any]] = {
        "tcp://a:3": {"id": "tcp://a:3", "host": "a", "nanny": "tcp://a:1"},
        "tcp://a:2": {"id": "tcp://a:2", "host": "a", "nanny": "tcp://a:4"},
        "tcp://b:1": {"id": "tcp://b:1", "host": "b", "nanny": None},
        "tcp://b:2": {"id": "tcp://b:2", "host": "b", "nanny": None},
    }
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": workers})
    numbers = [
        _number_on_machine(
            SimpleNamespace(client=client, ip=of["host"], address=address, nanny=of["nanny"])
        )
        for address, of in workers.items()
    ]
    assert numbers == [0, 1, 0, 1]


def test_without_a_scheduler_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_cluster, "SECONDS_TO_ANSWER", 1)
    missing = tmp_path / "s.json"
    with pytest.raises(FileNotFoundError, match=r"dask scheduler --scheduler-file .*s\.json"):
        threads_of_workers(str(missing))
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"):
        threads_of_workers(address="tcp://127.0.0.1:1")


def test_a_task_takes_no_result_along_with_the_catalog() -> None:
    catalog = DataCatalog({"made": (made := OnWorkerDataset())})
    made.remote = SimpleNamespace(result=lambda: 7)  # type: ignore[assignment]
    assert catalog.load("made") == 7
    sent = pickle.loads(pickle.dumps(catalog))
    assert not sent.exists("made")
    catalog.release("made")
    assert not catalog.exists("made")
    for one in (catalog, sent):
        with pytest.raises(DatasetError, match="no worker keeps it"):
            one.load("made")


def test_each_worker_of_a_machine_takes_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for number in range(4):
        choose_gpu(lambda number=number: number)  # type: ignore[misc]
    assert taken == [0, 1, 0, 1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    choose_gpu(pytest.fail)
    assert taken == [0, 1, 0, 1]


# --- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def content(path: Path) -> bytes:
    """A file's bytes; of an HDF5 file all values, types and attributes. Now and then a worker of
    Dask, whose profiler holds on to objects, lays these out in another order."""
    if path.suffix not in (".h5", ".nc"):
        return path.read_bytes()
    found: list[object] = []

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        values = np.asarray(item[()] if isinstance(item, h5py.Dataset) else 0)
        written = values.tolist() if values.dtype == object else values.tobytes()
        attributes = {key: str(item.attrs[key]) for key in item.attrs if key not in LINKS}
        found.append((name, str(getattr(item, "dtype", "")), written, sorted(attributes.items())))

    with h5py.File(path) as file:
        add("", file["/"])
        file.visititems(add)
    return repr([repr(of) for of in found]).encode()


LINKS = ("DIMENSION_LIST", "REFERENCE_LIST")
"""Attributes that hold addresses."""


def hashes(folder: Path) -> dict[str, str]:
    """Of the content of all files that hold no time."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(content(path)).hexdigest()
        for layer in ("05_model_input", "06_models", "07_model_output")
        for path in sorted((folder / "data" / layer).rglob("*"))
        if path.is_file() and path.name not in TIMES
    }


def command(*arguments: str, params: str) -> list[str]:
    return ["run", "--env", "quick", *arguments, "--params", params]


def on(workers: Cluster) -> list[str]:
    return ["--runner", "DaskRunner", "--runner-params", f"scheduler_file={workers.scheduler_file}"]


def wait_until(condition: Callable[[], object], folder: Path) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, printed(folder)
        time.sleep(0.02)


ALL = "independent_multi_vd_lstm.windows.target_vd_index=all"


@pytest.mark.integration
def test_files_are_those_of_a_run_in_one_process(
    workers: Cluster, runs: ForkedRuns, tmp_path: Path
) -> None:
    """Also where trainings are done in parts."""
    parts = ("--namespaces", "single_vd_lstm,independent_multi_vd_lstm")
    params = f"{SMALL},{ALL},{TRAINING}.seeds=[1,2]"
    runners: dict[str, list[str]] = {
        "sequential": [],
        "dask": on(workers),
        "parallel": ["--runner", "ParallelRunner", "--runner-params", "max_workers=2"],
    }
    found = {}
    for name, runner in runners.items():
        folder = copy_of_the_project(tmp_path / name)
        code, output = runs.run(folder, *command(*parts, *runner, params=params))
        assert code == 0, output
        assert ("single_vd_lstm.train-1-of-2" in output) == bool(runner)
        found[name] = hashes(folder)
        log = (folder / "data/06_models/single_vd_lstm/training.log").read_text()
        assert "single_vd_lstm seed 2: epoch 1/1" in log
    assert found["sequential"]
    assert found["dask"] == found["sequential"]
    assert found["parallel"] == found["sequential"]
    alone = copy_of_the_project(tmp_path / "threads")  # threads would share random numbers
    threads = ("--namespace", "single_vd_lstm", "--runner", "ThreadRunner")
    code, output = runs.run(alone, *command(*threads, params=params))
    assert code == 0, output
    assert "train-1-of-2" not in output
    assert hashes(alone).items() <= found["sequential"].items()
    stale = (*parts, "--only-stale-outputs", *on(workers))
    code, output = runs.run(tmp_path / "dask", *command(*stale, params=params))
    assert code == 0, output
    assert "Everything is up to date" in output


@pytest.mark.integration
def test_what_does_not_need_a_failed_node_continues(
    workers: Cluster, runs: ForkedRuns, tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    failing = f"{SMALL},single_vd_xlstm.model.context_length=3"
    both = ("--namespaces", "single_vd_lstm,single_vd_xlstm", *on(workers))
    code, output = runs.run(folder, *command(*both, params=failing))
    assert code == 1
    assert "✗ single_vd_xlstm.train failed; what does not need it continues" in output
    last = output.splitlines()[-1]
    assert last.startswith("Error: single_vd_xlstm.train: context_length 3 is shorter than")
    assert "Traceback" not in output
    assert (folder / "data/08_reporting/single_vd_lstm/training_report.md").is_file()


EPOCHS = ",".join(f"{TRAINING}.{key}=30" for key in ("epochs", "decay_epochs", "patience"))
LONG = f"{SMALL},{EPOCHS}"
PART = ("--namespace", "single_vd_lstm", "--to-nodes", "single_vd_lstm.evaluate")


@pytest.fixture(scope="module")
def undisturbed(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = copy_of_the_project(tmp_path_factory.mktemp("undisturbed") / "project")
    code, output = runs.run(folder, *command(*PART, params=LONG))
    assert code == 0, output
    return hashes(folder)


def start(runs: ForkedRuns, workers: Cluster, folder: Path) -> tuple[Path, int]:
    """Start a run and wait for its third epoch: its log and its process."""
    log = folder / "printed.log"
    pid = runs.start(folder, log, *command(*PART, *on(workers), params=LONG))
    wait_until(lambda: "epoch 3/30" in printed(folder), folder)
    return log, pid


@pytest.mark.integration
def test_another_worker_resumes_the_training_of_one_that_is_killed(
    workers: Cluster, runs: ForkedRuns, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    _, pid = start(runs, workers, folder)
    workers.busiest().kill()
    assert runs.wait(pid) == 0, printed(folder)
    assert re.search(r"resumes after epoch \d", printed(folder))
    assert hashes(folder) == undisturbed


@pytest.mark.integration
def test_a_worker_ends_the_training_of_a_run_that_is_killed(
    workers: Cluster, runs: ForkedRuns, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    log, pid = start(runs, workers, folder)
    worker = workers.busiest()
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    time.sleep(2)
    [state] = (folder / "data/06_models/single_vd_lstm/training_state").iterdir()
    left = state.stat().st_mtime_ns
    time.sleep(2)
    assert state.stat().st_mtime_ns == left, "nobody wants it any more"
    log.unlink()
    assert runs.wait(runs.start(folder, log, *command(*PART, *on(workers), params=LONG))) == 0
    assert re.search(r"resumes after epoch \d", printed(folder))
    assert worker.is_running()
    assert hashes(folder) == undisturbed


@pytest.mark.integration
def test_a_run_ends_with_its_scheduler(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path / "project")
    with cluster(tmp_path) as lost:
        log, pid = start(runs, lost, folder)
        lost.scheduler.kill()
        assert runs.wait(pid) == 1
    assert printed(folder).splitlines()[-1].startswith("Error: the Dask scheduler is gone; start")
    assert "Traceback" not in printed(folder)
    assert list((folder / "data" / ".runs").iterdir()) == [], "its files are free at once"
    assert runs.wait(runs.start(folder, log, *command(*PART, params=LONG))) == 0
    assert re.search(r"resumes after epoch \d", printed(folder))
