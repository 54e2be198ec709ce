"""Runs killed with SIGKILL at random points end as if nothing had happened."""

import json
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.make.forked_runs import ForkedRuns
from tests.make.killed_runs import assert_all_files_are_whole, kill, printed
from tests.make.projects import copy_of_the_project

pytestmark = pytest.mark.integration

RUN = ("run", "--env", "quick", "--params", "vd_file=small.h5")
TRAINING = (*RUN, "--pipeline", "report_single_vd_lstm", "--to-nodes", "single_vd_lstm.evaluate")
SMALL = {
    "single_vd_lstm": {
        "model": {"hidden_size": 16, "num_layers": 1},
        "training": {"seeds": [1, 2], "epochs": 5, "batch_size": 32},
    }
}
MODELS = "data/06_models/single_vd_lstm"
SAME_BYTES = (
    f"{MODELS}/best_model.pt",
    f"{MODELS}/models.pt",
    f"{MODELS}/config.json",
    "data/05_model_input/single_vd_lstm/windows.nc",
    "data/07_model_output/single_vd_lstm/predictions.nc",
    "data/07_model_output/single_vd_lstm/fit_errors.json",
)
KILLS_OF_ONE_RUN = 6
MOST_LINES = 10
"""Half of those that a whole run logs."""
EPOCH = re.compile(r"single_vd_lstm seed (\d): epoch (\d)/5 ")
SECONDS_LIMIT = 120


def small_project(folder: Path) -> Path:
    folder.mkdir()
    copy_of_the_project(folder)
    (folder / "conf/quick/parameters_lstm.yml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture(scope="module")
def undisturbed(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after a run that nobody killed."""
    folder = small_project(tmp_path_factory.mktemp("undisturbed") / "project")
    finish(runs, folder, TRAINING)
    return folder


def finish(runs: ForkedRuns, folder: Path, arguments: tuple[str, ...]) -> None:
    code = runs.wait(runs.start(folder, folder / "printed.log", *arguments))
    assert code == 0, printed(folder)


def kill_at_random(runs: ForkedRuns, folder: Path, rng: random.Random) -> bool:
    """Run and kill some time after a line of the log; tells whether there was still a run.

    How long the lines before it took says how much time that may be, on a machine of any speed.
    """
    before = len(printed(folder).splitlines())
    wanted = rng.randint(0, MOST_LINES)
    pid = runs.start(folder, folder / "printed.log", *TRAINING)
    started = time.monotonic()
    while len(printed(folder).splitlines()) < before + wanted and runs.is_running(pid):
        assert time.monotonic() - started < SECONDS_LIMIT, printed(folder)
        time.sleep(0.002)
    a_line_takes = (time.monotonic() - started) / wanted if wanted else 0.1
    time.sleep(rng.uniform(0, a_line_takes))
    return kill(runs, pid, folder)


def has_ended(folder: Path) -> bool:
    """Whether a run was through: the state of its training is the last thing it removes."""
    evaluated = (folder / "data/07_model_output/single_vd_lstm/fit_errors.json").is_file()
    return evaluated and not (folder / MODELS / "training_state").exists()


def history(folder: Path) -> Any:
    """Without what tells the time."""
    found = json.loads((folder / MODELS / "training_history.json").read_text())
    for runs in found.values():
        for run in runs.values():
            assert run.pop("seconds") > 0
            for epoch in run["epochs"]:
                assert epoch.pop("seconds") > 0
    return found


def survive(
    runs: ForkedRuns,
    folder: Path,
    undisturbed: Path,
    kills: int,
    rng: random.Random,
) -> int:
    """Run and kill again and again, let it end, and compare. Returns how often it was killed."""
    killed = 0
    while killed < kills and not has_ended(folder):
        killed += kill_at_random(runs, folder, rng)
        assert_all_files_are_whole(folder)
    if not has_ended(folder):
        finish(runs, folder, TRAINING)
    assert_like_undisturbed(folder, undisturbed)
    return killed


def assert_like_undisturbed(folder: Path, whole: Path) -> None:
    for name in SAME_BYTES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert history(folder) == history(whole)
    kept = (".gitkeep", ".fingerprints", ".history", ".runs")
    left = [path for path in (folder / "data").rglob(".*") if path.name not in kept]
    assert left == []
    assert not (folder / MODELS / "training_state").exists()
    epochs = EPOCH.findall(printed(folder))
    assert len(set(epochs)) == len(epochs), printed(folder)
    assert "Traceback" not in printed(folder)


def test_killed_runs_end_like_undisturbed_ones(
    runs: ForkedRuns, undisturbed: Path, tmp_path: Path
) -> None:
    folder = small_project(tmp_path / "project")
    killed = survive(runs, folder, undisturbed, kills=5, rng=random.Random(1))
    assert killed >= 1


def test_a_run_killed_after_its_training_does_not_train_again(
    runs: ForkedRuns, undisturbed: Path, tmp_path: Path
) -> None:
    """... but one that ended does."""
    folder = small_project(tmp_path / "project")
    pid = runs.start(folder, folder / "printed.log", *TRAINING)
    while "▸ single_vd_lstm.evaluate" not in printed(folder):
        assert runs.is_running(pid), printed(folder)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert runs.wait(pid) == -signal.SIGKILL
    finish(runs, folder, TRAINING)
    assert_like_undisturbed(folder, undisturbed)
    epochs = len(EPOCH.findall(printed(folder)))
    finish(runs, folder, TRAINING)
    assert len(EPOCH.findall(printed(folder))) == 2 * epochs


def test_a_training_that_cannot_write_is_told_in_one_line_and_goes_on_later(
    runs: ForkedRuns, undisturbed: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a disk that fills up."""
    folder = small_project(tmp_path / "project")
    log = folder / "printed.log"
    code = runs.wait(runs.start(folder, log, *TRAINING, largest_file=60_000))
    assert code == 1
    last = printed(folder).splitlines()[-1]
    assert last.startswith("Error: ")
    assert last.endswith(".state.pt: cannot be written, the file is larger than is allowed here")
    assert_all_files_are_whole(folder)
    survive(runs, folder, undisturbed, kills=0, rng=random.Random(0))


@pytest.mark.slow
def test_fifty_killed_runs_end_like_undisturbed_ones(
    runs: ForkedRuns, undisturbed: Path, tmp_path: Path
) -> None:
    rng = random.Random(2)
    killed = projects = 0
    while killed < 50:
        projects += 1
        folder = small_project(tmp_path / f"project{projects}")
        killed += survive(runs, folder, undisturbed, rng.randint(1, KILLS_OF_ONE_RUN), rng)
    print(f"{killed} runs killed in {projects} projects")  # noqa: T201
