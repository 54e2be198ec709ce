"""A search in a copy of the project, and an experiment that is trained with what it found."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.make.forked_runs import ForkedRuns
from tests.make.killed_runs import printed
from tests.make.projects import SMALL, copy_of_the_project

pytest.importorskip("optuna")
pytestmark = pytest.mark.integration

SEARCH = ("run", "--pipeline", "tune", "--namespace", "single_vd_lstm", "--env", "quick")
TRAIN = ("run", "--env", "quick", "--namespace")
FIVE = f"{SMALL},tuning.budget.trials=5"
TUNED = f"{FIVE},single_vd_lstm.tuned=true"
TUNE = Path("data/06_models/tune")


@pytest.fixture(scope="module")
def searched(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the settings of one experiment were searched."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("searched"))
    code, text = runs.run(folder, *SEARCH, "--params", FIVE)
    assert code == 0, text
    assert "1 search for settings: at most 5 trials each" in text
    assert "single_vd_lstm: trial 4  val loss " in text
    return folder


@pytest.fixture
def project(searched: Path, tmp_path: Path) -> Path:
    return shutil.copytree(searched, tmp_path / "project", symlinks=True)


def test_an_experiment_is_trained_with_the_settings_found_and_its_pages_say_so(
    runs: ForkedRuns, project: Path
) -> None:
    trials = pd.read_csv(project / "data/08_reporting/tune/single_vd_lstm_trials.csv")
    assert len(trials) == 5
    code, text = runs.run(project, *TRAIN, "single_vd_lstm", "--params", TUNED)
    assert code == 0, text
    best = yaml.safe_load((project / TUNE / "single_vd_lstm.yml").read_text())["single_vd_lstm"]
    config = json.loads((project / "data/06_models/single_vd_lstm/config.json").read_text())
    assert config["model_parameters"] | best["model"] == config["model_parameters"]
    assert config["training"] | best["training"] == config["training"]
    history = json.loads(
        (project / "data/06_models/single_vd_lstm/training_history.json").read_text()
    )
    losses = [epoch["val"]["loss"] for epoch in history["42"]["joint"]["epochs"]]
    assert min(losses) == pytest.approx(trials["value"].min(), rel=1e-12)

    report = project / "data/08_reporting/single_vd_lstm/training_report.md"
    assert "Its settings are the best of 5 trials" in report.read_text()
    code, text = runs.run(project, "run", "--env", "quick", "--pipeline", "compare_single_vd",
                             "--only-stale-outputs", "--params", TUNED)  # fmt: skip
    assert code == 0, text
    assert "single_vd_lstm: epoch 1" not in text, "it is trained already"
    comparison = project / "data/08_reporting/comparison/single_vd_lstm_vs_xlstm.md"
    assert "**Only the settings of LSTM are known to have been searched**" in comparison.read_text()


def test_a_search_that_is_over_trains_nothing_and_is_no_training(
    runs: ForkedRuns, project: Path
) -> None:
    pages = [*(project / "data/08_reporting/tune").iterdir()]
    made = {path: path.read_bytes() for path in pages}
    code, text = runs.run(project, *SEARCH, "--params", TUNED)
    assert code == 0, text
    assert "trial 4" not in text
    assert {path: path.read_bytes() for path in made} == made
    code, text = runs.run(project, *SEARCH, "--dry-run", "--params", TUNED)
    assert (code, "training" in text) == (0, False), text


def test_an_interrupted_search_continues(runs: ForkedRuns, project: Path) -> None:
    log = project / "printed.log"
    long = ("--params", f"{SMALL},tuning.budget.trials=999")

    def wait_for(line: str) -> None:
        end = time.monotonic() + 120
        while line not in printed(project):
            assert time.monotonic() < end, printed(project)
            time.sleep(0.05)

    pid = runs.start(project, log, *SEARCH, *long)
    wait_for("continues after 5 trials")
    wait_for("single_vd_lstm: trial 6 ")
    os.kill(pid, signal.SIGINT)
    assert runs.wait(pid) == 130
    assert "Stopped. Type the same command again to resume" in printed(project)
    assert "Traceback" not in printed(project)
    log.unlink()
    again = runs.start(project, log, *SEARCH, *long)
    wait_for("trials\n")
    os.kill(again, signal.SIGINT)
    assert runs.wait(again) == 130
    assert re.search(r"continues after ([7-9]|\d\d) trials", printed(project))


def test_a_training_that_is_to_use_what_was_not_searched_says_how(
    runs: ForkedRuns, project: Path
) -> None:
    code, text = runs.run(project, *TRAIN, "multi_vd_lstm", "--params", f"{SMALL},tuned=true")
    assert code == 1
    assert text.strip().splitlines()[-1] == (
        "Error: multi_vd_lstm: tuned is true, but its settings were not searched yet; kedro run "
        "--namespace tune_multi_vd_lstm"
    )


def test_the_file_of_options_makes_the_same_settings(runs: ForkedRuns, project: Path) -> None:
    options = yaml.safe_load((project / TUNE / "single_vd_lstm_run.yml").read_text())
    options["run"]["params"] |= {"vd_file": "small.h5", "compute": {"threads": 1}}
    (project / "tuned.yml").write_text(yaml.safe_dump(options))
    code, text = runs.run(
        project, "run", "--env", "quick", "--config", "tuned.yml", "--to-nodes",
        "single_vd_lstm.train",
    )  # fmt: skip
    assert code == 0, text
    assert "1 training: single_vd_lstm of 1 model" in text
    config = json.loads((project / "data/06_models/single_vd_lstm/config.json").read_text())
    best = options["run"]["params"]["single_vd_lstm"]
    assert config["training"] | best["training"] == config["training"]
