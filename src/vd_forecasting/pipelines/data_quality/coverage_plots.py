"""When each detector was observed, as a heatmap, and where, as a map."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import matplotlib.dates as mdates
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from scipy.optimize import isotonic_regression

from vd_forecasting.language import closed_up, marked, say, say_many
from vd_forecasting.rendering.plot_style import figure_without_data, legend_below, panels
from vd_forecasting.vd_array import DIMS, each_vd_block, interval_of
from vd_forecasting.wording import plural, span

MAX_COLUMNS = 400
MAX_LABELLED_ROWS = 40
MAX_LABELLED_POINTS = 16

Floats = npt.NDArray[np.float64]

# White to mid blue: gaps stand out, and full coverage stays pale.
_SHARES = ListedColormap(colormaps["Blues"](np.linspace(0, 0.75, 256)))

# For ticks at years, months, days, hours, minutes, seconds; the second list where a tick begins a
# larger unit. Days carry their month, since the axis may run over two of them.
_FORMATS = ("%Y", marked("%b"), marked("%d %b"), "%H:%M", "%H:%M", "%S.%f")
_ZERO_FORMATS = ("", "%Y", marked("%d %b"), marked("%d %b"), "%H:%M", "%H:%M")

# Classes of shares: lower limit and marker.
_CLASSES = ((0.99, "o"), (0.95, "o"), (0.8, "o"), (0.5, "s"), (0.0, "D"))
_COLOURS = colormaps["cividis"](np.linspace(0.95, 0, len(_CLASSES)))
"""From light, little missing, to dark, much missing."""

_KM_PER_DEGREE = 111.2
_LEAST_KM = 2.0
_SHAPE = 1.6
"""Width of the panel, in heights."""


def plot_coverage(vd_clean: xr.DataArray) -> Figure:
    """Draw a heatmap of time × detector: the share of values observed, over all features."""
    times = vd_clean["time"].to_numpy().astype("datetime64[ns]")
    per_column = -(-len(times) // MAX_COLUMNS)  # steps, rounded up
    starts = np.arange(0, len(times), per_column)
    edges = np.append(times[starts], times[-1] + interval_of(vd_clean))
    vdids = [str(vdid) for vdid in vd_clean["vd"].to_numpy()]

    labelled = len(vdids) <= MAX_LABELLED_ROWS
    height = max(0.8 + (0.24 * len(vdids) if labelled else 5.4), 1.6)
    question = say("When was each detector observed?")
    detail = say("Share of values observed after cleaning, over all features; white: none.")
    figure, [[ax]] = panels(question, detail, (1, 1), height)
    limits = mdates.date2num(edges), np.arange(len(vdids) + 1) + 0.5
    mesh = ax.pcolormesh(*limits, coverage(vd_clean, starts).T, cmap=_SHARES, vmin=0, vmax=1)
    ax.xaxis_date()
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    ax.xaxis.set_major_locator(locator)
    formats = {"formats": [*map(say, _FORMATS)], "zero_formats": ["", *map(say, _ZERO_FORMATS[1:])]}
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, **formats, show_offset=False))
    first, last = np.datetime_as_string(times[[0, -1]], unit="D")
    ax.set_xlabel(first if first == last else span(first, last))
    ax.invert_yaxis()
    if labelled:
        ax.set_yticks(np.arange(1, len(vdids) + 1), vdids)
        ax.tick_params(axis="y", length=0)
    else:
        ax.set_ylabel(say("position in the file, of {number} detectors", number=f"{len(vdids):,}"))
    ax.grid(False)
    figure.colorbar(
        mesh, ax=ax, label=say("share observed"), pad=0.015, ticks=[0, 0.25, 0.5, 0.75, 1]
    )
    return figure


def coverage(vd_clean: xr.DataArray, starts: npt.NDArray[np.int64]) -> Floats:
    """Share of finite values, [len(starts), N], from each start (a time step) to the next."""
    shares = np.empty((len(starts), 0))
    periods = [slice(*limits) for limits in pairwise([*starts, vd_clean.sizes["time"]])]
    for block in each_vd_block(vd_clean.transpose(*DIMS), "plot coverage"):
        # Period by period, so that no mask as large as the array is made.
        seen = [np.isfinite(block.to_numpy()[period]).mean(axis=(0, 2)) for period in periods]
        shares = np.hstack([shares, seen])
    return shares


def plot_detector_map(vd_clean: xr.DataArray, observed: Floats) -> Figure:
    """Draw a map of the detectors in colours of the share of their values ``observed``, [N].

    Longitudes and latitudes are to scale at the mean latitude. Where no detector has coordinates,
    the figure says so instead. Only labels of ``vd_clean`` are read.
    """
    where = say("Where are the detectors, and which have most data missing?")
    placed = placed_vds(vd_clean)
    if not placed.any():
        return figure_without_data(where, no_map())
    lon, lat = (vd_clean[name].to_numpy()[placed] for name in ("position_lon", "position_lat"))
    figure, [[ax]] = panels(where, caption(vd_clean), (1, 1), 6.0)
    legend_below(figure, _draw(ax, lon, lat, observed[placed]))
    _frame(ax, lon, lat)
    if len(lon) <= MAX_LABELLED_POINTS:
        _label(ax, lon, lat, [str(vdid) for vdid in vd_clean["vd"].to_numpy()[placed]])
    return figure


def no_map() -> str:
    """Why there is no map, of a file without a detector that has coordinates."""
    return say("No map: no detector of the file has a position_lon and a position_lat in degrees.")


def placed_vds(vd: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Whether each detector, [N], has coordinates on this planet; 0, 0 stands for unknown."""
    if not {"position_lon", "position_lat"} <= set(vd.coords):
        return np.zeros(vd.sizes["vd"], dtype=bool)
    lon, lat = (np.asarray(vd[name], dtype=np.float64) for name in ("position_lon", "position_lat"))
    return np.asarray((np.abs(lon) <= 180) & (np.abs(lat) < 90) & ((lon != 0) | (lat != 0)))


