"""Which nodes of a pipeline to run so that nothing in it is stale, and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vd_forecasting.running.staleness.content import Hashes
from vd_forecasting.running.staleness.fingerprint import (
    load_fingerprint,
    load_hashes,
    output_files,
    save_hashes,
    take_fingerprint,
)
from vd_forecasting.running.staleness.reasons import alterations, differences, short_path
from vd_forecasting.wording import plural


@dataclass(frozen=True)
class Plan:
    """What to run."""

    reasons: dict[str, list[str]]
    """Why, by node, for those that are stale in their own right."""
    dependent: list[str]
    """Nodes that are stale because one before them is."""
    needed: list[str]
    """Nodes that only make again, in memory, an input of the others."""

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes to run."""
        return [*self.reasons, *self.dependent, *self.needed]


def make_plan(pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol) -> Plan:
    """Find out what is stale.

    Args:
        pipeline: what may run.
        makers: the node that makes a dataset, also outside of ``pipeline``.
        catalog: where parameters, files and fingerprints are.

    Raises:
        OSError: a file cannot be read.
    """
    known = load_hashes(catalog)
    files = {node.name: output_files(node, catalog) for node in pipeline.nodes}

    def why(node: Node, made_again: set[str]) -> list[str]:
        depends = not made_again.isdisjoint(node.inputs)  # then its outputs are made again anyway
        before = load_fingerprint(node, catalog)
        if before is None:
            return [] if depends else [_unknown(files[node.name])]
        now = take_fingerprint(node, makers, catalog, known)
        altered = {} if depends else alterations(before, now)
        paths = files[node.name]
        return [
            *differences(before, now, made_again),
            *(f"output {short_path(paths[name])} {what}" for name, what in altered.items()),
        ]

    plan = arrange(pipeline, files, why)
    save_hashes(catalog, known)
    return plan


def _unknown(files: Mapping[str, Path]) -> str:
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        return f"output {short_path(missing[0])} is missing"
    return f"there is no record of how {short_path(next(iter(files.values())))} was made"


def arrange(
    pipeline: Pipeline,
    files: Mapping[str, Mapping[str, Path]],
    why: Callable[[Node, set[str]], list[str]],
) -> Plan:
    """Which nodes to run.

    A node with an output in a file runs if it is stale, or if one runs that it depends on. A node
    all of whose outputs stay in memory runs if one that runs reads them; that alone makes no other
    node stale, as it makes the same again.

    Args:
        pipeline: what may run.
        files: by node, the outputs that are files.
        why: the reasons of a node that is stale in its own right, given the datasets that are made
            again.
    """
    makers = {name: node for node in pipeline.nodes for name in node.outputs}
    rewritten: set[str] = set()  # files that a node writes again because its memory is needed
    while True:
        reasons, dependent = _stale(pipeline, files, why, rewritten)
        needed = _needed({*reasons, *dependent}, pipeline, files, makers)
        further = {name for node in needed for name in files[node]}
        if further <= rewritten:
            return Plan(reasons, dependent, sorted(needed))
        rewritten |= further


def _stale(
    pipeline: Pipeline,
    files: Mapping[str, Mapping[str, Path]],
    why: Callable[[Node, set[str]], list[str]],
    rewritten: set[str],
) -> tuple[dict[str, list[str]], list[str]]:
    reasons: dict[str, list[str]] = {}
    dependent: list[str] = []
    changed = set(rewritten)  # datasets that are not what they were
    for node in pipeline.nodes:  # in an order in which they can run
        depends = not changed.isdisjoint(node.inputs)
        if files[node.name]:
            found = why(node, changed)
            if found:
                reasons[node.name] = found
            elif depends:
                dependent.append(node.name)
            else:
                continue
            changed |= set(node.outputs)
        elif depends:
            changed |= set(node.outputs)
    return reasons, dependent


def _needed(
    stale: set[str],
    pipeline: Pipeline,
    files: Mapping[str, Mapping[str, Path]],
    makers: Mapping[str, Node],
) -> set[str]:
    needed: set[str] = set()
    todo = [node for node in pipeline.nodes if node.name in stale]
    while todo:
        for name in todo.pop().inputs:
            maker = makers.get(name)
            if maker is None or name in files[maker.name]:
                continue
            if maker.name not in stale | needed:
                needed.add(maker.name)
                todo.append(maker)
    return needed


def describe_plan(plan: Plan) -> list[str]:
    """What will run and why, in lines."""
    if not plan.nodes:
        return ["Everything is up to date."]
    lines = [f"▸ {name}: {'; '.join(reasons)}" for name, reasons in plan.reasons.items()]
    if plan.dependent:
        verb = "depends" if len(plan.dependent) == 1 else "depend"
        lines.append(f"… and {plural(len(plan.dependent), 'node')} that {verb} on them")
    if plan.needed:
        lines.append(f"… and {plural(len(plan.needed), 'node')} whose outputs in memory they need")
    return lines


def find_alterations(
    pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> list[str]:
    """Every file that is not as its node made it, or was made of something else than there is now.

    All files are read, also those that look as they did. Outputs never made are passed over.

    Args:
        pipeline: whose outputs to look at.
        makers: the node that makes a dataset, also outside of ``pipeline``.
        catalog: where parameters, files and fingerprints are.

    Raises:
        OSError: a file cannot be read.
    """
    known: Hashes = {}
    found = []
    for node in pipeline.nodes:
        files = output_files(node, catalog)
        there = ", ".join(short_path(path) for path in files.values() if path.is_file())
        before = load_fingerprint(node, catalog)
        if before is not None and files:
            now = take_fingerprint(node, makers, catalog, known)
            found += [
                f"{short_path(files[name])} ({node.name}): {what}"
                for name, what in alterations(before, now).items()
            ]
            if there and (changed := differences(before, now)):
                found.append(f"{there} ({node.name}): {'; '.join(changed)}")
        elif there:
            found.append(f"{there} ({node.name}): there is no record of how it was made")
    return found
