import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline import Node, Pipeline

from tests.make.tracked_runs import PIPELINE, XLSTM, TrackedProject, tracked_project
from vd_forecasting.tracking import hook
from vd_forecasting.tracking.mlflow_store import Store


@pytest.fixture
def project(tmp_path: Path) -> Iterator[TrackedProject]:
    with tracked_project(tmp_path) as project:
        yield project


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow is not installed."""
    monkeypatch.setattr(hook, "find_spec", lambda name: None)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow is installed and does not work."""

    def write(*given: Any) -> None:
        raise RuntimeError("database is locked\nat line 1")

    monkeypatch.setattr(hook, "find_spec", lambda name: object())
    monkeypatch.setattr(Store, "write", write)


@pytest.mark.usefixtures("absent")
def test_without_the_package_a_run_that_is_to_be_logged_does_not_begin(
    project: TrackedProject, tmp_path: Path
) -> None:
    message = (
        r'^tracking.mlflow_uri needs the package mlflow: pip install "vd_forecasting\[mlflow\]"$'
    )
    with pytest.raises(ImportError, match=message):
        project.run()
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("tracking", [{}, {"mlflow_uri": None}])
def test_without_an_address_the_package_is_not_needed(
    project: TrackedProject, tracking: dict[str, Any], tmp_path: Path
) -> None:
    project.parameters["tracking"] = tracking
    project.run()
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.usefixtures("absent")
def test_a_run_without_experiments_is_not_logged(project: TrackedProject) -> None:
    words = "params:single_vd_lstm.words"
    project.run(Pipeline([Node(lambda words: words, words, "text", name="other")]))


@pytest.mark.usefixtures("broken")
def test_a_run_that_cannot_be_logged_keeps_its_results_and_costs_a_line(
    project: TrackedProject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vd_forecasting.tracking"):
        project.run()
    [record] = [one for one in caplog.records if one.name.startswith("vd_forecasting.tracking")]
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Not logged to MLflow: RuntimeError: database is locked; the results are in their files, "
        "and kedro run --pipeline reporting logs what is not there yet"
    )
    page = tmp_path / "data/08_reporting/comparison/single_vd_lstm_vs_xlstm.md"
    assert page.is_file()


@pytest.mark.usefixtures("broken")
def test_a_run_that_failed_and_cannot_be_logged_says_why_it_failed(
    project: TrackedProject,
) -> None:
    project.parameters[XLSTM]["training"] |= {"fails": True}
    with pytest.raises(Exception, match="the loss is not a number"):
        project.run()


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [(PIPELINE, "all"), (PIPELINE.only_nodes(f"{XLSTM}.write"), "part of all")],
)
def test_a_run_is_named_by_its_pipeline(
    project: TrackedProject, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, name: str
) -> None:
    written: list[Any] = []

    def write(store: Store, run: Any, *_: Any) -> str:
        written.append((store, run))
        return "1"

    monkeypatch.setattr(hook, "find_spec", lambda name: object())
    monkeypatch.setattr(Store, "write", write)
    project.run()
    project.run(pipeline)
    store, run = written[-1]
    assert (run.name, run.tags["env"]) == (name, "quick")
    assert store == Store.of("sqlite:///mlflow.db", Path.cwd())
