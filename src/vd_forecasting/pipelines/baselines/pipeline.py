"""The graph of the baselines of one mode.

::

    windows ──> forecast_baselines ──> predictions
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.baselines.forecast import forecast_baselines


def create_pipeline() -> Pipeline:
    """A template; its namespace and the windows it reads are those of a mode."""
    return Pipeline(
        [
            Node(
                forecast_baselines,
                inputs=["windows", "params:baselines", "params:compute"],
                outputs="predictions",
                name="forecast_baselines",
            )
        ]
    )
