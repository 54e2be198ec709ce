"""The reporting graphs: what they read and write, and that they run; every figure draws."""

import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure

from tests.make.artefacts import (
    BASELINES,
    MAPE_MIN_TRUTH,
    make_baselines,
    make_outcome,
    make_predictions,
    make_validation,
)
from tests.make.parameters import INTERVALS, REPORT, make_evaluation
from vd_forecasting.artefacts import BaselineForecasts, History
from vd_forecasting.datasets import Frames, PageDataset
from vd_forecasting.pipeline_registry import experiment_report
from vd_forecasting.pipelines.reporting import (
    create_comparison,
    create_comprehensive,
    create_experiment_report,
)
from vd_forecasting.pipelines.reporting.across_modes import (
    Compared,
    align_modes,
    compare_modes,
    gather,
)
from vd_forecasting.pipelines.reporting.pages.comprehensive import write_comprehensive
from vd_forecasting.pipelines.reporting.plots.learning_plots import plot_metric_evolution
from vd_forecasting.pipelines.reporting.scores import gather_outcome
from vd_forecasting.rendering.page import Page
from vd_forecasting.running.failure import NOT_RUN, FailedDataset, Failure
from vd_forecasting.vocabulary import EVERY_EXPERIMENT, EVERY_MODE, EXPERIMENTS, MODELS, MODES

ARTEFACTS = ("config", "training_history", "cost", "fit_errors", "predictions", "validation")
OF_GLOBAL = {
    *(f"global_vd_{model}.{name}" for model in MODELS for name in ARTEFACTS),
    "global_vd_baselines.predictions",
    "global_vd_baselines.validation",
}
REPORT_PLOTS = ("learning_curves", "metric_evolution", "forecast", "error_by_horizon")
COMPARISON_PLOTS = (
    "learning_curves",
    "error_by_horizon",
    "gain_by_horizon",
    "calibration",
    "coverage_by_horizon",
    "coverage_by_day",
    "congestion_by_horizon",
    "difference_by_horizon",
    "error_by_hour",
    "error_by_vd",
    "forecast",
    "forecast_fan",
    "residuals",
)
COMPREHENSIVE_PLOTS = ("error", "error_by_horizon", "best_set", "cost")


def catalog_of(predictions: dict[str, xr.Dataset], **settings: Any) -> DataCatalog:
    """Outcomes of experiments, and the artefacts they are gathered from, in memory."""
    catalog = DataCatalog()
    catalog["params:evaluation"] = MemoryDataset(make_evaluation())
    catalog["params:report"] = MemoryDataset(REPORT)
    catalog["params:evaluation.mape_min_truth"] = MemoryDataset(MAPE_MIN_TRUTH)
    catalog["params:evaluation.confidence"] = MemoryDataset(0.95)
    catalog["params:intervals"] = MemoryDataset(INTERVALS)
    for name in EVERY_EXPERIMENT:
        catalog[f"params:{name}.tuned"] = MemoryDataset(False)
    for name, dataset in predictions.items():
        outcome = make_outcome(dataset, **settings)
        catalog[f"{name}.config"] = MemoryDataset(outcome.config)
        catalog[f"{name}.training_history"] = MemoryDataset(outcome.history)
        catalog[f"{name}.cost"] = MemoryDataset(outcome.cost)
        catalog[f"{name}.fit_errors"] = MemoryDataset(outcome.fit_errors)
        catalog[f"{name}.predictions"] = MemoryDataset(outcome.forecasts)
        catalog[f"{name}.validation"] = MemoryDataset(outcome.validation)
        catalog[f"{name}.result"] = MemoryDataset(outcome)
        mode, _, model = name.rpartition("_")
        if model == "lstm":
            baselines = make_baselines(dataset)
            for split, data in (
                ("predictions", baselines),
                ("validation", make_validation(baselines)),
            ):
                made = BaselineForecasts.from_xarray(data)
                catalog[f"{mode}_baselines.{split}"] = MemoryDataset(made)
    return catalog


class Kept(MemoryDataset):
    """Stays after the last node that reads it."""

    def release(self) -> None:
        pass


