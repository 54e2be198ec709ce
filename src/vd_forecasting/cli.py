"""``kedro run`` with what Kedro 1.7 lacks.

- ``--only-stale-outputs`` runs what was made with other code, parameters or data than there are
  now; with ``--dry-run`` it only tells why. ``kedro verify`` looks for outputs that were altered.
- ``--namespace`` is an alias of ``--namespaces``, and it also runs the nodes before the namespace
  whose outputs are not there yet.
- A node that fails stops only what needs it (:mod:`.runners`).
- ``--runner ParallelRunner`` shares the cores out among its workers.
- What went wrong is told in one line; with ``vd_forecasting: {level: DEBUG}`` in conf/logging.yml
  the traceback goes before it.
"""

import copy
import logging
import os
import warnings
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from vd_forecasting.running import runners
from vd_forecasting.running.kedro_private import validate_only
from vd_forecasting.running.messages import USER_ERRORS, in_one_line
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.running.staleness.fingerprint import makers_of
from vd_forecasting.running.staleness.plan import make_plan, problems, told
from vd_forecasting.vocabulary import EXPERIMENTS

logger = logging.getLogger(__name__)

# `kedro viz` prints this about a part of FastAPI that kedro-viz 12.5 still uses.
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")

ONLY_STALE_OUTPUTS_HELP = """Run only nodes whose outputs are missing, were altered, or were made
with other code, parameters or data than there are now, and what depends on them."""
DRY_RUN_HELP = """With --only-stale-outputs: only print what would run, and why."""
VERIFY_HELP = """Read every output again and report what was altered since it was made, or was made
with other code, parameters or data than there are now. The exit code is 1 if there is any."""
VERIFY_OPTIONS = ("env", "conf_source", "params", "pipeline", "pipelines", "namespaces", "tags")


@click.group(name="vd_forecasting")
def cli() -> None:
    """The project's own commands."""


def _options() -> list[click.Parameter]:
    options = [copy.copy(option) for option in kedro_run.params]
    for option in options:
        if option.name == "namespaces":
            option.opts = [*option.opts, "--namespace"]
    return [
        *options,
        click.Option(["--only-stale-outputs"], is_flag=True, help=ONLY_STALE_OUTPUTS_HELP),
        click.Option(["--dry-run"], is_flag=True, help=DRY_RUN_HELP),
    ]


@cli.command(name="run", params=_options(), help=kedro_run.help)
def run(**options: Any) -> Any:
    """Run a pipeline."""
    only_stale, dry = options.pop("only_stale_outputs"), options.pop("dry_run")
    if dry and not only_stale:
        raise click.UsageError("--dry-run tells what --only-stale-outputs would run; give both")
    if only_stale and options["only_missing_outputs"]:
        raise click.UsageError("--only-stale-outputs runs what is missing too; give it alone")
    _settle_pipelines(options)
    try:
        if options["runner"] and options["runner"].endswith("ParallelRunner"):
            share_cores(options["runner_params"], options["params"])
        known = all(name in pipelines for name in options["pipelines"])  # of others, Kedro tells
        options["runner"] = own_runner(options["runner"])
        if only_stale and known:
            return _run_stale(options, dry=dry)
        if options["namespaces"] and known and not options["node_names"]:
            options["node_names"] = nodes_for_namespaces(options["pipelines"], options)
            options["namespaces"] = []
        return kedro_run.callback(**options)
    except NodesFailed as failed:
        # It says "Error: " before the first of them.
        raise click.ClickException("\nError: ".join(map(str, failed.failures))) from failed
    except USER_ERRORS as error:
        logger.debug("What led to the error:", exc_info=error)
        raise click.ClickException(in_one_line(error)) from error


def _run_stale(options: dict[str, Any], *, dry: bool) -> Any:
    # Its dependencies take seconds to import, and only a run needs them.
    from vd_forecasting.running.hooks import clear_states  # noqa: PLC0415

    selected, catalog = select(options)
    plan = make_plan(selected, makers_of(pipelines.values()), catalog)
    for line in told(plan):
        click.echo(line)
    if dry:
        return None
    chosen: dict[str, Any] = {option: [] for option in SELECTIONS} | {"node_names": plan.nodes}
    result = kedro_run.callback(**{**options, **chosen}) if plan.nodes else None
    # What an earlier run trained before it was killed; of those that ran now, a hook does it.
    clear_states((node for node in selected.nodes if node.name not in plan.nodes), catalog)
    return result


@cli.command(
    name="verify",
    params=[option for option in _options() if option.name in VERIFY_OPTIONS],
    help=VERIFY_HELP,
)
def verify(**options: Any) -> None:
    """Compare outputs with their fingerprints."""
    _settle_pipelines(options)
    try:
        if unknown := [name for name in options["pipelines"] if name not in pipelines]:
            raise ValueError(f"there is no pipeline named {unknown[0]!r}")
        selected, catalog = select(options)
        found = problems(selected, makers_of(pipelines.values()), catalog)
    except USER_ERRORS as error:
        logger.debug("What led to the error:", exc_info=error)
        raise click.ClickException(in_one_line(error)) from error
    for line in found or ["Every output is as it was made."]:
        click.echo(line)
    if found:
        raise click.exceptions.Exit(1)


def _settle_pipelines(options: dict[str, Any]) -> None:
    """Turn ``--pipeline`` and the default into ``--pipelines``."""
    if options["pipeline"] and not options["pipelines"]:
        # Kedro's own --pipeline warns on every run that it will be renamed one day.
        options["pipelines"], options["pipeline"] = [options["pipeline"]], None
    options["pipelines"] = options["pipelines"] or ["__default__"]


RUNNERS = ("SequentialRunner", "ThreadRunner", "ParallelRunner")

SELECTIONS = (
    "tags",
    "from_nodes",
    "to_nodes",
    "node_names",
    "from_inputs",
    "to_outputs",
    "namespaces",
)


def select(options: dict[str, Any]) -> tuple[Pipeline, CatalogProtocol]:
    """The nodes that the options select, and the catalog they are run with.

    What lies before a namespace is selected with it, since any of it may be stale.

    Raises:
        ValueError: the options select no node, or one that is not there.
    """
    requested = options["pipelines"]
    pipeline = sum((pipelines[name] for name in requested), Pipeline([]))
    chosen = {name: options.get(name) or None for name in SELECTIONS}
    chosen["node_namespaces"] = chosen.pop("namespaces")
    selected = pipeline.filter(**chosen)
    if chosen["node_namespaces"]:
        selected = pipeline.to_nodes(*(node.name for node in selected.nodes))
    with KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    ) as session:
        context = session.load_context()
        if "__default__" not in requested:  # as the run will do: check only what it reads
            validate_only(context, requested)
        return selected, context.catalog


def own_runner(runner: str | None) -> str:
    """The runner of this project in place of Kedro's; one of the user's own stays."""
    name = (runner or "SequentialRunner").removeprefix("kedro.runner.")
    return f"{runners.__name__}.{name}" if name in RUNNERS else name


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
