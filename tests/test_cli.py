import os
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from vd_forecasting import cli as command_line
from vd_forecasting.cli import missing_before, own_runner, run, share_cores


def step(x: object) -> object:
    return x


@pytest.fixture
def chain() -> Pipeline:
    """raw -> clean -> (log) ; clean -> a.windows -> a.model ; clean -> b.windows"""
    return Pipeline(
        [
            Node(step, "raw", "clean", name="clean"),
            Node(step, "clean", "log", name="log"),
            Node(step, "clean", "a.windows", name="a.windows", namespace="a"),
            Node(step, "a.windows", "a.model", name="a.train", namespace="a"),
            Node(step, "clean", "b.windows", name="b.windows", namespace="b"),
        ]
    )


def catalog(*there: str) -> DataCatalog:
    names = ("raw", "clean", "log", "a.windows", "a.model", "b.windows")
    return DataCatalog(
        {name: MemoryDataset(1) if name in there else MemoryDataset() for name in names}
    )


def names(pipeline: Pipeline) -> set[str]:
    return {node.name.split(".")[-1] for node in pipeline.nodes}


def test_what_is_missing_before_a_namespace_runs_first(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw"), set())) == {"clean"}


def test_what_is_there_does_not_run_again(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw", "clean"), set())) == set()


def test_what_depends_on_a_new_file_runs_again(chain: Pipeline) -> None:
    wanted = chain.filter(node_namespaces=["a"])
    assert names(missing_before(chain, wanted, catalog("raw", "clean"), {"clean"})) == {"clean"}


def test_a_chain_of_missing_outputs_runs_whole(chain: Pipeline) -> None:
    wanted = chain.filter(node_names=["a.a.train"])
    assert names(missing_before(chain, wanted, catalog("raw"), set())) == {"clean", "windows"}


@pytest.mark.parametrize(
    ("pipeline", "namespace", "full"),
    [
        ("tune", "single_vd_xlstm", "tune_single_vd_xlstm"),
        ("tune", "tune_single_vd_xlstm", "tune_single_vd_xlstm"),
        ("tune_global_vd", "global_vd_lstm", "tune_global_vd_lstm"),
        ("forecast", "multi_vd_lstm", "forecast_multi_vd_lstm"),
        ("export", "multi_vd_lstm", "export_multi_vd_lstm"),
        ("compare_all", "single_vd_xlstm", "single_vd_xlstm"),
        ("compare_single_vd", "compare_single_vd", "compare_single_vd"),
    ],
)
def test_an_experiment_stands_for_what_a_pipeline_does_with_it(
    pipeline: str, namespace: str, full: str
) -> None:
    options: dict[str, Any] = {
        "pipeline": pipeline,
        "pipelines": [],
        "namespaces": [namespace],
        "conf_source": "",
    }
    command_line._settle(options)
    assert (options["pipelines"], options["namespaces"]) == ([pipeline], [full])


def test_namespace_is_an_alias_of_namespaces() -> None:
    (option,) = [option for option in run.params if option.name == "namespaces"]
    assert {"--namespace", "--namespaces", "-ns"} <= set(option.opts)


def shared(
    monkeypatch: pytest.MonkeyPatch, trainings: int, **given: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of ParallelRunner and of the run, on 16 cores."""
    planned = [SimpleNamespace(size=(trainings, 1, 1))]
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(command_line, "load_catalog", lambda options: None)
    monkeypatch.setattr(command_line, "plan_trainings", lambda nodes, catalog: planned)
    options: dict[str, Any] = {"runner": "ParallelRunner", "pipelines": []}
    options |= {"runner_params": {}, "params": {}, **given}
    share_cores(options)
    return options["runner_params"], options["params"]


@pytest.mark.parametrize(("trainings", "workers", "threads"), [(6, 6, 2), (9, 9, 1), (99, 16, 1)])
def test_cores_are_shared_among_workers(
    trainings: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, params = shared(monkeypatch, trainings)
    assert runner == {"max_workers": workers}
    assert params == {"compute": {"threads": threads}}


def test_workers_and_threads_asked_for_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"max_workers": 4}
    threads: dict[str, Any] = {"compute": {"threads": 3, "seed": 1}}
    found = shared(monkeypatch, 99, runner_params=asked, params=threads)
    assert found == ({"max_workers": 4}, {"compute": {"threads": 3, "seed": 1}})


@pytest.mark.parametrize("asked", ["ThreadRunner", "kedro.runner.ThreadRunner"])
def test_a_runner_of_kedro_goes_on_after_a_failure(asked: str) -> None:
    assert own_runner(asked) == "vd_forecasting.running.runners.ThreadRunner"
    assert own_runner(None) == "vd_forecasting.running.runners.SequentialRunner"


def test_a_runner_of_the_user_stays() -> None:
    assert own_runner("somewhere.ParallelRunner") == "somewhere.ParallelRunner"
