"""A source as a VD array, and a page about it."""

import logging

import numpy as np
import xarray as xr

from vd_forecasting.datasets.sources.source import NOTES
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import DIMS, source_of
from vd_forecasting.wording import plural, with_unit

logger = logging.getLogger(__name__)


def ingest(source: xr.DataArray) -> tuple[xr.DataArray, str]:
    """Hand on the VD array of a source, which may be lazy, and report on it in Markdown.

    Its attribute ``ingest_notes``, which the result lacks, holds what its reader left out; nothing
    else is changed. Cleaning removes wrong values later.
    """
    if set(source.dims) != set(DIMS):
        raise ValueError(
            f"a source must have the dims {', '.join(DIMS)}; this one has "
            f"{', '.join(map(str, source.dims))}"
        )
    vd = source.transpose(*DIMS)
    notes = tuple(str(note) for note in source.attrs.get(NOTES, ()))
    vd.attrs = {name: value for name, value in source.attrs.items() if name != NOTES}
    times = vd["time"].to_numpy()
    usable = times[~np.isnat(times)]
    span = "no usable time stamp"
    if usable.size:
        span = " to ".join(np.datetime_as_string([usable.min(), usable.max()], unit="m"))
    size = (
        f"{plural(vd.sizes['time'], 'time step')} ({span}), {plural(vd.sizes['vd'], 'detector')}, "
        f"{plural(vd.sizes['feature'], 'feature')}"
    )
    logger.info("%s: %s", source_of(vd), size)
    for note in notes:
        logger.warning("%s: %s", source_of(vd), note)
    names = vd["feature"].to_numpy()
    units = vd["unit"].to_numpy() if "unit" in vd.coords else [""] * len(names)
    features = [
        with_unit(code(str(name)), plain_text(unit))
        for name, unit in zip(names, units, strict=True)
    ]
    placed = 0
    if {"position_lat", "position_lon"} <= set(vd.coords):
        placed = int((vd["position_lat"].notnull() & vd["position_lon"].notnull()).sum())
    view = {"size": size, "features": features, "placed": placed, "notes": notes}
    return vd, render(__package__, "ingest", vd=vd, source=source_of(vd), **view)
