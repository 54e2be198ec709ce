"""Runners that keep going after a failure: only nodes downstream of it are skipped.

Kedro's own stop at the first error, so one training that fails would take five others along. Here
all else runs first, then the nodes that are tagged ``takes_failures`` and those behind them: they
get a :class:`.failure.Failure` for everything of an experiment of which anything is missing, so
that they never read what an earlier run left. The run ends with an error that names every failed
node.

A run of one experiment stops as Kedro's do, and so does every run that is interrupted.
"""

import logging
import os
import threading
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from operator import attrgetter
from pkgutil import walk_packages

from kedro import runner as kedro_runner
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vd_forecasting.datasets import PageDataset
from vd_forecasting.parameters import Compute
from vd_forecasting.rendering.drawing import drawn_beside
from vd_forecasting.running.failure import TAKES_FAILURES, FailedDataset, Failure, in_one_line
from vd_forecasting.running.fan_out import parts_of
from vd_forecasting.running.inert_logs import make_logs_inert
from vd_forecasting.running.kedro_private import MakeTask, Release, Runner, file_of
from vd_forecasting.running.processes import (
    InThisThread,
    begin_process,
    can_start,
    end_with_the_run,
)
from vd_forecasting.running.staleness.fingerprint import is_parameter
from vd_forecasting.running.staleness.inputs import save_failure
from vd_forecasting.running.staleness.plan import short_path
from vd_forecasting.running.stop import heed
from vd_forecasting.vocabulary import GLOBAL_MODE, OF_ONE_EXPERIMENT

logger = logging.getLogger(__name__)

LATE = "late"
"""Nodes with this tag come after others: what is compiled for them beside those is then ready."""

REPEATS = "repeats"
"""Nodes with this tag may find done what others of the same function and parameters do, and start
after those."""

KILLED = (
    "its process was killed, most likely because memory ran out; make the model or the batch "
    "smaller"
)

FEW_PAGES = 3
"""With no more all are drawn before a process that helps would have started."""

IMPORTED_LATE = ("dask.array", "torch._dynamo")
"""Modules imported lazily by nodes but not safe to import concurrently, so imported before threads
start: dask has circular imports, and torch imports its compiler with the first optimizer."""

PIPELINES = f"{__name__.split('.')[0]}.pipelines"
"""Holds the code of all nodes and of all that they hand on."""


