"""The Airflow DAG that kedro-airflow makes from the project's template."""

import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import SMALL, copy_of_the_project
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.running.options import parse_params
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS, MODES

pytestmark = pytest.mark.integration

FAILING = "multi_vd_lstm"
CREATE = ("airflow", "create", "--group-by", "namespace", "--jinja-file", "conf/airflow_dag.py.j2")


@dataclass
class Task:
    """What a DAG file says of a task."""

    task_id: str
    bash_command: str
    cwd: str
    trigger_rule: str = "all_success"
    retries: int | None = None
    before: set[str] = field(default_factory=set)

    def set_upstream(self, others: "Iterable[Task]") -> None:
        self.before |= {other.task_id for other in others}

    @property
    def arguments(self) -> list[str]:
        """Those of ``kedro``."""
        return shlex.split(self.bash_command)[1:]


@dataclass
class DAG:
    """What a DAG file says of itself, and its tasks."""

    settings: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)

    def __call__(self, **settings: Any) -> "DAG":
        self.settings = settings
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...

    def operator(self, **settings: Any) -> Task:
        task = Task(**settings)
        self.tasks[task.task_id] = task
        return task


Create = Callable[..., DAG]


@pytest.fixture
def create(runs: ForkedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Create:
    """Runs ``kedro airflow create`` in a copy of the project and reads the DAG that it makes, in
    place of Airflow, which is too large for a test dependency."""
    folder = copy_of_the_project(tmp_path)

    def created(*options: str) -> DAG:
        code, printed = runs.run(folder, *CREATE, *options)
        assert code == 0, printed
        (path,) = (folder / "airflow_dags").iterdir()
        dag = DAG()
        of_modules: dict[str, dict[str, Any]] = {
            "airflow.sdk": {"DAG": dag},
            "airflow.providers.standard.operators.bash": {"BashOperator": dag.operator},
        }
        for name, contents in of_modules.items():
            stand_in = ModuleType(name)
            vars(stand_in).update(contents)
            monkeypatch.setitem(sys.modules, name, stand_in)
        exec(compile(path.read_text("utf-8"), path, "exec"), {"__file__": str(path)})
        return dag

    return created


def test_each_namespace_is_a_task_after_those_that_it_reads_from(
    create: Create, tmp_path: Path
) -> None:
    dag = create("--pipelines", "compare_all", "--env", "quick")
    before = {name: task.before for name, task in dag.tasks.items()}
    comparisons = {f"compare_{mode}" for mode in MODES}
    assert before == {
        "data_engineering": set(),
        **{name: {"data_engineering"} for name in EXPERIMENTS},
        **{
            f"compare_{mode}": {"data_engineering", *(f"{mode}_{model}" for model in MODELS)}
            for mode in MODES
        },
        "comprehensive": {*EXPERIMENTS, *comparisons},
    }
    rules = {name: task.trigger_rule for name, task in dag.tasks.items()}
    assert rules == dict.fromkeys(before, "all_success") | {"comprehensive": "all_done"}
    assert {task.cwd for task in dag.tasks.values()} == {str(tmp_path)}
    assert dag.settings["dag_id"] == "vd_forecasting_compare_all_quick"
    assert dag.tasks["single_vd_lstm"].bash_command == (
        ".venv/bin/kedro run --pipeline compare_all --namespace single_vd_lstm "
        "--only-stale-outputs --env quick"
    )


def test_settings_come_from_airflow_yml(create: Create, tmp_path: Path) -> None:
    settings = {
        "schedule": "@daily",
        "start_date": "2026-11-01",
        "retries": 3,
        "max_active_tasks": 4,
        "project": "/srv/it's here",
        "command": "/opt/my venv/bin/kedro",
    }
    (tmp_path / "conf" / "base" / "airflow.yml").write_text(yaml.safe_dump({"default": settings}))
    dag = create("--pipelines", "compare_single_vd")
    assert dag.settings["dag_id"] == "vd_forecasting_compare_single_vd_local"
    assert dag.settings["schedule"] == "@daily"
    assert f"{dag.settings['start_date']:%Y-%m-%d}" == "2026-11-01"
    assert dag.settings["max_active_tasks"] == 4
    assert dag.settings["default_args"]["retries"] == 3
    task = dag.tasks["compare_single_vd"]
    assert task.cwd == "/srv/it's here"
    assert shlex.split(task.bash_command)[0] == "/opt/my venv/bin/kedro"


def test_a_node_without_a_namespace_brings_what_is_before_it(create: Create) -> None:
    dag = create("--pipelines", "simulate")
    names = {node.name for node in register_pipelines()["simulate"].nodes}
    assert dag.tasks.keys() == names
    for name in names:
        selection = ["--to-nodes", name, "--only-stale-outputs"]
        assert dag.tasks[name].arguments[3:6] == selection


def test_the_comprehensive_task_reports_what_there_is_after_a_failure(
    create: Create, runs: ForkedRuns, tmp_path: Path
) -> None:
    given = parse_params(SMALL)
    own = {name: given.pop(name) for name in ("vd_file", "num_vds")}
    too_long = {"windows": {"sequence_length": 600}}
    for name, values in (("globals", own), ("parameters", given | {FAILING: too_long})):
        (tmp_path / "conf" / "local" / f"{name}.yml").write_text(yaml.safe_dump(values))
    dag = create("--pipelines", "compare_all", "--env", "quick")

    ended: dict[str, bool] = {}  # well or not
    while left := dag.tasks.keys() - ended.keys():
        name = min(name for name in left if dag.tasks[name].before <= ended.keys())
        task = dag.tasks[name]
        ended[name] = task.trigger_rule == "all_done" or all(ended[one] for one in task.before)
        if ended[name]:
            code, printed = runs.run(tmp_path, *task.arguments)
            ended[name] = code == 0
    assert {name for name in ended if not ended[name]} == {
        *(FAILING, "compare_multi_vd", "comprehensive")
    }
    assert f"Error: {FAILING}.make_windows failed in an earlier run" in printed
    page = tmp_path / "data/08_reporting/comparison/comprehensive_model_comparison.md"
    top, _, rest = page.read_text("utf-8").partition("\n## ")
    assert f"`{FAILING}.make_windows` failed in an earlier run" in top
    assert "single_vd" in rest

    code, printed = runs.run(tmp_path, *dag.tasks["single_vd_lstm"].arguments)
    assert code == 0
    assert "Everything is up to date." in printed
