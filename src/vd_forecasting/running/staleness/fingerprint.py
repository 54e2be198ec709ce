"""The fingerprint of a node: all that its outputs depend on, and the hashes of the outputs.

It is taken when the node starts and saved after the last of its outputs. So a node that is killed
keeps the fingerprint of its earlier run, which no longer fits.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from stat import S_ISREG
from typing import Any, TypedDict, cast

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import TypeAdapter

from vd_forecasting.datasets import CheckpointDataset, PageDataset
from vd_forecasting.datasets.places import Place, RemoteFile, is_remote
from vd_forecasting.language import catalogue_file
from vd_forecasting.provenance import PACKAGE, code_of, digest, version_of
from vd_forecasting.running.failure import FailedDataset
from vd_forecasting.running.kedro_private import catalog_entry, file_of, wiring
from vd_forecasting.vocabulary import MODELS, OF_ONE_EXPERIMENT

logger = logging.getLogger(__name__)

FINGERPRINT = "fingerprint_of_{}"  # of a node, in the catalog
HASHES = "content_hashes"
VERSIONED = {"torch", "xlstm"}  # their versions count for nodes that use them
SETTLED_SECONDS = 2.0
"""Clocks of file systems tick: a file changed a moment ago may change again at the same time."""

Hashes = dict[str, list[int | str]]
"""By path: size, times of the last change of content and of inode, inode number, hash."""


class Fingerprint(TypedDict):
    """The record of a node, and of the nodes in memory before it."""

    code: dict[str, str]  # hashes of modules, and of how the pipeline calls their functions
    parameters: dict[str, Any]
    inputs: dict[str, list[str | None]]
    """Name and content hash of the file; None if it is missing or its node failed."""
    datasets: dict[str, str]  # hashes of the catalog entries of inputs and outputs
    versions: dict[str, str]
    outputs: dict[str, str | None]  # content hash of the file


def content_hash(path: Place, known: Hashes) -> str | None:
    """The SHA-256 of a file, as ``sha256sum`` prints it; None where there is no file.

    A file that is not on this machine is not read: its store's checksum takes the place, and is
    asked for once for as long as ``known`` lasts.

    A folder is no file: it is where a node keeps its own, such as the state of a killed training.
    ``known`` holds the hashes of earlier calls and gets this one; with size, times and inode as
    they were, a file counts as unchanged. Raises OSError if it cannot be read.
    """
    if isinstance(path, RemoteFile):
        if str(path) not in known:
            known[str(path)] = []
            with suppress(FileNotFoundError):
                known[str(path)] = [path.checksum()]
        return next(map(str, known[str(path)]), None)
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    if not S_ISREG(stat.st_mode):
        return None
    looks = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    *looked, sha256 = known.get(str(path), [None])
    if looked == looks:
        return str(sha256)
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while block := file.read(2**20):
            sha.update(block)
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns) / 1e9
    if time.time() - changed > SETTLED_SECONDS:
        known[str(path)] = [*looks, sha.hexdigest()]
    return sha.hexdigest()


def files_of(catalog: CatalogProtocol, name: str) -> dict[str, Place]:
    """The files of a dataset; none if it is kept in memory.

    The key of its main file is the dataset's name; a page also has its figures, a checkpoint may
    have chunks.
    """
    dataset = catalog.get(name)
    path = file_of(dataset)
    if path is None:
        return {}
    beside: list[Place] = []
    if isinstance(dataset, PageDataset):
        beside = dataset.figures()
    elif isinstance(dataset, CheckpointDataset):
        beside = dataset.chunks()
    return {name: path, **{f"{name} {file.name}": file for file in beside}}


def is_parameter(name: str) -> bool:
    """Whether a dataset is one of Kedro's parameters."""
    return name == "parameters" or name.startswith("params:")


def output_files(node: Node, catalog: CatalogProtocol) -> dict[str, Place]:
    """The files a node writes, by the keys of :func:`files_of`."""
    return {key: path for name in node.outputs for key, path in files_of(catalog, name).items()}


def makers_of(pipelines: Iterable[Pipeline]) -> dict[str, Node]:
    """The node that makes a dataset, for every dataset that one makes."""
    return {name: node for one in pipelines for node in one.nodes for name in node.outputs}


