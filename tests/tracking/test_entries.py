"""What is logged of runs, none of which needs MLflow."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.pipeline import Pipeline

from tests.make.tracked_runs import LSTM, PIPELINE, XLSTM, TrackedProject, tracked_project
from vd_forecasting.running.runners import NodesFailed
from vd_forecasting.running.staleness.fingerprint import makers_of
from vd_forecasting.running.staleness.plan import make_plan
from vd_forecasting.tracking.entries import Ended, Entry, as_text


@pytest.fixture
def project(tmp_path: Path) -> Iterator[TrackedProject]:
    """One that logs nothing by itself."""
    with tracked_project(tmp_path) as project:
        project.parameters["tracking"] = {"mlflow_uri": None}
        yield project


def run(project: TrackedProject, pipeline: Pipeline = PIPELINE) -> tuple[Entry, dict[str, Entry]]:
    """What there is to log of a run: of it as a whole, and of its experiments by name."""
    catalog, error = project.catalog(), None
    try:
        project.run(pipeline, catalog)
    except Exception as raised:
        error = raised
    ended = Ended(pipeline, makers_of([PIPELINE]), catalog, error)
    whole, experiments = ended.entries("all", {})
    return whole, {one.name: one for one in experiments}


def test_parameters_are_flat_and_do_not_begin_with_the_experiment(project: TrackedProject) -> None:
    _, experiments = run(project)
    assert experiments.keys() == {LSTM, XLSTM}
    found = experiments[LSTM].parameters
    assert found["training.epochs"] == 4
    assert found["training.seeds"] == [42]
    assert found["model"] == "lstm"
    assert found["num_parameters"] == 1_385_252
    assert experiments[XLSTM].parameters.keys() == found.keys()


def test_parameters_are_written_as_in_yaml() -> None:
    assert [as_text(value) for value in (None, [1, 2], "5min", True, 0.1, "臺")] == [
        "null", "[1, 2]", "5min", "true", "0.1", "臺"
    ]  # fmt: skip


def test_hashes_are_those_of_the_files(project: TrackedProject, tmp_path: Path) -> None:
    whole, experiments = run(project)
    files = {
        "config.json": f"06_models/{LSTM}",
        "training_history.json": f"06_models/{LSTM}",
        "metrics.json": f"08_reporting/{LSTM}",
        "training_report.md": f"08_reporting/{LSTM}",
    }

    def sha256(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    data = tmp_path / "data"
    assert experiments[LSTM].hashes == {
        name: sha256(data / folder / name) for name, folder in files.items()
    }
    page = "single_vd_lstm_vs_xlstm.md"
    assert whole.hashes == {page: sha256(data / "08_reporting" / "comparison" / page)}
    assert experiments[LSTM].fingerprints() == {
        f"fingerprint.{node}": sha256(data / ".fingerprints" / f"{LSTM}.{node}.json")
        for node in ("train", "write")
    }


def test_pages_come_with_their_figures(project: TrackedProject) -> None:
    whole, experiments = run(project)
    [page] = experiments[XLSTM].pages
    assert page.file.name == "training_report.md"
    assert [figure.name for figure in page.figures] == ["curves.png"]
    assert [one.file.name for one in whole.pages] == ["single_vd_lstm_vs_xlstm.md"]


def test_a_run_again_has_the_same_fingerprints_and_another_training_has_others(
    project: TrackedProject,
) -> None:
    first, again = (run(project)[1][LSTM].fingerprints() for _ in range(2))
    assert first == again
    project.parameters[LSTM]["training"] |= {"epochs": 5}
    changed = run(project)[1][LSTM].fingerprints()
    assert changed["fingerprint.train"] != first["fingerprint.train"]


def test_only_experiments_that_the_run_made_something_of_have_an_entry(
    project: TrackedProject,
) -> None:
    """... with all there is of them, from earlier runs too."""
    run(project)
    whole, experiments = run(project, PIPELINE.only_nodes(f"{XLSTM}.write"))
    assert experiments.keys() == {XLSTM}
    assert experiments[XLSTM].parameters["training.epochs"] == 4
    assert {point.name for point in experiments[XLSTM].points} > {"epoch/val_loss", "best_epoch"}
    assert whole.pages == ()


def test_a_failed_experiment_has_its_error_and_the_parameters_it_failed_with(
    project: TrackedProject,
) -> None:
    """... and nothing of what an earlier run left."""
    run(project)
    project.parameters[XLSTM]["training"] |= {"fails": True, "epochs": 9}
    whole, experiments = run(project)
    failed = experiments[XLSTM]
    assert failed.error == f"{XLSTM}.train: the loss is not a number"
    assert failed.parameters["training.epochs"] == 9
    assert (failed.points, failed.pages, failed.records) == ((), (), {})
    assert experiments[LSTM].error is None
    assert len(experiments[LSTM].pages) == 1
    assert whole.error == failed.error
    assert len(whole.pages) == 1


def test_what_a_failed_experiment_had_finished_is_kept(project: TrackedProject) -> None:
    project.parameters[LSTM]["words"] = ""
    _, experiments = run(project)
    failed = experiments[LSTM]
    assert failed.error == f"{LSTM}.write: there are no words"
    assert {point.name for point in failed.points} > {"epoch/val_loss", "test/mae_avg_speed"}
    assert (failed.pages, [*failed.records]) == ((), [f"{LSTM}.train"])


def test_of_a_single_experiment_the_error_is_its_own(project: TrackedProject) -> None:
    """... although the run stops there, and no NodesFailed is raised."""
    project.parameters[LSTM]["training"] |= {"fails": True}
    alone = PIPELINE.filter(node_namespaces=[LSTM])
    with pytest.raises(ValueError, match="not a number") as raised:
        project.run(alone)
    assert not isinstance(raised.value, NodesFailed)
    whole, experiments = run(project, alone)
    assert experiments[LSTM].error == whole.error == "the loss is not a number"


def test_where_runs_are_logged_makes_nothing_stale(project: TrackedProject) -> None:
    run(project)
    project.parameters["tracking"] = {"mlflow_uri": "sqlite:///other.db"}
    assert make_plan(PIPELINE, makers_of([PIPELINE]), project.catalog()).nodes == []
