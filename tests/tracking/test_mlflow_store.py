"""Runs as MLflow keeps them, in an SQLite file."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import PROJECT
from tests.make.tracked_runs import LSTM, PIPELINE, XLSTM, TrackedProject, tracked_project
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.tracking.mlflow_store import QUIET, Store

needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None, reason='MLflow is not installed: pip install -e ".[mlflow]"'
)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As MLflow makes it, which takes much longer than to copy it."""
    folder = tmp_path_factory.mktemp("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: PLC0415

        mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Iterator[TrackedProject]:
    shutil.copy(empty_database, tmp_path)
    with tracked_project(tmp_path) as project:
        yield project


def logged(folder: Path, condition: str = "") -> list[Any]:
    """Runs in MLflow, the earliest first; those of experiments behind that which they are of."""
    import mlflow  # noqa: PLC0415

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("vd_forecasting")
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id], condition))
    return sorted(found, key=lambda run: (run.info.start_time, parent(run) or "", name(run)))


def name(run: Any) -> str:
    return str(run.info.run_name)


def parent(run: Any) -> str | None:
    tags: dict[str, str] = run.data.tags
    return tags.get("mlflow.parentRunId")


def artifacts(folder: Path, run: Any) -> set[str]:
    own = folder / "mlartifacts" / run.info.run_id / "artifacts"
    return {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}


