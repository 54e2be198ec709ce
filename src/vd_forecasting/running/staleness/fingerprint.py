"""The fingerprint of a node: all that its outputs depend on, and the hashes of the outputs.

It is taken when the node starts and saved after the last of its outputs. So a node that is killed
keeps the fingerprint of its earlier run, which no longer fits.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, cast

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel, TypeAdapter

from vd_forecasting.datasets import PageDataset
from vd_forecasting.provenance import PACKAGE, code_of, version_of
from vd_forecasting.running.failure import FailedDataset
from vd_forecasting.running.kedro_private import catalog_entry, local_file, wiring
from vd_forecasting.running.staleness.content import Hashes, content_hash
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS

logger = logging.getLogger(__name__)

FINGERPRINT = "fingerprint_of_{}"
"""The catalog's name for the fingerprint of a node."""
HASHES = "content_hashes"
VERSIONED = ("torch", "xlstm")
"""Packages whose version counts for a node that uses them."""


class Fingerprint(TypedDict):
    """The record of a node, and of the nodes in memory before it."""

    code: dict[str, str]
    """Hashes of modules, and of how the pipeline calls their functions."""
    parameters: dict[str, Any]
    inputs: dict[str, list[str | None]]
    """Name and content hash of the file; None if it is missing or its node failed."""
    datasets: dict[str, str]
    """Hashes of the catalog entries of inputs and outputs."""
    versions: dict[str, str]
    outputs: dict[str, str | None]
    """Content hash of the file."""


def files_of(catalog: CatalogProtocol, name: str) -> dict[str, Path]:
    """The files of a dataset; none if it is kept in memory or on another machine.

    The key of its main file is the dataset's name; a page also has its figures.
    """
    dataset = catalog.get(name)
    path = local_file(dataset)
    if path is None:
        return {}
    figures = dataset.figures() if isinstance(dataset, PageDataset) else []
    return {name: path, **{f"{name} {figure.name}": figure for figure in figures}}


def is_parameter(name: str) -> bool:
    """Whether a dataset is one of Kedro's parameters."""
    return name == "parameters" or name.startswith("params:")


def output_files(node: Node, catalog: CatalogProtocol) -> dict[str, Path]:
    """The files a node writes; the key of the main file of a dataset is its name."""
    return {key: path for name in node.outputs for key, path in files_of(catalog, name).items()}


def makers_of(pipelines: Iterable[Pipeline]) -> dict[str, Node]:
    """The node that makes a dataset, for every dataset that one makes."""
    return {
        name: node for pipeline in pipelines for node in pipeline.nodes for name in node.outputs
    }


