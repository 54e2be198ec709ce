"""What the traffic is like: a typical week, and the fundamental diagram of flow and speed."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from vd_forecasting.language import closed_up, say
from vd_forecasting.pipelines.data_engineering.resample import flow_factor
from vd_forecasting.rendering import plot_style as style
from vd_forecasting.vd_array import DIMS, interval_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, VOLUME
from vd_forecasting.wording import (
    WEEKDAYS,
    count,
    enumerated,
    feature_name,
    in_words,
    plural,
    unit_in_words,
)

MOST_VALUES_OF_WEEKS = 40_000_000
MOST_VALUES_OF_DIAGRAM = 10_000_000
"""At most this many values (160 and 40 MB); above it an even subset of detectors is used."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

SINGLE_VDS = 3
"""Detectors with a diagram of their own beside the one of all."""

Floats = npt.NDArray[np.float64]

_MOST_FEATURES = 8
_WEEK = np.timedelta64(7, "D")
_COLOUR = style.COLOURS["lstm"]

_CELLS = 60
_FEWEST_STEPS = 100
_COLOURS = ListedColormap(colormaps["Blues"](np.linspace(0.25, 1, 256)))

# An axis ends at the largest value, unless that lies this far beyond nearly all others.
_NEARLY_ALL, _FAR_BEYOND = 0.999, 1.25


