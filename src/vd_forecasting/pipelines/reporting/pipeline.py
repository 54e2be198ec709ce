"""The graphs of the reporting pipelines."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.reporting.across_modes import (
    align_modes,
    concatenate_scores,
    gather,
    gather_failures,
    score_modes,
)
from vd_forecasting.pipelines.reporting.comparison_scores import (
    align_forecasts,
    score_forecasts,
)
from vd_forecasting.pipelines.reporting.experiment_scores import score_experiment
from vd_forecasting.pipelines.reporting.pages.comparison_page import write_comparison
from vd_forecasting.pipelines.reporting.pages.comprehensive_page import (
    render_comprehensive,
    write_comprehensive,
)
from vd_forecasting.pipelines.reporting.pages.training_report import write_training_report
from vd_forecasting.pipelines.reporting.plots import (
    comparison_plots,
    comprehensive_plots,
    experiment_plots,
)
from vd_forecasting.running.failure import TAKES_FAILURES
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS, MODES

ARTEFACTS = ("config", "training_history", "fit_errors", "cost", "predictions")
"""What the comparisons read of every experiment."""


def create_experiment_report() -> Pipeline:
    """Report one experiment: a template, to be stamped out by namespace.

    ::

        predictions ──► score_experiment ──► metrics
        fit_errors ───┘        │
                               ▼
        config ──────────► errors ──┬─► write_training_report ──► training_report
        training_history ───────────┤─► plot_learning_curves ───► plot_learning_curves
        predictions ────────────────┘   plot_metric_evolution ──► plot_metric_evolution
                                        plot_forecast ──────────► plot_forecast
                                        plot_error_by_horizon ──► plot_error_by_horizon
    """
    return Pipeline(
        [
            Node(
                score_experiment,
                inputs=["predictions", "fit_errors", "params:evaluation.mape_min_truth"],
                outputs=["errors", "metrics"],
                name="score_experiment",
            ),
            Node(
                write_training_report,
                inputs=["config", "training_history", "fit_errors", "cost", "errors"],
                outputs="training_report",
                name="write_training_report",
            ),
            _plot(experiment_plots.plot_learning_curves, "config", "training_history"),
            _plot(experiment_plots.plot_metric_evolution, "config", "training_history", "errors"),
            _plot(experiment_plots.plot_forecast, "config", "predictions"),
            _plot(experiment_plots.plot_error_by_horizon, "config", "errors"),
        ]
    )


def create_comparison(mode: str) -> Pipeline:
    """Compare both models of a mode, in the namespace ``compare_{mode}``.

    ::

        {mode}_lstm.predictions ──┬─► align_forecasts ──► aligned ──┬─► plot_forecast
        {mode}_xlstm.predictions ─┤                          │      │
        {mode}_baselines.predictions                         ▼      ├─► plot_error_by_hour
        params:evaluation ───────────────────────► score_forecasts  ├─► plot_error_by_vd
                                                     │       │      │
                                                     ▼       ▼      ├─► write_comparison ──► page
                                                  scores   errors ──┤
                                                                    ├─► plot_error_by_horizon
                                                                    └─► plot_gain_by_horizon

    The page also reads ``config``, ``training_history`` and ``fit_errors`` of both experiments;
    ``plot_learning_curves`` reads their ``training_history`` alone.
    """
    template = Pipeline(
        [
            Node(
                align_forecasts,
                inputs=["lstm_predictions", "xlstm_predictions", "baselines"],
                outputs="aligned",
                name="align_forecasts",
            ),
            Node(
                score_forecasts,
                inputs=["aligned", "params:evaluation"],
                outputs=["errors", "congested_errors", "differences", "scores"],
                name="score_forecasts",
            ),
            _plot(
                comparison_plots.plot_learning_curves,
                "lstm_training_history",
                "xlstm_training_history",
            ),
            _plot(comparison_plots.plot_error_by_horizon, "errors", "differences"),
            _plot(comparison_plots.plot_gain_by_horizon, "errors"),
            _plot(comparison_plots.plot_difference_by_horizon, "errors", "differences"),
            _plot(comparison_plots.plot_error_by_hour, "errors"),
            _plot(comparison_plots.plot_error_by_vd, "errors"),
            _plot(comparison_plots.plot_forecast, "aligned"),
            _plot(comparison_plots.plot_forecast_fan, "aligned"),
            _plot(comparison_plots.plot_residuals, "aligned", "errors"),
            Node(
                write_comparison,
                inputs=[
                    "aligned",
                    "errors",
                    "congested_errors",
                    "differences",
                    "params:evaluation",
                    *(
                        f"{model}_{artefact}"
                        for model in MODELS
                        for artefact in ("config", "training_history", "fit_errors", "cost")
                    ),
                ],
                outputs="page",
                name="write_comparison",
            ),
        ]
    )
    return across_namespaces(
        template,
        namespace=f"compare_{mode}",
        inputs={
            "baselines": f"{mode}_baselines.predictions",
            **{
                f"{model}_{artefact}": f"{mode}_{model}.{artefact}"
                for model in MODELS
                for artefact in ARTEFACTS
            },
        },
        parameters={"params:evaluation"},
    )


def create_comprehensive() -> Pipeline:
    """Compare all six experiments on the VD that every mode forecasts.

    Where some failed, the rest is compared: the nodes that read experiments take failures.

    ::

        compare_{mode}.scores ──► concatenate_scores ──► comprehensive_metrics

        {mode}_{model}.config ───────────► gather ──► comprehensive_configs ────┐
        {mode}_{model}.training_history ─► gather ──► comprehensive_histories ──┤
        {mode}_{model}.fit_errors ───────► gather ──► comprehensive_fit_errors ─┤
        {mode}_{model}.predictions ──► align_modes                              │
                                          │                                     │
                                  aligned_modes                                 │
                                          │                                     │
        params:evaluation ──────────► score_modes ──► comprehensive_errors      │
                                                           ├─► write_comprehensive ◄──┤
                                                           ├─► plot_cost ◄────────────┘
                                                           ├─► plot_error
                                                           └─► plot_error_by_horizon

    The page and the plots read ``aligned_modes`` too. They are
    ``comprehensive_model_comparison`` and ``comprehensive_plot_{cost,error,error_by_horizon}``;
    ``render_comprehensive`` makes them one file, ``comprehensive_page_html``. The plots reach it as
    the image files that the catalog saved, so these datasets cannot stay in memory.
    """
    predictions = {
        **{name: f"{name}_predictions" for name in EXPERIMENTS},
        **{f"{mode}_baselines": f"{mode}_baselines_predictions" for mode in MODES},
    }
    scored = ["aligned_modes", "comprehensive_errors"]
    plots = {
        "error": (comprehensive_plots.plot_error, scored),
        "error_by_horizon": (comprehensive_plots.plot_error_by_horizon, scored),
        "best_set": (
            comprehensive_plots.plot_best_set,
            [*scored, "comprehensive_confidence_sets", "comprehensive_differences"],
        ),
        "cost": (
            comprehensive_plots.plot_cost,
            [*scored, "comprehensive_configs", "comprehensive_histories"],
        ),
    }
    template = Pipeline(
        [
            Node(
                concatenate_scores,
                inputs=[f"compare_{mode}_scores" for mode in MODES],
                outputs="comprehensive_metrics",
                name="concatenate_scores",
                tags=TAKES_FAILURES,
            ),
            _gather("config", "comprehensive_configs"),
            _gather("training_history", "comprehensive_histories"),
            _gather("fit_errors", "comprehensive_fit_errors"),
            _gather("cost", "comprehensive_costs"),
            Node(
                gather_failures,
                inputs={
                    **predictions,
                    **{f"compare_{mode}": f"compare_{mode}_scores" for mode in MODES},
                },
                outputs="comprehensive_failures",
                name="gather_failures",
                tags=TAKES_FAILURES,
            ),
            Node(
                align_modes,
                inputs=predictions,
                outputs="aligned_modes",
                name="align_modes",
                tags=TAKES_FAILURES,
            ),
            Node(
                score_modes,
                inputs=["aligned_modes", "params:evaluation"],
                outputs=[
                    "comprehensive_errors",
                    "comprehensive_differences",
                    "comprehensive_confidence_sets",
                ],
                name="score_modes",
            ),
            *(
                Node(
                    draw,
                    inputs=inputs,
                    outputs=f"comprehensive_plot_{name}",
                    name=f"plot_comprehensive_{name}",
                )
                for name, (draw, inputs) in plots.items()
            ),
            Node(
                write_comprehensive,
                inputs=[
                    *scored,
                    "comprehensive_differences",
                    "comprehensive_confidence_sets",
                    "comprehensive_configs",
                    "comprehensive_histories",
                    "comprehensive_fit_errors",
                    "comprehensive_costs",
                    "comprehensive_failures",
                ],
                outputs="comprehensive_model_comparison",
                name="write_comprehensive",
            ),
            Node(
                render_comprehensive,
                inputs={
                    "page": "comprehensive_model_comparison",
                    **{name: f"comprehensive_plot_{name}" for name in plots},
                },
                outputs="comprehensive_page_html",
                name="render_comprehensive",
            ),
        ]
    )
    return across_namespaces(
        template,
        inputs={
            **{
                f"{name}_{artefact}": f"{name}.{artefact}"
                for name in EXPERIMENTS
                for artefact in ARTEFACTS
            },
            **{f"{mode}_baselines_predictions": f"{mode}_baselines.predictions" for mode in MODES},
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
        tags=TAKES_FAILURES,
    )
