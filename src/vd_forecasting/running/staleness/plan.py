"""Which nodes of a pipeline to run so that nothing in it is stale, and why, in words."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vd_forecasting.datasets.places import Place
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.fingerprint import Fingerprint
from vd_forecasting.wording import plural

MOST_NAMES = 3
SPEED_ONLY = ("compute.threads",)
"""Parameters that do not change a result."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    reasons: dict[str, list[str]]  # why, by node, for those that are stale in their own right
    dependent: list[str]  # nodes that are stale because one before them is
    needed: list[str]  # nodes that only make again, in memory, an input of the others

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes to run."""
        return [*self.reasons, *self.dependent, *self.needed]


def make_plan(pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol) -> Plan:
    """The nodes of a pipeline to run; ``makers`` is of all pipelines. Raises OSError if a file
    cannot be read."""
    known = fingerprint.load_saved(catalog)
    files = {node.name: fingerprint.output_files(node, catalog) for node in pipeline.nodes}

    def cannot_run(node: Node) -> bool:
        """Whether nothing is there of what it reads of other nodes."""
        inputs = fingerprint.take_fingerprint(node, makers, catalog, known)["inputs"]
        made = [content for name, (_, content) in inputs.items() if name in makers]
        return bool(made) and not any(made)

    def why(node: Node, made_again: set[str]) -> list[str]:
        depends = not made_again.isdisjoint(node.inputs)  # then its outputs are made again anyway
        paths = files[node.name]
        before = fingerprint.load_fingerprint(node, catalog)
        if before is not None:
            now = fingerprint.take_fingerprint(node, makers, catalog, known)
            altered = {} if depends else alterations(before, now)
            return [
                *differences(before, now, made_again),
                *(f"output {short_path(paths[name])} {what}" for name, what in altered.items()),
            ]
        missing = [path for path in paths.values() if not path.is_file()]
        if depends or (missing and cannot_run(node)):
            return []
        if missing:
            return [f"output {short_path(missing[0])} is missing"]
        return [f"there is no record of how {short_path(next(iter(paths.values())))} was made"]

    plan = arrange(pipeline, files, why)
    fingerprint.save_hashes(catalog, known)
    return plan


def arrange(
    pipeline: Pipeline,
    files: Mapping[str, Mapping[str, Place]],
    why: Callable[[Node, set[str]], list[str]],
) -> Plan:
    """Which nodes to run.

    A node with an output in a file runs if it is stale, or if one runs that it depends on. A node
    all of whose outputs stay in memory runs if one that runs reads them; that alone makes no other
    node stale, as it makes the same again.

    ``files`` are, by node, the outputs that are files; ``why`` gives the reasons of a node that is
    stale in its own right, told the datasets that are made again.
    """
    in_files = {name for outputs in files.values() for name in outputs}
    rewritten: set[str] = set()  # files that a node writes again because its memory is needed
    while True:
        plan = Plan({}, [], [])
        changed = set(rewritten)  # datasets that are not what they were
        for node in pipeline.nodes:  # in an order in which they can run
            depends = not changed.isdisjoint(node.inputs)
            if files[node.name] and (found := why(node, changed)):
                plan.reasons[node.name] = found
            elif not depends:
                continue
            elif files[node.name]:
                plan.dependent.append(node.name)
            changed |= set(node.outputs)
        stale = set(plan.nodes)
        read: set[str] = set()  # from memory, by nodes that run
        for node in reversed(pipeline.nodes):
            if node.name not in stale:
                if read.isdisjoint(node.outputs):
                    continue
                plan.needed.append(node.name)
            read |= set(node.inputs) - in_files
        further = {name for node in plan.needed for name in files[node]}
        if further <= rewritten:
            plan.needed.sort()
            return plan
        rewritten |= further


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

    All files are read, also those that look as they did; raises OSError if one cannot be. Outputs
    never made are passed over.
    """
    known: fingerprint.Hashes = {}
    found = []
    for node in pipeline.nodes:
        files = fingerprint.output_files(node, catalog)
        there = _in_short([path for path in files.values() if path.is_file()])
        before = fingerprint.load_fingerprint(node, catalog)
        if before is not None and files:
            now = fingerprint.take_fingerprint(node, makers, catalog, known)
            found += [
                f"{short_path(files[name])} ({node.name}): {what}"
                for name, what in alterations(before, now).items()
            ]
            if there and (changed := differences(before, now)):
                found.append(f"{there} ({node.name}): {'; '.join(changed)}")
        elif there:
            found.append(f"{there} ({node.name}): there is no record of how it was made")
    return found


