"""``kedro run`` with what Kedro 1.7 lacks.

- ``--only-stale-outputs`` runs what was made with other code, parameters or data than there are
  now, and says why. ``kedro verify`` looks for outputs that were altered.
- ``--dry-run`` runs nothing: it says what would run, and estimates time, memory and disk.
- ``kedro runs`` lists past runs and compares two of them (:mod:`.running.history`).
- ``--namespace`` is an alias of ``--namespaces``, and it also runs the nodes before the namespace
  whose outputs are missing. Without a pipeline, a namespace is looked up in all of them.
- A node that fails stops only what needs it (:mod:`.running.runners`).
- ``--runner ParallelRunner`` shares the cores out among its workers, ``--runner DaskRunner`` those
  of each machine.
- Errors are one line; with ``vd_forecasting: {level: DEBUG}`` in conf/logging.yml the traceback
  comes before it.
"""

import builtins
import copy
import inspect
import io
import logging
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import yaml
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import configure_logging, configure_project, pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project, load_obj

from vd_forecasting.__main__ import LOGGING_ERRORS
from vd_forecasting.running import claims, cluster, kernels_ahead, runners
from vd_forecasting.running.estimate import (
    count_refits,
    count_trainings,
    estimate,
    estimate_refits,
    estimate_searches,
    grid_shape,
    plan_refits,
    plan_trainings,
    searched_experiments,
)
from vd_forecasting.running.failure import USER_ERRORS, in_one_line
from vd_forecasting.running.kedro_private import validate_only
from vd_forecasting.running.options import read_config, read_params
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.running.staleness.fingerprint import makers_of
from vd_forecasting.running.staleness.other_data import made_of_other_data
from vd_forecasting.running.staleness.plan import describe_plan, find_alterations, make_plan
from vd_forecasting.vocabulary import EXPERIMENTS, OF_ONE_EXPERIMENT
from vd_forecasting.wording import listed, nearest, plural, with_cause

if TYPE_CHECKING:
    from vd_forecasting.running.history.kept import KeptRun

logger = logging.getLogger(__name__)

# `kedro viz` prints this about a part of FastAPI that kedro-viz 12.5 still uses.
warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")

ONLY_STALE_OUTPUTS_HELP = """Run only nodes whose outputs are missing, were altered, or were made
with other code, parameters or data than there are now, and what depends on them."""
DRY_RUN_HELP = """Only print what would run, with estimated time, memory and disk; with
--only-stale-outputs, also why."""
VERIFY_HELP = """Read every output again and report what was altered since it was made, or was made
with other code, parameters or data than there are now. The exit code is 1 if there is any."""
CALLBACKS = {"params": read_params, "runner_params": read_params, "config": read_config}
"""Options that are read in another way than by Kedro."""
VERIFY_OPTIONS = ("env", "conf_source", "params", "pipeline", "pipelines", "namespaces", "tags")


INTERRUPTED = """Stopped. Type the same command again to resume: trainings continue after their last
finished epoch, and files are whole.""".replace("\n", " ")


@click.group(name="vd_forecasting")
def cli() -> None:
    """The project's own commands; ``run`` if none is named."""


def main() -> None:
    """Run the package without Kedro's command: ``python -m vd_forecasting --conf-source conf``."""
    # Kedro's telemetry would ask the project's .telemetry, which is not where this is run.
    os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
    configure_project(__package__)
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in {*cli.commands, "--help"}:
        arguments = ["run", *arguments]
    cli(arguments, prog_name=__package__)


def _options() -> list[click.Parameter]:
    options = [copy.copy(option) for option in kedro_run.params]
    for option in options:
        option.callback = CALLBACKS.get(str(option.name), option.callback)
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
    if options["only_missing_outputs"] and (only_stale or dry):
        raise click.UsageError(
            "--only-missing-outputs does not go with --only-stale-outputs, which runs what is "
            "missing too, nor with --dry-run; give it alone"
        )
    with _errors_in_one_line():
        _settle(options)
        options["runner"] = own_runner(options["runner"])
        check_runner_params(options["runner"], options["runner_params"])
        if not all(name in pipelines for name in options["pipelines"]):
            return kedro_run.callback(**options)  # Kedro names the unknown one
        share_cores(options)
        if only_stale:
            return _run_stale(options, dry=dry)
        if options["namespaces"] and not options["node_names"]:
            options |= {"node_names": nodes_for_namespaces(options), "namespaces": []}
        if dry:
            return _print_estimate(*select(options))
        return kedro_run.callback(**options)


