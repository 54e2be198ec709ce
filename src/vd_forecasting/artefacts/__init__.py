"""Types of what the pipelines hand on, each with its file form.

``windows`` -> ``experiment`` -> ``records`` (history, configuration, cost) and ``forecasts``.
Arrays are stored as netCDF, records as JSON; attributes and keys of these files are read here and
nowhere else.
"""

from vd_forecasting.artefacts.blocks import WindowBlocks
from vd_forecasting.artefacts.experiment import Experiment, Outcome
from vd_forecasting.artefacts.forecasts import BaselineForecasts, Forecasts
from vd_forecasting.artefacts.recent import AllWindows, RecentForecasts, RecentWindows
from vd_forecasting.artefacts.records import (
    Config,
    Cost,
    Divergence,
    Fit,
    FitErrors,
    History,
    Tuned,
)
from vd_forecasting.artefacts.windows import WindowSet

__all__ = [
    "AllWindows",
    "BaselineForecasts",
    "Config",
    "Cost",
    "Divergence",
    "Experiment",
    "Fit",
    "FitErrors",
    "Forecasts",
    "History",
    "Outcome",
    "RecentForecasts",
    "RecentWindows",
    "Tuned",
    "WindowBlocks",
    "WindowSet",
]
