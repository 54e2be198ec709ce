"""The plots of one experiment."""

from matplotlib.figure import Figure

from vd_forecasting.artefacts import Forecasts
from vd_forecasting.evaluation.aligned import align, most_congested_day
from vd_forecasting.evaluation.errors import Errors, Json
from vd_forecasting.pipelines.reporting.plots import error_plots, forecast_plot, learning_plots

FORECAST_DAYS = 3


def plot_learning_curves(config: Json, training_history: Json) -> Figure:
    """Loss by epoch."""
    return learning_plots.plot_learning_curves(
        f"Did training of {config['experiment']} stop at the right epoch?",
        {config["model"]: training_history},
    )


def plot_metric_evolution(config: Json, training_history: Json, errors: Errors) -> Figure:
    """Errors in physical units by epoch."""
    return learning_plots.plot_metric_evolution(
        f"Which errors did training of {config['experiment']} bring down?",
        config["model"],
        training_history,
        errors,
    )


def plot_forecast(config: Json, predictions: Forecasts) -> Figure:
    """Forecasts over several days, the most congested one among them."""
    aligned = align({config["model"]: predictions})
    congested = most_congested_day(aligned)
    event = "congestion" if congested.is_congestion else "the peak"
    return forecast_plot.plot_forecast(
        f"Does {config['experiment']} see {event} coming?",
        aligned,
        congested,
        days=FORECAST_DAYS,
    )


def plot_error_by_horizon(config: Json, errors: Errors) -> Figure:
    """MAE by horizon beside persistence."""
    return error_plots.plot_error_by_horizon(
        f"How fast do the errors of {config['experiment']} grow with the time ahead?",
        errors,
    )