def take_fingerprint(
    node: Node, makers: Mapping[str, Node], catalog: CatalogProtocol, known: Hashes
) -> Fingerprint:
    """The fingerprint of a node, an output of which is a file, as code, parameters and files are
    now. Raises OSError if one cannot be read; for ``known`` see :func:`content_hash`."""
    taken = Fingerprint(code={}, parameters={}, inputs={}, datasets={}, versions={}, outputs={})
    taken["versions"][PACKAGE] = version_of(PACKAGE)
    parts = [node]  # and, as they are found, the nodes it reads from through memory
    for part in parts:
        failed = any(isinstance(catalog.get(name), FailedDataset) for name in part.outputs)
        code = code_of(part.func, _other_models(part.namespace))
        call = [part.func.__module__, part.func.__qualname__, *wiring(part)]
        taken["code"] |= {**code.digests, f"node {part.name}": digest(call)}
        taken["versions"] |= {name: version_of(name) for name in code.packages & VERSIONED}
        for name in part.inputs:
            dataset = catalog.get(name)
            if is_parameter(name):
                value = TypeAdapter(Any).dump_python(dataset.load(), mode="json")
                taken["parameters"][name.removeprefix("params:")] = value
                if name == "params:report":
                    taken["code"] |= _messages(value["language"])
            elif files := files_of(catalog, name):
                # A failure was read in place of whatever is in the file.
                made = not failed and not isinstance(dataset, FailedDataset)
                for key, path in files.items():
                    taken["inputs"][key] = [path.name, content_hash(path, known) if made else None]
                if made:
                    taken["datasets"][name] = _entry(catalog, name)
            elif name in makers and makers[name] not in parts:
                parts.append(makers[name])
    for key, path in output_files(node, catalog).items():
        taken["outputs"][key] = content_hash(path, known)
        if key in node.outputs:
            taken["datasets"][key] = _entry(catalog, key)
    # As they come back from the file, so that the two can be compared.
    return cast("Fingerprint", json.loads(json.dumps(taken, sort_keys=True)))


def load_fingerprint(node: Node, catalog: CatalogProtocol) -> Fingerprint | None:
    """The fingerprint of a node's last run; None if there is none that can be read."""
    loaded = load_saved(catalog, FINGERPRINT.format(node.name))
    whole = loaded.keys() == Fingerprint.__annotations__.keys()
    return cast("Fingerprint", loaded) if whole else None


def save_fingerprint(
    node: Node, started: Fingerprint, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> None:
    """Save the fingerprint a node started with, and the hashes of the outputs it has just saved.

    If an input changed meanwhile, it is not known which version went into the outputs: then
    nothing is saved. Raises DatasetError if the fingerprint cannot be written.
    """
    saved = catalog.get(FINGERPRINT.format(node.name))
    if saved is None:
        return
    known = load_saved(catalog)
    now = take_fingerprint(node, makers, catalog, known)
    if now["inputs"] != started["inputs"]:
        logger.warning("An input of %s changed while it ran; it will count as stale.", node.name)
        return
    saved.save({**started, "outputs": now["outputs"]})
    save_hashes(catalog, known)


def load_saved(catalog: CatalogProtocol, name: str = HASHES) -> dict[str, Any]:
    """A saved dict, such as the content hashes of earlier runs; empty if none can be read."""
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
    known = {path: known[path] for path in known if not is_remote(path)}
    if saved is not None and known != load_saved(catalog):
        with suppress(DatasetError, OSError):
            saved.save(known)


def _other_models(namespace: str | None) -> frozenset[str]:
    """Modules that an experiment, its forecasts and its export do not use, though the table of
    models leads to them."""
    if namespace not in OF_ONE_EXPERIMENT:
        return frozenset()
    own = namespace.rpartition("_")[2]
    return frozenset(f"{PACKAGE}.models.{model}" for model in MODELS if model != own)


def _messages(language: str) -> dict[str, str]:
    """The hash of what a page in this language may say."""
    path = catalogue_file(language)
    return {f"messages of {language}": digest(path.read_bytes())} if path else {}


def _entry(catalog: CatalogProtocol, name: str) -> str:
    """Hash of a catalog entry; where the file lies does not count, only what is in it."""
    entry = catalog_entry(catalog.get(name))
    entry = {**entry, **entry.get("kwargs", {})}  # where a dataset inherits its __init__
    left_out = ("args", "kwargs", "filepath", "metadata")
    return digest({key: entry[key] for key in entry if key not in left_out})
