"""The outcome of an experiment, for all that report on it."""

from vd_forecasting.artefacts import Config, Cost, FitErrors, Forecasts, History, Outcome


def gather_outcome(
    config: Config, history: History, cost: Cost, fit_errors: FitErrors, forecasts: Forecasts
) -> Outcome:
    """All that reports read of an experiment."""
    return Outcome(config, history, cost, fit_errors, forecasts)
