"""The outcome of an experiment: all that a report reads of it."""

from dataclasses import dataclass

from vd_forecasting.artefacts.forecasts import Forecasts
from vd_forecasting.artefacts.records import Config, Cost, FitErrors, History


@dataclass(frozen=True)
class Outcome:
    """What was trained, how that went, what it cost and what it forecasts."""

    config: Config
    history: History
    cost: Cost
    fit_errors: FitErrors
    forecasts: Forecasts
