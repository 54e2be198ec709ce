"""What code a function uses, as far as it lies in this package.

The unit is the definition: a function, a class or a constant at the top level of a module. A
function uses what it names, and what that names, from module to module, whether imported at the
top or inside a function. So a new plot in a module of plots leaves the others as they are.

What a module does when it is imported, beyond defining names, counts for all that imports it. A
string that is the name of a file beside the module, such as a style sheet, stands for that file.

Comments, docstrings and formatting do not count. A type annotation counts as a part of its function
but not as a use of the type. Not seen are names made at run time: ``getattr`` with a computed name,
``importlib.import_module``, ``import *``, and decorators that register what they decorate.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType

PACKAGE = __name__.split(".")[0]

Target = tuple[str, str | None]
"""What an import binds a name to: a module, or what the module calls by a name."""
Chain = tuple[str, ...]
"""``a.b.c``"""


@dataclass(frozen=True, eq=False)
class Package:
    """All sources of a package, as they were when they were read."""

    name: str
    modules: Mapping[str, str]
    """Source by dotted name; that of a package is its ``__init__``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Hash of every other file, by ``dotted.package/file.name``."""

    @cached_property
    def packages(self) -> frozenset[str]:
        """The modules in which there are modules."""
        return frozenset(module.rpartition(".")[0] for module in self.modules)


@dataclass(frozen=True)
class Definition:
    """A piece of code and what it refers to."""

    digest: str
    names: frozenset[Chain]
    strings: frozenset[str]
    imports: Mapping[str, Target]
    """Those inside of it."""


@dataclass(frozen=True)
class Module:
    """A parsed module."""

    definitions: Mapping[str, Definition]
    imports: Mapping[str, Target]
    effects: Definition | None
    """What it does when it is imported, beyond defining names."""


@dataclass(frozen=True)
class Code:
    """What a function uses."""

    definitions: Mapping[str, str]
    """Hashes by dotted name."""
    packages: frozenset[str]
    """Top-level names of other packages."""


@cache
def this_package() -> Package:
    """The sources of this package, read once, so that they are those that were imported."""
    root = Path(__file__).parents[2]
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


@cache
def code_of(function: FunctionType, without: frozenset[str] = frozenset()) -> Code:
    """What ``function`` uses of this package, but for the modules ``without``."""
    name = function.__qualname__.split(".")[0]
    return used(this_package(), function.__module__, name, without)


def used(package: Package, module: str, name: str, without: frozenset[str] = frozenset()) -> Code:
    """All code of ``package`` that the definition ``name`` of ``module`` uses, and itself.

    Args:
        package: where to look.
        module: dotted name of a module.
        name: a top-level name in it.
        without: modules that are not followed.
    """
    code: dict[str, str] = {}
    packages: set[str] = set()
    seen: set[Item] = set()
    todo = [(module, name)]
    while todo:
        item = todo.pop()
        if item in seen or item[0] in without or item[0] not in package.modules:
            continue
        seen.add(item)
        uses = _uses(package, *item)
        code |= uses.code
        packages |= uses.packages
        todo.extend(uses.items)
    return Code(dict(sorted(code.items())), frozenset(packages))


Item = tuple[str, str]
"""A module and a name in it, ``IMPORT`` or ``EVERYTHING``."""
IMPORT = ""
EVERYTHING = "*"


@dataclass(frozen=True)
class _Uses:
    """What one item is and what it leads to."""

    code: dict[str, str] = field(default_factory=dict)
    items: set[Item] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)


@cache
def _uses(package: Package, module: str, name: str) -> _Uses:
    parsed = _parsed(package, module)
    uses = _Uses()
    if name == IMPORT:
        uses.items.update({(module.rpartition(".")[0], IMPORT)})
        for target in parsed.imports.values():
            uses.items.add((_locate(package, target, ())[0], IMPORT))
        if parsed.effects is not None:
            uses.code[module] = parsed.effects.digest
            _follow(package, module, parsed.effects, uses)
        return uses
    uses.items.add((module, IMPORT))
    if name == EVERYTHING:
        uses.items.update((module, one) for one in {*parsed.definitions, *parsed.imports})
    elif name in parsed.definitions:
        uses.code[f"{module}.{name}"] = parsed.definitions[name].digest
        _follow(package, module, parsed.definitions[name], uses)
    elif name in parsed.imports:
        _lead_to(package, parsed.imports[name], (), uses)
    return uses


def _follow(package: Package, module: str, definition: Definition, uses: _Uses) -> None:
    """Add what a definition refers to."""
    parsed = _parsed(package, module)
    for root, *rest in definition.names:
        if root in definition.imports:
            _lead_to(package, definition.imports[root], tuple(rest), uses)
        elif root in parsed.definitions:
            uses.items.add((module, root))
        elif root in parsed.imports:
            _lead_to(package, parsed.imports[root], tuple(rest), uses)
    for target in definition.imports.values():
        uses.items.add((_locate(package, target, ())[0], IMPORT))
    for string in definition.strings:
        file = f"{_folder(package, module)}/{string}"
        if file in package.files:
            uses.code[file] = package.files[file]


def _lead_to(package: Package, target: Target, rest: Chain, uses: _Uses) -> None:
    """Add what an imported name with dots behind it stands for."""
    top = target[0].split(".")[0]
    if top != package.name:
        uses.packages.add(top)
        return
    module, chain = _locate(package, target, rest)
    # A module as such, passed on as a value: everything in it may be used.
    uses.items.add((module, chain[0] if chain else EVERYTHING))


def _locate(package: Package, target: Target, rest: Chain) -> tuple[str, Chain]:
    """The module that ``target`` followed by ``rest`` leads to, and what it names in there."""
    module, attribute = target
    chain = rest if attribute is None else (attribute, *rest)
    while chain and f"{module}.{chain[0]}" in package.modules:
        module, chain = f"{module}.{chain[0]}", chain[1:]
    return module, chain


def _folder(package: Package, module: str) -> str:
    """The package a module lies in; that of a package is itself."""
    return module if module in package.packages else module.rpartition(".")[0]


def _parsed(package: Package, module: str) -> Module:
    return parse(package.modules[module], _folder(package, module))


@cache
def parse(text: str, folder: str) -> Module:
    """The definitions and imports of a module.

    Args:
        text: its source.
        folder: the package it lies in, for relative imports.

    Raises:
        SyntaxError: it is no Python.
    """
    statements: dict[str, list[ast.stmt]] = {}
    imports: dict[str, Target] = {}
    effects: list[ast.stmt] = []
    for statement in ast.parse(text).body:
        if _is_text(statement):
            continue
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= dict(_bindings(statement, folder))
        elif names := _defines(statement):
            for name in names:
                statements.setdefault(name, []).append(statement)
        else:
            effects.append(statement)
            imports |= _imports_in(statement, folder)
    return Module(
        {name: _definition(parts, folder) for name, parts in statements.items()},
        imports,
        _definition(effects, folder) if effects else None,
    )


def _defines(statement: ast.stmt) -> list[str]:
    """The names a statement defines, if that is all it does."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    parts = [part for target in targets for part in _flat(target)]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _flat(part)
    elif isinstance(target, ast.Starred):
        yield from _flat(target.value)
    else:
        yield target


