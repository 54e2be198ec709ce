"""One template for the exports of all experiments.

::

    best_model ──► to_onnx ──► onnx
    best_model, config, metrics ──► write_card ──► card

What it reads is that of the experiment, and is read only.
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.export.card import write_card
from vd_forecasting.pipelines.export.onnx import to_onnx
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.running.failure import NEW_DATA


def create_pipeline(mode: str, model: str) -> Pipeline:
    """Export the model of one experiment, in the namespace ``export_{mode}_{model}``."""
    experiment = f"{mode}_{model}"
    read = ["best_model", "config", "metrics"]
    template = Pipeline(
        [
            Node(to_onnx, "best_model", "onnx", name="to_onnx"),
            Node(write_card, [*read, "params:tuned", "params:report"], "card", name="write_card"),
        ],
        tags=NEW_DATA,
    )
    return across_namespaces(
        template,
        namespace=f"export_{experiment}",
        inputs={name: f"{experiment}.{name}" for name in read},
        parameters={
            "params:report": "params:report",
            "params:tuned": f"params:{experiment}.tuned",
        },
    )