def run(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, Any]:
    for name in pipeline.all_outputs() - {"comprehensive_model_comparison"}:
        catalog[name] = Kept(copy_mode="assign")  # figures are slow to copy
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog[name].load() for name in pipeline.all_outputs()}


def test_an_experiment_report_is_a_template() -> None:
    pipeline = create_experiment_report()
    assert pipeline.inputs() == {
        *ARTEFACTS,
        "params:evaluation.mape_min_truth",
        "params:report",
        "params:tuned",
    }
    assert pipeline.outputs() == {"result"}
    assert {"training_report", "metrics"} < pipeline.all_outputs()


@pytest.mark.parametrize("mode", MODES)
def test_a_comparison_reads_outcomes_and_baselines_and_writes_its_own_namespace(mode: str) -> None:
    pipeline = create_comparison(mode)
    assert pipeline.inputs() == {
        "params:evaluation",
        "params:report",
        "params:evaluation.confidence",
        "params:intervals",
        f"{mode}_baselines.predictions",
        f"{mode}_baselines.validation",
        f"{mode}_lstm.result",
        f"{mode}_xlstm.result",
    }
    assert pipeline.outputs() == {f"compare_{mode}.result"}
    assert {f"compare_{mode}.{name}" for name in ("scores", "page")} < pipeline.all_outputs()
    assert all(node.namespace == f"compare_{mode}" for node in pipeline.nodes)


def test_the_comprehensive_report_reads_the_results_of_experiments_and_comparisons() -> None:
    pipeline = create_comprehensive()
    assert pipeline.inputs() == (
        {"params:evaluation", "params:intervals", "params:report"}
        | {f"params:global_vd_{model}.tuned" for model in ("lstm", "xlstm")}
        | {f"{name}.result" for name in EXPERIMENTS}
        | {f"compare_{mode}.result" for mode in MODES}
        | OF_GLOBAL
    )
    assert pipeline.outputs() == {"comprehensive_page_html", "comprehensive_metrics"}
    assert "comprehensive_model_comparison" in pipeline.all_outputs()
    assert all(node.namespace == "comprehensive" for node in pipeline.nodes)


def test_nodes_can_be_sent_to_another_process() -> None:
    for pipeline in (
        create_experiment_report(),
        create_comparison("multi_vd"),
        create_comprehensive(),
    ):
        for node in pipeline.nodes:
            pickle.loads(pickle.dumps(node))


def test_kedro_does_not_warn_of_dotted_names() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_comparison("single_vd")
        create_comprehensive()


def test_everything_runs_from_artefacts_to_pages(tmp_path: Path) -> None:
    several = {mode: ["A", "B"] for mode in EVERY_MODE}
    vdids = {**several, "single_vd": ["A"], "global_vd": ["A", "B", "C"]}
    shape: dict[str, Any] = {"origins": 6 * 24, "interval_minutes": 60.0, "horizons": 3}
    catalog = catalog_of(
        {
            name: make_predictions(mode, model, vdids=vdids[mode], seeds=(1, 2), **shape)
            for name in EVERY_EXPERIMENT
            for mode, _, model in [name.rpartition("_")]
        },
        epochs=3,
    )
    page = PageDataset(filepath=str(tmp_path / "page.md"), figures="plots/")
    catalog["comprehensive_model_comparison"] = page
    pipeline = create_comprehensive()
    for mode in EVERY_MODE:
        pipeline += create_comparison(mode)
    for name in EVERY_EXPERIMENT:
        pipeline += experiment_report(*name.rsplit("_", 1))
    outputs = run(pipeline, catalog)
    metrics = pd.concat(outputs["comprehensive_metrics"])
    assert set(metrics["mode"]) == set(EVERY_MODE)
    assert set(metrics["model"]) == {"lstm", "xlstm", "persistence", *BASELINES}
    # vds × horizons × features × 7 × runs in each mode: 6 metrics and n, on all steps and congested
    # ones, and of intervals 3 scores for each of 2 levels and the CRPS; of congestion as an event 4
    # scores × horizons and 3 of queues, in each mode
    runs = 3 + 3 + 5
    assert len(metrics) == (1 + 2 + 2 + 3) * 3 * 3 * 7 * runs * 3 + 4 * (4 * 3 + 3) * runs
    assert metrics["seed"].dropna().unique().tolist() == ["1", "2", "joined"]
    kinds: dict[str, type] = {
        "training_report": Page,
        "metrics": dict,
        "page": Page,
        "scores": Frames,
        "comprehensive_page_html": str,
        "comprehensive_metrics": Frames,
    }
    assert pipeline.outputs() == {
        "comprehensive_page_html",
        "comprehensive_metrics",
        "compare_global_vd.result",
    }
    for name, value in outputs.items():
        assert isinstance(value, kinds.get(name.rpartition(".")[2], object)), name
    html = outputs["comprehensive_page_html"]
    assert html.count('src="data:image/png;base64,iVBORw0KGgo') == len(COMPREHENSIVE_PLOTS)


