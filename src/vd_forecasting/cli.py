"""``kedro run`` with what Kedro 1.7 lacks.

- ``--namespace`` is an alias of ``--namespaces``, and it also runs the nodes before the namespace
  whose outputs are not there yet.
- ``--runner ParallelRunner`` shares the cores out among its workers.
- What went wrong is told in one line; with ``vd_forecasting: {level: DEBUG}`` in conf/logging.yml
  the traceback goes before it.
"""

import copy
import logging
import os
import re
import warnings
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.validation import DataValidationError, ParameterValidationError

from vd_forecasting.parameters import EXPERIMENTS

logger = logging.getLogger(__name__)

# `kedro viz` prints this about a part of FastAPI that kedro-viz 12.5 still uses.
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")

USER_ERRORS = (
    ValueError,
    ImportError,
    OSError,
    DatasetError,
    DataValidationError,
    ParameterValidationError,
)


@click.group(name="vd_forecasting")
def cli() -> None:
    """The project's own commands."""


def _options() -> list[click.Parameter]:
    options = [copy.copy(option) for option in kedro_run.params]
    for option in options:
        if option.name == "namespaces":
            option.opts = [*option.opts, "--namespace"]
    return options


@cli.command(name="run", params=_options(), help=kedro_run.help)
def run(**options: Any) -> Any:
    """Run a pipeline."""
    if options["pipeline"] and not options["pipelines"]:
        # Kedro's own --pipeline warns on every run that it will be renamed one day.
        options["pipelines"], options["pipeline"] = [options["pipeline"]], None
    try:
        if options["runner"] and options["runner"].endswith("ParallelRunner"):
            share_cores(options["runner_params"], options["params"])
        requested = options["pipelines"] or ["__default__"]
        known = all(name in pipelines for name in requested)  # of an unknown one, Kedro tells
        if options["namespaces"] and known and not options["node_names"]:
            options["node_names"] = nodes_for_namespaces(requested, options)
            options["namespaces"] = []
        return kedro_run.callback(**options)
    except USER_ERRORS as error:
        logger.debug("What led to the error:", exc_info=error)
        raise click.ClickException(in_one_line(error)) from error


def share_cores(runner_params: dict[str, Any], params: dict[str, Any]) -> None:
    """Give every worker as many torch threads as there are cores for it.

    Without this each worker would take all cores, and they would slow each other down many times.
    What the user gave stays as it is.

    Args:
        runner_params: gets ``max_workers``: the cores, but no more than there are experiments.
        params: gets ``compute.threads``: cores divided by workers.
    """
    cores = os.cpu_count() or 1
    workers = runner_params.setdefault("max_workers", min(cores, len(EXPERIMENTS)))
    params.setdefault("compute", {}).setdefault("threads", max(1, cores // int(workers)))


def nodes_for_namespaces(requested: list[str], options: dict[str, Any]) -> list[str]:
    """Names of the nodes in the namespaces and of those before them that have yet to run."""
    pipeline = sum((pipelines[name] for name in requested), Pipeline([]))
    with KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    ) as session:
        catalog = session.load_context().catalog
    wanted = pipeline.filter(node_namespaces=options["namespaces"])
    # What is given on the command line must not meet data of another file, or cleaned otherwise.
    fresh = {"vd_raw"} if {"vd_file", "cleaning"} & options["params"].keys() else set()
    needed = wanted + missing_before(pipeline, wanted, catalog, fresh)
    return sorted(node.name for node in needed.nodes)


def missing_before(
    pipeline: Pipeline, wanted: Pipeline, catalog: CatalogProtocol, changed: set[str]
) -> Pipeline:
    """The nodes upstream of ``wanted`` without which it has not all of its inputs.

    Args:
        pipeline: all nodes there are.
        wanted: the nodes to run in any case.
        catalog: tells which datasets are there.
        changed: free inputs that are new, so that what depends on them is made again.
    """
    upstream = Pipeline([])
    missing = wanted.inputs() & pipeline.all_outputs()
    while missing:
        name = missing.pop()
        makers = pipeline.only_nodes_with_outputs(name)
        stale = changed & pipeline.to_outputs(name).inputs()
        if (catalog.exists(name) and not stale) or set(makers.nodes) <= set(upstream.nodes):
            continue
        upstream += makers
        missing |= makers.inputs() & pipeline.all_outputs()
    return upstream


def in_one_line(error: BaseException) -> str:
    """The message of an error as one line, without Kedro's words around ours."""
    if isinstance(error, ParameterValidationError):
        return _parameter_problems(str(error))
    if isinstance(error, DataValidationError):
        return f"{error.dataset_name}: {error.message}"
    if isinstance(error, DatasetError) and isinstance(error.__cause__, DatasetError | OSError):
        error = error.__cause__
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _parameter_problems(message: str) -> str:
    """From pydantic's report, three lines a problem, to ``block.key: what is wrong; ...``."""
    block, key, problems = "", "", []
    for line in message.splitlines():
        indent = len(line) - len(line.lstrip())
        if found := re.match(r"- Parameter '(.+?)'", line):
            block, key = found[1], ""
        elif indent == 0:
            key = f".{line}"
        elif indent == 2:
            what, _, detail = line.strip().partition(" [type=")
            value = re.search(r"input_value=(.*), input_type=", detail)
            what = what.removeprefix("Value error, ")
            if what == "Extra inputs are not permitted":
                what = "no such parameter; check its spelling"
            elif value and key:
                what = f"{what} (found {value[1]})"
            problems.append(f"{block}{key}: {what}")
    return "; ".join(problems) or " ".join(message.split())
