"""What is logged of a run: an entry of its own, and one for each experiment that it made.

All of it is read through the catalog from what nodes saved, so it does not matter which runner ran
them. What counts are the records of the nodes (:mod:`..running.staleness`): outputs that are stale
after the run, because their node failed or was not reached, are left out.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from vd_forecasting.datasets.places import Place
from vd_forecasting.running.failure import TAKES_FAILURES, FailedDataset, in_one_line
from vd_forecasting.running.kedro_private import file_of
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.fingerprint import Fingerprint
from vd_forecasting.running.staleness.plan import alterations, differences, flat
from vd_forecasting.tracking.numbers import Point, points_of
from vd_forecasting.vocabulary import EVERY_EXPERIMENT

PAGES = (".md", ".html")
"""Endings of the files that are logged, with their figures."""


@dataclass(frozen=True)
class Page:
    """A page with its figures."""

    file: Place
    figures: tuple[Place, ...]


@dataclass(frozen=True)
class Entry:
    """An experiment, or a run as a whole."""

    name: str
    records: Mapping[str, Place]
    """Files of the fingerprints of what is logged, by node."""
    parameters: Mapping[str, Any]
    """By dotted name."""
    hashes: Mapping[str, str]
    """SHA-256 by name of a file."""
    pages: tuple[Page, ...]
    points: tuple[Point, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None

    def fingerprints(self) -> dict[str, str]:
        """The SHA-256 of each of the records, by ``fingerprint.`` and the node's name."""
        return {
            f"fingerprint.{node.removeprefix(f'{self.name}.')}": sha256(file.read_bytes())
            for node, file in self.records.items()
        }