def evenly_spread(vd: xr.DataArray, most_values: int) -> xr.DataArray:
    """As many detectors as hold ``most_values``, at least one, evenly spread over the file.

    They are in memory, ``("time", "vd", "feature")``.
    """
    vds = vd.sizes["vd"]
    some = min(max(most_values // (vd.sizes["time"] * vd.sizes["feature"]), 1), vds)
    return vd.transpose(*DIMS).isel(vd=np.arange(some) * vds // some).compute()


def plot_typical_week(vd_clean: xr.DataArray) -> Figure:
    """Draw the median and the usual range of every feature by time of the week."""
    some = evenly_spread(vd_clean.isel(feature=slice(_MOST_FEATURES)), MOST_VALUES_OF_WEEKS)
    week = weekly_quantiles(some)
    question, shape = say("What does a typical week look like?"), (some.sizes["feature"], 1)
    figure, axes = style.panels(question, _whose_week(vd_clean, some), shape, 1.9, sharex=True)
    for index, [ax] in enumerate(axes):
        _draw_week(ax, week["hour"].to_numpy(), week.isel(feature=index).to_numpy())
        style.title(ax, _name(some.isel(feature=index)))
    # Names of days stand at their middle, lines where they begin.
    ax.set_xlim(0, 7 * 24)
    ax.set_xticks(np.arange(8) * 24, [])
    ax.set_xticks(np.arange(7) * 24 + 12, [say(name) for name in WEEKDAYS], minor=True)
    ax.tick_params(axis="x", which="minor", length=0)
    median = Line2D([], [], color=_COLOUR, label=say("median"))
    half = Patch(color=_COLOUR, alpha=0.4, linewidth=0, label=say("middle half"))
    most = Patch(color=_COLOUR, alpha=0.15, linewidth=0, label=say("90 % of the values"))
    style.legend_below(figure, [median, half, most])
    return figure


def _name(feature: xr.DataArray) -> str:
    """A feature with its unit."""
    name, unit = (str(feature[of].item()) for of in ("feature", "unit"))
    if not unit:
        return feature_name(name)
    return say("{feature}, {unit}", feature=feature_name(name), unit=unit_in_words(unit))


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


def _whose_week(vd: xr.DataArray, some: xr.DataArray) -> str:
    vds, shown = vd.sizes["vd"], some.sizes["vd"]
    whose = plural(vds, "detector") if vds > 1 else str(vd["vd"].to_numpy()[0])
    if shown < vds:
        whose = say(
            "{number} of the {detectors}, evenly spread", number=count(shown), detectors=whose
        )
    values = {"whose": whose, "time": in_words(vd.sizes["time"] * interval_of(vd))}
    text = say("{whose}, {time}; the file's clock.", **values)
    if "utc_offset" in vd.attrs:
        offset = vd.attrs["utc_offset"]
        text = say("{whose}, {time}; the file's clock, UTC{offset}.", **values, offset=offset)
    if left_out := vd.sizes["feature"] - some.sizes["feature"]:
        others = say("The last {number} features are not shown.", number=left_out)
        text = closed_up(f"{text} {others}")
    return text


def _draw_week(ax: Axes, hours: Floats, week: Floats) -> None:
    """Draw one feature; ``week`` is [quantile, hour]."""
    if np.isnan(week).all():
        style.say_empty(ax, say("nothing observed"))
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


def plot_fundamental_diagram(vd_clean: xr.DataArray) -> Figure:
    """Draw flow against occupancy or density, and speed against flow: all detectors, then a few."""
    question = say("How much traffic does the road carry, and how fast?")
    if reason := no_diagram(vd_clean):
        return style.figure_without_data(question, reason)
    needed = [n for n in (VOLUME, SPEED, OCCUPANCY) if n in vd_clean["feature"].to_numpy()]
    some = evenly_spread(vd_clean.sel(feature=needed), MOST_VALUES_OF_DIAGRAM)
    diagrams = _diagrams(some)
    vdids = [str(vdid) for vdid in some["vd"].to_numpy()]
    single = _single_vds(*diagrams[0]) if len(vdids) > 1 else []
    whose = [slice(None), *(slice(n, n + 1) for n in single)]
    names = (
        [plural(len(vdids), "detector"), *(vdids[n] for n in single)] if len(vdids) > 1 else vdids
    )
    shape, height, grid = (1, len(diagrams)), 4.2, dict[str, Any]()
    if single:
        shape, height = (len(diagrams), len(whose)), 3.3
        grid = {"sharex": "row", "sharey": "row", "width_ratios": [1.6, *[1.0] * len(single)]}
    figure, axes = style.panels(question, _what_cells_are(vd_clean, some), shape, height, **grid)
    if not single:
        axes = [[ax] for ax in axes[0]]
    for row_axes, (across, up) in zip(axes, diagrams, strict=True):
        edges = _edges(across.values), _edges(up.values)
        for ax, vds in zip(row_axes, whose, strict=True):
            _draw_diagram(ax, across.values[:, vds], up.values[:, vds], edges)
            ax.set_xlabel(str(across.name))
            ax.xaxis.set_major_locator(MaxNLocator(5 if single else 8, steps=[1, 2, 5, 10]))
        row_axes[0].set_ylabel(str(up.name))
    for ax, name in zip(axes[0], names, strict=True):
        style.title(ax, name)
    return figure


def no_diagram(vd: xr.DataArray) -> str:
    """Why there is no diagram; "" if there is one."""
    names = [str(name) for name in vd["feature"].to_numpy()]
    if VOLUME in names and {SPEED, OCCUPANCY} & {*names}:
        return ""
    has = enumerated(map(feature_name, names[:5]))
    return say(
        "No fundamental diagram: it needs {volume} and one of {speed} and {occupancy}; the file "
        "has {features}.",
        volume=feature_name(VOLUME),
        speed=feature_name(SPEED),
        occupancy=feature_name(OCCUPANCY),
        features=f"{has} …" if len(names) > 5 else has,
    )


def flow_per_hour(vd: xr.DataArray) -> xr.DataArray:
    """``total_volume`` as vehicles per hour, ``("time", "vd")``.

    Its unit names the time it counts over; without one, that is the interval.
    """
    return vd.sel(feature=VOLUME).astype(np.float64) * flow_factor(vd)


def _diagrams(vd: xr.DataArray) -> list[tuple[xr.DataArray, xr.DataArray]]:
    """The diagrams as (across, up): flow against occupancy or density, speed against flow.

    Each is ``("time", "vd")``; its name is its label.
    """
    flow, lanes = flow_per_hour(vd), None
    if "lane_num" in vd.coords and (vd["lane_num"] > 0).all():
        lanes = vd["lane_num"]
    if lanes is None:
        flow = flow.rename(say("flow, veh/h"))
    else:
        flow = (flow / lanes).rename(say("flow, veh/h per lane"))
    measured = {
        name: of_one.astype(np.float64).rename(_name(of_one))
        for name in (SPEED, OCCUPANCY)
        if name in vd["feature"].to_numpy()
        for of_one in [vd.sel(feature=name)]
    }
    if SPEED not in measured:
        return [(measured[OCCUPANCY], flow)]
    speed = measured[SPEED]
    if OCCUPANCY in measured:
        return [(measured[OCCUPANCY], flow), (flow, speed)]
    labels = {
        (False, False): say("density, veh/km"),
        (False, True): say("density, veh/km per lane"),
        (True, False): say("density, veh/mi"),
        (True, True): say("density, veh/mi per lane"),
    }
    in_miles = str(vd["unit"].sel(feature=SPEED).item()) == "mph"
    density = (flow / speed.where(speed > 0)).rename(labels[in_miles, lanes is not None])
    return [(density, flow), (flow, speed)]


def _single_vds(across: xr.DataArray, up: xr.DataArray) -> list[int]:
    """Positions of a few detectors, evenly spread over those with enough values."""
    steps = (np.isfinite(across.values) & np.isfinite(up.values)).sum(axis=0)
    enough = np.flatnonzero(steps >= min(_FEWEST_STEPS, len(across) / 2))
    some = min(SINGLE_VDS, len(enough))
    return [int(enough[at]) for at in np.linspace(0, len(enough) - 1, some).round().astype(int)]


def _what_cells_are(vd: xr.DataArray, some: xr.DataArray) -> str:
    sentences = [say("Each cell counts time steps: the darker, the more (logarithmic).")]
    if OCCUPANCY not in vd["feature"].to_numpy():
        sentences.append(say("Density is flow divided by speed."))
    if some.sizes["vd"] < vd.sizes["vd"]:
        sentences.append(
            say(
                "{number} of the {detectors}, evenly spread.",
                number=count(some.sizes["vd"]),
                detectors=plural(vd.sizes["vd"], "detector"),
            )
        )
    return closed_up(" ".join(sentences))


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


def _draw_diagram(ax: Axes, across: Floats, up: Floats, edges: tuple[Floats, Floats]) -> None:
    counts, *_ = np.histogram2d(across.ravel(), up.ravel(), edges)
    ax.set_xlim(0, edges[0][-1])
    ax.set_ylim(0, edges[1][-1])
    if not counts.any():
        style.say_empty(ax, say("nothing observed"))
        return
    norm = LogNorm(1, max(counts.max(), 2))
    ax.pcolormesh(*edges, np.ma.masked_equal(counts.T, 0), cmap=_COLOURS, norm=norm)
