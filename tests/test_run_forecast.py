"""Forecasts of a recent file by models of another one, in a copy of the project."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from tests.make.arrays import make_clean
from tests.make.forked_runs import ForkedRuns
from tests.make.projects import SMALL, copy_of_the_project, save
from vd_forecasting.artefacts import RecentForecasts
from vd_forecasting.datasets import VDHDF5Dataset, XarrayDataset

pytestmark = pytest.mark.integration

FORECAST = ("run", "--pipeline", "forecast", "--params", "vd_file=today.h5,compute.threads=1")
TRAIN = ("--namespace", "single_vd_lstm", "--env", "quick", "--params", SMALL)


@pytest.fixture(scope="module")
def trained(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which one experiment was trained; today.h5 begins where its file ends."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("trained"))
    code, printed = runs.run(folder, "run", *TRAIN)
    assert code == 0, printed
    today = make_clean(1000, vds=3).isel(time=slice(700, 1000))
    save(today.assign_attrs(utc_offset="+08:00"), folder / "today.h5")
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "project", symlinks=True)


def test_a_file_of_today_is_forecast_and_nothing_of_the_comparison_changes(
    runs: ForkedRuns, project: Path
) -> None:
    made = {path: path.read_bytes() for path in project.glob("data/0[1-8]*/**/*") if path.is_file()}
    code, printed = runs.run(project, *FORECAST)
    assert code == 0, printed
    assert "multi_vd_xlstm has not run: kedro run --namespace multi_vd_xlstm" in printed
    assert "vd_file" not in printed
    page = (project / "data/08_reporting/forecast/single_vd_lstm.md").read_text()
    assert "The 20 min after 2024-03-07 11:15 (UTC+08:00)" in page
    table = pd.read_csv(project / "data/07_model_output/forecast/single_vd_lstm.csv")
    assert table["time"].iloc[-1] == "2024-03-07T11:35:00+08:00"
    assert {*table["model"]} == {
        *("lstm", "ridge", "historical_average", "seasonal_naive", "persistence")
    }
    parquet = pd.read_parquet(project / "data/07_model_output/forecast/single_vd_lstm.parquet")
    assert len(parquet) == len(table)
    stored = XarrayDataset(
        filepath=str(project / "data/07_model_output/forecast/single_vd_lstm.nc"),
        holds="vd_forecasting.artefacts.RecentForecasts",
    ).load()
    assert isinstance(stored, RecentForecasts)
    assert stored.prediction.size == len(table)

    assert {path: path.read_bytes() for path in made} == made
    code, printed = runs.run(project, "run", *TRAIN, "--only-stale-outputs")
    assert (code, printed.strip().splitlines()[-1]) == (0, "Everything is up to date.")
    code, printed = runs.run(project, *FORECAST, "--only-stale-outputs", "--dry-run")
    stale = [line for line in printed.splitlines() if line.startswith("▸ forecast_single_vd_lstm")]
    assert (code, stale) == (0, [])


def test_rules_of_today_do_not_count(runs: ForkedRuns, project: Path) -> None:
    rules = {"cleaning": {"features": {"avg_speed": {"range": [0, 1]}}}}
    (project / "conf/local/parameters.yml").write_text(yaml.safe_dump(rules))
    code, printed = runs.run(project, *FORECAST)
    assert code == 0, printed
    path = project / "data/03_primary/forecast_clean/single_vd_lstm.h5"
    clean = VDHDF5Dataset(filepath=str(path)).load()
    assert float(clean.sel(feature="avg_speed").mean()) > 50


def test_one_experiment_by_its_namespace_and_all_origins_are_scored(
    runs: ForkedRuns, project: Path
) -> None:
    command = ("run", "--namespace", "forecast_single_vd_lstm", "--params")
    code, printed = runs.run(project, *command, "vd_file=today.h5,forecast.origins=all")
    assert code == 0, printed
    assert "single_vd_lstm on today.h5: " in printed
    scores = pd.read_csv(project / "data/08_reporting/forecast/single_vd_lstm_scores.csv")
    assert (scores["n"] > 200).all()
    assert scores.loc[scores["model"] == "lstm", "promised_mae"].notna().all()


def test_a_network_is_trained_on_everything_once_and_nothing_else_changes(
    runs: ForkedRuns, project: Path
) -> None:
    command = ("run", "--namespace", "forecast_single_vd_lstm", "--params")
    plain, asked = "vd_file=today.h5,compute.threads=1", ",forecast.refit=true"
    code, printed = runs.run(project, *command, plain)
    assert code == 0, printed
    made = {path: path.read_bytes() for path in project.glob("data/0[1-8]*/**/*") if path.is_file()}

    code, printed = runs.run(project, *command, plain + asked, "--dry-run")
    assert "1 training on all data: single_vd_lstm of 1 epoch\n" in printed
    code, printed = runs.run(project, *command, plain + asked)
    assert code == 0, printed
    assert "single_vd_lstm refit: epoch 1/1  train loss" in printed
    page = (project / "data/08_reporting/forecast/single_vd_lstm.md").read_text()
    assert page.startswith("# Forecast by LSTM trained on everything: `single_vd_lstm`")
    path = project / "data/07_model_output/forecast/single_vd_lstm.csv"
    table = pd.read_csv(path)
    others = pd.read_csv(io.BytesIO(made[path]))
    assert table[table["model"] != "lstm_refitted"].reset_index(drop=True).equals(others)
    stored = XarrayDataset(
        filepath=str(path.with_suffix(".nc")), holds="vd_forecasting.artefacts.RecentForecasts"
    ).load()
    assert stored.best_informed == "lstm_refitted"
    assert stored.refit_epochs == [1]

    code, printed = runs.run(project, *command, plain + asked)
    assert "single_vd_lstm refit: was trained before, 1 epoch" in printed
    assert (project / "data/06_models/forecast/single_vd_lstm").is_dir()
    code, printed = runs.run(project, *command, plain + asked, "--only-stale-outputs")
    assert (code, printed.strip().splitlines()[-1]) == (0, "Everything is up to date.")

    code, printed = runs.run(project, *command, plain)
    assert code == 0, printed
    assert "single_vd_lstm refit: " not in printed
    assert {path: path.read_bytes() for path in made} == made


def test_what_was_not_trained_is_one_line(runs: ForkedRuns, project: Path, tmp_path: Path) -> None:
    command = ("run", "--namespace", "forecast_global_vd_xlstm", "--params", "vd_file=today.h5")
    code, printed = runs.run(project, *command)
    assert (code, printed.splitlines()[-1]) == (
        1,
        "Error: global_vd_xlstm has not run: kedro run --namespace global_vd_xlstm",
    )
    fresh = copy_of_the_project(tmp_path / "fresh")
    code, printed = runs.run(fresh, "run", "--pipeline", "forecast")
    assert (code, printed.splitlines()[-1]) == (
        1,
        "Error: no experiment has run yet; kedro run --pipeline compare_all",
    )


def test_a_checkpoint_that_was_changed_is_refused(runs: ForkedRuns, project: Path) -> None:
    path = project / "data/06_models/single_vd_lstm/best_model.pt"
    checkpoint = torch.load(path, weights_only=True)
    torch.save({**checkpoint, "seed": 7}, path)
    code, printed = runs.run(project, *FORECAST)
    assert code == 1
    *_, last = printed.splitlines()
    assert "best_model.pt was changed since it was made; make it anew: kedro run --name" in last
    (project / "data/.fingerprints/single_vd_lstm.train.json").unlink()
    code, printed = runs.run(project, *FORECAST)  # a model from elsewhere has no record
    assert code == 0, printed
    assert "no record of how single_vd_lstm.best_model was made; it is used as it is" in printed


def test_a_file_that_cannot_be_forecast_is_one_line(runs: ForkedRuns, project: Path) -> None:
    save(make_clean(300, vds=3, interval="7min"), project / "today.h5")
    code, printed = runs.run(project, *FORECAST)
    assert code == 1
    *_, last = printed.splitlines()
    assert "today.h5: its interval is 7 min, the model forecasts steps of 5 min" in last