def sha256(content: bytes) -> str:
    """As ``sha256sum`` prints it."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    pipeline: Pipeline
    makers: Mapping[str, Node]
    """The node that makes a dataset, of all pipelines."""
    catalog: CatalogProtocol
    error: Exception | None

    def entries(self, name: str, tags: Mapping[str, str]) -> tuple[Entry, list[Entry]]:
        """That of the run, by this name and with these tags, and those of its experiments.

        The latter are experiments of which the run wrote a file, or that failed in it. OSError if a
        file cannot be read.
        """
        stale = self._stale()
        failed = self._failed_experiments()
        ran = {
            node.namespace
            for node in self.pipeline.nodes
            if fingerprint.output_files(node, self.catalog) and self._record(node, stale)
        }
        experiments = [
            self._experiment(space, stale, failed.get(space))
            for space in EVERY_EXPERIMENT
            if space in ran or space in failed
        ]
        own = [node for node in self.pipeline.nodes if node.namespace not in EVERY_EXPERIMENT]
        records = self._records(own, stale)
        made = [node for node in own if node.name in records]
        pages = self._pages(made)
        shown = {page.file.name for page in pages}
        hashes = self._hashes(made, records)
        return (
            Entry(
                name,
                self._files(records),
                _parameters(records.values(), ""),
                {file: content for file, content in hashes.items() if file in shown},
                pages,
                tags=tags,
                error=_reason(self.error),
            ),
            experiments,
        )

    def _stale(self) -> set[str]:
        """The nodes of the run whose files are not what this run was to make.

        They failed or were not reached. One that takes failures has made something of what was
        left.
        """
        known = fingerprint.load_saved(self.catalog)
        stale, lost = set(), set[str]()
        for node in self.pipeline.nodes:  # in an order in which they can run
            is_stale = not lost.isdisjoint(node.inputs) and TAKES_FAILURES not in node.tags
            if not is_stale and fingerprint.output_files(node, self.catalog):
                before = fingerprint.load_fingerprint(node, self.catalog)
                now = fingerprint.take_fingerprint(node, self.makers, self.catalog, known)
                is_stale = not before or bool(differences(before, now) or alterations(before, now))
            if is_stale:
                stale.add(node.name)
                lost |= {*node.outputs}
        return stale

    def _experiment(self, space: str, stale: set[str], error: str | None) -> Entry:
        nodes = {
            node.name: node for node in self.makers.values() if node.namespace == space
        }.values()
        records = self._records(nodes, stale)
        made = [node for node in nodes if node.name in records]
        there = {name for node in made for name in node.outputs}

        def load(name: str) -> Any:
            with suppress(DatasetError):
                return self.catalog.load(name) if (name := f"{space}.{name}") in there else None

        mode, _, model = space.rpartition("_")
        tags, parameters = {"mode": mode, "model": model}, _parameters(records.values(), space)
        if error is not None:
            parameters = self._parameters_now(nodes, space) | parameters
        if config := load("config"):
            tags["source"] = config.source
            parameters["num_parameters"] = config.num_parameters
            parameters["num_models"] = config.num_models
        points = points_of(load("training_history"), load("metrics"), load("cost"))
        return Entry(
            space,
            self._files(records),
            parameters,
            self._hashes(made, records),
            self._pages(made),
            tuple(points),
            tags,
            error,
        )

    def _failed_experiments(self) -> dict[str, str]:
        """Why experiments failed, by namespace."""
        spaces = {node.namespace for node in self.pipeline.nodes}.intersection(EVERY_EXPERIMENT)
        if isinstance(self.error, NodesFailed):
            failures = {of.node.rpartition(".")[0]: str(of) for of in self.error.failures}
            return {space: failures[space] for space in spaces if space in failures}
        if self.error is not None and len(spaces) == 1:
            return {str(spaces.pop()): str(_reason(self.error))}
        return {}

    def _records(self, nodes: Iterable[Node], stale: set[str]) -> dict[str, Fingerprint]:
        found = {node.name: self._record(node, stale) for node in nodes}
        return {name: record for name, record in sorted(found.items()) if record}

    def _record(self, node: Node, stale: set[str]) -> Fingerprint | None:
        """How a node made what can be logged; None if it made nothing that can."""
        left_out = any(isinstance(self.catalog.get(of), FailedDataset) for of in node.outputs)
        if left_out or node.name in stale:
            return None
        return fingerprint.load_fingerprint(node, self.catalog)

    def _files(self, records: Iterable[str]) -> dict[str, Place]:
        """The files of records."""
        files = {
            node: file_of(self.catalog.get(fingerprint.FINGERPRINT.format(node)))
            for node in records
        }
        return {node: file for node, file in files.items() if file is not None}

    def _parameters_now(self, nodes: Iterable[Node], space: str) -> dict[str, Any]:
        """Those that the nodes of this run had."""
        known = fingerprint.load_saved(self.catalog)
        names = {node.name for node in self.pipeline.nodes}
        taken = [
            fingerprint.take_fingerprint(node, self.makers, self.catalog, known)
            for node in nodes
            if node.name in names
        ]
        return _parameters(taken, space)

    def _pages(self, nodes: Iterable[Node]) -> tuple[Page, ...]:
        pages = []
        for name in sorted(name for node in nodes for name in node.outputs):
            page = file_of(self.catalog.get(name))
            if page is not None and page.name.endswith(PAGES):
                file, *figures = fingerprint.files_of(self.catalog, name).values()
                pages.append(Page(file, tuple(figures)))
        return tuple(pages)

    def _hashes(self, nodes: Iterable[Node], records: Mapping[str, Fingerprint]) -> dict[str, str]:
        """Of the main file of each dataset."""
        return {
            path.name: content
            for node in nodes
            for name in node.outputs
            if (path := file_of(self.catalog.get(name)))
            and (content := records[node.name]["outputs"].get(name))
        }


def _reason(error: Exception | None) -> str | None:
    if isinstance(error, NodesFailed):
        return str(error)
    return None if error is None else in_one_line(error)


def _parameters(records: Iterable[Fingerprint], space: str) -> dict[str, Any]:
    """Parameters and versions of records, by names that do not begin with the experiment's."""
    found: dict[str, Any] = {}
    for record in records:
        for name, value in flat(record["parameters"]).items():
            found[name.removeprefix(f"{space}.")] = value
        found |= {f"versions.{package}": of for package, of in record["versions"].items()}
    return found


def as_text(value: Any) -> str:
    """A parameter as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
