"""The two models and what they share. Plain torch: nothing here knows Kedro."""

from vd_forecasting.models.forecaster import Forecaster
from vd_forecasting.models.lstm import LSTMCore
from vd_forecasting.models.xlstm import XLSTMCore

CORES = {"lstm": LSTMCore, "xlstm": XLSTMCore}

__all__ = ["CORES", "Forecaster", "LSTMCore", "XLSTMCore"]