def caption(vd: xr.DataArray) -> str:
    """The meaning of the colours, and how many detectors are not on the map."""
    placed = placed_vds(vd)
    text = say(
        "Share of values observed after cleaning, over all features. In one place, the worst is on "
        "top."
    )
    if lost := int((~placed).sum()):
        others = say_many(
            "{number} of {detectors} has no coordinates.",
            "{number} of {detectors} have no coordinates.",
            lost,
            number=f"{lost:,}",
            detectors=plural(len(placed), "detector"),
        )
        text = closed_up(f"{text} {others}")
    return text


def _draw(ax: Axes, lon: Floats, lat: Floats, share: Floats) -> list[Line2D]:
    """Draw the points, the smallest shares on top; return the legend's handles."""
    size = float(np.clip(160 / math.sqrt(len(lon)), 3.5, 9))
    of_class = (share[:, np.newaxis] < [floor for floor, _ in _CLASSES]).sum(axis=1)
    handles = []
    for index, (name, (_, marker)) in enumerate(zip(_class_names(), _CLASSES, strict=True)):
        chosen = np.flatnonzero(of_class == index)
        chosen = chosen[np.argsort(-share[chosen], kind="stable")]
        style = {"color": _COLOURS[index], "marker": marker, "linestyle": ""}
        style |= {"markeredgecolor": "#444444", "markeredgewidth": 0.4 if size > 5 else 0.25}
        larger = 1 + 0.15 * index  # the worst must be found at a glance
        ax.plot(lon[chosen], lat[chosen], markersize=larger * size, zorder=3 + index, **style)
        handles.append(
            Line2D(
                [],
                [],
                markersize=7,
                label=say("{name}: {number}", name=name, number=f"{len(chosen):,}"),
                **style,
            )
        )
    return handles


def _class_names() -> list[str]:
    """``99 % or more``, ``95 to 99 %``, ``less than 50 %``."""
    limits = [f"{100 * floor:g}" for floor, _ in _CLASSES[:-1]]
    highest, lowest = (say("{number} %", number=limits[at]) for at in (0, -1))
    between = [say("{number} %", number=span(floor, above)) for above, floor in pairwise(limits)]
    return [say("{share} or more", share=highest), *between, say("less than {share}", share=lowest)]


def _frame(ax: Axes, lon: Floats, lat: Floats) -> None:
    """Set limits around the points, to scale; a map of one point is some kilometres wide."""
    stretch = math.cos(math.radians(float(lat.mean())))
    wide = max(float(np.ptp(lon)) * stretch, _SHAPE * float(np.ptp(lat)))
    wide = 1.15 * max(wide, _LEAST_KM / _KM_PER_DEGREE)  # degrees of latitude
    middle, half = (lon.min() + lon.max()) / 2, wide / stretch / 2
    ax.set_xlim(middle - half, middle + half)
    middle, half = (lat.min() + lat.max()) / 2, wide / _SHAPE / 2
    ax.set_ylim(middle - half, middle + half)
    ax.set_aspect(1 / stretch, adjustable="box", anchor="NW")
    for axis, sides in (
        (ax.xaxis, ("", say(" E"), say(" W"))),
        (ax.yaxis, ("", say(" N"), say(" S"))),
    ):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(partial(_degrees, sides))
    fifth = wide * _KM_PER_DEGREE / 5
    power = 10.0 ** math.floor(math.log10(fifth))
    km = max(step * power for step in (1, 2, 5) if step * power <= fifth)
    bar = (km / _KM_PER_DEGREE / stretch, say("{number} km", number=f"{km:g}"), "lower left")
    style = {"frameon": False, "color": "#444444", "size_vertical": wide / 400}
    ax.add_artist(AnchoredSizeBar(ax.transData, *bar, **style))


def _degrees(sides: tuple[str, str, str], value: float, _: int) -> str:
    """Degrees with their side of the globe: that of zero, positive and negative ones."""
    return f"{round(abs(value), 6):g}°{sides[int(np.sign(value))]}"


def _label(ax: Axes, lon: Floats, lat: Floats, vdids: Sequence[str]) -> None:
    """Write VDIDs beside their points: right of a road that runs north, slanting above others."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y, angle = apart(lon, 0.025 * (right - left)), lat + 0.03 * (top - bottom), 40
    if np.ptp(lat) / (top - bottom) >= np.ptp(lon) / (right - left):
        x, y, angle = lon + 0.02 * (right - left), apart(lat, 0.035 * (top - bottom)), 0
    line = {"arrowstyle": "-", "color": "#AAAAAA", "linewidth": 0.6}
    style: dict[str, Any] = {"fontsize": 8, "color": "#444444", "va": "center", "arrowprops": line}
    style |= {"rotation": angle, "rotation_mode": "anchor", "zorder": 2}
    for at, vdid in enumerate(vdids):
        ax.annotate(vdid, (lon[at], lat[at]), (x[at], y[at]), **style)


def apart(values: Floats, gap: float) -> Floats:
    """Values, [N], moved as little as it takes to lie ``gap`` apart, in their order."""
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    # With the gaps taken out, "apart" means "not decreasing".
    result = np.empty(len(values))
    result[order] = isotonic_regression(values[order] - steps).x + steps
    return result
