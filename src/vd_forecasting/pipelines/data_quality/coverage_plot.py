"""When each detector was observed, as a heatmap."""

from itertools import pairwise

import matplotlib.dates as mdates
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from vd_forecasting.rendering.plot_style import panels
from vd_forecasting.vd_array import DIMS, each_vd_block, interval_of

MAX_COLUMNS = 400
MAX_LABELLED_VDS = 40

_QUESTION = "When was each detector observed?"
_DETAIL = "Share of values observed after cleaning, over all features; white: none."

# White to mid blue: gaps stand out, and full coverage stays pale.
_COLOURS = ListedColormap(colormaps["Blues"](np.linspace(0, 0.75, 256)))

# For ticks at years, months, days, hours, minutes, seconds; the second list where a tick begins a
# larger unit. Days carry their month, since the axis may run over two of them.
_FORMATS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"]
_ZERO_FORMATS = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]


def plot_coverage(vd_clean: xr.DataArray) -> Figure:
    """Draw a heatmap of time × detector: the share of values observed, over all features."""
    times = vd_clean["time"].to_numpy().astype("datetime64[ns]")
    per_column = -(-len(times) // MAX_COLUMNS)  # steps, rounded up
    starts = np.arange(0, len(times), per_column)
    edges = np.append(times[starts], times[-1] + interval_of(vd_clean))
    vdids = [str(vdid) for vdid in vd_clean["vd"].to_numpy()]

    labelled = len(vdids) <= MAX_LABELLED_VDS
    height = 0.8 + (0.24 * len(vdids) if labelled else 5.4)
    figure, [[axes]] = panels(_QUESTION, _DETAIL, (1, 1), max(height, 1.6))
    limits = mdates.date2num(edges), np.arange(len(vdids) + 1) + 0.5
    mesh = axes.pcolormesh(*limits, coverage(vd_clean, starts).T, cmap=_COLOURS, vmin=0, vmax=1)
    axes.xaxis_date()
    locator = mdates.AutoDateLocator(minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    formatter = mdates.ConciseDateFormatter(
        locator, formats=_FORMATS, zero_formats=_ZERO_FORMATS, show_offset=False
    )
    axes.xaxis.set_major_formatter(formatter)
    first, last = np.datetime_as_string(times[[0, -1]], unit="D")
    axes.set_xlabel(first if first == last else f"{first} to {last}")
    axes.invert_yaxis()
    if labelled:
        axes.set_yticks(np.arange(1, len(vdids) + 1), vdids)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_ylabel(f"position in the file, of {len(vdids):,} detectors")
    axes.grid(False)
    figure.colorbar(mesh, ax=axes, label="share observed", pad=0.015, ticks=[0, 0.25, 0.5, 0.75, 1])
    return figure


def coverage(vd_clean: xr.DataArray, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of finite values, [len(starts), N], from each start (a time step) to the next."""
    shares = np.empty((len(starts), 0))
    periods = [slice(*limits) for limits in pairwise([*starts, vd_clean.sizes["time"]])]
    for block in each_vd_block(vd_clean.transpose(*DIMS), "plot coverage"):
        # Period by period, so that no mask as large as the array is made.
        seen = [np.isfinite(block.to_numpy()[period]).mean(axis=(0, 2)) for period in periods]
        shares = np.hstack([shares, seen])
    return shares
