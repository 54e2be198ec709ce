"""The hook that logs a run once it has ended, if ``tracking.mlflow_uri`` says where."""

import logging
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from vd_forecasting.parameters import Tracking
from vd_forecasting.provenance import PACKAGE
from vd_forecasting.running.failure import in_one_line
from vd_forecasting.running.options import typed_command, without_password
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.vocabulary import EVERY_EXPERIMENT
from vd_forecasting.wording import listed

logger = logging.getLogger(__name__)


class LoggedRuns:
    """Logs a run with its experiments to MLflow; what goes wrong in that costs a line.

    In the process of the run, after the last node, while other runs keep off its files.
    """

    def __init__(self) -> None:
        self._started = time.time()

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise an ImportError, in one line, if MLflow is asked for and not installed."""
        self._started = time.time()
        if _uri(pipeline, catalog) and find_spec("mlflow") is None:
            raise ImportError(
                f'tracking.mlflow_uri needs the package mlflow: pip install "{PACKAGE}[mlflow]"'
            )

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._log(run_params, pipeline, catalog, None)

    @hook_impl
    def on_pipeline_error(
        self,
        error: Exception,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
    ) -> None:
        self._log(run_params, pipeline, catalog, error)

    def _log(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        error: Exception | None,
    ) -> None:
        uri = _uri(pipeline, catalog)
        if not uri:
            return
        from vd_forecasting.tracking.entries import Ended  # noqa: PLC0415  (imports xarray)
        from vd_forecasting.tracking.mlflow_store import Store  # noqa: PLC0415

        try:
            ended = Ended(pipeline, fingerprint.makers_of(pipelines.values()), catalog, error)
            tags = {"command": typed_command(), "env": str(run_params["env"])}
            run, experiments = ended.entries(_name(run_params, pipeline), tags)
            store = Store.of(uri, Path(run_params["project_path"]))
            number = store.write(run, experiments, self._started)
        except Exception as problem:
            logger.debug("The error was raised here:", exc_info=problem)
            logger.warning(
                "Not logged to MLflow: %s; the results are in their files, and kedro run "
                "--pipeline reporting logs what is not there yet",
                in_one_line(problem),
            )
        else:
            where = without_password(uri)
            if number is None:
                logger.info("MLflow has all of this already: %s", where)
            else:
                logger.info("Logged to MLflow as run %s: %s", number, where)


def _uri(pipeline: Pipeline, catalog: CatalogProtocol) -> str | None:
    """Where to log a run; None if nowhere, or if it has no experiments."""
    if not any(node.namespace in EVERY_EXPERIMENT for node in pipeline.nodes):
        return None
    return Tracking(**catalog.load("parameters").get("tracking", {})).mlflow_uri


def _name(run_params: Mapping[str, Any], pipeline: Pipeline) -> str:
    """The pipeline's name, and whether the run is a part of it."""
    names = run_params["pipeline_names"] or ["__default__"]
    whole = sum((pipelines[name] for name in names), Pipeline([]))
    name = listed("compare_all" if name == "__default__" else name for name in names)
    return name if len(pipeline.nodes) == len(whole.nodes) else f"part of {name}"
