"""Kedro hooks: parameter checks, logs, fingerprints, clean-up."""

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import ValidationError

from vd_forecasting.datasets import TrainingStateDataset
from vd_forecasting.datasets.atomic import write_problem
from vd_forecasting.datasets.places import Place
from vd_forecasting.parameters import Evaluation, Tracking, XLSTMModel
from vd_forecasting.provenance import PACKAGE, this_package
from vd_forecasting.running import claims, kernels_ahead
from vd_forecasting.running.config_loader import check_folder
from vd_forecasting.running.estimate import (
    asked_refits,
    count_refits,
    count_trainings,
    estimate_searches,
    is_training,
    plan_refits,
    plan_trainings,
    searched_experiments,
)
from vd_forecasting.running.failure import (
    NEW_DATA,
    TAKES_FAILURES,
    USER_ERRORS,
    FailedDataset,
    in_one_line,
)
from vd_forecasting.running.inert_logs import make_logs_inert
from vd_forecasting.running.kedro_private import file_of
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.inputs import (
    find_untrained,
    find_unusable,
    forget_failure,
)
from vd_forecasting.running.stop import end_if_stopped
from vd_forecasting.running.tuned_settings import check_searched
from vd_forecasting.vocabulary import EVERY_EXPERIMENT
from vd_forecasting.wording import nearest

logger = logging.getLogger(__name__)

NOT_IN_PARAMETER_FILES = {
    "data_folder": "write it into globals.yml",
    "vd_file": "write it into globals.yml",
    "num_vds": "write it into globals.yml",
    "tuned": "write it into globals.yml",
    "ingested_file": "write it into catalog.yml",
    "source_file": "write it into catalog.yml",
    "source_start": "write it into catalog.yml",
}
"""What ``--params`` sets although no node reads it: the configuration refers to it."""