TWO = {"features": ["avg_speed", "avg_occupancy"]}


def with_hole(predictions: xr.Dataset) -> xr.Dataset:
    predictions = predictions.copy(deep=True)
    predictions["truth"][:, :, :, 0] = float("nan")
    return predictions


def diverged(predictions: xr.Dataset) -> xr.Dataset:
    return predictions.assign(prediction=predictions["prediction"] * float("nan"))


ODD: dict[str, dict[str, Any]] = {
    "one of everything": {
        "vdids": ["A"],
        "features": ["total_volume"],
        "horizons": 1,
        "origins": 30,
        "epochs": 1,
    },
    "200 VDs": {
        "vdids": [f"{n:04d}" for n in range(200)],
        "features": ["avg_speed"],
        "origins": 40,
    },
    "100 models": {
        "mode": "independent_multi_vd",
        "vdids": [f"{n:04d}" for n in range(100)],
        "features": ["avg_speed"],
        "horizons": 2,
        "origins": 40,
    },
    "48 horizons, a feature never observed": {
        **TWO,
        "vdids": ["A", "B"],
        "horizons": 48,
        "origins": 100,
        "change": with_hole,
    },
    "nothing observed, days of few steps": {
        **TWO,
        "missing": 2.0,
        "interval_minutes": 720.0,
        "horizons": 2,
        "origins": 40,
    },
    "a week of one horizon and three seeds": {
        **TWO,
        "interval_minutes": 60.0,
        "horizons": 1,
        "origins": 7 * 24,
        "seeds": (1, 2, 3),
    },
    "a network that diverged": {**TWO, "origins": 100, "horizons": 3, "change": diverged},
}


@pytest.mark.parametrize("case", ODD.values(), ids=ODD)
def test_pages_are_whole_and_figures_draw_whatever_the_shape(case: dict[str, Any]) -> None:
    settings = dict(case)
    mode = settings.pop("mode", "multi_vd")
    epochs, change = settings.pop("epochs", 4), settings.pop("change", lambda same: same)
    catalog = catalog_of(
        {
            f"{mode}_{model}": change(make_predictions(mode, model, **settings))
            for model in ("lstm", "xlstm")
        },
        epochs=epochs,
    )
    outputs = run(create_comparison(mode) + experiment_report(mode, "lstm"), catalog)
    pages = {f"compare_{mode}.page": COMPARISON_PLOTS, f"{mode}_lstm.training_report": REPORT_PLOTS}
    for page, plots in pages.items():
        check_text(outputs[page].text)
        figures = outputs[page].figures
        assert set(figures) == set(plots)
        for name, draw in figures.items():
            check_figure(name, draw)


def check_text(page: str) -> None:
    """Nothing undefined is printed, and no table is wider than a screen."""
    assert page.startswith("# ")
    assert not re.search(r"\bnan\b|None|\binf\b|\n\n\n", page)
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(line.replace("\\|", "").strip("|").split("|")) <= 12, line


