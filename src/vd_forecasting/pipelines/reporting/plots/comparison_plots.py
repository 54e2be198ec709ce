"""The plots that compare both models of a mode."""

from matplotlib.figure import Figure

from vd_forecasting.evaluation.aligned import AlignedForecasts, most_congested_day
from vd_forecasting.evaluation.differences import Differences
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.pipelines.reporting.plots import (
    error_plots,
    fan_plot,
    forecast_plot,
    learning_plots,
    residual_plot,
)


def plot_learning_curves(lstm_training_history: Json, xlstm_training_history: Json) -> Figure:
    """Loss of both models by epoch."""
    return learning_plots.plot_learning_curves(
        "Which model learns faster, and which over-fits?",
        {"lstm": lstm_training_history, "xlstm": xlstm_training_history},
    )


def plot_error_by_horizon(errors: Errors, differences: Differences) -> Figure:
    """MAE of both models and of the baselines by horizon."""
    return error_plots.plot_error_by_horizon(
        "How fast do the errors grow with the time ahead?", errors, differences
    )


def plot_gain_by_horizon(errors: Errors) -> Figure:
    """How much lower than persistence's MAE is."""
    return error_plots.plot_gain_by_horizon(
        "How much better than persistence is each network?", errors
    )


def plot_difference_by_horizon(errors: Errors, differences: Differences) -> Figure:
    """xLSTM's MAE relative to LSTM's by horizon, with its interval."""
    return error_plots.plot_difference_by_horizon(
        "Is xLSTM better than LSTM, and is that more than chance?", errors, differences
    )


def plot_error_by_hour(errors: Errors) -> Figure:
    """MAE by hour of day."""
    return error_plots.plot_error_by_hour("At what time of day do the forecasts go wrong?", errors)


def plot_error_by_vd(errors: Errors) -> Figure:
    """MAE of every VD."""
    return error_plots.plot_error_by_vd(
        "Which detectors are hard to forecast, and which model does better there?", errors
    )


def plot_forecast(forecasts: AlignedForecasts) -> Figure:
    """Forecasts of both over the most congested day."""
    congested = most_congested_day(forecasts)
    event = "congestion" if congested.is_congestion else "the peak"
    return forecast_plot.plot_forecast(
        f"Which model sees {event} coming?", forecasts, congested, days=1
    )


def plot_forecast_fan(forecasts: AlignedForecasts) -> Figure:
    """Whole forecasts of both around the most congested hour."""
    congested = most_congested_day(forecasts)
    event = "congestion" if congested.is_congestion else "the peak"
    return fan_plot.plot_fans(
        f"How do the forecasts change while {event} comes and goes?", forecasts, congested
    )


def plot_residuals(forecasts: AlignedForecasts, errors: Errors) -> Figure:
    """Distribution of forecast errors at the last horizon."""
    return residual_plot.plot_residuals(
        "Are the forecasts biased, and how often are they far off?", forecasts, errors
    )
