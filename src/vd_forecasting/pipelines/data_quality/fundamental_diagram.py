"""The fundamental diagram: flow, speed and occupancy against each other."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vd_forecasting.pipelines.data_engineering.resample import period_of
from vd_forecasting.pipelines.data_quality.evenly_spread import evenly_spread
from vd_forecasting.rendering.plot_style import figure_without_data, panels, say_empty, title
from vd_forecasting.vd_array import interval_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, VOLUME

MOST_VALUES = 10_000_000
"""At most this many values (40 MB); above it an even subset of detectors is used."""

SINGLE_VDS = 3
"""Detectors with a diagram of their own beside the one of all."""

Floats = npt.NDArray[np.float64]

_QUESTION = "How much traffic does the road carry, and how fast?"
_CELLS = 60
_FEWEST_STEPS = 100
_COLOURS = ListedColormap(colormaps["Blues"](np.linspace(0.25, 1, 256)))

# An axis ends at the largest value, unless that lies this far beyond nearly all others.
_NEARLY_ALL, _FAR_BEYOND = 0.999, 1.25


class Quantity(NamedTuple):
    """One axis of a diagram, its values [T, N]."""

    label: str
    values: Floats


def plot_fundamental_diagram(vd_clean: xr.DataArray) -> Figure:
    """Draw flow against occupancy or density, and speed against flow: all detectors, then a few."""
    if reason := no_diagram(vd_clean):
        return figure_without_data(_QUESTION, reason)
    needed = [n for n in (VOLUME, SPEED, OCCUPANCY) if n in vd_clean["feature"].to_numpy()]
    some = evenly_spread(vd_clean.sel(feature=needed), MOST_VALUES)
    diagrams = _diagrams(some)
    single = _single_vds(diagrams) if some.sizes["vd"] > 1 else []
    whose = [slice(None), *(slice(n, n + 1) for n in single)]
    vdids = [str(vdid) for vdid in some["vd"].to_numpy()]
    names = [f"{len(vdids):,} detectors", *(vdids[n] for n in single)] if len(vdids) > 1 else vdids
    shape, height, grid = (1, len(diagrams)), 4.2, dict[str, Any]()
    if single:
        shape, height = (len(diagrams), len(whose)), 3.3
        grid = {"sharex": "row", "sharey": "row", "width_ratios": [1.6, *[1.0] * len(single)]}
    figure, axes = panels(_QUESTION, _detail(vd_clean, some), shape, height, **grid)
    if not single:
        axes = [[ax] for ax in axes[0]]
    for row_axes, (across, up) in zip(axes, diagrams, strict=True):
        edges = _edges(across.values), _edges(up.values)
        for ax, vds in zip(row_axes, whose, strict=True):
            _draw(ax, across.values[:, vds], up.values[:, vds], edges)
            ax.set_xlabel(across.label)
            ax.xaxis.set_major_locator(MaxNLocator(5 if single else 8, steps=[1, 2, 5, 10]))
        row_axes[0].set_ylabel(up.label)
    for ax, name in zip(axes[0], names, strict=True):
        title(ax, name)
    return figure


def no_diagram(vd: xr.DataArray) -> str:
    """Why there is no diagram; "" if there is one."""
    names = [str(name) for name in vd["feature"].to_numpy()]
    if VOLUME in names and {SPEED, OCCUPANCY} & {*names}:
        return ""
    return (
        f"No fundamental diagram: it needs {VOLUME} and one of {SPEED} and {OCCUPANCY}; the "
        f"file has {', '.join(names[:5])}{' …' if len(names) > 5 else ''}."
    )


def flow_per_hour(vd: xr.DataArray) -> xr.DataArray:
    """``total_volume`` as vehicles per hour, ``("time", "vd")``.

    Its unit names the time it counts over; without one, that is the interval.
    """
    volume = vd.sel(feature=VOLUME)
    period = period_of(str(volume["unit"].item())) or pd.Timedelta(interval_of(vd))
    return volume.astype(np.float64) * (pd.Timedelta("1h") / period)


def _diagrams(vd: xr.DataArray) -> list[tuple[Quantity, Quantity]]:
    """The diagrams as (across, up): flow against occupancy or density, speed against flow."""
    flow, per_lane = flow_per_hour(vd).to_numpy(), ""
    if "lane_num" in vd.coords and (vd["lane_num"] > 0).all():
        flow, per_lane = flow / vd["lane_num"].to_numpy(), " per lane"
    flows = Quantity(f"flow, veh/h{per_lane}", flow)
    features = vd["feature"].to_numpy()
    if SPEED not in features:
        return [(_measured(vd, OCCUPANCY), flows)]
    speeds = _measured(vd, SPEED)
    if OCCUPANCY in features:
        return [(_measured(vd, OCCUPANCY), flows), (flows, speeds)]
    density = flow / np.where(speeds.values > 0, speeds.values, np.nan)
    length = "mi" if speeds.label.endswith(", mph") else "km"
    return [(Quantity(f"density, veh/{length}{per_lane}", density), flows), (flows, speeds)]


def _measured(vd: xr.DataArray, name: str) -> Quantity:
    feature = vd.sel(feature=name)
    unit = str(feature["unit"].item())
    return Quantity(f"{name}, {unit}" if unit else name, feature.to_numpy().astype(np.float64))


def _single_vds(diagrams: list[tuple[Quantity, Quantity]]) -> list[int]:
    """Positions of a few detectors, evenly spread over those with enough values."""
    across, up = diagrams[0]
    steps = (np.isfinite(across.values) & np.isfinite(up.values)).sum(axis=0)
    enough = np.flatnonzero(steps >= min(_FEWEST_STEPS, len(across.values) / 2))
    count = min(SINGLE_VDS, len(enough))
    return [int(enough[at]) for at in np.linspace(0, len(enough) - 1, count).round().astype(int)]


def _detail(vd: xr.DataArray, some: xr.DataArray) -> str:
    text = "Each cell counts time steps: the darker, the more (logarithmic)."
    if OCCUPANCY not in vd["feature"].to_numpy():
        text += " Density is flow divided by speed."
    if some.sizes["vd"] < vd.sizes["vd"]:
        text += f" {some.sizes['vd']:,} of the {vd.sizes['vd']:,} detectors, evenly spread."
    return text


def _edges(values: Floats) -> Floats:
    """Limits of equally wide cells from 0 on, a whole number of steps of the values each.

    Counts come in steps; cells of 2.5 steps would hold two and three in turn, and show stripes.
    """
    seen = values[np.isfinite(values)]
    if not seen.size:
        return np.array([0.0, 1.0])
    top = min(float(seen.max()), _FAR_BEYOND * float(np.quantile(seen, _NEARLY_ALL))) or 1.0
    levels = np.unique(np.round(seen[:: max(len(seen) // 100_000, 1)], 4))
    step = float(np.diff(levels).min()) if len(levels) > 1 else top
    width = step * max(np.ceil(top / _CELLS / step), 1)
    return np.arange(-step / 2, top + width, width)


def _draw(ax: Axes, across: Floats, up: Floats, edges: tuple[Floats, Floats]) -> None:
    counts, *_ = np.histogram2d(across.ravel(), up.ravel(), edges)
    ax.set_xlim(0, edges[0][-1])
    ax.set_ylim(0, edges[1][-1])
    if not counts.any():
        say_empty(ax, "nothing observed")
        return
    norm = LogNorm(1, max(counts.max(), 2))
    ax.pcolormesh(*edges, np.ma.masked_equal(counts.T, 0), cmap=_COLOURS, norm=norm)
