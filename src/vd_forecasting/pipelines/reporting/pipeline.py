"""The graphs of the reporting pipelines."""

import warnings
from typing import Any

from kedro.pipeline import Node, Pipeline

from vd_forecasting.parameters import EXPERIMENTS, MODELS, MODES
from vd_forecasting.pipelines.reporting import (
    comparison_plots,
    comprehensive_plots,
    experiment_plots,
)
from vd_forecasting.pipelines.reporting.comparison_page import write_comparison
from vd_forecasting.pipelines.reporting.comparison_scores import (
    find_common_points,
    score_common_points,
)
from vd_forecasting.pipelines.reporting.comprehensive_page import write_comprehensive
from vd_forecasting.pipelines.reporting.comprehensive_points import (
    concatenate_scores,
    find_common_target,
    gather,
    score_modes,
)
from vd_forecasting.pipelines.reporting.training_report import write_training_report


def create_experiment_report() -> Pipeline:
    """Report one experiment: a template, to be stamped out by namespace.

    ::

        config ───────────┬─► write_training_report ──► training_report
        training_history ─┤
        metrics ──────────┤─► plot_learning_curves ───► plot_learning_curves
        predictions ──────┘   plot_metric_evolution ──► plot_metric_evolution
                              plot_forecast ──────────► plot_forecast
                              plot_error_by_horizon ──► plot_error_by_horizon
    """
    return Pipeline(
        [
            Node(
                write_training_report,
                inputs=["config", "training_history", "metrics", "predictions"],
                outputs="training_report",
                name="write_training_report",
            ),
            _plot(experiment_plots.plot_learning_curves, "config", "training_history"),
            _plot(experiment_plots.plot_metric_evolution, "config", "training_history", "metrics"),
            _plot(experiment_plots.plot_forecast, "config", "predictions"),
            _plot(experiment_plots.plot_error_by_horizon, "config", "metrics"),
        ]
    )


def create_comparison(mode: str) -> Pipeline:
    """Compare both models of a mode, in the namespace ``compare_{mode}``.

    ::

        {mode}_lstm.predictions ──┬─► find_common_points ──► points ──┬─► plot_forecast
        {mode}_xlstm.predictions ─┘                            │      │
                                                               ▼      ├─► plot_error_by_hour
        params:evaluation ─────────────────────► score_common_points  ├─► plot_error_by_vd
                                                       │       │      │
                                                       ▼       ▼      ├─► write_comparison ──► page
                                                    scores   errors ──┤
                                                                      ├─► plot_error_by_horizon
                                                                      └─► plot_gain_by_horizon

    The page also reads ``config``, ``training_history`` and ``metrics`` of both experiments, the
    scores their ``config``; ``plot_learning_curves`` reads their ``training_history`` alone.
    """
    template = Pipeline(
        [
            Node(
                find_common_points,
                inputs=["lstm_predictions", "xlstm_predictions"],
                outputs="points",
                name="find_common_points",
            ),
            Node(
                score_common_points,
                inputs=["points", "params:evaluation", "lstm_config", "xlstm_config"],
                outputs=["errors", "scores"],
                name="score_common_points",
            ),
            _plot(
                comparison_plots.plot_learning_curves,
                "lstm_training_history",
                "xlstm_training_history",
            ),
            _plot(comparison_plots.plot_error_by_horizon, "errors"),
            _plot(comparison_plots.plot_gain_by_horizon, "errors"),
            _plot(comparison_plots.plot_error_by_hour, "points", "errors"),
            _plot(comparison_plots.plot_error_by_vd, "points", "errors"),
            _plot(comparison_plots.plot_forecast, "points"),
            Node(
                write_comparison,
                inputs=[
                    "points",
                    "errors",
                    *(
                        f"{model}_{artefact}"
                        for model in MODELS
                        for artefact in ("config", "training_history", "metrics")
                    ),
                ],
                outputs="page",
                name="write_comparison",
            ),
        ]
    )
    artefacts = ("config", "training_history", "metrics", "predictions")
    return _across_namespaces(
        template,
        namespace=f"compare_{mode}",
        inputs={
            f"{model}_{artefact}": f"{mode}_{model}.{artefact}"
            for model in MODELS
            for artefact in artefacts
        },
        parameters={"params:evaluation"},
    )


