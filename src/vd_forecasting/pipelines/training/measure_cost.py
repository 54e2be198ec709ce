"""The node that measures the cost of a trained model."""

from typing import Any

from vd_forecasting.artefacts import WindowBlocks
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.parameters import Training
from vd_forecasting.pipelines.training.evaluate import check_same_windows


def measure_cost(
    best_model: Checkpoint, blocks: WindowBlocks, training: Training
) -> dict[str, Any]:
    """:func:`.cost.cost_of` the first model, on the windows it was trained on."""
    from vd_forecasting.pipelines.training.cost import cost_of  # noqa: PLC0415  (imports torch)

    check_same_windows(best_model, blocks.last)
    return cost_of(best_model, blocks.last, training)