class NodesFailed(Exception):
    """Nodes failed, and all that could be run without their outputs was run."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = failures


class ClusterLost(ConnectionError):
    """What runs the nodes is gone, through no fault of theirs."""


@dataclass
class _Run:
    """A run: what it needs and what became of its nodes."""

    runner: Runner
    workers: int
    task: MakeTask
    release: Release
    keep_going: bool
    part: Pipeline = field(init=False)
    catalog: CatalogProtocol = field(init=False)
    waiting: list[Node] = field(init=False)
    done: set[Node] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    lost: dict[str, Failure] = field(default_factory=dict)  # by dataset that was not made
    shares: dict[Node, Node] = field(default_factory=dict)  # of nodes' work, and the whole nodes
    repeated: dict[Node, set[Node]] = field(default_factory=dict)  # by what may repeat them

    def run(self, part: Pipeline, catalog: CatalogProtocol) -> None:
        """Run a part of the pipeline; what comes before it has run.

        A process that is killed takes all others of its pool along. Each of the nodes that ran then
        is tried again alone, to find out which it was; trainings resume where they were.
        """
        self.part, self.catalog = part, catalog
        workers = self.workers if self.runner.apart else 1  # threads share their random numbers
        self.shares = {
            share: node for node in part.nodes for share in parts_of(node, catalog, workers)
        }
        self.waiting = sorted([*self.shares, *part.nodes], key=lambda node: LATE in node.tags)
        self.repeated = {
            node: {other for other in part.nodes if self.may_repeat(node, other)}
            for node in part.only_nodes_with_tags(REPEATS).nodes
        }
        for node in part.nodes:
            lost = [self.lost[name] for name in node.inputs if name in self.lost]
            if lost and node in self.waiting and TAKES_FAILURES not in node.tags:
                self.skip(node, lost[0])
        self.put_failures()
        while killed := self.run_until_one_is_killed(self.waiting, self.workers):
            for node in killed:
                if self.run_until_one_is_killed([node], 1):
                    self.failed(node, ChildProcessError(KILLED))

    def may_repeat(self, node: Node, other: Node) -> bool:
        """Whether a node may find done what another one does, whose data may be the same."""
        if node.func is not other.func or REPEATS in other.tags:
            return False
        first, second = (
            [self.catalog.load(name) for name in of.inputs if is_parameter(name)]
            for of in (node, other)
        )
        return first == second

    def put_failures(self) -> None:
        """Put failures in the place of the inputs that are missing.

        If anything of an experiment was not made, its other artefacts are left out with it.
        """
        read = sorted(name for name in self.part.inputs() if not is_parameter(name))
        makers = {name: name.rpartition(".")[0] or name for name in read}  # such as an experiment
        incomplete = {makers[name]: self.lost[name] for name in read if name in self.lost}
        missing = {name: incomplete[makers[name]] for name in read if makers[name] in incomplete}
        for name, failure in missing.items():
            self.put(name, failure)
        takers = self.part.only_nodes_with_tags(TAKES_FAILURES)
        for node in takers.nodes:  # each after those that it reads from
            if not missing.keys() >= set(node.inputs):
                continue
            because = missing[node.inputs[0]]
            if takers.all_inputs().isdisjoint(node.outputs):
                self.skip(node, because)
                continue
            # One that reads its outputs may have others to work with.
            self.waiting.remove(node)
            self.done.add(node)
            self.release(node)
            for name in node.outputs:
                missing[name] = because
                self.put(name, because)

    def put(self, name: str, failure: Failure) -> None:
        """Put a failure in the place of a dataset."""
        self.catalog[name] = FailedDataset(failure, file_of(self.catalog.get(name)))

    def run_until_one_is_killed(self, waiting: list[Node], workers: int) -> list[Node]:
        """Run nodes and take them off ``waiting``; returns those that a killed process took along,
        its own among them."""
        running: dict[Future[Node], Node] = {}
        killed: list[Node] = []
        upstream = {node: {*before} for node, before in self.part.node_dependencies.items()}
        for share, whole in self.shares.items():
            upstream[share] = upstream[whole] - self.shares.keys()
            upstream[whole].add(share)
        with self.executor(workers) as executor:
            while not killed:
                busy = {*waiting, *running.values()}
                ready = [
                    node
                    for node in waiting
                    if upstream[node] <= self.done
                    and busy.isdisjoint(self.repeated.get(self.shares.get(node, node), ()))
                ]
                for node in ready[: None if self.runner.queues else workers - len(running)]:
                    waiting.remove(node)
                    running[executor.submit(self.task(node, executor))] = node
                if not running:
                    break
                finished, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                if any(isinstance(future.exception(), BrokenExecutor) for future in finished):
                    finished, _ = futures.wait(running)
                for future in finished:
                    node, error = running.pop(future), future.exception()
                    if error is None:
                        self.done.add(node)
                        if node not in self.shares:
                            self.release(node)
                    elif isinstance(error, BrokenExecutor):
                        killed.append(node)
                    else:
                        self.failed(node, error)
        return killed

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        """What runs nodes; waits for those it runs, but for none if the run is interrupted."""
        executor, wait = self.runner.executor(workers) or InThisThread(), True
        try:
            yield executor
        except KeyboardInterrupt:
            wait = False
            self.runner.abandon(executor)
            raise
        finally:
            executor.shutdown(wait=wait)

    def failed(self, node: Node, error: BaseException) -> None:
        """Note a node that failed and skip what needs it, or stop the run."""
        if not isinstance(error, Exception) or isinstance(error, ClusterLost):  # or an interrupt
            raise error
        if node in self.shares:  # the whole node will say why
            logger.debug("%s failed: %s", node.name, in_one_line(error))
            self.done.add(node)
            return
        failure = Failure(node.name, in_one_line(error))
        save_failure(failure, self.catalog)
        if not self.keep_going:
            raise error
        logger.error("✗ %s failed; what does not need it continues", node.name)
        logger.debug("The error was raised here:", exc_info=error)
        self.failures.append(failure)
        self.skip(node, failure)

    def skip(self, node: Node, because: Failure) -> None:
        """Skip a node and all that needs it."""
        for behind in self.part.from_nodes(node.name).nodes:
            if behind is node or behind in self.waiting:
                self.lost |= dict.fromkeys(behind.outputs, because)
                self.release(behind)
        self.waiting[:] = [
            one
            for one in self.waiting
            if self.lost.keys().isdisjoint(self.shares.get(one, one).outputs)
        ]


class KeepsGoing(Runner):
    """Shared behaviour of the runners: continue after failures."""

    def schedule(
        self, pipeline: Pipeline, catalog: CatalogProtocol, task: MakeTask, release: Release
    ) -> None:
        """Run all nodes that can be run and log the pages that are not made; afterwards raises
        NodesFailed, if any failed, in an earlier run included."""
        takers = [node.name for node in pipeline.only_nodes_with_tags(TAKES_FAILURES).nodes]
        spaces = {node.namespace for node in pipeline.nodes}
        experiments = spaces.intersection(OF_ONE_EXPERIMENT)
        keep_going = len(experiments) > 1 or bool(takers)
        divided = self.apart and any(parts_of(node, catalog, 2) for node in pipeline.nodes)
        run = _Run(self, self.workers(pipeline, divided=divided), task, release, keep_going)
        for name in sorted(pipeline.inputs()):
            if isinstance(dataset := catalog.get(name), FailedDataset):
                run.lost[name] = dataset.load()
        run.failures += dict.fromkeys(filter(attrgetter("is_error"), run.lost.values()))
        outputs = {name: catalog.get(name) for node in pipeline.nodes for name in node.outputs}
        last = pipeline.from_nodes(*takers) if takers else Pipeline([])
        for part in (pipeline - last, last):
            run.run(part, catalog)
        for level, line in dict.fromkeys(
            (logging.INFO, f"{failure}")  # nobody asked for the mode: one line for all its pages
            if failure.node == GLOBAL_MODE
            else (logging.WARNING, f"{short_path(page.filepath)} is not made: {failure}")
            for name, page in outputs.items()
            if isinstance(page, PageDataset) and (failure := run.lost.get(name))
        ):
            logger.log(level, "%s", line)
        if run.failures:
            raise NodesFailed(run.failures)


class SequentialRunner(KeepsGoing, kedro_runner.SequentialRunner):
    """Runs one node after the other; where there are many pages, a process helps to draw them."""

    def schedule(
        self, pipeline: Pipeline, catalog: CatalogProtocol, task: MakeTask, release: Release
    ) -> None:
        pages = [
            node
            for node in pipeline.nodes
            if any(isinstance(catalog.get(name), PageDataset) for name in node.outputs)
        ]
        makers = sorted({node.func.__module__ for node in pages})
        is_worth_it = len(pages) > FEW_PAGES and can_start() and _cores(catalog) > 1
        with drawn_beside(makers) if is_worth_it else nullcontext():
            super().schedule(pipeline, catalog, task, release)


def _cores(catalog: CatalogProtocol) -> int:
    # Kedro knows its type only where a node of the run takes it.
    return Compute.model_validate(catalog.load("params:compute")).cores


class ThreadRunner(KeepsGoing, kedro_runner.ThreadRunner):
    """Runs nodes in threads, whose trainings end with an interrupted run.

    Kedro's would go on where the process does, as that of a notebook.
    """

    def executor(self, workers: int) -> Executor:
        _import_nodes()
        for name in IMPORTED_LATE:
            import_module(name)
        self.stop = threading.Event()
        return futures.ThreadPoolExecutor(workers, initializer=heed, initargs=(self.stop.is_set,))

    def abandon(self, executor: Executor) -> None:
        self.stop.set()
        super().abandon(executor)


class ParallelRunner(KeepsGoing, kedro_runner.ParallelRunner):
    """Runs nodes in processes, which end when the run is killed.

    Kedro's would continue their trainings beside those of the next run, and then wait for ever.
    """

    apart = True

    def __init__(self, max_workers: int | None = None, is_async: bool = False) -> None:
        super().__init__(max_workers, is_async)
        if self._context().get_start_method() == "fork":
            _import_nodes()  # once, for all processes to come
        self.restart_manager(_begin_manager)

    def _context(self) -> BaseContext:
        return get_context(os.environ.get("KEDRO_MP_CONTEXT"))

    def executor(self, workers: int) -> Executor:
        context = self._context()
        return futures.ProcessPoolExecutor(workers, context, initializer=_begin_worker)


def _begin_manager() -> None:
    """Import what nodes hand on, before there is a second thread.

    The process that shares memory has a thread for each worker. One that was spawned has imported
    nothing yet, and threads that import a package at the same time wait for each other for ever.
    """
    import_module("dask.array")
    _import_nodes()
    end_with_the_run()


def _import_nodes() -> None:
    """Import what nodes import when they run, such as torch and matplotlib."""
    package = import_module(PIPELINES)
    for module in walk_packages(package.__path__, f"{PIPELINES}."):
        import_module(module.name)


def _begin_worker() -> None:
    make_logs_inert()
    begin_process()
