"""Several networks of one shape computed at once."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vd_forecasting.models.forecaster import Forecaster
from vd_forecasting.models.lstm import Layers

Several = Callable[[Mapping[str, Tensor], Tensor], Tensor]


def several(forecaster: Forecaster) -> Several:
    """A function that computes M networks like this one, in training or not as this one is.

    It takes their weights ``[M, ...]`` by name, and inputs ``[M, B, S, C]``; it returns the
    forecasts, ``[M, B, H, N, F]``. Every network and window has a dropout of its own.
    """
    network = copy.deepcopy(forecaster)
    for module in network.modules():
        if isinstance(module, Layers):
            module.is_unrolled = True

    def forecast(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        made: Tensor = torch.func.functional_call(network, dict(weights), (x,))
        return made

    return torch.vmap(forecast, randomness="different")
