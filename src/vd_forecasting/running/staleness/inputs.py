"""What a run reads of earlier runs: which of it cannot be used, and why.

A node that fails leaves its reason in a file beside the fingerprints, until it ends well. It counts
as long as the node is stale: if it is not, there is what an earlier run made of the same.
"""

import json
import logging
import shlex
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vd_forecasting.running.failure import (
    FAILED_BEFORE,
    NEW_DATA,
    NOT_RUN,
    STATES,
    USED_OTHER_DATA,
    Failure,
)
from vd_forecasting.running.kedro_private import file_of
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.other_data import made_of_other_data
from vd_forecasting.running.staleness.plan import flat, make_plan, short_path
from vd_forecasting.vocabulary import EVERY_EXPERIMENT, EVERY_MODE, EXPERIMENTS, GLOBAL_MODE, MODELS
from vd_forecasting.wording import in_one_line

logger = logging.getLogger(__name__)

FAILURE = "failure_of_{}"  # of a node, in the catalog
ON_THEIR_OWN = {*EVERY_EXPERIMENT, *(f"compare_{mode}" for mode in EVERY_MODE)}
"""Namespaces that ``--namespace`` makes with all that is before them."""


def save_failure(failure: Failure, catalog: CatalogProtocol) -> None:
    """Note for later runs that a node failed, if possible."""
    saved = catalog.get(FAILURE.format(failure.node))
    if saved is not None:
        with suppress(DatasetError, OSError):
            saved.save({"reason": failure.reason})


def forget_failure(node: Node, catalog: CatalogProtocol) -> None:
    """Remove the note that a node failed."""
    if path := file_of(catalog.get(FAILURE.format(node.name))):
        with suppress(OSError, DatasetError):
            path.unlink(missing_ok=True)


def find_unusable(
    pipeline: Pipeline,
    makers: Mapping[str, Node],
    catalog: CatalogProtocol,
    run_params: Mapping[str, Any],
    takes_failures: bool,
) -> dict[str, Failure]:
    """Why files of earlier runs cannot be read, by dataset.

    What an experiment made belongs together: if any of it cannot be used, none of it is. What the
    comprehensive page reads of ``global_vd`` is used as it is, if it is there: the page judges it.

    Args:
        pipeline: that of the run.
        makers: the node that makes a dataset, of all pipelines.
        catalog: that of the run.
        run_params: Kedro's, of the run.
        takes_failures: whether the run makes what it can without those files. If not, none is
            found but what the page can do without: reading one that is missing will tell.

    Raises:
        ValueError: one line with the command to type. What is there was made of other data, all of
            it or some that the run cannot do without; or no experiment has run yet.
    """
    read = sorted(pipeline.inputs() & makers.keys())
    read = [name for name in read if file_of(catalog.get(name))]
    not_run = _not_run(read, makers, catalog, run_params)
    own = {name for node in pipeline.nodes if _of_global(node) for name in node.inputs}
    judged = {name for name in read if _of_global(makers[name])} - own
    optional = {name: not_run[name] for name in not_run if name in judged}
    read = [name for name in read if name not in judged]
    if not read:
        return optional
    there = {*read} - not_run.keys()
    for name in sorted(there):
        if fingerprint.load_fingerprint(makers[name], catalog) is None:
            logger.warning("There is no record of how %s was made; it is used as it is.", name)
    before = Pipeline({node.name: node for node in makers.values()}.values()).to_outputs(*read)
    failed = _failed(before, makers, catalog) if takes_failures else {}
    other = made_of_other_data(before, makers, catalog)

    found: dict[str, Failure] = {}
    for name in read:
        upstream = before.to_outputs(name).nodes
        again = _command({makers[name].namespace}, run_params)
        if of := next((node for node in upstream if node.name in failed), None):
            then = _command({of.namespace}, run_params)
            found[name] = Failure(of.name, f"{failed[of.name]}; then {then}", FAILED_BEFORE)
        elif name not in there:
            found[name] = not_run[name]
        elif of := next((node for node in upstream if node.name in other), None):
            reason = f"{other[of.name]}; make it anew: {again}"
            found[name] = Failure(of.name, reason, USED_OTHER_DATA)
    stale = [name for name, of in found.items() if of.state == USED_OTHER_DATA]
    if stale and not (takes_failures and there - found.keys()):
        first = next(node for node in before.nodes if node.name in other)
        path = next(iter(fingerprint.output_files(first, catalog).values()))
        again = _command({makers[name].namespace for name in stale}, run_params)
        raise ValueError(
            f"{short_path(path)} is of other data: {other[first.name]}; make it anew: {again}"
        )
    if not takes_failures:
        return optional
    read_of = {node.namespace for node in before.nodes} & {*EVERY_EXPERIMENT}
    trained = [name for name in makers if makers[name].namespace in {*EXPERIMENTS, *read_of}]
    files = [file for name in trained if (file := file_of(catalog.get(name)))]
    if not failed and not any(file.is_file() for file in files):
        raise ValueError(f"no experiment has run yet; {_command(set(), run_params)}")

    worst: dict[str | None, Failure] = {}
    for name in sorted(found, key=lambda name: STATES.index(found[name].state)):
        worst.setdefault(makers[name].namespace, found[name])
    unusable = {name: worst[space] for name in read if (space := makers[name].namespace) in worst}
    return optional | unusable


