"""Past runs side by side, as a user sees them: ``kedro runs list`` and ``kedro runs diff``."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import SMALL, copy_of_the_project
from vd_forecasting.wording import number as words

pytestmark = pytest.mark.integration

RUN = ("run", "--env", "quick", "--pipeline", "compare_single_vd")
ONE = ("run", "--env", "quick", "--namespace", "single_vd_lstm")
STALE = (*RUN, "--only-stale-outputs")
TWO = ("--runner-params", "max_workers=2")


@pytest.fixture(scope="module")
def project(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("runs"))
    assert runs.run(folder, "runs", "list") == (0, "No run is kept yet.\n")
    code, printed = runs.run(folder, *RUN, "--params", SMALL)
    assert code == 0, printed
    assert printed.splitlines()[-1].endswith("Kept as run 1 of kedro runs list")
    return folder


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "data/.history").iterdir())


def kept(folder: Path, number: int) -> Any:
    return json.loads((folder / f"data/.history/{number}.json").read_text())


@pytest.mark.parametrize(
    ("runner", "epochs"),
    [
        (["SequentialRunner"], 2),
        (["ThreadRunner"], 3),
        (["ParallelRunner", *TWO], 2),
        (["DaskRunner", *TWO], 3),
    ],
    ids=lambda runner: runner[0] if isinstance(runner, list) else "",
)
def test_every_runner_keeps_what_it_made(
    project: Path, runs: ForkedRuns, runner: list[str], epochs: int
) -> None:
    """... and not what was up to date; a run that makes nothing is not kept."""
    before = numbers(project)
    last = kept(project, before[-1])["experiments"]["single_vd_xlstm"]["parameters"]
    params = ("--params", f"{SMALL},single_vd_xlstm.training.epochs={epochs}")
    code, printed = runs.run(project, *STALE, "--runner", *runner, *params)
    assert code == 0, printed
    number = before[-1] + 1
    assert numbers(project) == [*before, number]
    run = kept(project, number)
    assert (list(run["experiments"]), run["failed"]) == (["single_vd_xlstm"], {})

    assert runs.run(project, *STALE, *params) == (0, "Everything is up to date.\n")
    assert numbers(project) == [*before, number]

    metrics = json.loads((project / "data/08_reporting/single_vd_xlstm/metrics.json").read_text())
    code, printed = runs.run(project, "runs", "diff", str(before[-1]), str(number))
    assert code == 0, printed
    old = last["single_vd_xlstm.training.epochs"]
    assert f"Parameters\n  single_vd_xlstm.training.epochs {old} → {epochs}\n" in printed
    assert "Data\n  the same\n" in printed
    assert "Code\n  the same\n" in printed
    for feature in ("avg_speed", "total_volume"):
        mae = re.escape(words(metrics["test"][feature]["mae"]))
        assert re.search(rf"^  {feature} .* → {mae}  ", printed, flags=re.MULTILINE)

    code, printed = runs.run(project, "runs", "list")
    *_, line = printed.splitlines()
    assert line.startswith(f"{number}  ")
    assert line.endswith(f"  single_vd_xlstm.training.epochs {old} → {epochs}")


def test_a_run_that_failed_is_kept_for_what_it_finished(project: Path, runs: ForkedRuns) -> None:
    before = numbers(project)
    broken = "single_vd_lstm.training.epochs=2,single_vd_xlstm.model.context_length=10"
    code, printed = runs.run(project, *STALE, "--params", f"{SMALL},{broken}")
    assert code == 1
    number = before[-1] + 1
    run = kept(project, number)
    assert list(run["experiments"]) == ["single_vd_lstm"]
    assert run["failed"]["single_vd_xlstm"].startswith("context_length 10 is shorter")
    code, printed = runs.run(project, "runs", "diff", "1", str(number))
    assert code == 0
    assert "  single_vd_lstm.training.epochs 1 → 2\n" in printed
    assert f"In run {number} single_vd_xlstm failed: context_length 10 is shorter" in printed
    assert runs.run(project, "runs", "list")[1].count("/ failed") == 1


def test_a_run_that_forecasts_nothing_is_not_kept(project: Path, runs: ForkedRuns) -> None:
    before = numbers(project)
    report = ("run", "--env", "quick", "--pipeline", "reporting", "--params", SMALL)
    assert "Kept as run" not in runs.run(project, *report)[1]
    assert numbers(project) == before


def test_what_cannot_be_kept_fails_no_run(project: Path, runs: ForkedRuns) -> None:
    folder = project / "data/.history"
    aside = folder.rename(folder.with_name("aside"))
    try:
        folder.write_text("no folder")
        code, printed = runs.run(project, *ONE, "--params", SMALL)
        assert code == 0, printed
        assert "This run is not kept for kedro runs: " in printed
    finally:
        folder.unlink()
        aside.rename(folder)


def test_history_can_be_turned_off(project: Path, runs: ForkedRuns) -> None:
    """... which leaves runs alone that are there."""
    before, off = numbers(project), "tracking.history=0"
    code, printed = runs.run(project, *ONE, "--params", f"{SMALL},{off}")
    assert code == 0, printed
    assert numbers(project) == before
    assert runs.run(project, "runs", "list", "--params", off)[0] == 0
    code, printed = runs.run(project, "runs", "list", "--params", f"{off},data_folder=elsewhere")
    assert code == 1
    assert printed == (
        "Error: tracking.history is 0, so no run is kept; tracking: {history: 50} in "
        "conf/local/parameters.yml keeps the last 50\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "1", "99"], r"there is no run 99; kedro runs list has 1 to \d+"),
        (["diff", "1", "x"], r"there is no run x; kedro runs list has 1 to \d+"),
        (["list", "--params", "tracking.history=-1"], r"tracking.history: .* \(found -1\)"),
        (["list", "--params", "tracking.histori=1"], r".* did you mean tracking.history\?"),
    ],
)
def test_errors_are_one_line(
    project: Path, runs: ForkedRuns, arguments: list[str], message: str
) -> None:
    code, printed = runs.run(project, "runs", *arguments)
    assert code == 1
    assert re.fullmatch(f"Error: {message}\n", printed)


def test_history_does_not_make_anything_stale(project: Path, runs: ForkedRuns) -> None:
    code, printed = runs.run(project, *STALE, "--params", SMALL)
    assert code == 0, printed
    number = numbers(project)[-1]
    params = ("--params", f"{SMALL},tracking.history=2")
    assert runs.run(project, *STALE, *params) == (0, "Everything is up to date.\n")
    code, printed = runs.run(project, *ONE, *params)
    assert code == 0, printed
    assert numbers(project) == [number, number + 1]
