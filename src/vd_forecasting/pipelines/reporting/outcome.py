"""The outcome of an experiment, for all that report on it."""

from typing import Any

from vd_forecasting.artefacts import Config, Cost, FitErrors, Forecasts, History, Outcome
from vd_forecasting.rendering.page import Page


def gather_outcome(
    config: Config, history: History, cost: Cost, fit_errors: FitErrors, forecasts: Forecasts
) -> Outcome:
    """All that reports read of an experiment."""
    return Outcome(config, history, cost, fit_errors, forecasts)


def conclude_experiment(
    outcome: Outcome,
    training_report: Page,
    metrics: dict[str, Any],
) -> Outcome:
    """Hand on the outcome of an experiment, once its report is written."""
    return outcome