# --- in words -------------------------------------------------------------------------------------


def differences(before: Fingerprint, now: Fingerprint, ignore: Collection[str] = ()) -> list[str]:
    """Differences between how outputs were made and how they would be made now.

    Inputs to ``ignore`` are those that are made again anyway.
    """
    return [
        *_parameters(flat(before["parameters"]), flat(now["parameters"])),
        *_code(before["code"], now["code"]),
        *_inputs(before["inputs"], now["inputs"], ignore),
        *(
            f"catalog entry of {name} changed"
            for name in _both(before["datasets"], now["datasets"])
        ),
        *changed_versions(before["versions"], now["versions"]),
    ]


def alterations(before: Fingerprint, now: Fingerprint) -> dict[str, str]:
    """Output files that changed since they were made, by dataset, and how."""
    found = now["outputs"]
    # A file beside the main one of a dataset may be known from what the folder holds.
    gone = {name: None for name in before["outputs"] if found.get(name.partition(" ")[0])}
    return {
        name: "is missing" if content is None else "was changed since"
        for name, content in {**gone, **found}.items()
        if content is None or content != before["outputs"].get(name)
    }


def short_path(path: Place) -> str:
    """A path, short if it lies in the working directory."""
    here = Path.cwd()
    if isinstance(path, Path) and path.is_relative_to(here):
        return path.relative_to(here).as_posix()
    return str(path)


def _in_short(paths: Sequence[Place]) -> str:
    """The first of some files and how many others there are, "" if there is none."""
    more = f" and {plural(len(paths) - 1, 'more file')}" if len(paths) > 1 else ""
    return f"{short_path(paths[0])}{more}" if paths else ""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested blocks as one, with dotted keys; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def changed_parameters(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """The old and the new value, ``3 → 5``, of each of these that changed and affects a result."""
    keys = [key for key in _changed(old, new) if key not in SPEED_ONLY]
    # Settings that another version of this project has, or had, say least.
    keys.sort(key=lambda key: key not in old or key not in new)
    return {key: f"{_value(old, key)} → {_value(new, key)}" for key in keys}


def changed_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What changed of the code, by names within this package."""
    # Added or removed modules show up in those that import them.
    changed = _both(before, now) or _changed(before, now)
    return [name.partition(".")[2] if " " not in name else name for name in changed]


def changed_versions(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The packages of which another version is used: ``torch 2.7.0 → 2.8.0``."""
    return [
        f"{package} {' → '.join(one.get(package, 'not used') for one in (before, now))}"
        for package in _changed(before, now)
    ]


def _parameters(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    changed = changed_parameters(old, new)
    shown = [f"parameter {key} {values}" for key, values in changed.items()][:MOST_NAMES]
    more = len(changed) - len(shown)
    return [*shown, *([plural(more, "more parameter")] if more else [])]


def _value(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "(none)"


def _code(before: dict[str, str], now: dict[str, str]) -> list[str]:
    names = changed_code(before, now)
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return [f"code changed: {', '.join(names[:MOST_NAMES])}{more}"]


def _inputs(
    before: dict[str, list[str | None]], now: dict[str, list[str | None]], ignore: Collection[str]
) -> list[str]:
    found = []
    for name in _both(before, now):  # that the node has other inputs counts as code
        (old_file, old), (new_file, new) = before[name], now[name]
        if name.split()[0] in ignore:  # a figure goes with its page
            continue
        if new is None:
            found.append(f"input {name}: there is no {new_file}")
        elif old is None:
            found.append(f"input {name} was not there")
        elif old_file != new_file:
            found.append(f"input {name} is {new_file}, was {old_file}")
        else:
            found.append(f"input {name} changed")
    return found


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    missing, keys = object(), sorted(before.keys() | now.keys())
    return [key for key in keys if before.get(key, missing) != now.get(key, missing)]


def _both(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in _changed(before, now) if key in before and key in now]
