"""The graphs of the reporting pipelines.

The ``result`` of an experiment or a comparison, in memory, is all that other namespaces read of it.
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.reporting.across_modes import (
    compare_modes,
    concatenate_scores,
    conclude_comparison,
    gather,
)
from vd_forecasting.pipelines.reporting.comparison_scores import align_forecasts, score_forecasts
from vd_forecasting.pipelines.reporting.experiment_scores import score_experiment
from vd_forecasting.pipelines.reporting.outcome import conclude_experiment, gather_outcome
from vd_forecasting.pipelines.reporting.pages.comparison import write_comparison
from vd_forecasting.pipelines.reporting.pages.comprehensive import (
    render_comprehensive,
    write_comprehensive,
)
from vd_forecasting.pipelines.reporting.pages.training_report import write_training_report
from vd_forecasting.running.failure import TAKES_FAILURES
from vd_forecasting.vocabulary import EXPERIMENTS, MODELS, MODES


def create_experiment_report() -> Pipeline:
    """Report one experiment: a template, to be stamped out by namespace."""
    return Pipeline(
        [
            Node(
                gather_outcome,
                inputs=["config", "training_history", "cost", "fit_errors", "predictions"],
                outputs="outcome",
                name="gather_outcome",
            ),
            Node(
                score_experiment,
                inputs=["predictions", "fit_errors", "params:evaluation.mape_min_truth"],
                outputs=["errors", "metrics"],
                name="score_experiment",
            ),
            Node(
                write_training_report,
                inputs=["outcome", "errors"],
                outputs="training_report",
                name="write_training_report",
            ),
            Node(
                conclude_experiment,
                inputs=["outcome", "training_report", "metrics"],
                outputs="result",
                name="conclude_experiment",
            ),
        ]
    )


def create_comparison(mode: str) -> Pipeline:
    """Compare both models of a mode, in the namespace ``compare_{mode}``."""
    template = Pipeline(
        [
            Node(
                align_forecasts,
                inputs=[*MODELS, "baselines"],
                outputs="aligned",
                name="align_forecasts",
            ),
            Node(
                score_forecasts,
                inputs=["aligned", "params:evaluation"],
                outputs=["errors", "congested_errors", "differences", "scores"],
                name="score_forecasts",
            ),
            Node(
                write_comparison,
                inputs=[
                    *MODELS,
                    "aligned",
                    "errors",
                    "congested_errors",
                    "differences",
                    "params:evaluation",
                ],
                outputs="page",
                name="write_comparison",
            ),
            Node(
                conclude_comparison,
                inputs=["page", "scores", "baselines"],
                outputs="result",
                name="conclude_comparison",
                tags=TAKES_FAILURES,
            ),
        ]
    )
    return across_namespaces(
        template,
        namespace=f"compare_{mode}",
        inputs={
            "baselines": f"{mode}_baselines.predictions",
            **{model: f"{mode}_{model}.result" for model in MODELS},
        },
        parameters={"params:evaluation"},
    )


def create_comprehensive() -> Pipeline:
    """Compare all experiments, in the namespace ``comprehensive``.

    Where some failed, the rest is compared: the nodes that read other namespaces take failures.
    """
    comparisons = [f"compare_{mode}" for mode in MODES]
    sources = {name: f"{name}.result" for name in (*EXPERIMENTS, *comparisons)}
    template = Pipeline(
        [
            Node(
                concatenate_scores,
                inputs=comparisons,
                outputs="comprehensive_metrics",
                name="concatenate_scores",
                tags=TAKES_FAILURES,
            ),
            Node(
                gather,
                inputs={name: name for name in sources},
                outputs="found",
                name="gather",
                tags=TAKES_FAILURES,
            ),
            Node(
                compare_modes,
                inputs=["found", "params:evaluation"],
                outputs="across",
                name="compare_modes",
            ),
            Node(
                write_comprehensive,
                inputs=["found", "across"],
                outputs="comprehensive_model_comparison",
                name="write_comprehensive",
            ),
            Node(
                render_comprehensive,
                inputs="comprehensive_model_comparison",
                outputs="comprehensive_page_html",
                name="render_comprehensive",
            ),
        ]
    )
    return across_namespaces(
        template,
        namespace="comprehensive",
        inputs=sources,
        outputs={
            "comprehensive_metrics",
            "comprehensive_model_comparison",
            "comprehensive_page_html",
        },
        parameters={"params:evaluation"},
    )
