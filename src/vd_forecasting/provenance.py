"""What code a function uses, as far as it lies in this package: the module it is defined in and all
that this imports, directly or not.

Imports inside of functions count too. An import from a package's ``__init__`` leads to the module
that defines the name; the ``__init__`` itself counts only if it is the one. Exempt are modules that
cannot change a result: :data:`EXEMPT`. A file counts for a module that names it in a string and
lies beside it, such as a style sheet; all files in ``templates/`` count for the modules beside that
folder.

Comments, docstrings and formatting do not count. Imports by computed names are not seen.
"""

import ast
import atexit
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from vd_forecasting import __version__

PACKAGE = __name__.split(".")[0]
EXEMPT = tuple(f"{PACKAGE}.{name}" for name in ("datasets", "running", "parameters", "provenance"))
"""Datasets read back what they wrote; parameters are compared by their values; how nodes are run
does not decide what they make."""


@dataclass(frozen=True, eq=False)
class Package:
    """All files of a package, as they were when they were read."""

    name: str
    modules: Mapping[str, str]  # source by dotted name; that of a package is its ``__init__``
    files: Mapping[str, str] = field(default_factory=dict)
    """Hash of every other file, by ``dotted.package/file.name``."""
    parsed: dict[str, Any] = field(default_factory=dict)
    """What :func:`_read` found, and the hash of what it has read, by module."""


@dataclass(frozen=True)
class Code:
    """What a function uses."""

    digests: Mapping[str, str]  # by dotted name of the module, or by ``dotted.package/file.name``
    packages: frozenset[str]  # top-level names of others


LONGEST_NAME = 255
"""That of a file."""

Target = tuple[str, str | None]
"""What an import stands for: a name in a module, or the module as such."""


@dataclass(frozen=True)
class _Module:
    folder: str  # the package it lies in; that of a package is itself
    digests: Mapping[str, str]  # of the module and of the files that count for it
    imports: frozenset[Target]
    bound: Mapping[str, Target]  # what names at its top level are imported from


@cache
def this_package() -> Package:
    """The sources of this package, read once, so that they are those that were imported."""
    root = Path(__file__).parent
    modules, files = {}, {}
    for path in sorted(root.rglob("*")):
        parts = (PACKAGE, *path.relative_to(root).parts)
        if not path.is_file() or "__pycache__" in parts:
            continue
        if path.suffix == ".py":
            names = parts[:-1] if path.stem == "__init__" else (*parts[:-1], path.stem)
            modules[".".join(names)] = path.read_text("utf-8")
        else:
            files[f"{'.'.join(parts[:-1])}/{path.name}"] = digest(path.read_bytes())
    package = Package(PACKAGE, modules, files)
    _keep(package, root / "__pycache__" / "provenance.json")
    return package


def _keep(package: Package, path: Path) -> None:
    """Take what an earlier process has parsed from a file, and leave it there for later ones.

    Beside the byte code that Python keeps of the same sources; a process that cannot read or write
    there parses them itself.
    """
    with suppress(OSError, ValueError):
        package.parsed.update(json.loads(path.read_text("utf-8")))
    before = dict(package.parsed)

    def save() -> None:
        if package.parsed == before:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with suppress(OSError):
            temporary.write_text(json.dumps(package.parsed), "utf-8")
            temporary.replace(path)

    if not sys.dont_write_bytecode:
        atexit.register(save)


@cache
def code_of(function: Callable[..., Any], without: frozenset[str] = frozenset()) -> Code:
    """What a function of this package uses, but for the modules ``without``."""
    return used(this_package(), function.__module__, {*without, *EXEMPT})


@cache
def code_digest(module: str) -> str:
    """One hash of all that a module of this package uses."""
    return digest(used(this_package(), module, EXEMPT).digests)


def version_of(package: str) -> str:
    """The version of this package or of another, ``not installed`` if it is not."""
    if package == PACKAGE:
        return __version__  # also of a checkout that is not installed
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return "not installed"


def used(package: Package, module: str, without: Collection[str] = ()) -> Code:
    """All code of ``package`` that a module uses, and itself, not following those ``without``."""
    left_out = tuple(f"{name}." for name in without)
    digests: dict[str, str] = {}
    others: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if f"{name}.".startswith(left_out) or name in digests or name not in package.modules:
            continue
        parsed = _parse(package, name)
        digests |= parsed.digests
        for target in parsed.imports:
            top = target[0].split(".")[0]
            if top != package.name:
                others.add(top)
            elif found := _locate(package, *target):
                todo.append(found)
    return Code(dict(sorted(digests.items())), frozenset(others))


@cache
def _locate(package: Package, module: str, name: str | None) -> str | None:
    """The module in which ``name`` of ``module`` is defined; None if a package as such is meant."""
    if f"{module}.{name}" in package.modules:
        return f"{module}.{name}"
    if module not in package.modules or _parse(package, module).folder != module:
        return module
    target = _parse(package, module).bound.get(name or "")
    return _locate(package, *target) if target else name and module


@cache
def _parse(package: Package, module: str) -> _Module:
    is_package = any(other.startswith(f"{module}.") for other in package.modules)
    folder = module if is_package else module.rpartition(".")[0]
    source = digest([package.modules[module], folder, package.modules.get(__name__)])
    known, found = package.parsed.get(module, [None, None])
    if known != source:
        found = _read(package.modules[module], folder)
        package.parsed[module] = [source, found]
    files = {
        file: digest
        for file, digest in package.files.items()
        if file.startswith(f"{folder}.templates/")
        or (file.startswith(f"{folder}/") and file.removeprefix(f"{folder}/") in found["strings"])
    }
    return _Module(
        folder,
        {module: found["digest"], **files},
        frozenset((of, name) for of, name in found["imports"]),
        {bound: (of, name) for bound, (of, name) in found["bound"].items()},
    )


def _read(source: str, folder: str) -> dict[str, Any]:
    """What the source of a module in this folder says, ready for JSON: its ``digest``, the
    ``strings`` that may name a file, its ``imports`` and what names at its top level are
    ``bound`` to."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    strings = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for node in nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list):  # without docstrings
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    # Unparsed, because a dump is another one in every version of Python.
    text = ast.unparse(tree).encode("utf-8", errors="surrogatepass")
    return {
        "digest": digest(text),
        "strings": sorted(string for string in strings if len(string) <= LONGEST_NAME),
        "imports": sorted(
            {target for node in nodes for _, target in _imports(node, folder)}, key=str
        ),
        "bound": dict(pair for node in tree.body for pair in _imports(node, folder)),
    }


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a string that stands alone, such as a docstring."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _imports(node: ast.AST, folder: str) -> Iterator[tuple[str, Target]]:
    """The names an import binds and what they stand for, if the node is one."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name, (alias.name, None)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        module = importlib.util.resolve_name(module, folder) if node.level else module
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)


def digest(value: Any) -> str:
    """A short hash of bytes, or of anything else as JSON."""
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(value).hexdigest()[:16]
