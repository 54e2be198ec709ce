"""Files made of another detector file, or by other rules of cleaning, than those of now."""

import json
import logging
import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import ValidationError

from vd_forecasting.parameters import Cleaning
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.fingerprint import Fingerprint
from vd_forecasting.running.staleness.plan import alterations, differences, flat, short_path
from vd_forecasting.vocabulary import EXPERIMENTS

logger = logging.getLogger(__name__)


def made_of_other_data(
    pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> dict[str, str]:
    """The nodes whose outputs are of other data, and why, in an order in which they can run.

    Other parameters, such as those of a training, do not count, and neither does a file of which
    there is no record. ``makers`` is of all pipelines. An OSError if a file cannot be read.
    """
    known = fingerprint.load_saved(catalog)
    found: dict[str, str] = {}
    changed: set[str] = set()
    for node in pipeline.nodes:
        if depends := sorted(changed.intersection(node.inputs)):
            found[node.name] = f"it depends on {depends[0]}"
        elif before := fingerprint.load_fingerprint(node, catalog):
            now = fingerprint.take_fingerprint(node, makers, catalog, known)
            reasons = _data_differences(before, now)
            reasons += [
                f"{name} {what}"
                for name, what in alterations(before, now).items()
                if now["outputs"][name] is not None
            ]
            if reasons:
                found[node.name] = "; ".join(reasons)
        if node.name in found:
            changed |= set(node.outputs)
    fingerprint.save_hashes(catalog, known)
    return found


def _data_differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Differences of input files and rules of cleaning; an input that is gone is as it was."""
    old, new = (taken["parameters"].get("cleaning", {}) for taken in (before, now))
    if old != new:
        with suppress(ValidationError, TypeError):  # a run that does not clean has no defaults
            new = Cleaning(**new).model_dump(mode="json")
    gone = {key for key, (_, content) in now["inputs"].items() if content is None}
    there = {
        key: old_file
        for key, old_file in before["inputs"].items()
        if key not in gone or old_file[0] != now["inputs"][key][0]
    }
    nothing: Fingerprint = {**before, "code": {}, "datasets": {}, "versions": {}}
    return differences(
        {**nothing, "parameters": {"cleaning": old}, "inputs": there},
        {**nothing, "parameters": {"cleaning": new}, "inputs": now["inputs"]},
    )


def refuse_other_data(
    pipeline: Pipeline,
    makers: Mapping[str, Node],
    catalog: CatalogProtocol,
    run_params: Mapping[str, Any],
) -> None:
    """Raise a ValueError if a run would read files that were made of other data.

    It is one line, with the command that makes them anew. ``run_params`` are Kedro's, of the run.
    """
    read = pipeline.inputs() & makers.keys()
    if not read:
        return
    for name in sorted(filter(catalog.exists, read)):
        if fingerprint.load_fingerprint(makers[name], catalog) is None:
            logger.warning("There is no record of how %s was made; it is used as it is.", name)
    before = Pipeline({node.name: node for node in makers.values()}.values()).to_outputs(*read)
    other = made_of_other_data(before, makers, catalog)
    stale = [name for name in sorted(read) if makers[name].name in other and catalog.exists(name)]
    if not stale:
        return
    first = next(node for node in before.nodes if node.name in other)
    path = next(iter(fingerprint.output_files(first, catalog).values()))
    spaces = {str(makers[name].namespace) for name in stale}
    command = ["kedro", "run", "--pipeline", "compare_all"]
    if len(spaces) == 1 and spaces <= set(EXPERIMENTS):
        command[2:] = ["--namespace", *spaces]
    if env := run_params.get("env"):
        command += ["--env", env]
    if given := flat(run_params.get("runtime_params") or {}):
        texts = (of if isinstance(of, str) else json.dumps(of) for of in given.values())
        command += ["--params", ",".join(map("=".join, zip(given, texts, strict=True)))]
    raise ValueError(
        f"{short_path(path)} is of other data: {other[first.name]}; make it anew: "
        f"{shlex.join(command)}"
    )
