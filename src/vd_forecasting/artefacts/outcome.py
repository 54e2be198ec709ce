"""The outcome of an experiment: all that a report reads of it."""

from dataclasses import dataclass

from vd_forecasting.artefacts.forecasts import Forecasts
from vd_forecasting.artefacts.records import Config, Cost, FitErrors, History


@dataclass(frozen=True)
class Outcome:
    """Configuration, history, cost, errors and forecasts of an experiment."""

    config: Config
    history: History
    cost: Cost
    fit_errors: FitErrors
    forecasts: Forecasts
