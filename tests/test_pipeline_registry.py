import subprocess
import sys

import pytest
from kedro.pipeline import Pipeline

from tests import PROJECT
from vd_forecasting.pipeline_registry import register_pipelines
from vd_forecasting.vocabulary import (
    EVERY_EXPERIMENT,
    EVERY_MODE,
    EXPERIMENTS,
    EXPORTS,
    FORECASTS,
    STUDIES,
)


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


def test_every_name_a_user_types(pipelines: dict[str, Pipeline]) -> None:
    assert set(pipelines) == {
        "__default__",
        "compare_all",
        "data_engineering",
        "export",
        "forecast",
        "forecast_global_vd",
        "ingest",
        "reporting",
        "simulate",
        "tune",
        "tune_global_vd",
        *(f"compare_{mode}" for mode in EVERY_MODE),
        *(f"report_{experiment}" for experiment in EVERY_EXPERIMENT),
    }


def test_compare_all_needs_the_detector_file_and_nothing_else(
    pipelines: dict[str, Pipeline],
) -> None:
    inputs = {name for name in pipelines["compare_all"].inputs() if not name.startswith("params:")}
    # What the comprehensive page reads of global_vd may be missing.
    assert {name for name in inputs if not name.startswith("global_vd_")} == {"vd_raw"}
    spaces = {node.namespace for node in pipelines["compare_all"].nodes}
    assert not any("global_vd" in str(space) for space in spaces)


@pytest.mark.parametrize("experiment", EVERY_EXPERIMENT)
def test_a_report_trains_its_own_experiment_only(
    pipelines: dict[str, Pipeline], experiment: str
) -> None:
    pipeline = pipelines[f"report_{experiment}"]
    assert {node.namespace for node in pipeline.nodes} == {
        "data_engineering",
        experiment,
    }
    own = {name for name in pipeline.inputs() if name.startswith("params:")} - {
        "params:split",
        "params:cleaning",
        "params:calendar",
        "params:evaluation.mape_min_truth",
        "params:compute",
        "params:report",
    }
    assert own == {
        f"params:{experiment}.{block}" for block in ("windows", "model", "training", "tuned")
    }


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_a_comparison_trains_both_models_of_its_mode(
    pipelines: dict[str, Pipeline], mode: str
) -> None:
    assert {node.namespace for node in pipelines[f"compare_{mode}"].nodes} == {
        "data_engineering",
        f"{mode}_lstm",
        f"{mode}_xlstm",
        f"compare_{mode}",
    }


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_baselines_are_forecast_from_windows_like_those_of_the_networks(
    pipelines: dict[str, Pipeline], mode: str
) -> None:
    compared = pipelines[f"compare_{mode}"]
    pipeline = compared.to_outputs(f"{mode}_baselines.predictions")
    assert {node.namespace for node in pipeline.nodes} == {"data_engineering", f"compare_{mode}"}
    own, network = (
        next(node for node in compared.nodes if node.name == f"{name}.make_windows")
        for name in (f"compare_{mode}", f"{mode}_lstm")
    )
    assert own.func == network.func
    assert own.inputs == network.inputs


def test_the_data_is_cleaned_once(pipelines: dict[str, Pipeline]) -> None:
    names = [node.name for node in pipelines["compare_all"].nodes]
    assert names.count("data_engineering.clean") == 1
    assert sum(name.endswith(".train") for name in names) == len(EXPERIMENTS)


def test_a_forecast_makes_nothing_that_a_comparison_makes(pipelines: dict[str, Pipeline]) -> None:
    forecasts = pipelines["forecast"] + pipelines["forecast_global_vd"]
    assert {node.namespace for node in forecasts.nodes} == set(FORECASTS)
    others = (pipelines[name] for name in pipelines if not name.startswith("forecast"))
    made = {name for pipeline in others for name in pipeline.all_outputs()}
    assert made.isdisjoint(forecasts.all_outputs())
    files = {name for name in forecasts.inputs() if not name.startswith("params:")}
    assert files - made == {"vd_raw", *(f"{name}.refit_state" for name in FORECASTS)}


def test_an_export_makes_nothing_that_a_comparison_makes(pipelines: dict[str, Pipeline]) -> None:
    exports = pipelines["export"]
    assert {node.namespace for node in exports.nodes} == set(EXPORTS)
    made = {name for key in pipelines if key != "export" for name in pipelines[key].all_outputs()}
    assert made.isdisjoint(exports.all_outputs())
    tuned = {f"params:{name.removeprefix('export_')}.tuned" for name in EXPORTS}
    assert exports.inputs() <= made | tuned | {"params:report"}


def test_a_search_makes_what_it_reads_and_nothing_else_that_a_comparison_makes(
    pipelines: dict[str, Pipeline],
) -> None:
    searches = pipelines["tune"] + pipelines["tune_global_vd"]
    files = {name for name in searches.inputs() if not name.startswith("params:")}
    assert files == {"vd_raw", *(f"{name}.study" for name in STUDIES)}
    others = (pipelines[name] for name in pipelines if not name.startswith("tune"))
    made = {name for pipeline in others for name in pipeline.all_outputs()}
    shared = made.intersection(searches.all_outputs()) - pipelines["data_engineering"].all_outputs()
    assert not shared
    nodes = {node.name: node for one in pipelines.values() for node in one.nodes}
    assert all(nodes[node.name] == node for node in searches.nodes)


def test_reporting_trains_nothing(pipelines: dict[str, Pipeline]) -> None:
    """It draws and writes all that compare_all and compare_global_vd do after the last training."""
    names = {node.name for node in pipelines["reporting"].nodes}
    every = {
        node.name for name in ("compare_all", "compare_global_vd") for node in pipelines[name].nodes
    }
    training = {"make_windows", "begin_training", "train", "evaluate", "measure_cost"}
    made = training | {"begin_baselines", "forecast_baselines"}
    left = {name for name in every - names if not name.startswith("data_")}
    assert names < every
    assert {name.rpartition(".")[2] for name in left} == made


HEAVY = (
    *("torch", "numba", "xlstm", "matplotlib", "sklearn", "scipy.optimize", "scipy.stats", "arch"),
    *("dask", "distributed", "markdown_it", "onnx", "optuna", "uxsim", "fastapi"),
)
WHAT_A_COMMAND_IMPORTS = f"""
import sys
import vd_forecasting.cli, vd_forecasting.settings
from kedro.framework.project import configure_project, pipelines
configure_project("vd_forecasting")
assert len(pipelines)
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_a_command_imports_nothing_heavy_before_a_node_needs_it() -> None:
    command = [sys.executable, "-c", WHAT_A_COMMAND_IMPORTS]
    ran = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
