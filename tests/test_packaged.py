"""The package without its checkout, and the checkout without its package's metadata."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT
from tests.make.forked_runs import ForkedRuns
from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project
from vd_forecasting import __version__
from vd_forecasting.provenance import version_of


def test_the_version_is_known_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", refuse)
    assert version_of("vd_forecasting") == __version__
    assert version_of("torch") == "not installed"


def test_no_other_module_asks_for_versions() -> None:
    asking = [
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "src").rglob("*.py")
        if "importlib.metadata" in path.read_text("utf-8")
    ]
    assert asking == ["src/vd_forecasting/provenance.py"]


@pytest.mark.integration
def test_a_run_from_a_sub_folder_logs_as_the_project_says(runs: ForkedRuns, tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    (folder / "notebooks").mkdir()
    command = ("run", "--pipeline", "data_engineering", "--params")
    code, printed = runs.run(folder / "notebooks", *command, "vd_file=small.h5")
    assert code == 0, printed
    assert (folder / "data" / "03_primary" / "vd_clean.h5").is_file()
    assert [line for line in printed.splitlines() if not LOG_LINE.match(line)] == []
    assert "▸ data_engineering.clean" in printed


@pytest.mark.integration
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[console]", "[console", "line 30, column 13"),
        ("logging.StreamHandler", "logging.StremHandler", "Class 'StremHandler' not found"),
        ("root:\n  level: WARNING", "root:\n  level: LOUD", "root.*: Unknown level: 'LOUD'"),
    ],
)
def test_a_slip_in_the_configuration_of_logs_is_one_line(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    """... where Kedro has not met it before the project."""
    folder = copy_of_the_project(tmp_path)
    path = folder / "conf" / "logging.yml"
    path.write_text(path.read_text().replace(before, after))
    command = [sys.executable, "-m", "vd_forecasting", "--pipeline", "data_engineering"]
    for name, arguments in {
        "conf/logging.yml": [],
        str(path): ["--conf-source", "../conf"],
    }.items():
        run = subprocess.run(
            [*command, *arguments],
            cwd=folder / "src" if arguments else folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1
        assert re.match(f"Error: .*logging.yml: .*{told}", run.stderr.splitlines()[-1]), name
        assert "Traceback" not in run.stderr


@pytest.mark.integration
@pytest.mark.parametrize("name", ["a[1]b", "a{1}b"])
def test_a_folder_whose_name_kedro_reads_as_a_pattern_is_named_in_one_line(
    runs: ForkedRuns, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    folder = copy_of_the_project(tmp_path / name)
    code, printed = runs.run(folder, "run", "--pipeline", "data_engineering")
    assert code == 1
    *_, last = printed.splitlines()
    assert last.startswith(f"Error: {folder}")
    assert "rename the folder or move the project" in last


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a wheel of the project is installed, alone."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    source = folder / "source"
    source.mkdir()
    for part in ("src", "pyproject.toml", "README.md", "LICENSE"):
        (source / part).symlink_to(PROJECT / part)
    subprocess.run([*wheel, str(source)], check=True, timeout=200)
    [built] = folder.glob("*.whl")
    target = ["--no-deps", "--target", str(folder / "site"), str(built)]
    subprocess.run([*pip, "install", *target], check=True, timeout=200)
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "vd_forecasting"], ["bin/vd_forecasting", "run"]])
def test_the_wheel_runs_with_a_configuration_from_elsewhere(
    installed: Path, tmp_path: Path, command: list[str]
) -> None:
    project = copy_of_the_project(tmp_path / "project")
    empty = tmp_path / "empty"
    empty.mkdir()
    program = [str(installed / part) if part.startswith("bin/") else part for part in command]
    options = ["--conf-source", str(project / "conf"), "--pipeline", "data_engineering"]
    result = subprocess.run(
        [sys.executable, *program, *options, "--params", f"vd_file={project / 'small.h5'}"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    assert (empty / "data" / "08_reporting" / "data_quality.md").is_file()
    assert [line for line in result.stderr.splitlines() if not LOG_LINE.match(line)] == []


@pytest.mark.slow
def test_the_wheel_holds_what_is_no_code(installed: Path) -> None:
    package = PROJECT / "src" / "vd_forecasting"
    held = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    other = {path for path in held if path.suffix not in {".py", ".pyc", ".nbi", ".nbc"}}
    assert {"page.html", "page.css", "page.js"} <= {path.name for path in other}
    assert [path for path in other if not (installed / "vd_forecasting" / path).is_file()] == []


@pytest.mark.slow
def test_the_wheel_forecasts_a_recent_file(installed: Path, tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    empty = tmp_path / "empty"
    empty.mkdir()
    small = f"{SMALL},vd_file={project / 'small.h5'}"
    for part in (["--env", "quick", "--namespace", "single_vd_lstm"], ["--pipeline", "forecast"]):
        params = small if "single_vd_lstm" in part else f"vd_file={project / 'small.h5'}"
        options = ["--conf-source", str(project / "conf"), *part, "--params", params]
        result = subprocess.run(
            [sys.executable, "-m", "vd_forecasting", *options],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert result.returncode == 0, result.stderr
    assert (empty / "data" / "07_model_output" / "forecast" / "single_vd_lstm.csv").is_file()
    assert (empty / "data" / "08_reporting" / "forecast" / "single_vd_lstm.md").is_file()
