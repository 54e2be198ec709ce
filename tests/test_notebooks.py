"""The notebooks run top to bottom in a fresh copy of the project, without a warning."""

import shutil
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401  builds the font cache, else the kernel would say so
import nbformat
import pytest
from nbclient import NotebookClient

from tests import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project as it is after cloning, with nothing of the user's own."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("KEDRO_LOGGING_CONFIG", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    folder = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copytree(PROJECT / "notebooks", folder / "notebooks")
    for name in ("conf/local", "data/01_raw", "src"):  # the package itself is installed
        (folder / name).mkdir(parents=True)
    for name in ("pyproject.toml", ".telemetry", "data/01_raw/vd_sample.h5"):
        shutil.copy2(PROJECT / name, folder / name)
    return folder


def said_on_stderr(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stderr")


@pytest.mark.integration
def test_runs_without_error_or_warning_and_finds_the_project_from_its_root_too(
    path: Path, project: Path
) -> None:
    before = sorted(project.rglob("*"))
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    from_root = [f"import os\n\nos.chdir({str(project)!r})", first.source]
    notebook.cells += map(nbformat.v4.new_code_cell, from_root)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(
        cwd=str(project / "notebooks")
    )
    assert said_on_stderr(notebook) == ""
    assert sorted(project.rglob("*")) == before


def test_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