def check_figure(name: str, draw: Figure | Callable[[], Figure] | bytes) -> Figure:
    assert callable(draw)
    figure = draw()
    figure.draw_without_rendering()
    assert figure.get_figwidth() == 10, name
    assert figure.get_figheight() <= 14, name
    assert figure.texts[-1].get_text().endswith("?"), "a plot answers a question"
    return figure


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"vdids": ["A", "B", "C"]}, r"vdids \['A', 'B'\] and \['A', 'B', 'C'\]"),
        ({"vdids": ["A"]}, r"vdids \['A', 'B'\] and \['A'\]; kedro run --namespace multi_vd_lstm"),
        ({"horizons": 3}, "prediction_length 2 and 3"),
        ({"seeds": (7,)}, "seeds"),
    ],
)
def test_artefacts_of_different_runs_are_not_reported(other: dict[str, Any], told: str) -> None:
    shape: dict[str, Any] = {"vdids": ["A", "B"], "origins": 40, "horizons": 2}
    of = make_outcome(make_predictions("multi_vd", "lstm", **shape))
    another = make_outcome(make_predictions("multi_vd", "lstm", **{**shape, **other}))
    records = (of.config, of.history, of.cost, of.fit_errors)
    gather_outcome(*records, of.forecasts, of.validation)
    with pytest.raises(ValueError, match=f"predictions.nc .* of different runs: .*{told}"):
        gather_outcome(*records, another.forecasts, of.validation)
    with pytest.raises(ValueError, match=f"validation.nc .* of different runs: .*{told}"):
        gather_outcome(*records, of.forecasts, another.validation)


FAILED = Failure("single_vd_xlstm.train", "a | reason `with` signs\nof <Markdown>")
MISSING: dict[str, set[str]] = {
    "a mode, a model and baselines": {
        *("single_vd_lstm", "single_vd_xlstm", "single_vd_baselines", "compare_single_vd"),
        *("multi_vd_xlstm", "multi_vd_baselines", "compare_multi_vd"),
    },
    "all but one": {
        *(f"compare_{mode}" for mode in MODES),
        *(name for name in EXPERIMENTS if name != "multi_vd_lstm"),
    },
}


@pytest.fixture(scope="module")
def by_experiment() -> dict[str, xr.Dataset]:
    """Hourly predictions of two days."""
    shape: dict[str, Any] = {"origins": 48, "interval_minutes": 60.0, "horizons": 2}
    return {
        name: make_predictions(mode, model, vdids=["A"], **shape)
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }


@pytest.mark.parametrize("missing", MISSING.values(), ids=MISSING)
def test_the_comprehensive_page_is_made_of_what_did_not_fail(
    by_experiment: dict[str, xr.Dataset], missing: set[str], tmp_path: Path
) -> None:
    catalog = catalog_of(by_experiment, epochs=2)
    for mode in MODES:
        frame = pd.DataFrame({"mode": [mode], "vdid": ["A"], "seed": [1]})
        scores = Frames.joined([[frame]])
        baselines = catalog[f"{mode}_baselines.predictions"].load()
        result = Compared(
            FAILED if f"compare_{mode}" in missing else scores,
            FAILED if f"{mode}_baselines" in missing else baselines,
        )
        catalog[f"compare_{mode}.result"] = MemoryDataset(result)
    pipeline = create_comprehensive()
    for name in pipeline.inputs():
        if name.partition(".")[0] in missing & set(EXPERIMENTS):
            catalog[name] = FailedDataset(FAILED, None)
    for name in OF_GLOBAL:
        catalog[name] = FailedDataset(Failure("global_vd", "kedro run", NOT_RUN), None)
    compared = {mode for mode in MODES if f"compare_{mode}" not in missing}
    saved = PageDataset(filepath=f"{tmp_path}/page.md", figures="plots/")
    catalog["comprehensive_model_comparison"] = saved
    outputs = run(pipeline, catalog)
    page = (tmp_path / "page.md").read_text()
    experiments = [name for name in EXPERIMENTS if name not in missing]
    first = page.splitlines()[2]
    assert first == (
        "**Something is missing here.** The page compares the rest; it holds no earlier results of "
        "the missing parts."
    )
    named = page.splitlines()[4]
    assert named.endswith(
        "`single_vd_xlstm.train` failed, `` a | reason `with` signs of <Markdown> ``"
    )
    for name in missing:
        words = name.removeprefix("compare_").removesuffix("_baselines")
        assert words in named
    links = re.findall(r"\]\(\.\./(\w+)/training_report.md\)", page)
    assert set(links) == set(experiments)
    assert set(re.findall(r"\]\((\w+)_lstm_vs_xlstm.md\)", page)) == compared
    assert ("](metrics.csv)" in page) == bool(compared)
    assert set(pd.concat(outputs["comprehensive_metrics"])["mode"]) == compared
    networks = re.findall(r"^\| (\w+ x?LSTM) \|", page, re.MULTILINE)
    assert {name.replace(" ", "_").lower() for name in networks} == set(experiments)
    assert not re.search(r"\bnan\b|None|\binf\b", page)
    assert "a | reason" in outputs["comprehensive_page_html"]
    assert "global_vd" not in page