def in_memory_before(
    node: Node, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> list[Node]:
    """The nodes that ``node`` reads from through memory, and those that they do."""
    found: dict[str, Node] = {}
    todo = [node]
    while todo:
        for name in todo.pop().inputs:
            maker = makers.get(name)
            if maker is None or maker.name in found or files_of(catalog, name):
                continue
            found[maker.name] = maker
            todo.append(maker)
    return list(found.values())


def take_fingerprint(
    node: Node, makers: Mapping[str, Node], catalog: CatalogProtocol, known: Hashes
) -> Fingerprint:
    """The fingerprint of a node as code, parameters and files are now.

    Args:
        node: at least one of its outputs is a file.
        makers: the node that makes a dataset.
        catalog: where parameters and files are.
        known: content hashes of earlier calls.

    Raises:
        OSError: a file cannot be read.
    """
    taken: Fingerprint = {
        "code": {},
        "parameters": {},
        "inputs": {},
        "datasets": {},
        "versions": {PACKAGE: version_of(PACKAGE)},
        "outputs": {},
    }
    for part in (node, *in_memory_before(node, makers, catalog)):
        failed = any(isinstance(catalog.get(name), FailedDataset) for name in part.outputs)
        code = code_of(part.func, _other_models(part.namespace))
        taken["code"] |= {**code.digests, f"node {part.name}": _wiring(part)}
        for package in code.packages & set(VERSIONED):
            taken["versions"][package] = version_of(package)
        for name in part.inputs:
            if is_parameter(name):
                value = plain(catalog.get(name).load())
                taken["parameters"][name.removeprefix("params:")] = value
            elif files := files_of(catalog, name):
                # A failure was read in place of whatever is in the file.
                made = not failed and not isinstance(catalog.get(name), FailedDataset)
                for key, path in files.items():
                    taken["inputs"][key] = [path.name, content_hash(path, known) if made else None]
                if made:
                    taken["datasets"][name] = _entry(catalog, name)
    for key, path in output_files(node, catalog).items():
        taken["outputs"][key] = content_hash(path, known)
    for name in node.outputs:
        if files_of(catalog, name):
            taken["datasets"][name] = _entry(catalog, name)
    # As they come back from the file, so that the two can be compared.
    return cast("Fingerprint", json.loads(json.dumps(taken, sort_keys=True)))


def load_fingerprint(node: Node, catalog: CatalogProtocol) -> Fingerprint | None:
    """The fingerprint of a node's last run; None if there is none that can be read."""
    loaded = _load(catalog, FINGERPRINT.format(node.name))
    whole = loaded.keys() == Fingerprint.__annotations__.keys()
    return cast("Fingerprint", loaded) if whole else None


def save_fingerprint(
    node: Node,
    started: Fingerprint,
    makers: Mapping[str, Node],
    catalog: CatalogProtocol,
) -> None:
    """Save the fingerprint a node started with, and the hashes of the outputs it has just saved.

    If an input changed meanwhile, it is not known which version went into the outputs: then
    nothing is saved.

    Raises:
        DatasetError: the fingerprint cannot be written.
    """
    saved = catalog.get(FINGERPRINT.format(node.name))
    if saved is None:
        return
    known = load_hashes(catalog)
    now = take_fingerprint(node, makers, catalog, known)
    if now["inputs"] != started["inputs"]:
        logger.warning("An input of %s changed while it ran; it will count as stale.", node.name)
        return
    saved.save({**started, "outputs": now["outputs"]})
    save_hashes(catalog, known)


def load_hashes(catalog: CatalogProtocol) -> Hashes:
    """The content hashes known from earlier runs."""
    return _load(catalog, HASHES)


def _load(catalog: CatalogProtocol, name: str) -> dict[str, Any]:
    """A saved dict; empty if there is none that can be read."""
    saved = catalog.get(name)
    with suppress(DatasetError):
        loaded = saved.load() if saved is not None and saved.exists() else {}
        return loaded if isinstance(loaded, dict) else {}
    return {}


def save_hashes(catalog: CatalogProtocol, known: Hashes) -> None:
    """Save content hashes for later runs, if possible.

    Without them, or where two concurrent runs overwrite each other's, files are read again.
    """
    saved = catalog.get(HASHES)
    if saved is not None and known != load_hashes(catalog):
        with suppress(DatasetError, OSError):
            saved.save(known)


def plain(value: Any) -> Any:
    """A parameter as plain JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return TypeAdapter(Any).dump_python(value, mode="json")


def _other_models(namespace: str | None) -> frozenset[str]:
    """Modules that an experiment does not use, though the table of models leads to them."""
    if namespace not in EXPERIMENTS:
        return frozenset()
    return frozenset(
        f"{PACKAGE}.models.{model}" for model in MODELS if not namespace.endswith(f"_{model}")
    )


def _wiring(node: Node) -> str:
    return _digest([node.func.__module__, node.func.__qualname__, *wiring(node)])


def _entry(catalog: CatalogProtocol, name: str) -> str:
    """Hash of a catalog entry; where the file lies does not count, only what is in it."""
    entry = catalog_entry(catalog.get(name))
    entry = {**entry, **entry.get("kwargs", {})}  # where a dataset inherits its __init__
    left_out = ("args", "kwargs", "filepath", "metadata")
    return _digest({key: entry[key] for key in entry if key not in left_out})


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
