"""The graph of the baselines of one mode.

::

    vd_clean ──► make_windows ──► baseline_windows, in memory
    baseline_windows ──► forecast_baselines ──► predictions
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.baselines.forecast import forecast_baselines
from vd_forecasting.pipelines.training.pipeline import MAKE_WINDOWS


def create_pipeline(mode: str) -> Pipeline:
    """Windows and forecasts of one mode, not yet in a namespace."""
    return Pipeline(
        [
            Node(
                MAKE_WINDOWS[mode],
                inputs=["vd_clean", "params:windows", "params:split", "params:cleaning"],
                outputs="baseline_windows",
                name="make_windows",
            ),
            Node(
                forecast_baselines,
                inputs=["baseline_windows", "params:baselines", "params:compute"],
                outputs="predictions",
                name="forecast_baselines",
            ),
        ]
    )
