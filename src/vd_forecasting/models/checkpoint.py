"""A checkpoint: plain tensors, numbers and strings, enough to forecast with.

Keys: ``model`` and ``model_parameters`` name the core; ``network`` holds the other arguments of
:class:`~vd_forecasting.models.forecaster.Forecaster`; ``weights`` a state dict per trained model
and ``seed`` what they were trained from; ``scaler`` the ``mean`` and ``std`` per VD and feature, in
physical units; ``vdids``, ``input_features``, ``target_features`` and the window lengths say what
goes in and comes out.
"""

from typing import Any

from vd_forecasting.models import CORES, Forecaster

Checkpoint = dict[str, Any]


def build_forecaster(
    model: str, model_parameters: dict[str, Any], network: dict[str, Any]
) -> Forecaster:
    """An untrained forecaster.

    Args:
        model: ``lstm`` or ``xlstm``.
        model_parameters: arguments of that core.
        network: the other arguments of :class:`Forecaster`.
    """
    network = {**network, "target_shape": tuple(network["target_shape"])}
    return Forecaster(CORES[model](**model_parameters), **network)


def load_forecasters(checkpoint: Checkpoint) -> dict[str, Forecaster]:
    """The trained forecasters of a checkpoint, by name, ready to forecast (dropout off)."""
    forecasters = {}
    for name, weights in checkpoint["weights"].items():
        forecaster = build_forecaster(
            checkpoint["model"], checkpoint["model_parameters"], checkpoint["network"]
        )
        forecaster.load_state_dict(weights)
        forecasters[name] = forecaster.eval()
    return forecasters
