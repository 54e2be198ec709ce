"""The graph of the ``data_engineering`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.data_engineering.cleaning import clean
from vd_forecasting.pipelines.data_engineering.coverage_plot import plot_coverage
from vd_forecasting.pipelines.data_engineering.quality_report import report_quality


def create_pipeline() -> Pipeline:
    """Clean a VD file and report what was found in it.

    ::

        vd_raw ─► clean ─┬─► vd_clean ─┬─► plot_coverage ──► coverage_plot
                         │             │
                         │             └─► report_quality ─► data_quality
                         │                 ▲
                         └─► cleaning_log ─┘

    ``clean`` and ``report_quality`` also read ``params:cleaning``. The nodes live in the namespace
    ``data_engineering``; the datasets keep their own names.
    """
    return Pipeline(
        [
            Node(
                clean,
                inputs=["vd_raw", "params:cleaning"],
                outputs=["vd_clean", "cleaning_log"],
                name="clean",
            ),
            Node(
                report_quality,
                inputs=["vd_clean", "cleaning_log", "params:cleaning"],
                outputs="data_quality",
                name="report_quality",
            ),
            Node(
                plot_coverage,
                inputs="vd_clean",
                outputs="coverage_plot",
                name="plot_coverage",
            ),
        ],
        namespace="data_engineering",
        inputs={"vd_raw"},
        outputs={"vd_clean", "cleaning_log", "data_quality", "coverage_plot"},
        parameters={"params:cleaning"},
    )
