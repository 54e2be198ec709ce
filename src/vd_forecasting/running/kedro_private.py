"""The only module that touches private parts of Kedro 1.7: an upgrade has to look here alone."""

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kedro import runner as kedro_runner
from kedro.config import OmegaConfigLoader
from kedro.framework import project
from kedro.framework.context import KedroContext
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner.parallel_runner import ParallelRunnerManager
from kedro.runner.task import Task
from kedro_datasets._typing import ImagePreview

__all__ = ["ImagePreview"]

create_hook_manager = _create_hook_manager
"""Makes a manager of hooks that has none."""


def environment_folder(loader: OmegaConfigLoader, environment: str) -> str:
    """The folder of an environment, which may lie in an archive or in an object store."""
    folder: str = loader._get_conf_env_path(environment)
    return folder


def validate_only(context: KedroContext, pipelines: list[str]) -> None:
    """Check only the parameters that these pipelines read, as a run of them does."""
    context._pipelines_to_validate = pipelines


def configure_worker(package: str) -> None:
    """Let a spawned process know the project.

    Not by ``configure_project``: Kedro would call it again with every node, and at the second call
    makes the logging configuration a part of itself.
    """
    if project.PACKAGE_NAME is None:
        project.settings.configure(f"{package}.settings")
        project.pipelines.configure(f"{package}.pipeline_registry")


def wiring(node: Node) -> list[Any]:
    """Names of a node's inputs and outputs, in the form in which the pipeline gives them."""
    return [node._inputs, node._outputs]


# --- datasets -------------------------------------------------------------------------------------


def catalog_entry(dataset: AbstractDataset[Any, Any]) -> dict[str, Any]:
    """The arguments a dataset was made with."""
    entry: dict[str, Any] = dataset._init_config()
    return entry


def local_file(dataset: Any) -> Path | None:
    """The file of a dataset; None if it is kept in memory or on another machine."""
    path = getattr(dataset, "_filepath", None) or getattr(dataset, "filepath", None)
    return None if path is None or not is_local(dataset) else Path(path)


def is_local(dataset: Any) -> bool:
    """Whether a dataset of kedro-datasets is written to this machine's own file system."""
    return getattr(dataset, "_protocol", "file") == "file"


def save_path(dataset: Any) -> Path:
    """The file that a dataset of kedro-datasets saves to, its version included."""
    return Path(dataset._get_save_path())


def save_unwrapped(save: Any, data: Any, path: Path | None = None) -> None:
    """Save without the wrapper that Kedro puts around ``save``.

    Args:
        save: the bound method of a dataset of kedro-datasets.
        data: what to save.
        path: where to; None for the dataset's own file.
    """
    dataset = save.__self__
    if path is not None:  # a copy, because threads may save or load this very dataset meanwhile
        dataset = dataset._copy(_filepath=PurePosixPath(path), _version=None)
    save.__wrapped__(dataset, data)


# --- runners --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run of a pipeline, and what its runner does for every node."""

    runner: "Runner"
    pipeline: Pipeline
    catalog: CatalogProtocol
    hook_manager: Any
    run_id: str | None

    def as_kedro_does(self) -> None:
        """Run all nodes, up to the first that fails."""
        super(Runner, self.runner)._run(self.pipeline, self.catalog, self.hook_manager, self.run_id)

    def prepare(self) -> int:
        """Do what comes before the first node. Returns the number of workers."""
        self.runner._validate_catalog(self.catalog)
        self.runner._validate_nodes(self.pipeline.nodes)
        self.runner._set_manager_datasets(self.catalog)
        workers: int = self.runner._get_required_workers_count(self.pipeline)
        return workers

    def task(self, node: Node, executor: Executor) -> Task:
        """What runs a node; hooks cannot be sent to another process."""
        apart = isinstance(executor, ProcessPoolExecutor)
        hooks = None if apart else self.hook_manager
        return Task(
            node, self.catalog, self.runner._is_async, hooks, self.run_id, parallel=apart
        )  # fmt: skip

    def release(self, node: Node, readers: Counter[str]) -> None:
        """Drop from memory what nobody reads after this node."""
        self.runner._release_datasets(node, self.catalog, readers, self.pipeline)


class Runner(kedro_runner.AbstractRunner):
    """Lets a runner of Kedro schedule nodes (``schedule``) and make workers in its own way."""

    def schedule(self, run: Run) -> None:
        """Run the nodes."""
        run.as_kedro_does()

    def executor(self, workers: int) -> Executor | None:
        """Makes the workers; None runs every node in this thread."""
        made: Executor | None = super()._get_executor(workers)
        return made

    @property
    def _logger(self) -> logging.Logger:
        # Kedro's messages go where conf/logging.yml expects them, not by the name of this module.
        return logging.getLogger(kedro_runner.__name__)

    def _get_executor(self, max_workers: int) -> Executor | None:
        return self.executor(max_workers)

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: Any = None,
        run_id: str | None = None,
    ) -> None:
        self.schedule(Run(self, pipeline, catalog, hook_manager, run_id))


def restart_manager(runner: kedro_runner.ParallelRunner, initializer: Callable[[], None]) -> None:
    """Start the process that shares memory among workers anew, with ``initializer`` run in it."""
    runner._manager.shutdown()
    runner._manager = ParallelRunnerManager()
    runner._manager.start(initializer)