def _definition(statements: list[ast.stmt], folder: str) -> Definition:
    visitor = _References()
    imports: dict[str, Target] = {}
    for statement in statements:
        imports |= _imports_in(statement, folder)
        visitor.visit(statement)
    # Unparsed, because a dump is another one in every version of Python.
    text = "\n".join(ast.unparse(_without_texts(statement)) for statement in statements)
    return Definition(
        _digest(text.encode("utf-8", errors="surrogatepass")),
        frozenset(visitor.names),
        frozenset(visitor.strings),
        imports,
    )


def _imports_in(statement: ast.stmt, folder: str) -> dict[str, Target]:
    imports: dict[str, Target] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= dict(_bindings(node, folder))
    return imports


def _bindings(statement: ast.Import | ast.ImportFrom, folder: str) -> Iterator[tuple[str, Target]]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.asname:
                yield alias.asname, (alias.name, None)
            else:
                yield alias.name.split(".")[0], (alias.name.split(".")[0], None)
                yield alias.name, (alias.name, None)  # imported too, though no name is bound to it
        return
    module = "." * statement.level + (statement.module or "")
    if statement.level:
        module = importlib.util.resolve_name(module, folder)
    for alias in statement.names:
        yield alias.asname or alias.name, (module, alias.name)


class _References(ast.NodeVisitor):
    """Collects dotted names and strings; those in annotations of functions run nothing."""

    def __init__(self) -> None:
        self.names: set[Chain] = set()
        self.strings: set[str] = set()
        self._in_function = False

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            self.names.add((value.id, *reversed(parts)))
        else:
            self.visit(value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.strings.add(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        pass  # its name and its annotation

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.visit(node.args)
        before, self._in_function = self._in_function, True
        for statement in node.body:
            self.visit(statement)
        self._in_function = before

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before, self._in_function = self._in_function, False
        self.generic_visit(node)
        self._in_function = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)
        if not self._in_function:  # pydantic and dataclasses read those of classes
            self.visit(node.annotation)


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _without_texts(statement: ast.stmt) -> ast.stmt:
    """Take the strings that stand alone, such as docstrings, out of a statement."""
    for node in ast.walk(statement):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return statement


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