def _run_stale(options: dict[str, Any], *, dry: bool) -> Any:
    # Its dependencies take seconds to import, and only a run needs them.
    from vd_forecasting.running.hooks import clear_states  # noqa: PLC0415

    selected, catalog = select(options)
    plan = make_plan(selected, makers_of(pipelines.values()), catalog)
    for line in describe_plan(plan):
        click.echo(line)
    if dry:
        return _print_estimate(selected.only_nodes(*plan.nodes), catalog) if plan.nodes else None
    options |= {option: [] for option in SELECTIONS} | {"namespaces": [], "node_names": plan.nodes}
    result = kedro_run.callback(**options) if plan.nodes else None
    # States that a run left that was killed after a training; a hook clears those of this run.
    clear_states((node for node in selected.nodes if node.name not in plan.nodes), catalog)
    return result


def _print_estimate(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Print what a run of these nodes would take."""
    spaces = Counter(node.namespace or "the rest" for node in pipeline.nodes)
    by_space = ", ".join(f"{space} {number}" for space, number in spaces.items())
    click.echo(f"{plural(len(pipeline.nodes), 'node')} would run: {by_space}")
    if planned := plan_trainings(pipeline.nodes, catalog):
        click.echo(count_trainings(planned))
        # Cleaned data that the run makes anew may have another length.
        shape = grid_shape(catalog, "vd_raw" if "vd_raw" in pipeline.inputs() else "vd_clean")
        for line in estimate(planned, shape, catalog):
            click.echo(line)
    if refits := plan_refits(pipeline.nodes, catalog):
        click.echo(count_refits(refits))
        click.echo(estimate_refits(refits, catalog))
    if searched := searched_experiments(pipeline.nodes):
        click.echo(estimate_searches(searched, catalog.load("params:tuning").budget))


@cli.command(
    name="verify",
    params=[option for option in _options() if option.name in VERIFY_OPTIONS],
    help=VERIFY_HELP,
)
def verify(**options: Any) -> None:
    """Compare outputs with their fingerprints."""
    with _errors_in_one_line():
        _settle(options)
        if unknown := [name for name in options["pipelines"] if name not in pipelines]:
            raise ValueError(f"there is no pipeline named {unknown[0]!r}")
        selected, catalog = select(options)
        found = find_alterations(selected, makers_of(pipelines.values()), catalog)
    for line in found or ["Every output is as it was made."]:
        click.echo(line)
    if found:
        raise click.exceptions.Exit(1)


@cli.group(name="runs")
def runs() -> None:
    """Past runs side by side: what changed, and by how much their errors differ."""


LIST_HELP = (
    """A line per run that is kept: when, how good, and what changed since the one before."""
)
DIFF_HELP = """How run B differs from run A in parameters, data, code and errors; both are numbers
that kedro runs list shows."""
NUMBERS = [click.Argument([name], metavar=name.upper()) for name in ("a", "b")]
RUNS_OPTIONS = [option for option in _options() if option.name in ("env", "conf_source", "params")]


@runs.command(name="list", params=RUNS_OPTIONS, help=LIST_HELP)
def runs_list(**options: Any) -> None:
    """Print the table of all runs."""
    with _errors_in_one_line():
        from vd_forecasting.running.history.listing import list_runs  # noqa: PLC0415

        kept, _ = _kept_runs(options)
    for line in list_runs(kept) if kept else ["No run is kept yet."]:
        click.echo(line)


@runs.command(name="diff", params=[*NUMBERS, *RUNS_OPTIONS], help=DIFF_HELP)
def runs_diff(a: str, b: str, **options: Any) -> None:
    """Print what differs between two runs."""
    with _errors_in_one_line():
        from vd_forecasting.running.history.comparison import compare_runs  # noqa: PLC0415

        kept, catalog = _kept_runs(options)
        known = {str(number): (number, run) for number, run in kept.items()}
        if unknown := [number for number in (a, b) if number not in known]:
            raise ValueError(f"there is no run {unknown[0]}; kedro runs list shows which there are")
        confidence = catalog.load("params:evaluation.confidence")
    for line in compare_runs(known[a], known[b], confidence):
        click.echo(line)


def _kept_runs(options: dict[str, Any]) -> tuple[Mapping[int, "KeptRun"], CatalogProtocol]:
    """The runs that are kept, by number, and the catalog."""
    from vd_forecasting.running.history.keep import load_history  # noqa: PLC0415

    options |= {"pipeline": None, "pipelines": [], "namespaces": []}
    _settle(options)
    catalog = load_catalog(options)
    return load_history(catalog), catalog


SERVE_HELP = """Answer requests for forecasts over HTTP, by the models that were trained.

A request has to send the token in the environment variable VD_FORECASTING_TOKEN, if there is one;
an address that other machines reach needs one."""
SERVE_OPTIONS = ("env", "conf_source", "params")


@cli.command(
    name="serve",
    params=[
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to bind."),
        click.Option(
            ["--port"],
            default=8000,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="Port; 0 takes a free one.",
        ),
        *(option for option in _options() if option.name in SERVE_OPTIONS),
    ],
    help=SERVE_HELP,
)
def serve(host: str, port: int, **options: Any) -> None:
    """Serve forecasts until Ctrl-C."""
    with _errors_in_one_line(), suppress(KeyboardInterrupt):
        try:
            from vd_forecasting.serving import run as server  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ImportError(
                f'serve needs the package {error.name}: pip install "vd_forecasting[serve]"'
            ) from error
        options |= {"pipeline": None, "pipelines": server.PIPELINES, "namespaces": []}
        _settle(options)
        load = partial(load_catalog, options)
        server.serve(load, (host, port), options["env"], click.echo)


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        claims.give_up()
        kernels_ahead.end()
        if hasattr(builtins, "__IPYTHON__"):  # a notebook, which lives on
            raise click.ClickException(INTERRUPTED) from interrupt
        _stop_now()
    except NodesFailed as failed:
        # click says "Error: " before the first of them.
        raise click.ClickException("\nError: ".join(map(str, failed.failures))) from failed
    except USER_ERRORS as error:
        logger.debug("The error was raised here:", exc_info=error)
        raise click.ClickException(in_one_line(error)) from error


def _stop_now() -> NoReturn:
    """End this process and its workers, whatever they do; files are whole or not there."""
    click.echo(INTERRUPTED, err=True)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(130)  # threads would keep it alive until their nodes have ended


def _settle(options: dict[str, Any]) -> None:
    """Turn ``--pipeline`` and the default into ``--pipelines``, use the project's ``logging.yml``
    also from a sub-folder and with ``--conf-source``, and print in every code page.

    The default is ``__default__``, or the first pipeline that has more of a namespace, such as the
    one that also trains it. With ``--pipeline tune`` the name of an experiment stands for its
    search, and so for its forecast and its export.
    """
    if options["pipeline"] and not options["pipelines"]:
        # Kedro's own --pipeline warns on every run that it will be renamed one day.
        options["pipelines"], options["pipeline"] = [options["pipeline"]], None
    options["pipelines"] = options["pipelines"] or _pipelines_with(options["namespaces"] or ())
    options["namespaces"] = _in_full(options["namespaces"] or (), options["pipelines"])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # "▸" is not in every code page
    conf = options["conf_source"] or (find_kedro_project(Path.cwd()) or Path.cwd()) / "conf"
    path = Path(conf, "logging.yml")
    by_kedro = Path("conf", "logging.yml")  # the only place where it looks
    if "KEDRO_LOGGING_CONFIG" not in os.environ and path.is_file() and not by_kedro.exists():
        try:
            configure_logging(yaml.safe_load(path.read_text("utf-8")))
        except LOGGING_ERRORS as error:
            raise ValueError(f"{path}: {with_cause(error)}") from error


def _in_full(namespaces: Iterable[str], names: list[str]) -> list[str]:
    """The namespaces, those of what a pipeline does with an experiment by their full names."""
    purposes = {name.partition("_")[0] for name in names} if len(names) == 1 else set()
    full = {f"{purpose}_{one}": one for purpose in purposes for one in namespaces}
    found = {one: name for name, one in full.items() if name in OF_ONE_EXPERIMENT}
    return [found.get(one, one) for one in namespaces]


def _pipelines_with(namespaces: Iterable[str]) -> list[str]:
    def of(namespace: str, name: str) -> int:
        found = (node.namespace or "" for node in pipelines[name].nodes)
        return sum(f"{one}.".startswith(f"{namespace}.") for one in found)

    # The default pipeline is registered first.
    names = [max(pipelines, key=partial(of, namespace)) for namespace in namespaces]
    return list(dict.fromkeys(names)) or ["__default__"]


SELECTIONS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")


def select(options: dict[str, Any]) -> tuple[Pipeline, CatalogProtocol]:
    """The nodes that the options select, and the catalog they are run with.

    The nodes before a namespace are selected with it, since any of them may be stale. Raises
    ValueError if the options select no node, or one that is not there.
    """
    pipeline = _requested(options)
    chosen = {name: options.get(name) or None for name in SELECTIONS}
    namespaces = options["namespaces"] or None
    selected = pipeline.filter(**chosen, node_namespaces=namespaces)
    if namespaces:
        selected = pipeline.to_nodes(*(node.name for node in selected.nodes))
    return selected, load_catalog(options)


def _requested(options: dict[str, Any]) -> Pipeline:
    return sum((pipelines[name] for name in options["pipelines"]), Pipeline([]))


def load_catalog(options: dict[str, Any]) -> CatalogProtocol:
    """The catalog of a run of these pipelines, which checks the parameters that they read."""
    with KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    ) as session:
        context = session.load_context()
        if "__default__" not in options["pipelines"]:
            validate_only(context, options["pipelines"])
        return context.catalog


RUNNERS = {
    name: f"{module.__name__}.{name}"
    for name, module in {
        **dict.fromkeys(("SequentialRunner", "ThreadRunner", "ParallelRunner"), runners),
        "DaskRunner": cluster,
    }.items()
}


def own_runner(runner: str | None) -> str:
    """The runner of this project in place of Kedro's; one of the user's own stays."""
    name = (runner or "SequentialRunner").removeprefix("kedro.runner.")
    return RUNNERS.get(name, name)


def check_runner_params(runner: str, given: Mapping[str, Any]) -> None:
    """Raise a ValueError, in one line, if there is no such runner or it has no such parameter."""
    try:
        known = inspect.signature(load_obj(runner, "kedro.runner")).parameters
    except (AttributeError, ImportError) as error:
        raise ValueError(f"--runner: {runner} is not known; give {listed(RUNNERS)}") from error
    if unknown := [name for name in given if name not in known]:
        raise ValueError(
            f"--runner-params: {runner.rpartition('.')[2]} has no {unknown[0]}; "
            f"did you mean {nearest(unknown[0], known)}?"
        )


def share_cores(options: dict[str, Any]) -> None:
    """Set how many torch threads (``compute.threads``) each worker has, if there are several.

    Without this each worker would take all cores, and they would slow each other down many times.
    ParallelRunner has as many ``max_workers`` as cores, but no more than there are trainings or
    experiments. Values given on the command line stay.
    """
    cores, given = os.cpu_count() or 1, options["runner_params"]
    if options["runner"].endswith("ParallelRunner"):
        if "max_workers" not in given:
            given["max_workers"] = min(cores, len(EXPERIMENTS))
            if cores > len(EXPERIMENTS):
                nodes, catalog = _requested(options).nodes, load_catalog(options)
                trainings = sum(math.prod(one.size) for one in plan_trainings(nodes, catalog))
                given["max_workers"] = min(cores, max(trainings, len(EXPERIMENTS)))
        threads = cores // int(given["max_workers"])
    elif options["runner"].endswith("DaskRunner"):
        threads = cluster.threads_of_workers(**given)
    else:
        return
    options["params"].setdefault("compute", {}).setdefault("threads", max(1, threads))


def nodes_for_namespaces(options: dict[str, Any]) -> list[str]:
    """Names of the nodes in the namespaces, and of those before them whose outputs are missing or
    of other data than the run's: of another detector file, or cleaned by other rules."""
    pipeline, catalog = _requested(options), load_catalog(options)
    wanted = pipeline.filter(node_namespaces=options["namespaces"])
    before = pipeline.to_nodes(*(node.name for node in wanted.nodes)) - wanted
    other = made_of_other_data(before, makers_of(pipelines.values()), catalog)
    needed = wanted + missing_before(pipeline, wanted, catalog, other)
    return sorted(node.name for node in needed.nodes)


def missing_before(
    pipeline: Pipeline, wanted: Pipeline, catalog: CatalogProtocol, again: Container[str]
) -> Pipeline:
    """The nodes upstream of ``wanted`` that make those of its inputs that are missing, and those
    to run ``again``."""
    upstream, read = [], wanted.inputs()
    for node in reversed(pipeline.nodes):
        made = read.intersection(node.outputs)
        if made and (node.name in again or not all(map(catalog.exists, made))):
            upstream.append(node)
            read |= set(node.inputs)
    return Pipeline(upstream)
