"""Kedro's runners, but for what happens when a node fails: only what needs its outputs is left out.

Kedro's own stop at the first error, so one training that fails would take five others along. Here
all else goes on, then the nodes that are tagged ``takes_failures`` and what is behind them: they
get a :class:`.failure.Failure` for all of an experiment of which anything is missing, so that they
never read what an earlier run left. The run ends with an error that names every failed node.

A run of one experiment stops as Kedro's do, and so does every run that is interrupted.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from importlib import import_module
from itertools import chain
from multiprocessing import get_context, parent_process
from typing import Any

from kedro import runner as kedro_runner
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner.parallel_runner import ParallelRunnerManager
from kedro.runner.task import Task

from vd_forecasting.running.failure import TAKES_FAILURES, FailedDataset, Failure
from vd_forecasting.running.messages import reason
from vd_forecasting.running.staleness.fingerprint import file_of, is_parameter
from vd_forecasting.vocabulary import EXPERIMENTS

logger = logging.getLogger(__name__)

KILLED = (
    "its process was killed, most likely because memory ran out; make the model or the batch "
    "smaller"
)

IMPORTED_LATE = ("dask.array", "torch._dynamo")
"""Modules imported lazily by nodes but not safe to import concurrently, so imported before threads
start: dask has circular imports, and torch imports its compiler with the first optimizer."""


class NodesFailed(Exception):
    """Nodes failed, and all that could be run without their outputs was run."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = failures


class _Work:
    """The nodes of a run and what became of them."""

    def __init__(self, pipeline: Pipeline, release: Callable[[Node, Counter[str]], None]) -> None:
        self.todo: list[Node] = []
        self.failures: list[Failure] = []
        self.lost: dict[str, Failure] = {}
        """Datasets that were not made."""
        self._part = pipeline
        self._done: set[Node] = set()
        self._release = release
        self._readers = Counter(chain.from_iterable(node.inputs for node in pipeline.nodes))

    def turn_to(self, part: Pipeline) -> None:
        """Take up some of the nodes; those before them have been through."""
        self._part = part
        self._needs = part.node_dependencies
        self.todo = sorted(part.nodes, key=_starts_late)

    def ready(self, nodes: list[Node]) -> list[Node]:
        """Those whose inputs are there, in the order in which they start best."""
        return [node for node in nodes if self._needs[node] <= self._done]

    def succeeded(self, node: Node) -> None:
        """Note it."""
        self._done.add(node)
        self._release(node, self._readers)

    def failed(self, node: Node, error: BaseException) -> None:
        """Note it, and leave out what needs the node."""
        logger.error("✗ %s failed; what does not need it goes on", node.name)
        logger.debug("What led to the error:", exc_info=error)
        self.failures.append(Failure(node.name, reason(error)))
        self.leave_out(node, self.failures[-1])

    def leave_out(self, node: Node, because: Failure) -> None:
        """Do without a node, and without all that needs it."""
        for behind in self._part.from_nodes(node.name).nodes:
            if behind is node or behind in self.todo:
                self.lost |= dict.fromkeys(behind.outputs, because)
                self._release(behind, self._readers)
        self.todo[:] = [left for left in self.todo if self.lost.keys().isdisjoint(left.outputs)]


