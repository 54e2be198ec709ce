"""The graph of the baselines of one mode.

::

    vd_clean ──► make_windows ──► baseline_windows, in memory
    baseline_windows ──► begin_baselines ──► baseline_state, where forecasts of detectors wait
    baseline_windows, baseline_state ──► forecast_baselines ──► predictions, validation
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.baselines.forecast import begin_baselines, forecast_baselines
from vd_forecasting.pipelines.training.pipeline import ORDER, windows_node


def create_pipeline(mode: str) -> Pipeline:
    """Windows and forecasts of one mode, not yet in a namespace."""
    inputs = ["baseline_windows", "params:baselines", "params:compute", "baseline_state"]
    outputs = ["predictions", "validation"]
    forecast = Node(
        forecast_baselines, inputs, outputs, name="forecast_baselines", tags=ORDER.get(mode)
    )
    begin = Node(begin_baselines, "baseline_windows", "baseline_state", name="begin_baselines")
    return Pipeline([windows_node(mode, "baseline_windows"), begin, forecast])
