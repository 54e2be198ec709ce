"""The graph of the ``data_engineering`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.data_engineering.cleaning import clean
from vd_forecasting.pipelines.data_quality.coverage_plot import plot_coverage
from vd_forecasting.pipelines.data_quality.detector_map import plot_detector_map
from vd_forecasting.pipelines.data_quality.fundamental_diagram import plot_fundamental_diagram
from vd_forecasting.pipelines.data_quality.quality_report import report_quality
from vd_forecasting.pipelines.data_quality.typical_week import plot_typical_week


def create_pipeline() -> Pipeline:
    """Clean a VD file and report what was found in it.

    ::

        vd_raw ─► clean ─┬─► vd_clean ─┬─► plot_coverage ────────────► coverage_plot
                         │             ├─► plot_typical_week ────────► typical_week_plot
                         │             ├─► plot_fundamental_diagram ─► fundamental_diagram_plot
                         │             ├─► plot_detector_map ────────► detector_map_plot
                         │             ├─► report_quality ───────────► data_quality
                         │             │
                         └─► cleaning_log, which the last two read too

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
            Node(
                plot_detector_map,
                inputs=["vd_clean", "cleaning_log"],
                outputs="detector_map_plot",
                name="plot_detector_map",
            ),
            Node(
                plot_typical_week,
                inputs="vd_clean",
                outputs="typical_week_plot",
                name="plot_typical_week",
            ),
            Node(
                plot_fundamental_diagram,
                inputs="vd_clean",
                outputs="fundamental_diagram_plot",
                name="plot_fundamental_diagram",
            ),
        ],
        namespace="data_engineering",
        inputs={"vd_raw"},
        outputs={
            "vd_clean",
            "cleaning_log",
            "data_quality",
            "coverage_plot",
            "detector_map_plot",
            "typical_week_plot",
            "fundamental_diagram_plot",
        },
        parameters={"params:cleaning"},
    )
