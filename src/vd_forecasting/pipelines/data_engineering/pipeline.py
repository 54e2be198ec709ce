"""The ``data_engineering`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.data_engineering.clean import clean


def create_pipeline() -> Pipeline:
    """Clean a detector file, in the namespace ``data_engineering``; datasets keep their names."""
    return Pipeline(
        [Node(clean, ["vd_raw", "params:cleaning"], ["vd_clean", "cleaning_log"], name="clean")],
        namespace="data_engineering",
        inputs={"vd_raw"},
        outputs={"vd_clean", "cleaning_log"},
        parameters={"params:cleaning"},
    )