@needs_mlflow
def test_a_run_has_one_nested_run_for_each_experiment(
    project: TrackedProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        project.run()
    whole, lstm, xlstm = logged(tmp_path)
    assert [name(run) for run in (whole, lstm, xlstm)] == ["all", LSTM, XLSTM]
    assert [parent(run) for run in (whole, lstm, xlstm)] == [None, *[whole.info.run_id] * 2]
    assert {run.info.status for run in (whole, lstm, xlstm)} == {"FINISHED"}
    assert lstm.data.params["training.epochs"] == "4"
    assert lstm.data.tags["source"] == "vd_sample.h5"
    lines = [record.getMessage() for record in caplog.records if "MLflow" in record.getMessage()]
    assert lines == [f"Logged to MLflow as run {whole.info.run_id}: sqlite:///mlflow.db"]


@needs_mlflow
def test_curves_have_a_step_for_each_epoch_and_errors_one_for_each_horizon(
    project: TrackedProject, tmp_path: Path
) -> None:
    import mlflow  # noqa: PLC0415

    project.run()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [_, lstm, _] = logged(tmp_path)

    def steps(key: str) -> list[int]:
        return [point.step for point in client.get_metric_history(lstm.info.run_id, key)]

    assert steps("epoch/train_loss") == steps("epoch/val_loss") == [1, 2, 3, 4]
    assert steps("horizon/mae_avg_speed") == [1, 2, 3]


@needs_mlflow
def test_pages_and_figures_lie_as_the_pages_refer_to_them(
    project: TrackedProject, tmp_path: Path
) -> None:
    project.run()
    whole, lstm, _ = logged(tmp_path)
    assert artifacts(tmp_path, lstm) == {
        "training_report.md", "plots/curves.png",
        f"fingerprints/{LSTM}.train.json", f"fingerprints/{LSTM}.write.json",
    }  # fmt: skip
    assert artifacts(tmp_path, whole) == {
        "single_vd_lstm_vs_xlstm.md", "single_vd_plots/both.png",
        "fingerprints/compare_single_vd.compare.json",
    }  # fmt: skip


@needs_mlflow
def test_a_run_is_found_from_a_file_and_the_file_from_the_run(
    project: TrackedProject, tmp_path: Path
) -> None:
    project.run()
    for file, key in (
        (f"data/06_models/{LSTM}/training_history.json", "sha256.training_history.json"),
        (f"data/.fingerprints/{LSTM}.train.json", "fingerprint.train"),
    ):
        sha256 = hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
        [found] = logged(tmp_path, f"tags.`{key}` = '{sha256}'")
        assert name(found) == LSTM


@needs_mlflow
def test_the_same_results_are_logged_once(
    project: TrackedProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project.run()
    caplog.clear()
    with caplog.at_level(logging.INFO, "vd_forecasting.tracking"):
        project.run()
        project.run(PIPELINE.only_nodes(f"{LSTM}.write"))
    assert len(logged(tmp_path)) == 3
    lines = [record.getMessage() for record in caplog.records if "MLflow" in record.getMessage()]
    assert lines == ["MLflow has all of this already: sqlite:///mlflow.db"] * 2


@needs_mlflow
def test_a_changed_experiment_is_logged_alone_beside_the_new_pages(
    project: TrackedProject, tmp_path: Path
) -> None:
    project.run()
    project.parameters[XLSTM]["training"] |= {"epochs": 6}
    project.parameters[XLSTM]["words"] = "Longer."
    project.run()
    runs = logged(tmp_path)
    assert sorted(map(name, runs)) == ["all", "all", LSTM, XLSTM, XLSTM]
    later = [run for run in runs if parent(run) == runs[3].info.run_id]
    assert [name(run) for run in later] == [XLSTM]


@needs_mlflow
def test_failures_are_tagged_and_what_was_finished_is_logged(
    project: TrackedProject, tmp_path: Path
) -> None:
    project.parameters[XLSTM]["training"] |= {"fails": True}
    with pytest.raises(NodesFailed):
        project.run()
    whole, lstm, xlstm = logged(tmp_path)
    assert [run.info.status for run in (whole, lstm, xlstm)] == ["FAILED", "FINISHED", "FAILED"]
    error = f"{XLSTM}.train: the loss is not a number"
    assert [run.data.tags.get("error") for run in (whole, lstm, xlstm)] == [error, None, error]
    assert artifacts(tmp_path, lstm) > {"training_report.md", "plots/curves.png"}
    assert artifacts(tmp_path, xlstm) == set()


@needs_mlflow
def test_what_could_not_be_logged_whole_is_marked_and_logged_again(
    project: TrackedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow  # noqa: PLC0415

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", fail)
        project.run()
    assert [run.info.status for run in logged(tmp_path)] == ["KILLED"]
    project.run()
    assert [name(run) for run in logged(tmp_path, "attributes.status = 'FINISHED'")] == [
        "all", LSTM, XLSTM
    ]  # fmt: skip


@needs_mlflow
@pytest.mark.usefixtures("project")
def test_names_that_mlflow_refuses_are_made_fit(tmp_path: Path) -> None:
    from vd_forecasting.tracking.entries import Entry  # noqa: PLC0415
    from vd_forecasting.tracking.numbers import Point  # noqa: PLC0415

    odd = Entry(
        LSTM, {}, {"features.速度 (km/h).unit": "km/h"}, {}, (), (Point("loss VD#1", 0, 1.0),)
    )
    store = Store.of("sqlite:///mlflow.db", tmp_path)
    assert store.write(Entry("all", {}, {}, {}, ()), [odd], 0.0)
    [found] = [run for run in logged(tmp_path) if parent(run)]
    assert found.data.params == {"features.速度 _km/h_.unit": "km/h"}
    assert found.data.metrics == {"loss VD_1": 1.0}


@needs_mlflow
def test_mlflow_says_nothing_and_asks_nobody(tmp_path: Path) -> None:
    """... not even when it makes its database."""
    script = f"""
import socket
def refuse(*given): raise AssertionError("a connection")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pathlib import Path
from vd_forecasting.tracking.entries import Entry
from vd_forecasting.tracking.mlflow_store import Store
store = Store.of("sqlite:///mlflow.db", Path({str(tmp_path)!r}))
assert store.write(Entry("all", {{}}, {{}}, {{}}, ()), [Entry("{LSTM}", {{}}, {{}}, {{}}, ())], 0.0)
"""
    environment = {key: value for key, value in os.environ.items() if key not in QUIET}
    environment["KEDRO_LOGGING_CONFIG"] = str(PROJECT / "conf" / "logging.yml")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_without_a_folder_lies_in_the_project(tmp_path: Path) -> None:
    assert Store.of("sqlite:///mlflow.db", tmp_path) == Store(
        f"sqlite:///{tmp_path}/mlflow.db", f"file://{tmp_path}/mlartifacts"
    )
    assert Store.of("sqlite:////var/lib/mlflow.db", tmp_path) == Store(
        "sqlite:////var/lib/mlflow.db", "file:///var/lib/mlartifacts"
    )
    server = "http://127.0.0.1:5000"
    assert Store.of(server, tmp_path) == Store(server, None)
