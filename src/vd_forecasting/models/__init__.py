"""The two models and what they share. Plain torch: nothing here knows Kedro."""

from collections.abc import Callable
from typing import Any, Final

from torch import nn

from vd_forecasting.models.forecaster import Forecaster, Network
from vd_forecasting.models.lstm import LSTMConfig, LSTMCore
from vd_forecasting.models.xlstm import XLSTMConfig, XLSTMCore

CORES: Final[dict[str, tuple[Callable[[Any], nn.Module], Callable[..., Any]]]] = {
    "lstm": (LSTMCore, LSTMConfig),
    "xlstm": (XLSTMCore, XLSTMConfig),
}
"""The recurrent part of each model and the type of its settings."""

__all__ = ["CORES", "Forecaster", "LSTMConfig", "LSTMCore", "Network", "XLSTMConfig", "XLSTMCore"]
