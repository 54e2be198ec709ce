"""The quick ``compare_all`` of the sample, killed at random points again and again, and resumed."""

import json
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests import PROJECT
from tests.make.forked_runs import ForkedRuns
from tests.make.killed_runs import assert_all_files_are_whole, kill, printed
from tests.make.projects import copy_of_the_project
from vd_forecasting.datasets import XarrayDataset
from vd_forecasting.vocabulary import EXPERIMENTS

SAMPLE = "data/01_raw/vd_sample.h5"
RUN = ("run", "--env", "quick", "--pipeline", "compare_all", "--only-stale-outputs")
EPOCHS = 3
KILLS = 50
KILLS_OF_ONE_PROJECT = 17
STEP = re.compile(r"  ▸ |: epoch \d")
EPOCH = re.compile(rf"  (\w+(?: VD-[\d-]+)?): epoch (\d)/{EPOCHS} ")
TIME = re.compile(r"[\d.,]+ (ms|s|min)\b|[\d.]+( to [\d.]+)? times as long")
HAVE_TIMES = ("comprehensive_model_comparison.html", "cost.png", "training.log")
"""Files with times in them that cannot be taken out; those of all others are."""


def project_with_the_sample(folder: Path) -> Path:
    folder.mkdir()
    copy_of_the_project(folder)
    (folder / SAMPLE).parent.mkdir(parents=True)
    shutil.copy(PROJECT / SAMPLE, folder / SAMPLE)
    return folder


def start(runs: ForkedRuns, folder: Path) -> int:
    return runs.start(folder, folder / "printed.log", *RUN)


def kill_at_random(runs: ForkedRuns, folder: Path, rng: random.Random) -> bool:
    """Run, and kill soon after some more steps; tells whether there was still a run."""
    before = len(STEP.findall(printed(folder)))
    wanted = before + rng.randint(0, 20)
    pid = start(runs, folder)
    while len(STEP.findall(printed(folder))) < wanted and runs.is_running(pid):
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 1))
    return kill(runs, pid, folder)


def without_times(path: Path) -> Any:
    """What a file holds, but for what tells how long something took."""
    if path.suffix == ".json":
        return json.loads(path.read_text(), object_hook=_without_seconds)
    if path.suffix == ".md":
        return TIME.sub("some time", path.read_text())
    if path.match("*_baselines/predictions.nc"):
        return XarrayDataset(filepath=str(path)).load().load().drop_vars("fit_seconds").to_dict()
    return path.read_bytes()


def _without_seconds(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if "seconds" not in key}


def outputs(folder: Path) -> set[Path]:
    """All files but what the outputs were made with."""
    data = folder / "data"
    found = {path.relative_to(data) for path in data.rglob("*") if path.is_file()}
    return {path for path in found if {".fingerprints", ".history"}.isdisjoint(path.parts)}


def assert_same(folder: Path, whole: Path) -> None:
    assert outputs(folder) == outputs(whole)
    for name in outputs(whole):
        if name.name not in HAVE_TIMES:
            one, other = (without_times(project / "data" / name) for project in (folder, whole))
            # NaN is not itself, but its text is
            assert one == other or str(one) == str(other), name


@pytest.mark.slow
def test_compare_all_killed_fifty_times_ends_like_an_undisturbed_run(
    runs: ForkedRuns, tmp_path: Path
) -> None:
    rng = random.Random(3)
    whole = project_with_the_sample(tmp_path / "undisturbed")
    assert runs.wait(start(runs, whole)) == 0, printed(whole)
    trainings = set(EPOCH.findall(printed(whole)))
    assert len(trainings) == EPOCHS * len(EXPERIMENTS)
    killed = projects = 0
    while killed < KILLS:
        projects += 1
        folder = project_with_the_sample(tmp_path / f"project{projects}")
        kills = 0
        while kills < KILLS_OF_ONE_PROJECT and kill_at_random(runs, folder, rng):
            kills += 1
            assert_all_files_are_whole(folder)
        killed += kills
        assert runs.wait(start(runs, folder)) == 0, printed(folder)
        assert "Everything is up to date" in _again(runs, folder)
        assert_same(folder, whole)
        epochs = EPOCH.findall(printed(folder))
        assert len(set(epochs)) == len(epochs), "an epoch was trained twice"
        assert set(epochs) <= trainings
        assert "Traceback" not in printed(folder)
        assert not list(folder.rglob("training_state"))
    print(f"{killed} runs killed in {projects} projects")  # noqa: T201


def _again(runs: ForkedRuns, folder: Path) -> str:
    assert runs.wait(start(runs, folder)) == 0, printed(folder)
    return printed(folder).splitlines()[-1]
