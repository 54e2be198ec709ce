"""Runs nodes on the workers of a Dask cluster, which may be on other machines.

All of them see the project's folder: what nodes make travels through its files, and only parameters
and what the catalog keeps in memory go from process to process. A task is a node, or a part of one
(:mod:`.fan_out`). The task of a worker that is lost is taken up by another one, whose trainings
resume.
"""

import logging
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from kedro import runner as kedro_runner
from kedro.io import AbstractDataset, CatalogProtocol, DatasetError, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner.task import Task

from vd_forecasting.provenance import PACKAGE, digest, this_package, version_of
from vd_forecasting.running.failure import USER_ERRORS, in_one_line
from vd_forecasting.running.inert_logs import make_logs_inert
from vd_forecasting.running.kedro_private import MakeTask, Release, configure_worker, file_of
from vd_forecasting.running.runners import KILLED, ClusterLost, KeepsGoing
from vd_forecasting.running.stop import heed
from vd_forecasting.wording import listed, one_line, plural

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as Remote

logger = logging.getLogger(__name__)

SECONDS_TO_ANSWER = 15
SECONDS_TO_JOIN = 60
"""How long a run waits for the scheduler, and then for the first worker."""

SAME_VERSIONS = (PACKAGE, "torch", "numpy", "numba", "xlstm", "kedro", "dask", "distributed")
"""Packages that all workers need in the driver's version."""

Pairs = tuple[tuple[str, Any], ...]
"""A mapping that can be compared with an earlier one."""

LOST = "the Dask scheduler is gone; start it again and then this run, whose trainings resume"


class DaskRunner(KeepsGoing, kedro_runner.SequentialRunner):
    """Runs nodes on the workers of a Dask scheduler.

    Its address is ``address`` or stands in ``scheduler_file``; without either a cluster of
    ``max_workers`` processes is started on this machine.
    """

    apart = True
    queues = True

    def __init__(
        self,
        scheduler_file: str | None = None,
        address: str | None = None,
        max_workers: int | None = None,
        is_async: bool = False,
    ) -> None:
        super().__init__(is_async=is_async)
        self._where = {"scheduler_file": scheduler_file, "address": address}
        self._max_workers = max_workers or os.cpu_count() or 1

    def schedule(
        self, pipeline: Pipeline, catalog: CatalogProtocol, task: MakeTask, release: Release
    ) -> None:
        for name in pipeline.all_outputs():
            if isinstance(catalog.get(name), MemoryDataset):
                catalog[name] = OnWorkerDataset()
        claim = file_of(catalog.get(f"claim_of_{token_hex(8)}"))
        folder = claim.parent if isinstance(claim, Path) else Path.cwd()
        with connected(**self._where, max_workers=self._max_workers) as client:
            described = check_workers(client, folder)
            hosts = sorted({worker["host"] for worker in described.values()})
            logger.info("%s on %s", plural(len(described), "Dask worker"), listed(hosts))
            client.forward_logging()
            self._max_workers = max(len(described), 2)  # more may join
            versions = describe("")["versions"]
            self._executor = _OnCluster(client, versions)
            super().schedule(pipeline, catalog, task, release)

    def executor(self, workers: int) -> Executor:
        return self._executor

    def abandon(self, executor: Executor) -> None:
        """Nothing to do: a worker ends what it runs once the connection is closed."""


@contextmanager
def connected(
    scheduler_file: str | None = None, address: str | None = None, max_workers: int | None = None
) -> Iterator["Client"]:
    """A client of the scheduler, or of a cluster of its own. See :class:`DaskRunner`.

    Raises:
        ImportError: distributed is not installed.
        ConnectionError: one line; the scheduler does not answer, or has no worker.
    """
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # for workers started from here
    try:
        import distributed  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'DaskRunner needs the package {error.name}: pip install "{PACKAGE}[cluster]"'
        ) from error
    if scheduler_file and not Path(scheduler_file).is_file():
        raise FileNotFoundError(
            f"{scheduler_file}: no such file; dask scheduler --scheduler-file {scheduler_file} "
            "writes it"
        )
    where = scheduler_file or address
    # A default client would take the dask arrays of this process to the cluster.
    settings: dict[str, Any] = {"set_as_default": False, "timeout": SECONDS_TO_ANSWER}
    if where is None:
        settings |= {"n_workers": max_workers, "threads_per_worker": 1, "memory_limit": 0}
        settings |= {"dashboard_address": ":0"}  # a free port
    else:
        settings |= {"scheduler_file": scheduler_file, "address": address}
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith("distributed"):  # failures are ours to report
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = distributed.Client(**settings)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"{where}: no Dask scheduler answers; start it with dask scheduler"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, SECONDS_TO_JOIN)
        except TimeoutError as error:
            raise ConnectionError(
                f"{where}: no worker has joined the scheduler; start some with dask worker "
                "--nthreads 1"
            ) from error
        yield client


