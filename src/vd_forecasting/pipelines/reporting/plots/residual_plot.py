"""How forecast errors are distributed."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vd_forecasting.evaluation.aligned import AlignedForecasts
from vd_forecasting.evaluation.errors import Errors
from vd_forecasting.rendering.plot_style import (
    feature_panels,
    legend_below,
    line_style,
    say_empty,
    title,
)
from vd_forecasting.wording import ahead, is_number

_BINS = 41
_SHOWN_PERCENTILES = (0.5, 99.5)


def plot_residuals(question: str, forecasts: AlignedForecasts, errors: Errors) -> Figure:
    """Histograms of forecast − truth at the last horizon, a panel per feature.

    Args:
        question: the title.
        forecasts: of all models.
        errors: of these forecasts.
    """
    horizon = errors.horizons[-1]
    last = forecasts.sel(horizon=[horizon])
    residuals = last.shown - last.truth
    models = [*errors.networks, _best_baseline(errors)]
    figure, axes = feature_panels(
        question,
        f"Forecast − measured, {ahead(horizon, errors.interval_minutes)}; right of zero is too "
        "high. The short bars below are means; 1 % of the errors lie further out than is shown.",
        errors.features,
        3.4,
    )
    for feature, ax in axes.items():
        by_model = {model: _finite(residuals.sel(model=model, feature=feature)) for model in models}
        _draw(ax, by_model)
        title(ax, f"error of {errors.label(feature)}")
    legend_below(figure, [Line2D([], [], **_style(model)) for model in models])
    return figure


def _best_baseline(errors: Errors) -> str:
    """The baseline with the lowest mean of MASE over the features; persistence without MASE."""
    values = {
        name: [v for f in errors.features if is_number(v := errors.at("mase", name, f))]
        for name in errors.baselines
    }
    means = {name: float(np.mean(of_name)) for name, of_name in values.items() if of_name}
    return min(means, key=lambda name: means[name], default="persistence")


def _style(model: str) -> dict[str, Any]:
    return line_style(model, marker="", linewidth=1.5)


def _finite(values: xr.DataArray) -> npt.NDArray[np.float64]:
    flat = values.values.ravel()
    finite: npt.NDArray[np.float64] = flat[np.isfinite(flat)]
    return finite


def _draw(ax: Axes, by_model: dict[str, npt.NDArray[np.float64]]) -> None:
    everything = np.concatenate(list(by_model.values()))
    if not everything.size:
        say_empty(ax, "nothing observed, nothing scored")
        return
    low, high = np.percentile(everything, _SHOWN_PERCENTILES)
    reach = max(abs(low), abs(high)) or 1.0
    edges = np.linspace(-reach, reach, _BINS + 1)
    for model, values in reversed(by_model.items()):
        if not values.size:
            continue
        share, _ = np.histogram(values, edges)
        style = _style(model)
        del style["marker"], style["markersize"]
        ax.stairs(100 * share / len(values), edges, **style)
        ax.axvline(values.mean(), 0, 0.06, color=style["color"], linewidth=2.5)
    ax.axvline(0, color="#666666", linewidth=0.8)
    ax.set_ylabel("% of errors")
    ax.set_ylim(bottom=0)
