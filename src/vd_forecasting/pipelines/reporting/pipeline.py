"""The graphs of the reporting pipelines.

The ``result`` of an experiment or a comparison, in memory, is all that other namespaces read of it.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.reporting import across_modes, scores
from vd_forecasting.pipelines.reporting.global_mode import (
    ARTEFACTS,
    gather_global,
    take_in_global,
)
from vd_forecasting.pipelines.reporting.pages.comparison import write_comparison
from vd_forecasting.pipelines.reporting.pages.comprehensive import (
    render_comprehensive,
    write_comprehensive,
)
from vd_forecasting.pipelines.reporting.pages.training_report import write_training_report
from vd_forecasting.running.failure import TAKES_FAILURES
from vd_forecasting.vocabulary import EXPERIMENTS, GLOBAL_MODE, MODELS, MODES


def _node(function: Callable[..., Any], inputs: Any, outputs: Any, **settings: Any) -> Node:
    """A node named after its function."""
    return Node(function, inputs, outputs, name=function.__name__, **settings)


def create_experiment_report() -> Pipeline:
    """Report one experiment: a template, to be stamped out by namespace."""
    scored = ["outcome", "params:evaluation.mape_min_truth"]
    return Pipeline(
        [
            _node(scores.gather_outcome, [*ARTEFACTS, "params:tuned"], "outcome"),
            _node(scores.score_experiment, scored, ["errors", "metrics"]),
            _node(write_training_report, ["outcome", "errors", "params:report"], "training_report"),
            _node(scores.conclude_experiment, ["outcome", "training_report", "metrics"], "result"),
        ]
    )


def create_comparison(mode: str) -> Pipeline:
    """Compare both models of a mode, in the namespace ``compare_{mode}``."""
    found = ["errors", "congested_errors", "congestion", "differences"]
    of_intervals = ["interval_scores", "interval_differences"]
    with_intervals = ["params:intervals", "params:evaluation.confidence"]
    template = Pipeline(
        [
            _node(scores.align_forecasts, [*MODELS, "baselines"], "aligned"),
            _node(scores.align_validation, [*MODELS, "baselines_validation"], "aligned_validation"),
            _node(scores.score_forecasts, ["aligned", "params:evaluation"], [*found, "error_rows"]),
            _node(
                scores.score_intervals,
                ["aligned", "aligned_validation", *with_intervals],
                [*of_intervals, "interval_rows"],
            ),
            _node(scores.join_scores, ["error_rows", "interval_rows"], "scores"),
            _node(
                write_comparison,
                [*MODELS, "aligned", *found, *of_intervals, "params:evaluation", "params:report"],
                "page",
            ),
            _node(
                across_modes.conclude_comparison,
                ["page", "scores", "baselines"],
                "result",
                tags=TAKES_FAILURES,
            ),
        ]
    )
    return across_namespaces(
        template,
        namespace=f"compare_{mode}",
        inputs={
            "baselines": f"{mode}_baselines.predictions",
            "baselines_validation": f"{mode}_baselines.validation",
            **{model: f"{mode}_{model}.result" for model in MODELS},
        },
        parameters={"params:evaluation", "params:report", *with_intervals},
    )


def create_comprehensive() -> Pipeline:
    """Compare all experiments, in the namespace ``comprehensive``.

    Where some failed, the rest is compared: the nodes that read other namespaces take failures.
    The files of ``global_vd`` are read as an earlier run left them, if one did.
    """
    sources = {name: f"{name}.result" for name in (*EXPERIMENTS, *map("compare_{}".format, MODES))}
    beside = {
        f"{model}_{name}": f"{GLOBAL_MODE}_{model}.{name}"
        for model, name in product(MODELS, ARTEFACTS)
    } | {
        "baselines": f"{GLOBAL_MODE}_baselines.predictions",
        "baselines_validation": f"{GLOBAL_MODE}_baselines.validation",
    }
    metrics, page = "comprehensive_metrics", "comprehensive_model_comparison"
    html = "comprehensive_page_html"
    settings = {name: f"params:{name}" for name in ("evaluation", "intervals")}
    settings |= {f"{model}_tuned": f"params:{GLOBAL_MODE}_{model}.tuned" for model in MODELS}
    template = Pipeline(
        [
            _node(
                across_modes.gather, {name: name for name in sources}, "six", tags=TAKES_FAILURES
            ),
            _node(
                gather_global,
                settings | {name: name for name in beside},
                "of_global",
                tags=TAKES_FAILURES,
            ),
            _node(take_in_global, ["six", "of_global"], "found"),
            _node(across_modes.concatenate_scores, "found", metrics),
            _node(across_modes.compare_modes, ["found", "params:evaluation"], "across"),
            _node(write_comprehensive, ["found", "across", "params:report"], page),
            _node(render_comprehensive, [page, "params:report"], html),
        ]
    )
    return across_namespaces(
        template,
        namespace="comprehensive",
        inputs=sources | beside,
        outputs={metrics, page, html},
        parameters={*settings.values(), "params:report"},
    )