class KnownParameters:
    """Refuses a parameter that nothing reads; what is inside a block, its model checks."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Raise a ValueError of one line if a block is unknown or has no effect."""
        check_folder(context.project_path)
        inputs = {name for pipeline in pipelines.values() for name in pipeline.inputs()}
        read = {name.removeprefix("params:") for name in filter(fingerprint.is_parameter, inputs)}
        # Trainings read one key of it, so that the others do not make them stale.
        read.discard("evaluation")
        read |= {f"evaluation.{key}" for key in Evaluation.model_fields}
        read |= {f"tracking.{key}" for key in Tracking.model_fields}  # by hooks
        loader = context.config_loader
        given = loader["parameters"]
        in_files = given.keys() - loader.runtime_params.keys()
        for name in in_files & NOT_IN_PARAMETER_FILES.keys():
            raise ValueError(
                f"parameter {name} has no effect in a parameters file; "
                f"{NOT_IN_PARAMETER_FILES[name]}, or give it with --params"
            )
        # "_" begins the YAML anchors of our own files.
        blocks = {name: given[name] for name in given if not name.startswith("_")}
        _refuse_unknown(blocks, read | NOT_IN_PARAMETER_FILES.keys())
        _check_tracking(blocks.get("tracking", {}))

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise an error of one line if a search lacks its package, a training the settings that
        it is to use, or either its device."""
        searched = searched_experiments(pipeline.nodes)
        if searched and find_spec("optuna") is None:
            raise ImportError(f'tune needs the package optuna: pip install "{PACKAGE}[tune]"')
        trained = [node.namespace for node in pipeline.nodes if is_training(node)]
        for name in filter(None, trained):
            check_searched(name, catalog.load(f"params:{name}.tuned"))
        if trained or searched or asked_refits(pipeline.nodes, catalog):
            accelerator = catalog.load("params:compute").accelerator
            if accelerator not in ("auto", "cpu"):  # which are always there
                from vd_forecasting.models.device import (  # noqa: PLC0415  (imports torch)
                    find_device,
                )

                find_device(accelerator)


def _refuse_unknown(given: Mapping[str, Any], known: set[str], above: str = "") -> None:
    """Refuse what is not in ``known``, a set of dotted names."""
    siblings = {name.removeprefix(above).split(".")[0] for name in known if name.startswith(above)}
    for key, value in given.items():
        name = f"{above}{key}"
        if key not in siblings:
            raise ValueError(
                f"parameter {name} is not known; did you mean {above}{nearest(key, siblings)}?"
            )
        if name in known:
            continue
        if not isinstance(value, Mapping):
            raise ValueError(f"parameter {name} is {value!r}; it must be a block of parameters")
        _refuse_unknown(value, known, f"{name}.")


def _check_tracking(given: Mapping[str, Any]) -> None:
    """What Kedro does for the parameters of nodes."""
    try:
        Tracking.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key, value = ".".join(map(str, first["loc"])), first["input"]
        raise ValueError(f"tracking.{key}: {first['msg']} (found {value!r})") from error


class SameData:
    """Keeps a run from reading what was made of another detector file, or by other rules of
    cleaning, and reports from what is missing or failed in an earlier run."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Put failures in the place of what a run can do without, or raise a ValueError, in one
        line with the command that makes it anew."""
        makers = fingerprint.makers_of(pipelines.values())
        own_runner = f"{PACKAGE}.running." in str(run_params.get("runner"))
        takers = pipeline.only_nodes_with_tags(TAKES_FAILURES).nodes
        takes_failures = own_runner and bool(takers)
        of_now = pipeline - pipeline.only_nodes_with_tags(NEW_DATA)
        found = find_unusable(of_now, makers, catalog, run_params, takes_failures)
        untrained = find_untrained(pipeline, makers, catalog, run_params)
        if untrained and not own_runner:
            raise ValueError(str(next(iter(untrained.values()))))
        found |= untrained
        for name, failure in found.items():
            catalog[name] = FailedDataset(failure, file_of(catalog.get(name)))


class ClaimedFiles:
    """Keeps runs at the same time from writing what another one uses."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise a ValueError, in one line, if another run is in the way."""
        path = file_of(catalog.get(f"claim_of_{token_hex(8)}"))
        if isinstance(path, Path):
            reads, writes = (
                {file for name in names for file in _files_in_use(catalog, name)}
                for names in (pipeline.inputs(), pipeline.all_outputs())
            )
            claims.hold(path, reads, writes)

    @hook_impl
    def before_dataset_saved(self) -> None:
        """Write nothing in a thread of a run that was interrupted: the files are free."""
        end_if_stopped()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        claims.give_up()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        claims.give_up()


def _files_in_use(catalog: CatalogProtocol, name: str) -> Iterable[Place]:
    """Files of a dataset; of states, which another run may not touch either, their folder."""
    dataset = catalog.get(name)
    if isinstance(dataset, TrainingStateDataset):
        return [dataset.folder]
    return fingerprint.files_of(catalog, name).values()


