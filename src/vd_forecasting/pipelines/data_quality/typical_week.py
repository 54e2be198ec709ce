"""A typical week, feature by feature."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vd_forecasting.pipelines.data_quality.evenly_spread import evenly_spread
from vd_forecasting.rendering.plot_style import COLOURS, legend_below, panels, say_empty, title
from vd_forecasting.vd_array import DIMS, interval_of
from vd_forecasting.wording import in_words

MOST_VALUES = 40_000_000
"""At most this many values (160 MB); above it an even subset of detectors is used."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_MOST_FEATURES = 8
_QUESTION = "What does a typical week look like?"
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEK = np.timedelta64(7, "D")
_COLOUR = COLOURS["lstm"]


def plot_typical_week(vd_clean: xr.DataArray) -> Figure:
    """Draw the median and the usual range of every feature by time of the week."""
    some = evenly_spread(vd_clean.isel(feature=slice(_MOST_FEATURES)), MOST_VALUES)
    week = weekly_quantiles(some)
    features = [str(name) for name in some["feature"].to_numpy()]
    figure, axes = panels(_QUESTION, _detail(vd_clean, some), (len(features), 1), 1.9, sharex=True)
    for index, (feature, unit) in enumerate(zip(features, some["unit"].to_numpy(), strict=True)):
        [ax] = axes[index]
        _draw(ax, week["hour"].to_numpy(), week.isel(feature=index).to_numpy())
        title(ax, f"{feature}, {unit}" if unit else feature)
    # Names of days stand at their middle, lines where they begin.
    ax.set_xlim(0, 7 * 24)
    ax.set_xticks(np.arange(8) * 24, [])
    ax.set_xticks(np.arange(7) * 24 + 12, _DAYS, minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    median = Line2D([], [], color=_COLOUR, label="median")
    half = Patch(color=_COLOUR, alpha=0.4, linewidth=0, label="middle half")
    most = Patch(color=_COLOUR, alpha=0.15, linewidth=0, label="90 % of the values")
    legend_below(figure, [median, half, most])
    return figure


def weekly_quantiles(vd: xr.DataArray) -> xr.DataArray:
    """The :data:`QUANTILES` over detectors and weeks, ``("quantile", "hour", "feature")``.

    NaN where nothing was observed. ``hour`` counts from Monday 00:00 by the clock of ``vd``, an
    array in memory, in steps of 15 min or of an interval, if that is longer.
    """
    step = min(max(np.timedelta64(15, "m"), interval_of(vd)), np.timedelta64(24, "h"))
    monday = np.datetime64("2024-01-01", "ns")
    of_week = (vd["time"].to_numpy() - monday) % _WEEK // step  # [T]
    steps = -(-_WEEK // step)
    values = vd.transpose(*DIMS).to_numpy()
    result = np.full((len(QUANTILES), steps, vd.sizes["feature"]), np.nan)
    order = np.argsort(of_week, kind="stable")
    begins = np.flatnonzero(np.diff(of_week[order], prepend=-1))
    for rows in np.split(order, begins[1:]):
        for feature in range(result.shape[2]):
            seen = values[rows, :, feature]
            seen = seen[np.isfinite(seen)]
            if seen.size:
                result[:, of_week[rows[0]], feature] = np.quantile(seen, QUANTILES)
    hours = np.arange(steps) * (step / np.timedelta64(1, "h"))
    coords = {"quantile": list(QUANTILES), "hour": hours, "feature": vd["feature"].to_numpy()}
    return xr.DataArray(result, coords, dims=tuple(coords))


def _detail(vd: xr.DataArray, some: xr.DataArray) -> str:
    vds, shown = vd.sizes["vd"], some.sizes["vd"]
    whose = f"{vds:,} detectors" if vds > 1 else str(vd["vd"].to_numpy()[0])
    if shown < vds:
        whose = f"{shown:,} of the {whose}, evenly spread"
    clock = f", UTC{vd.attrs['utc_offset']}" if "utc_offset" in vd.attrs else ""
    text = f"{whose}, {in_words(vd.sizes['time'] * interval_of(vd))}; the file's clock{clock}."
    left_out = vd.sizes["feature"] - some.sizes["feature"]
    return text + (f" The last {left_out} features are not shown." if left_out else "")


def _draw(ax: Axes, hours: npt.NDArray[np.float64], week: npt.NDArray[np.float64]) -> None:
    """Draw one feature; ``week`` is [quantile, hour]."""
    if np.isnan(week).all():
        say_empty(ax, "nothing observed")
        ax.set_yticks([])
        return
    # The last value, like every other, holds until its step ends.
    edges = np.append(hours, 7 * 24)
    low, lower, median, upper, high = np.column_stack([week, week[:, -1]])
    ax.fill_between(edges, low, high, step="post", color=_COLOUR, alpha=0.15, linewidth=0)
    ax.fill_between(edges, lower, upper, step="post", color=_COLOUR, alpha=0.3, linewidth=0)
    ax.step(edges, median, where="post", color=_COLOUR, linewidth=1.4)
    if np.nanmin(week) >= 0:
        ax.set_ylim(0, 1.05 * np.nanmax(week) or 1)
