"""``compare_all`` killed with SIGKILL at random points, again and again, and resumed."""

import json
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.forked_runs import ForkedRuns, forked_runs
from tests.test_faults import assert_all_files_are_whole, kill, printed
from tests.test_run import copy_of_the_project
from vd_forecasting.datasets import XarrayDataset
from vd_forecasting.parameters import EXPERIMENTS, MODES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="forks, and kills with SIGKILL"),
]

RUN = ("run", "--env", "quick", "--pipeline", "compare_all", "--only-stale-outputs")
PARAMS = ("--params", "vd_file=small.h5")
MODELS = {
    "lstm": {"hidden_size": 8, "num_layers": 1},
    "xlstm": {"embedding_dim": 8, "num_blocks": 2, "slstm_at": [1]},
}
WINDOWS: dict[str, dict[str, Any]] = {
    "single_vd": {},
    "multi_vd": {"num_vds": 2},
    "independent_multi_vd": {"num_vds": 2, "target_vd_index": "all"},
}
TRAINING = {"epochs": 4, "batch_size": 32, "lr_patience": 0}
KILLS = 50
KILLS_OF_ONE_PROJECT = 13
STEP = re.compile(r"  ▸ |: epoch \d")
EPOCH = re.compile(r"  (\w+(?: VD-\d)?): epoch (\d)/4 ")
TIME = re.compile(r"[\d.,]+ (ms|s|min)\b|[\d.]+( to [\d.]+)? times as long")
HAVE_TIMES = ("comprehensive_model_comparison.html", "cost.png", "training.log")
"""Files with times in them that cannot be taken out; those of all others are."""


def small_project(folder: Path) -> Path:
    folder.mkdir()
    copy_of_the_project(folder)
    for model, size in MODELS.items():
        blocks = {
            f"{mode}_{model}": {"model": size, "training": TRAINING, "windows": WINDOWS[mode]}
            for mode in MODES
        }
        (folder / f"conf/quick/parameters_{model}.yml").write_text(yaml.safe_dump(blocks))
    return folder


def start(runs: ForkedRuns, folder: Path) -> int:
    return runs.start(folder, folder / "printed.log", *RUN, *PARAMS)


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
    return {path for path in found if ".fingerprints" not in path.parts}


def assert_same(folder: Path, whole: Path) -> None:
    assert outputs(folder) == outputs(whole)
    for name in outputs(whole):
        if name.name not in HAVE_TIMES:
            one, other = (without_times(project / "data" / name) for project in (folder, whole))
            # NaN is not itself, but its text is
            assert one == other or str(one) == str(other), name


def test_compare_all_killed_fifty_times_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    rng = random.Random(3)
    with forked_runs() as runs:
        whole = small_project(tmp_path / "undisturbed")
        assert runs.wait(start(runs, whole)) == 0, printed(whole)
        trainings = set(EPOCH.findall(printed(whole)))
        assert len(trainings) == 4 * (len(EXPERIMENTS) + 2)
        killed = projects = 0
        while killed < KILLS:
            projects += 1
            folder = small_project(tmp_path / f"project{projects}")
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