class Progress:
    """Logs what a run trains, and every node as it starts."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if planned := plan_trainings(pipeline.nodes, catalog):
            logger.info("%s", count_trainings(planned))
        if refits := plan_refits(pipeline.nodes, catalog):
            logger.info("%s", count_refits(refits))
        if searched := searched_experiments(pipeline.nodes):
            budget = catalog.load("params:tuning").budget
            logger.info("%s", estimate_searches(searched, budget))

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        logger.info("▸ %s", node.name)


class KernelsAhead:
    """Has the kernels of xLSTMs compiled beside what runs before they are trained."""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        trained = [node.namespace for node in pipeline.nodes if is_training(node)]
        models = {name: catalog.load(f"params:{name}.model") for name in trained if name}
        searched = searched_experiments(pipeline.nodes)
        models |= {name: catalog.load(f"params:{name}.model") for name in searched}
        fused = {
            name: model
            for name, model in models.items()
            if isinstance(model, XLSTMModel) and model.is_fused
        }
        widths = [model.embedding_dim for model in fused.values()]
        for name in filter(fused.__contains__, searched):
            choices = catalog.load(f"params:{name}.space").searched.get("model.embedding_dim", ())
            widths += choices
        kernels_ahead.begin(widths)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        kernels_ahead.end()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        kernels_ahead.end()


class ExperimentLogs:
    """Writes what an experiment logs also to ``training.log``, beside the state of its training.

    Write errors are swallowed: logging must not hide the original error, and Python would print a
    traceback for every line that cannot be written.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, logging.FileHandler] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Close the logs that a run left open which was interrupted in this process."""
        for node in pipeline.nodes:
            self.after_node_run(node)

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Open the log of the node's experiment; raises DatasetError if it cannot be written."""
        if node.namespace not in EVERY_EXPERIMENT:
            return
        state = catalog.get(f"{node.namespace}.training_state")
        if not isinstance(state, TrainingStateDataset):
            return
        path = state.folder.with_name("training.log")
        _refuse_foreign(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = self._handlers[node.name] = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            problem = write_problem(error) or str(error)
            raise DatasetError(f"{path}: cannot be written, {problem}") from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        thread = threading.get_ident()  # ThreadRunner runs a node in each
        handler.addFilter(lambda record: record.thread == thread)
        handler.handleError = lambda record: None  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Close the log."""
        if handler := self._handlers.pop(node.name, None):
            logging.getLogger().removeHandler(handler)
            with suppress(OSError):
                handler.close()

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Log the error in the experiment's log alone, as the command line prints it; close it."""
        if handler := self._handlers.get(node.name):
            # Not a user error: log the traceback.
            expected = isinstance(error, USER_ERRORS)
            trace = None if expected else (type(error), error, error.__traceback__)
            line = in_one_line(error)
            record = logger.makeRecord(logger.name, logging.ERROR, "", 0, line, (), trace)
            handler.handle(record)
        self.after_node_run(node)


def _refuse_foreign(path: Path) -> None:
    """Refuse to write through a link of somebody else, and to wait for a reader."""
    own = os.getuid() if hasattr(os, "getuid") else 0
    if path.is_symlink() and path.lstat().st_uid != own:
        raise DatasetError(f"{path}: a link of another user, remove it")
    if path.is_fifo():
        raise DatasetError(f"{path}: a pipe, which nobody may ever read; remove it")


class InertLogs:
    """Keeps every message on its line; worker processes do so from their beginning."""

    @hook_impl
    def after_context_created(self) -> None:
        make_logs_inert()


class Fingerprints:
    """Writes the fingerprint of every node that ran, as soon as its last output is saved.

    With ParallelRunner each worker process has a hook of its own, which knows only the nodes that
    the worker runs; so all it needs comes from the node, the catalog and the registry.
    """

    def __init__(self) -> None:
        self._started: dict[str, tuple[CatalogProtocol, fingerprint.Fingerprint, set[str]]] = {}

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Read the sources now: later edits are not what runs."""
        this_package()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        if fingerprint.output_files(node, catalog):
            makers = fingerprint.makers_of(pipelines.values())
            known = fingerprint.load_saved(catalog)
            taken = fingerprint.take_fingerprint(node, makers, catalog, known)
            self._started[node.name] = (catalog, taken, set(node.outputs))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        if node.name not in self._started:
            return
        catalog, taken, unsaved = self._started[node.name]
        unsaved.discard(dataset_name)
        if not unsaved:
            del self._started[node.name]
            makers = fingerprint.makers_of(pipelines.values())
            fingerprint.save_fingerprint(node, taken, makers, catalog)

    @hook_impl
    def after_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        forget_failure(node, catalog)  # saving may still fail, and is then a failure again

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        self._started.pop(node.name, None)


class FinishedTrainings:
    """Removes the states of trainings after a run that ended well.

    Not earlier: when a run that was killed or failed elsewhere is started again, finished trainings
    must not be repeated.
    """

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        clear_states(pipeline.nodes, catalog)


def clear_states(nodes: Iterable[Node], catalog: CatalogProtocol) -> None:
    """Remove the states that trainings among the nodes have saved, but for those to keep."""
    for name in {name for node in nodes for name in node.inputs}:
        dataset = catalog.get(name)
        if isinstance(dataset, TrainingStateDataset) and not dataset.keep:
            dataset.load().clear()