class _GoesOn(kedro_runner.AbstractRunner):
    """What the three runners do in another way than Kedro's."""

    @property
    def _logger(self) -> logging.Logger:
        # Kedro's messages go where conf/logging.yml expects them, not by the name of this module.
        return logging.getLogger(kedro_runner.__name__)

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: Any = None,
        run_id: str | None = None,
    ) -> None:
        """Run all nodes that can be run.

        Raises:
            NodesFailed: afterwards, if any failed.
        """
        takers = pipeline.only_nodes_with_tags(TAKES_FAILURES)
        experiments = {node.namespace for node in pipeline.nodes} & set(EXPERIMENTS)
        if len(experiments) < 2 and not takers.nodes:
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        self._validate_catalog(catalog)
        self._validate_nodes(pipeline.nodes)
        self._set_manager_datasets(catalog)

        def release(node: Node, readers: Counter[str]) -> None:
            self._release_datasets(node, catalog, readers, pipeline)

        def start(node: Node, executor: Executor) -> "Future[Node]":
            apart = isinstance(executor, ProcessPoolExecutor)  # where hooks cannot be sent to
            hooks = None if apart else hook_manager
            task = Task(node, catalog, self._is_async, hooks, run_id, parallel=apart)
            return executor.submit(task)

        work = _Work(pipeline, release)
        workers = self._get_required_workers_count(pipeline)
        last = takers if not takers.nodes else pipeline.from_nodes(*(n.name for n in takers.nodes))
        work.turn_to(pipeline - last)
        self._work_off(work, workers, start)
        work.turn_to(last)
        _put_failures(work, last, catalog)
        self._work_off(work, workers, start)
        if work.failures:
            raise NodesFailed(work.failures)

    def _work_off(
        self, work: _Work, workers: int, start: Callable[[Node, Executor], "Future[Node]"]
    ) -> None:
        """Run all nodes.

        A process that is killed takes all others of its pool along. Each of the nodes that ran then
        is tried again alone, to tell which it was; trainings go on where they were.
        """
        while killed := self._run_until_one_is_killed(work, work.todo, workers, start):
            for node in killed:
                if self._run_until_one_is_killed(work, [node], 1, start):
                    work.failed(node, ChildProcessError(KILLED))

    def _run_until_one_is_killed(
        self,
        work: _Work,
        nodes: list[Node],
        workers: int,
        start: Callable[[Node, Executor], "Future[Node]"],
    ) -> list[Node]:
        """Run nodes, and take them off the list; returns those that a killed process was running or
        took along."""
        running: dict[Future[Node], Node] = {}
        killed: list[Node] = []
        with self._get_executor(workers) or _InThisThread() as executor:
            while not killed:
                for node in work.ready(nodes)[: workers - len(running)]:
                    nodes.remove(node)
                    running[start(node, executor)] = node
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                if any(isinstance(future.exception(), BrokenExecutor) for future in finished):
                    finished, _ = wait(running)
                for future in finished:
                    node, error = running.pop(future), future.exception()
                    if error is None:
                        work.succeeded(node)
                    elif isinstance(error, BrokenExecutor):
                        killed.append(node)
                    elif isinstance(error, Exception):
                        work.failed(node, error)
                    else:
                        raise error  # an interrupt
        return killed


def _starts_late(node: Node) -> bool:
    """False of what takes longest: begun last, it would run alone while other workers idle."""
    return not node.name.endswith("_xlstm.train")


def _put_failures(work: _Work, last: Pipeline, catalog: CatalogProtocol) -> None:
    """Put failures in the place of what nodes that take them cannot have.

    If anything of an experiment was not made, its other artefacts do not go with it.
    """
    read = sorted(name for name in last.inputs() if not is_parameter(name))
    incomplete = {_maker(name): work.lost[name] for name in read if name in work.lost}
    missing = {name: incomplete[_maker(name)] for name in read if _maker(name) in incomplete}
    for name, failure in missing.items():
        catalog[name] = FailedDataset(failure, file_of(catalog, name))
    for node in last.only_nodes_with_tags(TAKES_FAILURES).nodes:
        if missing.keys() >= set(node.inputs):
            work.leave_out(node, missing[node.inputs[0]])


def _maker(dataset: str) -> str:
    """What makes it: the experiment or the like, for which Kedro has namespaces."""
    return dataset.rpartition(".")[0] or dataset


class _InThisThread(Executor):
    """Runs what it is given at once."""

    def submit(self, task: Callable[[], Any]) -> "Future[Any]":  # type: ignore[override]
        future: Future[Any] = Future()
        try:
            future.set_result(task())
        except Exception as error:
            future.set_exception(error)
        return future


class SequentialRunner(_GoesOn, kedro_runner.SequentialRunner):
    """Runs one node after the other."""


class ThreadRunner(_GoesOn, kedro_runner.ThreadRunner):
    """Runs nodes in threads."""

    def _get_executor(self, max_workers: int) -> Executor:
        for name in IMPORTED_LATE:
            import_module(name)
        executor: Executor = super()._get_executor(max_workers)
        return executor


class ParallelRunner(_GoesOn, kedro_runner.ParallelRunner):
    """Runs nodes in processes, which end when the run is killed.

    Kedro's would go on with their trainings, beside those of the next run, and then wait for ever.
    """

    _manager: ParallelRunnerManager

    def __init__(self, max_workers: int | None = None, is_async: bool = False) -> None:
        super().__init__(max_workers, is_async)
        self._manager.shutdown()
        self._manager = ParallelRunnerManager()
        self._manager.start(_end_with_the_run)

    def _get_executor(self, max_workers: int) -> Executor:
        context = get_context(os.environ.get("KEDRO_MP_CONTEXT"))
        return ProcessPoolExecutor(max_workers, context, initializer=_end_with_the_run)


def _end_with_the_run() -> None:
    """Let this process end as soon as the one that started it is gone."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    run = parent_process()
    if run is not None:
        run.join()
        os._exit(1)