def create_comprehensive() -> Pipeline:
    """Compare all six experiments on the VD that every mode forecasts.

    ::

        compare_{mode}.scores ──► concatenate_scores ──► comprehensive_metrics

        {mode}_{model}.config ───────────► gather ──► comprehensive_configs ────┐
        {mode}_{model}.training_history ─► gather ──► comprehensive_histories ──┤
        {mode}_{model}.metrics ──────────► gather ──► comprehensive_evaluations ┤
        {mode}_{model}.predictions ──► find_common_target                       │
                                          │                                     │
                                  comprehensive_points                          │
                                          │                                     │
        params:evaluation ──────────► score_modes ──► comprehensive_errors      │
                                                           ├─► write_comprehensive ◄──┤
                                                           ├─► plot_cost ◄────────────┘
                                                           ├─► plot_error
                                                           └─► plot_error_by_horizon

    The page and the plots read ``comprehensive_points`` too. They are
    ``comprehensive_model_comparison`` and ``comprehensive_plot_{cost,error,error_by_horizon}``.
    """
    points = ["comprehensive_points", "comprehensive_errors"]
    template = Pipeline(
        [
            Node(
                concatenate_scores,
                inputs=[f"compare_{mode}_scores" for mode in MODES],
                outputs="comprehensive_metrics",
                name="concatenate_scores",
            ),
            _gather("config", "comprehensive_configs"),
            _gather("training_history", "comprehensive_histories"),
            _gather("metrics", "comprehensive_evaluations"),
            Node(
                find_common_target,
                inputs={name: f"{name}_predictions" for name in EXPERIMENTS},
                outputs="comprehensive_points",
                name="find_common_target",
            ),
            Node(
                score_modes,
                inputs=["comprehensive_points", "params:evaluation"],
                outputs="comprehensive_errors",
                name="score_modes",
            ),
            Node(
                comprehensive_plots.plot_error,
                inputs=points,
                outputs="comprehensive_plot_error",
                name="plot_comprehensive_error",
            ),
            Node(
                comprehensive_plots.plot_error_by_horizon,
                inputs=points,
                outputs="comprehensive_plot_error_by_horizon",
                name="plot_comprehensive_error_by_horizon",
            ),
            Node(
                comprehensive_plots.plot_cost,
                inputs=[*points, "comprehensive_configs", "comprehensive_histories"],
                outputs="comprehensive_plot_cost",
                name="plot_comprehensive_cost",
            ),
            Node(
                write_comprehensive,
                inputs=[
                    *points,
                    "comprehensive_configs",
                    "comprehensive_histories",
                    "comprehensive_evaluations",
                ],
                outputs="comprehensive_model_comparison",
                name="write_comprehensive",
            ),
        ]
    )
    artefacts = ("config", "training_history", "metrics", "predictions")
    return _across_namespaces(
        template,
        inputs={
            **{
                f"{name}_{artefact}": f"{name}.{artefact}"
                for name in EXPERIMENTS
                for artefact in artefacts
            },
            **{f"compare_{mode}_scores": f"compare_{mode}.scores" for mode in MODES},
        },
    )


def _plot(draw: Any, *inputs: str) -> Node:
    """A node that draws a figure; node and dataset have the function's name."""
    return Node(draw, inputs=list(inputs), outputs=draw.__name__, name=draw.__name__)


def _gather(artefact: str, output: str) -> Node:
    """A node that puts one artefact of every experiment into a dict."""
    return Node(
        gather,
        inputs={name: f"{name}_{artefact}" for name in EXPERIMENTS},
        outputs=output,
        name=f"gather_{artefact}",
    )


def _across_namespaces(template: Pipeline, **names: Any) -> Pipeline:
    """Stamp out a template whose inputs come from other namespaces.

    Kedro warns of every dotted name that is not of the pipeline's own namespace; here it is meant.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        return Pipeline(template, **names)
