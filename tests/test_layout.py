"""Where tests live, and what they import."""

import ast
from pathlib import Path

from tests import PROJECT

TESTS = PROJECT / "tests"
SOURCE = PROJECT / "src" / "vd_forecasting"
WITHOUT_SOURCE = {"make", "benchmarks"}


def imported(path: Path) -> set[str]:
    """Dotted names of the modules, and of what is taken out of them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_module_imports_a_test_module() -> None:
    modules = {
        path: ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in TESTS.rglob("*.py")
    }
    of_tests = {
        name for path, name in modules.items() if path.name.startswith(("test_", "conftest"))
    }
    for path in modules:
        assert imported(path).isdisjoint(of_tests), path


def test_folders_mirror_those_of_the_source() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    for folder in folders:
        assert (SOURCE / folder).is_dir() or folder.parts[0] in WITHOUT_SOURCE, folder
