"""A whole run that is logged to MLflow, in worker processes."""

import sqlite3
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.make.projects import LOG_LINE, SMALL, copy_of_the_project, kedro

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        find_spec("mlflow") is None, reason='MLflow is not installed: pip install -e ".[mlflow]"'
    ),
]


def test_a_parallel_run_logs_what_ended_well_and_why_the_rest_did_not(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path)
    failing = "single_vd_xlstm.windows.sequence_length=5000"
    params = f"{SMALL},{failing},tracking.mlflow_uri=sqlite:///mlflow.db"
    run = ("run", "--env", "quick", "--pipeline", "compare_single_vd", "--params", params)
    done = kedro(folder, *run, "--runner", "ParallelRunner")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-2].partition("  ")[2].startswith("Logged to MLflow as run ")
    assert [line for line in lines[:-1] if not LOG_LINE.match(line)] == []
    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = database.execute("SELECT name, status FROM runs").fetchall()
        errors = database.execute("SELECT value FROM tags WHERE key = 'error'").fetchall()
        curve = database.execute(
            "SELECT step FROM metrics JOIN runs USING (run_uuid) "
            "WHERE name = 'single_vd_lstm' AND key = 'epoch/val_loss'"
        ).fetchall()
    assert sorted(runs) == [
        ("compare_single_vd", "FAILED"),
        ("single_vd_lstm", "FINISHED"),
        ("single_vd_xlstm", "FAILED"),
    ]
    assert lines[-1] == f"Error: {errors[0][0]}"
    assert {text for (text,) in errors} == {lines[-1].removeprefix("Error: ")}
    assert curve == [(1,)]