# --- what workers are -----------------------------------------------------------------------------


def threads_of_workers(
    scheduler_file: str | None = None,
    address: str | None = None,
    max_workers: int | None = None,
) -> int:
    """Threads for each training: the same everywhere, so that any worker can resume any of them.

    As many as there are cores for each worker on the machine that has fewest.
    """
    if scheduler_file is None and address is None:
        cores = os.cpu_count() or 1
        return cores // int(max_workers or cores)
    with connected(scheduler_file, address) as client:
        described = check_workers(client, Path.cwd())
    return threads_for_each([*described.values()])


def threads_for_each(workers: Sequence[Mapping[str, Any]]) -> int:
    """The cores for each worker on the machine that has fewest, at least one."""
    on = Counter(worker["host"] for worker in workers)
    return max(1, min(int(worker["cores"]) // on[worker["host"]] for worker in workers))


def check_workers(client: "Client", folder: Path) -> dict[str, dict[str, Any]]:
    """What each worker says of itself, by address.

    A ValueError names in one line a worker that does not see the folder, has other versions or code
    than this process, or more than one thread.
    """
    token = folder / f".{token_hex(8)}"
    folder.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        found = client.run(_asking(), str(token))
        here = describe(str(token))
    finally:
        token.unlink(missing_ok=True)
    for address, worker in found.items():
        if not worker["sees"]:
            who = f"Dask worker {address} on {worker['host']}"
            raise ValueError(f"{who} does not see {folder}; mount that folder there")
        refuse_another(address, worker, here["versions"])
    return dict(found)


def refuse_another(address: str, worker: Mapping[str, Any], versions: Mapping[str, str]) -> None:
    """Raise a ValueError for a worker with other versions than these, or several threads."""
    who = f"Dask worker {address} on {worker['host']}"
    for what, own in versions.items():
        if (its := worker["versions"].get(what, "not installed")) != own:
            raise ValueError(
                f"{who} has {what} {its}, here it is {own}; install the same there, and start it "
                "again"
            )
    if worker["threads"] > 1:
        raise ValueError(f"{who} has {worker['threads']} threads; start it with --nthreads 1")


def _asking() -> Any:
    """:func:`describe`, for a worker that may lack this package: a nested function travels as code,
    not by its name."""
    package = PACKAGE

    def ask(token: str, dask_worker: Any) -> dict[str, Any]:
        import platform  # noqa: PLC0415
        from importlib import import_module, util  # noqa: PLC0415

        versions, sees, threads = {"Python": platform.python_version()}, True, 1
        if util.find_spec(package) is None:
            return {"host": platform.node(), "versions": versions, "sees": sees, "threads": threads}
        own = import_module(f"{package}.running.cluster").describe
        return dict(own(token, dask_worker.state.nthreads))

    return ask


# --- tasks, as the run sees them ------------------------------------------------------------------


class OnWorkerDataset(AbstractDataset[Any, Any]):
    """What a node made and some worker keeps in memory, until it is released."""

    def __init__(self) -> None:
        self.remote: Remote[Any] | None = None

    def load(self) -> Any:
        if self.remote is None:
            raise DatasetError("no worker keeps it")
        return self.remote.result()

    def save(self, data: Any) -> None:
        raise DatasetError("it is kept by the worker that makes it")

    def _exists(self) -> bool:
        return self.remote is not None

    def release(self) -> None:
        self.remote = None

    def _describe(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {"remote": None}  # a task gets what it reads beside the catalog


class _OnCluster(Executor):
    """Runs the tasks of a run on the workers of a client."""

    def __init__(self, client: "Client", versions: Mapping[str, str]) -> None:
        self.client = client
        self.versions = tuple(versions.items())
        known = logging.root.manager.loggerDict
        loggers = {name: logging.getLogger(name) for name in known if "distributed" not in name}
        self.levels = tuple((name, one.level) for name, one in loggers.items() if one.level)

    def submit(self, task: Task) -> "Future[Any]":  # type: ignore[override]
        catalog, node = task.catalog, task.node
        kept = {name: catalog.get(name) for name in (*node.inputs, *node.outputs)}
        kept = {name: one for name, one in kept.items() if isinstance(one, OnWorkerDataset)}
        inputs = {name: kept[name].remote for name in node.inputs if name in kept}
        outputs = [name for name in node.outputs if name in kept]
        key = f"{node.name}-{token_hex(4)}"
        like = (self.levels, self.versions)
        remote = self.client.submit(run_task, task, inputs, outputs, like, key=key)
        for name in outputs:
            kept[name].remote = self.client.submit(itemgetter(name), remote, pure=False)
        future: Future[Any] = Future()
        remote.add_done_callback(lambda remote: _settle(future, remote, node))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the cluster serves the next part of the run too."""


def _settle(future: "Future[Any]", remote: "Remote[Any]", node: Node) -> None:
    """Let a future end as a task has ended."""
    from distributed import KilledWorker  # noqa: PLC0415

    if remote.status == "finished":
        future.set_result(node)
        return
    try:
        error = remote.exception() if remote.status == "error" else None
    except Exception as failure:  # it cannot be fetched, and nobody would wait for it again
        error = ClusterLost(f"{LOST} ({one_line(failure)})")
    if isinstance(error, KilledWorker):
        error = ChildProcessError(KILLED)
    future.set_exception(error or ClusterLost(LOST))


# --- tasks, as a worker sees them -----------------------------------------------------------------


def describe(token: str, threads: int = 1) -> dict[str, Any]:
    """What a process says of itself: ``host`` and ``cores`` of its machine, its ``threads``, its
    ``versions``, and whether it ``sees`` a file."""
    from dask.system import CPU_COUNT  # noqa: PLC0415  (slow to import)

    return {
        "host": platform.node(),
        "cores": CPU_COUNT,
        "threads": threads,
        "versions": {
            "Python": platform.python_version(),
            **{name: version_of(name) for name in SAME_VERSIONS},
            f"code of {PACKAGE}": digest(this_package().modules),
        },
        "sees": Path(token).is_file(),
    }


def run_task(
    task: Task, inputs: Mapping[str, Any], outputs: Sequence[str], like: tuple[Pairs, Pairs]
) -> dict[str, Any]:
    """Run a node; returns those of its outputs that are kept in memory.

    The worker is to be ``like`` the driver: in the lowest levels of its messages, which go there,
    and in its versions. An error that users can mend comes back as its line, since what led to it
    does not travel.
    """
    from distributed import get_worker  # noqa: PLC0415

    from vd_forecasting.models.device import choose_gpu  # noqa: PLC0415  (imports torch)

    prepare_worker(*like)
    worker = get_worker()
    of_task = worker.state.tasks[worker.get_current_task()]
    heed(lambda: of_task.state == "cancelled")
    choose_gpu(partial(_number_on_machine, worker))
    for name, value in inputs.items():
        task.catalog[name] = MemoryDataset(value)
    for name in outputs:
        task.catalog[name] = MemoryDataset()
    try:
        task.execute()
    except USER_ERRORS as error:
        raise ValueError(in_one_line(error)) from None
    return {name: task.catalog.load(name) for name in outputs}


@cache
def prepare_worker(levels: Pairs, versions: Pairs) -> None:
    """Let this process know the project, and log to the driver alone.

    A ValueError, in one line, if it joined later and differs from the driver.
    """
    import dask  # noqa: PLC0415
    from distributed import get_worker  # noqa: PLC0415
    from distributed.diagnostics.plugin import ForwardLoggingPlugin  # noqa: PLC0415

    worker = get_worker()
    refuse_another(worker.address, describe("", worker.state.nthreads), dict(versions))
    configure_worker()
    make_logs_inert()
    # Kedro configures logging when it is imported, which undoes what the cluster has set up.
    plugins = worker.plugins.values()
    forwarding = [plugin for plugin in plugins if isinstance(plugin, ForwardLoggingPlugin)]
    logging.getLogger().handlers[:] = [plugin.handler for plugin in forwarding if plugin.handler]
    for name, level in levels:
        logging.getLogger(name).setLevel(level)
    # Nodes compute their dask arrays themselves: the cluster would wait for them, and they for it.
    dask.config.set(scheduler="threads")


def _number_on_machine(worker: Any) -> int:
    """The position of a worker among those of its machine; a worker that starts again keeps it."""
    workers = worker.client.scheduler_info(n_workers=-1)["workers"].values()
    names = sorted(one["nanny"] or one["id"] for one in workers if one["host"] == worker.ip)
    return names.index(worker.nanny or worker.address)
