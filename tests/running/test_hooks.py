import logging
import os
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node, Pipeline

from vd_forecasting.datasets import TrainingState, TrainingStateDataset
from vd_forecasting.parameters import Compute, Forecast
from vd_forecasting.running.hooks import (
    ExperimentLogs,
    FinishedTrainings,
    KnownParameters,
)


def train(state: TrainingState) -> tuple[int, int]:
    return 1, 2


def test_states_are_removed_when_the_run_has_ended(tmp_path: Path) -> None:
    """... those of the trainings that were a part of it."""
    catalog = DataCatalog(
        {
            f"{name}_state": TrainingStateDataset(filepath=str(tmp_path / name))
            for name in ("own", "other")
        }
    )
    for name in ("own", "other"):
        catalog.load(f"{name}_state").save("1", {})
    ran = Pipeline([Node(train, "own_state", ["y", "z"], name="train")])
    FinishedTrainings().after_pipeline_run(ran, catalog)
    assert not (tmp_path / "own").exists()
    assert catalog.load("other_state").load("1") == {}


def test_states_to_keep_outlive_the_run(tmp_path: Path) -> None:
    kept = TrainingStateDataset(filepath=str(tmp_path / "kept"), keep=True)
    kept.load().save("1", {})
    ran = Pipeline([Node(train, "kept_state", ["y", "z"], name="train")])
    FinishedTrainings().after_pipeline_run(ran, DataCatalog({"kept_state": kept}))
    assert kept.load().load("1") == {}


def test_a_log_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    path = tmp_path / "a" / "state"
    catalog = DataCatalog(
        {"single_vd_lstm.training_state": TrainingStateDataset(filepath=str(path))}
    )
    node = Node(train, "x", ["y", "z"], name="train", namespace="single_vd_lstm")
    with pytest.raises(DatasetError, match=r"a/training.log: cannot be written, "):
        ExperimentLogs().before_node_run(node, catalog)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_log_on_a_full_disk_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state"
    (tmp_path / "training.log").symlink_to("/dev/full")
    catalog = DataCatalog(
        {"single_vd_lstm.training_state": TrainingStateDataset(filepath=str(path))}
    )
    node = Node(train, "x", ["y", "z"], name="train", namespace="single_vd_lstm")
    logs = ExperimentLogs()
    logs.before_node_run(node, catalog)
    logging.getLogger("vd_forecasting").warning("a line")
    logs.after_node_run(node)
    assert "Logging error" not in capsys.readouterr().err


def test_each_thread_writes_the_log_of_its_experiment(tmp_path: Path) -> None:
    names = ("single_vd_lstm", "multi_vd_lstm")
    catalog = DataCatalog(
        {
            f"{name}.training_state": TrainingStateDataset(filepath=str(tmp_path / name / "state"))
            for name in names
        }
    )
    logs = ExperimentLogs()
    both_started = threading.Barrier(2, timeout=10)

    def run(name: str) -> None:
        node = Node(train, "x", ["y", "z"], name="train", namespace=name)
        logs.before_node_run(node, catalog)
        both_started.wait()
        logging.getLogger("vd_forecasting").warning("of %s", name)
        logs.after_node_run(node) if name == names[0] else logs.on_node_error(KeyError(0), node)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = ((tmp_path / name / "training.log").read_text() for name in names)
    assert "of single_vd_lstm" in first
    assert "multi_vd_lstm" not in first
    assert "of multi_vd_lstm" in second
    assert "ERROR KeyError: 0" in second


def test_the_device_is_checked_before_a_run_that_trains_and_before_no_other() -> None:
    compute = Compute(threads=1, accelerator="tpu")
    catalog = DataCatalog(
        {"params:compute": MemoryDataset(compute), "params:a.tuned": MemoryDataset(False)}
    )
    trains = Pipeline([Node(train, "training_state", ["y", "z"])], namespace="a")
    with pytest.raises(ValueError, match=r"^compute.accelerator is 'tpu'"):
        KnownParameters().before_pipeline_run(trains, catalog)
    reports = Pipeline([Node(train, "windows", ["y", "z"])], namespace="a")
    KnownParameters().before_pipeline_run(reports, catalog)


def test_settings_that_nobody_searched_are_missed_before_a_training_and_before_nothing_else() -> (
    None
):
    catalog = DataCatalog({"params:a.tuned": MemoryDataset(True)})
    trains = Pipeline([Node(train, "training_state", ["y", "z"])], namespace="a")
    with pytest.raises(ValueError, match=r"^a: tuned is true, .* kedro run --namespace tune_a$"):
        KnownParameters().before_pipeline_run(trains, catalog)
    reports = Pipeline([Node(train, "windows", ["y", "z"])], namespace="a")
    KnownParameters().before_pipeline_run(reports, catalog)


def test_a_search_says_which_package_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = Pipeline([Node(train, "study", ["y", "z"])], namespace="tune_a")
    monkeypatch.setattr("vd_forecasting.running.hooks.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "vd_forecasting\[tune\]"'):
        KnownParameters().before_pipeline_run(searches, DataCatalog())


def test_the_device_is_checked_before_a_refit_that_is_asked_for() -> None:
    refits = Pipeline([Node(train, "refit_state", ["y", "z"])], namespace="forecast_a")
    compute = MemoryDataset(Compute(threads=1, accelerator="tpu"))
    for asked in (False, True):
        forecast = MemoryDataset(Forecast(origins="last", refit=asked))
        catalog = DataCatalog({"params:compute": compute, "params:forecast": forecast})
        message = r"^compute.accelerator is 'tpu'"
        with pytest.raises(ValueError, match=message) if asked else nullcontext():
            KnownParameters().before_pipeline_run(refits, catalog)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_is_not_written_where_others_may_have_put_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, elsewhere = tmp_path / "training.log", tmp_path / "elsewhere"
    if kind == "link":
        path.symlink_to(elsewhere)
        monkeypatch.setattr("os.getuid", lambda: path.lstat().st_uid + 1)
    else:
        os.mkfifo(path)
    state = TrainingStateDataset(filepath=str(tmp_path / "state"))
    catalog = DataCatalog({"single_vd_lstm.training_state": state})
    node = Node(train, "x", ["y", "z"], name="train", namespace="single_vd_lstm")
    with pytest.raises(DatasetError, match=r"training.log: a (link|pipe).*remove it"):
        ExperimentLogs().before_node_run(node, catalog)
    assert not elsewhere.exists()
