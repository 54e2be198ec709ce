"""What Kedro may change at any time is used in one module alone."""

import ast
from pathlib import Path

import pytest
from kedro.io import AbstractVersionedDataset
from kedro.runner import AbstractRunner

from tests import PROJECT

PACKAGE = PROJECT / "src" / "vd_forecasting"
ALLOWED = PACKAGE / "running" / "kedro_private.py"
OTHERS = {
    *("_exit", "_recurrent_kernel_", "_bias_"),
    *("_foreach_lerp_", "_foreach_copy_", "_foreach_sub", "_foreach_mul_", "_foreach_add_"),
    *("_flat_weights", "_flat_weights_names", "_cudnn_rnn_flatten_weight"),
}
"""Those of the standard library, xlstm and torch."""
ASKED_FOR = {"_describe", "_exists"}
"""Kedro asks every dataset to define these."""


KEDROS = {*dir(AbstractRunner), *dir(AbstractVersionedDataset)}


def is_stored(node: ast.Attribute | ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def defined_in(path: Path) -> set[str]:
    """Names of functions, classes, variables and attributes that a module makes."""
    return {
        name
        for node in nodes_of(path)
        for name in (
            node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else "",
            node.id if isinstance(node, ast.Name) and is_stored(node) else "",
            node.attr if isinstance(node, ast.Attribute) and is_stored(node) else "",
        )
    }


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != ALLOWED]
OWN = set().union(*map(defined_in, MODULES)) - KEDROS


def private_names(path: Path) -> set[str]:
    """Underscored names that a module takes from, or overrides in, what is not the project's."""
    nodes = nodes_of(path)
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    by_string = {
        str(node.args[1].value)
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and isinstance(node.args[1], ast.Constant)
    }
    imported = {
        name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kedro")
        for name in [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    }
    found = {
        name
        for name in (defined_in(path) & KEDROS) | used | by_string | imported
        if is_private(name)
    }
    return found - OWN - OTHERS - ASKED_FOR


def test_the_search_finds_what_is_private() -> None:
    assert {"_run", "_copy", "_typing", "_get_executor"} <= private_names(ALLOWED)


@pytest.mark.parametrize(
    "path",
    MODULES,
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_no_other_module_uses_private_parts(path: Path) -> None:
    assert private_names(path) == set()
