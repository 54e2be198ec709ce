"""The documentation site builds by itself, and the files about the project are sound."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import PROJECT
from vd_forecasting import __version__


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip('mkdocs-material is not installed: pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = {path.stem for path in (PROJECT / "docs").glob("*.md")}
    assert {path.stem for path in site.glob("*.html")} == pages | {"404"}


def test_the_start_page_shows_set_up_and_commands_of_the_readme(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "index.html").read_text("utf-8"))
    assert "--pipeline compare_all --env quick" in text
    assert "kedro verify" in text
    assert "8&lt;" not in text


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//[^>]*>")
    assert [
        found for page in site.glob("*.html") for found in loaded.findall(page.read_text())
    ] == []


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
    return dict(tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"])


def pins() -> dict[str, str]:
    """Name and version of each line of constraints.txt."""
    lines = (PROJECT / "constraints.txt").read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_hold_versions_only() -> None:
    versions = pins().values()
    assert versions
    assert all(re.fullmatch(r"[\w.]+", version) for version in versions)


def test_constraints_satisfy_every_direct_dependency(project: dict[str, Any]) -> None:
    extras = chain.from_iterable(project["optional-dependencies"].values())
    fixed = pins()
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        name = canonicalize_name(requirement.name)
        if name != "vd-forecasting":
            assert requirement.specifier.contains(fixed[name]), requirement


def test_the_citation_names_this_version_and_whole_references(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text("utf-8"))
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
        assert {"doi", "url"} & set(reference)


def test_versions_of_python_that_are_named_are_tested_by_a_code_host(
    project: dict[str, Any],
) -> None:
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text("utf-8"))
    tested = workflow["jobs"]["checks"]["strategy"]["matrix"]["python"]
    named = {one.rpartition(" ")[2] for one in project["classifiers"]}
    assert named
    assert named <= set(tested)
    assert project["requires-python"] == f">={tested[0]}"
