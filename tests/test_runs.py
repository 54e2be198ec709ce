"""Past runs side by side, as a user sees them: ``kedro runs list`` and ``kedro runs diff``."""

import json
import re
from pathlib import Path

import pytest

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project

pytestmark = pytest.mark.integration

RUN = ("run", "--env", "quick", "--pipeline", "compare_single_vd")


@pytest.fixture(scope="module")
def project(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("runs"))
    code, printed = runs.run(folder, "runs", "list")
    assert (code, printed) == (0, "No run is kept yet.\n")
    code, printed = runs.run(folder, *RUN, "--params", SMALL)
    assert code == 0, printed
    assert printed.splitlines()[-1].endswith("Kept as run 1 of kedro runs list")
    return folder


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "data/.history").iterdir())


def kept(folder: Path, number: int) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"data/.history/{number}.json").read_text())
    return found


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner", "DaskRunner"])
def test_what_a_run_made_is_kept_by_every_runner(
    project: Path, runs: ForkedRuns, runner: str
) -> None:
    """... and nothing of what was up to date, and no run that made nothing."""
    before = numbers(project)
    params = f"{SMALL},single_vd_xlstm.training.epochs={2 + len(before) % 2}"
    workers = () if runner in ("SequentialRunner", "ThreadRunner") else ("--runner-params", "max_workers=2")
    command = (*RUN, "--only-stale-outputs", "--runner", runner, *workers, "--params", params)
    code, printed = runs.run(project, *command)
    assert code == 0, printed
    number = before[-1] + 1
    assert numbers(project) == [*before, number]
    assert list(kept(project, number)["experiments"]) == ["single_vd_xlstm"]  # type: ignore[call-overload]

    code, printed = runs.run(project, *command)
    assert printed == "Everything is up to date.\n"
    code, printed = runs.run(project, "run", "--env", "quick", "--pipeline", "reporting", "--params", params)
    assert code == 0, printed
    assert numbers(project) == [*before, number]

    code, printed = runs.run(project, "runs", "diff", str(before[-1]), str(number))
    assert code == 0
    assert "\nData\n  the same\n\nCode\n  the same\n" in printed
