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
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
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
    modules: Mapping[str, str]
    """Source by dotted name; that of a package is its ``__init__``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Hash of every other file, by ``dotted.package/file.name``."""

    @cached_property
    def packages(self) -> frozenset[str]:
        """The modules in which there are modules."""
        return frozenset(module.rpartition(".")[0] for module in self.modules)

    def folder(self, module: str) -> str:
        """The package a module lies in; that of a package is itself."""
        return module if module in self.packages else module.rpartition(".")[0]


@dataclass(frozen=True)
class Code:
    """What a function uses."""

    digests: Mapping[str, str]
    """By dotted name of the module, or by ``dotted.package/file.name``."""
    packages: frozenset[str]
    """Top-level names of other packages."""


@dataclass(frozen=True)
class _Module:
    digest: str
    imports: frozenset[tuple[str, str | None]]
    """Modules, and the name that is taken from each; None for the module as such."""
    bound: Mapping[str, tuple[str, str | None]]
    """The imports at its top level, by the name they are bound to."""
    strings: frozenset[str]


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
            files[f"{'.'.join(parts[:-1])}/{path.name}"] = _digest(path.read_bytes())
    return Package(PACKAGE, modules, files)


def code_of(function: Callable[..., Any], without: frozenset[str] = frozenset()) -> Code:
    """What a function of this package uses, but for the modules ``without``."""
    return _code_of_module(function.__module__, without)


def code_digest(module: str) -> str:
    """One hash of all that a module of this package uses."""
    return _digest(json.dumps(dict(_code_of_module(module).digests)).encode())


@cache
def _code_of_module(module: str, without: frozenset[str] = frozenset()) -> Code:
    return used(this_package(), module, {*without, *EXEMPT})


def version_of(package: str) -> str:
    """The version of this package or of another, ``not installed`` if it is not."""
    if package == PACKAGE:
        return __version__  # also of a checkout that is not installed
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def used(package: Package, module: str, without: Collection[str] = ()) -> Code:
    """All code of ``package`` that a module uses, and itself.

    Args:
        package: where to look.
        module: dotted name of a module.
        without: modules and packages that are not followed.
    """
    digests: dict[str, str] = {}
    others: set[str] = set()
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        exempt = any(f"{name}.".startswith(f"{left_out}.") for left_out in without)
        if exempt or name in seen or name not in package.modules:
            continue
        seen.add(name)
        digests |= _own_digests(package, name)
        for target in _parse(package, name).imports:
            if target[0].split(".")[0] != package.name:
                others.add(target[0].split(".")[0])
            elif (found := _locate(package, *target)) is not None:
                todo.append(found)
    return Code(dict(sorted(digests.items())), frozenset(others))


@cache
def _own_digests(package: Package, module: str) -> dict[str, str]:
    """Of a module and of the files that count for it."""
    parsed, folder = _parse(package, module), package.folder(module)
    named = {f"{folder}/{string}" for string in parsed.strings}
    templates = f"{folder}.templates/"
    return {module: parsed.digest} | {
        file: digest
        for file, digest in package.files.items()
        if file in named or file.startswith(templates)
    }


@cache
def _locate(package: Package, module: str, name: str | None) -> str | None:
    """The module in which ``name`` of ``module`` is defined.

    None if it is not in this package, or if only the package as such is meant.
    """
    if f"{module}.{name}" in package.modules:
        return f"{module}.{name}"
    if module not in package.modules:
        return None
    if module not in package.packages:
        return module
    if name is None:
        return None
    bound = _parse(package, module).bound
    return _locate(package, *bound[name]) if name in bound else module


@cache
def _parse(package: Package, module: str) -> _Module:
    tree = ast.parse(package.modules[module])
    folder = package.folder(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    # Unparsed, because a dump is another one in every version of Python.
    text = ast.unparse(tree).encode("utf-8", errors="surrogatepass")
    nodes = list(ast.walk(tree))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return _Module(
        _digest(text),
        frozenset(target for node in nodes for _, target in _imports(node, folder)),
        dict(pair for node in tree.body for pair in _imports(node, folder)),
        frozenset(string for string in strings if isinstance(string, str)),
    )


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a string that stands alone, such as a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports(node: ast.AST, folder: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """The names an import binds and what they stand for, if the node is one."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name, (alias.name, None)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        module = importlib.util.resolve_name(module, folder) if node.level else module
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
