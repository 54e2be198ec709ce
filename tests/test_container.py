"""The container image, and the workflow of code hosts, without a container engine."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

from tests import PROJECT
from tests.make.container import (
    Build,
    Stage,
    context,
    copied,
    ignore_patterns,
    ignored,
    stages,
    start,
)

STAGES = stages()
*_, IMAGE = STAGES
TESTING = next(stage for stage in STAGES if stage.name == "test")
RUNS = [
    argument for stage in STAGES for instruction, argument in stage.steps if instruction == "RUN"
]
PAGE = Path("data/08_reporting/comparison/comprehensive_model_comparison.html")


def test_the_image_is_made_from_a_python_of_a_fixed_version() -> None:
    names = {stage.name for stage in STAGES}
    outer = [stage.base for stage in STAGES if stage.base not in names]
    assert [base for base in outer if not re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)] == []
    assert outer


def test_the_image_runs_as_a_user_without_rights() -> None:
    user, group = IMAGE.last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("command", RUNS)
def test_installations_leave_no_cache_and_have_fixed_versions(command: str) -> None:
    for install in re.findall(r"pip install[^&]+", command):
        assert {"--no-cache-dir", "constraints.txt"} <= set(install.split())


def test_the_image_does_what_the_readme_does() -> None:
    readme = (PROJECT / "README.md").read_text("utf-8")
    first = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/"
    assert first + " ".join(IMAGE.command()) in readme
    assert '.venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest' in readme
    assert TESTING.command() == ["python", "-m", "pytest"]


def test_all_that_is_copied_into_the_image_is_there() -> None:
    copies = [text for stage in STAGES for word, text in stage.steps if word == "COPY"]
    sources = list(chain.from_iterable(copied(text)[0] for text in copies))
    assert {"src", "conf", "data", "."} <= set(sources)
    assert [source for source in sources if next(context(source), None) is None] == []


def test_what_git_ignores_is_no_part_of_the_image() -> None:
    def in_dockers_spelling(pattern: str) -> str:
        taken_back, path = pattern.startswith("!"), pattern.lstrip("!").removesuffix("/")
        from_the_top = "/" in path
        return "!" * taken_back + (path.lstrip("/") if from_the_top else f"**/{path}")

    # `!/data/*/` lets git look into the folders; Docker would take all that is in them.
    lines = [line for line in ignore_patterns(".gitignore") if not re.match("!.*/$", line)]
    expected = list(map(in_dockers_spelling, lines))
    of_docker = ignore_patterns(".dockerignore")
    assert sorted(of_docker) == sorted([*expected, ".git"])


def test_data_and_settings_of_a_user_stay_outside() -> None:
    patterns = ignore_patterns(".dockerignore")
    for path in (
        "data/01_raw/mine.h5",
        "data/08_reporting/a/page.html",
        "data/.fingerprints/a.json",
        "conf/local/credentials.yml",
        "src/vd_forecasting/__pycache__/a.pyc",
        ".git/config",
        ".venv/bin/python",
    ):
        assert ignored(path, patterns), path
    for path in ("data/01_raw/vd_sample.h5", "data/06_models/.gitkeep", "conf/local/.gitkeep"):
        assert not ignored(path, patterns), path


def test_a_code_host_runs_the_checks_on_every_python() -> None:
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text("utf-8"))
    checks = workflow["jobs"]["checks"]
    [check] = [step for step in checks["steps"] if "run" in step]
    assert check == {"run": ".ci/run", "env": {"PYTHON": "python${{ matrix.python }}"}}
    assert '"${PYTHON:-python3.11}" -m venv' in (PROJECT / ".ci/run").read_text("utf-8")
    index = dict(pair.split("=") for pair in arguments(STAGES))["TORCH_INDEX"]
    assert workflow["env"]["PIP_EXTRA_INDEX_URL"] == index


def arguments(of: list[Stage]) -> list[str]:
    return [argument for stage in of for word, argument in stage.steps if word == "ARG"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """What the image holds, made by the lines of the Dockerfile in an empty folder."""
    if sys.platform != "linux":
        pytest.skip("the image is one of Linux")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not STAGES[0].base.startswith(f"python:{version}-"):
        pytest.skip(f"the image is {STAGES[0].base}, this is Python {version}")
    index = dict(pair.split("=") for pair in arguments(STAGES))["TORCH_INDEX"]
    asked = [sys.executable, "-m", "pip", "index", "versions", "torch", "--extra-index-url", index]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if "+cpu" not in found.stdout:
        pytest.skip("pip finds no build of PyTorch for CPUs, and one with CUDA is several GB")
    built = start(tmp_path_factory.mktemp("image"))
    for stage in STAGES:
        if stage is not TESTING:
            built.add(stage)
    return built


@pytest.mark.slow
def test_the_lines_of_the_dockerfile_make_what_its_command_needs(image: Build) -> None:
    def files() -> set[Path]:
        every = (path.relative_to(image.folder) for path in image.folder.rglob("*"))
        return {path for path in every if not {"__pycache__", "data", ".viz"} & set(path.parts)}

    before = files()
    assert not (image.folder / PAGE).exists()
    assert (image.folder / ".viz").stat().st_mode & 0o777 == 0o777
    image.run(IMAGE.command())
    assert (image.folder / PAGE).stat().st_size > 0
    assert files() == before, "a user of the image may write to data and .viz only"


@pytest.mark.slow
def test_the_lines_of_the_dockerfile_make_what_the_tests_need(image: Build) -> None:
    image.add(TESTING)
    ran = image.run([*TESTING.command(), "-n", "0", "tests/test_layout.py"])
    assert " passed" in ran.stdout
