"""The ``data_quality`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.data_quality.report import report_quality


def create_pipeline() -> Pipeline:
    """Report on a cleaned file: one page with its figures.

    The node lives in the namespace ``data_engineering``, whose log it reads; so kedro-viz folds the
    two into one box.
    """
    inputs = ["vd_clean", "cleaning_log", "params:cleaning", "params:split", "params:report"]
    return Pipeline(
        [Node(report_quality, inputs, "data_quality", name="report_quality")],
        namespace="data_engineering",
        inputs={"vd_clean", "cleaning_log"},
        outputs={"data_quality"},
        parameters={"params:cleaning", "params:split", "params:report"},
    )