def _of_global(node: Node) -> bool:
    return GLOBAL_MODE in str(node.namespace)


def _not_run(
    read: Collection[str],
    makers: Mapping[str, Node],
    catalog: CatalogProtocol,
    run_params: Mapping[str, Any],
) -> dict[str, Failure]:
    """What has not run, by missing dataset: a node, or ``global_vd`` where nothing of it is there,
    which nobody need have asked for."""
    missing = [name for name in read if not catalog.exists(name)]
    found = {}
    for name in missing:
        again = _command({makers[name].namespace}, run_params)
        found[name] = Failure(makers[name].name, again, NOT_RUN)
    of_global = {name for name in read if _of_global(makers[name])}
    if of_global <= {*missing}:
        again = _command({f"compare_{GLOBAL_MODE}"}, run_params)
        found |= dict.fromkeys(of_global, Failure(GLOBAL_MODE, again, NOT_RUN))
    return found


def find_untrained(
    pipeline: Pipeline,
    makers: Mapping[str, Node],
    catalog: CatalogProtocol,
    run_params: Mapping[str, Any],
) -> dict[str, Failure]:
    """Why experiments cannot forecast new data, by dataset that the run reads of them.

    Their files must be those that their nodes recorded, each made of the others; what these were
    made of besides does not count. Raises ValueError, one line, if none of them can be used.
    """
    read = pipeline.only_nodes_with_tags(NEW_DATA).inputs() & makers.keys()
    read -= pipeline.all_outputs()
    command = {name: run_params[name] for name in run_params if name == "env"}
    found: dict[str, Failure] = {}
    for space in sorted({str(makers[name].namespace) for name in read}):
        names = sorted(name for name in read if makers[name].namespace == space)
        again = _command({space}, command)
        if not all(map(catalog.exists, names)):
            found |= dict.fromkeys(names, Failure(space, again, NOT_RUN))
        elif why := _mixed(names, makers, catalog):
            found |= dict.fromkeys(names, Failure(space, f"{why}; make it anew: {again}"))
    if found and read == found.keys():
        failures = [*dict.fromkeys(found.values())]
        worst = [failure for failure in failures if failure.is_error] or failures
        if len(worst) > len(MODELS):
            raise ValueError(f"no experiment has run yet; {_command(set(), command)}")
        raise ValueError("; ".join(map(str, worst)))
    return found


def _mixed(
    names: Collection[str], makers: Mapping[str, Node], catalog: CatalogProtocol
) -> str | None:
    """Why files of an experiment are not those of one training; None if they are."""
    space = makers[next(iter(names))].namespace
    own = {node.name: node for node in makers.values() if node.namespace == space}
    records = {}
    for node in Pipeline(own.values()).to_outputs(*names).nodes:
        if record := fingerprint.load_fingerprint(node, catalog):
            records[node.name] = record
        elif made := sorted({*names}.intersection(node.outputs)):
            logger.warning("There is no record of how %s was made; it is used as it is.", made[0])
    made_as = {key: file for record in records.values() for key, file in record["outputs"].items()}
    known = fingerprint.load_saved(catalog)
    for name in names:
        for key, path in fingerprint.files_of(catalog, name).items():
            if key in made_as and fingerprint.content_hash(path, known) != made_as[key]:
                return f"{short_path(path)} was changed since it was made"
    for node, record in records.items():
        for key, (_, content) in record["inputs"].items():
            if content != made_as.get(key, content):
                return f"{node} was run with another {key}"
    return None


def _failed(
    pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> dict[str, str]:
    """The nodes whose last run failed and that are stale, and why they failed."""
    told = {node.name: _reason(node, catalog) for node in pipeline.nodes}
    if not any(told.values()):
        return {}
    stale = make_plan(pipeline, makers, catalog).nodes
    return {name: reason for name, reason in told.items() if reason and name in stale}


def _reason(node: Node, catalog: CatalogProtocol) -> str:
    saved = fingerprint.load_saved(catalog, FAILURE.format(node.name))
    return in_one_line(str(saved.get("reason", "")))


def _command(namespaces: Collection[str | None], run_params: Mapping[str, Any]) -> str:
    """What makes anew all that these namespaces make."""
    command = ["kedro", "run", "--pipeline", "compare_all"]
    if len(namespaces) == 1 and set(namespaces) <= ON_THEIR_OWN:
        command[2:] = ["--namespace", *map(str, namespaces)]
    if env := run_params.get("env"):
        command += ["--env", env]
    if given := flat(run_params.get("runtime_params") or {}):
        texts = (of if isinstance(of, str) else json.dumps(of) for of in given.values())
        command += ["--params", ",".join(map("=".join, zip(given, texts, strict=True)))]
    return shlex.join(command)
