"""The ``simulate`` pipeline: the sample file, made with uxsim."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.simulate.corridor import drive, plan
from vd_forecasting.pipelines.simulate.detectors import measure, spoil


def create_pipeline() -> Pipeline:
    """Simulate a freeway corridor and save the reports of its detectors, faults included."""
    return Pipeline(
        [
            Node(plan, "params:simulate", "traffic_plan", name="plan_traffic"),
            Node(drive, ["traffic_plan", "params:simulate"], "traffic", name="drive_corridor"),
            Node(measure, ["traffic", "params:simulate"], "vd_measured", name="measure_traffic"),
            Node(spoil, ["vd_measured", "params:simulate"], "vd_sample", name="spoil_measurements"),
        ]
    )
