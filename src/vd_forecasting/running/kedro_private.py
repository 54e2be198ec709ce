"""The only module that touches private parts of Kedro 1.7: an upgrade has to look here alone."""

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from itertools import chain
from multiprocessing import parent_process
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, cast

import fsspec
from kedro import runner as kedro_runner
from kedro.config import OmegaConfigLoader
from kedro.framework import project
from kedro.framework.context import KedroContext
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.io.core import VersionNotFoundError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner.parallel_runner import ParallelRunnerManager
from kedro.runner.task import Task
from kedro_datasets._typing import ImagePreview, TablePreview

from vd_forecasting.datasets.places import Place, RemoteFile

__all__ = ["ImagePreview", "TablePreview"]

MakeTask = Callable[[Node, Executor], Task]
Release = Callable[[Node], None]


def environment_folder(loader: OmegaConfigLoader, environment: str) -> str:
    """The folder of an environment, which may lie in an archive or in an object store."""
    return str(loader._get_conf_env_path(environment))


def validate_only(context: KedroContext, pipelines: list[str]) -> None:
    """Check only the parameters that these pipelines read, as a run of them does."""
    context._pipelines_to_validate = pipelines


def configure_spawned_worker() -> None:
    """Let this process know the project, if it is a worker that was spawned.

    Not by ``configure_project``: Kedro would call it again with every node, and at the second call
    makes the logging configuration a part of itself.
    """
    if parent_process() is not None and project.PACKAGE_NAME is None:
        configure_worker()


def configure_worker() -> None:
    """Let this process know the project's settings and pipelines."""
    package = __name__.split(".")[0]
    project.settings.configure(f"{package}.settings")
    project.pipelines.configure(f"{package}.pipeline_registry")


def wiring(node: Node) -> list[Any]:
    """Names of a node's inputs and outputs, in the form in which the pipeline gives them."""
    return [node._inputs, node._outputs]


# --- datasets -------------------------------------------------------------------------------------


def catalog_entry(dataset: AbstractDataset[Any, Any]) -> dict[str, Any]:
    """The arguments a dataset was made with, without the version, which is that of the run."""
    entry = dict(dataset._init_config())
    if "kwargs" in entry:  # where a dataset inherits its __init__
        kwargs = entry["kwargs"].items()
        entry["kwargs"] = {name: value for name, value in kwargs if name != "version"}
    return entry


def file_of(dataset: Any) -> Place | None:
    """The file of a dataset, of its newest version; None if it is kept in memory."""
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "filepath", None)
    if path is None or isinstance(path, RemoteFile):
        return path
    if getattr(dataset, "_version", None):
        with suppress(VersionNotFoundError):  # none was saved yet
            path = dataset._copy()._get_load_path()  # a copy, as it keeps what it finds
    return _as_place(dataset, path)


def save_path(dataset: Any) -> Place:
    """The file that a dataset of kedro-datasets saves to, its version included."""
    return _as_place(dataset, dataset._get_save_path())


def _as_place(dataset: Any, path: PurePath) -> Place:
    protocol = getattr(dataset, "_protocol", "file")
    return Path(path) if protocol == "file" else RemoteFile(f"{protocol}://{path}")


_OF_STORE = {"_exists_function": "exists", "_glob_function": "glob"}


def picklable_state(dataset: Any) -> dict[str, Any]:
    """What a dataset of kedro-datasets pickles as: without methods of its store, some of which
    cannot be pickled by themselves."""
    return {name: value for name, value in vars(dataset).items() if name not in _OF_STORE}


def restore_state(dataset: Any, state: dict[str, Any]) -> None:
    """Make a dataset of what :func:`picklable_state` returned."""
    vars(dataset).update(state)
    for name, method in _OF_STORE.items():
        setattr(dataset, name, getattr(dataset._fs, method))


def loading_with(dataset: Any, **settings: Any) -> Any:
    """A copy of a dataset of kedro-datasets that loads with these arguments beside its own."""
    return dataset._copy(_load_args=dataset._load_args | settings)


def save_unwrapped(save: Any, data: Any, path: Path) -> None:
    """Save to a path of this machine, without the wrapper that Kedro puts around ``save``, the
    bound method of a dataset of kedro-datasets."""
    here = {"_protocol": "file", "_fs": fsspec.filesystem("file")}
    # A copy, because threads may save or load this very dataset meanwhile.
    copy = save.__self__._copy(_filepath=PurePosixPath(path), _version=None, **here)
    save.__wrapped__(copy, data)


# --- runners --------------------------------------------------------------------------------------


class Runner(kedro_runner.AbstractRunner):
    """Lets a runner of Kedro schedule nodes in its own way, in ``schedule``."""

    apart = False
    """Whether nodes run in processes of their own, where hooks cannot be sent to."""
    queues = False
    """Whether nodes beyond the number of workers can be handed over."""
    _manager: ParallelRunnerManager

    def schedule(
        self, pipeline: Pipeline, catalog: CatalogProtocol, task: MakeTask, release: Release
    ) -> None:
        """Run the nodes.

        ``task`` makes what an executor runs for a node, ``release`` drops what is not read after.
        """
        raise NotImplementedError

    def workers(self, pipeline: Pipeline, *, divided: bool) -> int:
        """The number of nodes to run at the same time; all workers there are, if nodes can be
        ``divided`` among them."""
        most = getattr(self, "_max_workers", None)
        return int((most if divided else None) or self._get_required_workers_count(pipeline))

    def executor(self, workers: int) -> Executor | None:
        """What runs nodes; None is this thread."""
        return cast("Executor | None", self._get_executor(workers))

    def abandon(self, executor: Executor) -> None:
        """End an executor without waiting for what it runs; its processes are killed."""
        executor.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(executor, "_processes", None) or {}).values()):
            process.kill()

    def restart_manager(self, initializer: Callable[[], None]) -> None:
        """Start the process that shares memory anew, with ``initializer`` run in it."""
        self._manager.shutdown()
        self._manager = ParallelRunnerManager()
        self._manager.start(initializer)

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
        self._validate_catalog(catalog)
        self._validate_nodes(pipeline.nodes)
        self._set_manager_datasets(catalog)

        def task(node: Node, executor: Executor) -> Task:
            hooks = None if self.apart else hook_manager
            return Task(node, catalog, self._is_async, hooks, run_id, parallel=self.apart)

        readers = Counter(chain.from_iterable(node.inputs for node in pipeline.nodes))

        def release(node: Node) -> None:
            self._release_datasets(node, catalog, readers, pipeline)

        self.schedule(pipeline, catalog, task, release)