def test_without_any_experiment_there_is_no_comprehensive_page() -> None:
    baselines = BaselineForecasts.from_xarray(make_baselines(make_predictions()))
    failed: dict[str, Failure] = dict.fromkeys(EXPERIMENTS, FAILED)
    compared = Compared(FAILED, baselines)
    found = gather(**failed, **{f"compare_{mode}": compared for mode in MODES})
    assert found.failures == dict.fromkeys(
        (*EXPERIMENTS, *(f"compare_{mode}" for mode in MODES)), FAILED
    )
    with pytest.raises(ValueError, match="no experiment has forecasts"):
        align_modes({}, found.baselines)


HOURLY = {"origins": 6 * 24, "interval_minutes": 60.0, "horizons": 2}
COMPREHENSIVE_ODD: dict[str, dict[str, Any]] = {
    "tested": HOURLY,
    "too short, one horizon": {"origins": 40, "horizons": 1},
    "nothing observed": {"origins": 40, "horizons": 2, "missing": 2.0},
    "no VD in common": {**HOURLY, "alone": ["elsewhere"]},
    "a network that diverged": {**HOURLY, "change": diverged},
}


@pytest.mark.parametrize("case", COMPREHENSIVE_ODD.values(), ids=COMPREHENSIVE_ODD)
def test_the_comprehensive_page_is_whole_whatever_the_shape(case: dict[str, Any]) -> None:
    settings = dict(case)
    alone, change = settings.pop("alone", ["A"]), settings.pop("change", lambda same: same)
    found = {
        name: make_predictions(
            mode, model, vdids=alone if mode == "single_vd" else ["A"], **settings
        )
        for name in EXPERIMENTS
        for mode, _, model in [name.rpartition("_")]
    }
    compared = {
        f"compare_{mode}": Compared(
            Frames.joined([]), BaselineForecasts.from_xarray(make_baselines(found[f"{mode}_lstm"]))
        )
        for mode in MODES
    }
    found["multi_vd_xlstm"] = change(found["multi_vd_xlstm"])
    outcomes = {name: make_outcome(predictions, epochs=2) for name, predictions in found.items()}
    gathered = gather(**outcomes, **compared)
    across = compare_modes(gathered, make_evaluation())
    page = write_comprehensive(gathered, across, REPORT)
    check_text(page.text)
    figures = page.figures
    assert set(figures) == set(COMPREHENSIVE_PLOTS)
    drawn = {name: check_figure(name, draw) for name, draw in figures.items()}
    best_set, sets = drawn["best_set"], across.confidence_sets
    filled = {str(line.get_markerfacecolor()) for ax in best_set.axes for line in ax.get_lines()}
    assert ("white" in filled) == (bool(sets.notnull().any())), "hollow where beaten"
    labels = [label.get_text() for label in best_set.axes[0].get_yticklabels()]
    assert len(set(labels)) == sets.sizes["model"], "no two models have the same name"


def test_undefined_metrics_in_the_history_leave_a_gap() -> None:
    outcome = make_outcome(make_predictions(origins=40, horizons=2), epochs=3)
    plain = outcome.history.model_dump()
    for epoch in plain["42"]["joint"]["epochs"]:
        for split in ("train", "val"):
            epoch[split]["avg_speed"] = dict.fromkeys(epoch[split]["avg_speed"])
    history = History.model_validate(plain)
    figure = plot_metric_evolution("Which errors?", "lstm", history, {"avg_speed": "km/h"})
    figure.draw_without_rendering()
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts.count("undefined") == 4
