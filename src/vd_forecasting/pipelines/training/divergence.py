"""Report a loss that is no longer a number: the place and the likely cause."""

from torch import Tensor

from vd_forecasting.artefacts import Divergence

FAR_OUT = 1000.0
"""An input so many standard deviations from the training mean is no traffic."""


class Diverged(Exception):
    """The loss is NaN or infinite; an epoch has so many steps."""

    def __init__(self, record: Divergence, steps: int) -> None:
        super().__init__(
            f"diverged in epoch {record.epoch}, step {record.step} of {steps}: the {record.loss} "
            f"loss is not finite; {record.cause}"
        )
        self.record = record


def likely_cause(inputs: Tensor, learning_rate: float, steps_before: int) -> str:
    """Why a forecast of these inputs may not be finite.

    Args:
        inputs: ``[B, S, C]``, scaled.
        learning_rate: of the last step.
        steps_before: how often the weights were changed.
    """
    if not inputs.isfinite().all():
        return "its inputs are not finite"
    largest = float(inputs.abs().max())
    if largest > FAR_OUT:
        return (
            f"an input lies {largest:.3g} standard deviations from the training mean; clean the "
            "data (cleaning.features.<name>.range)"
        )
    if steps_before == 0:
        return "not even the untrained network has a finite forecast; make it smaller"
    return f"learning_rate {learning_rate:g} is likely too high; lower it"
