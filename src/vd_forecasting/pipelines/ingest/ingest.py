"""A source as a VD array, and a page about it."""

import logging
from typing import Any

import numpy as np
import xarray as xr

from vd_forecasting.datasets.sources.source import NOTES
from vd_forecasting.language import say, speaking
from vd_forecasting.parameters import Report
from vd_forecasting.rendering.markdown import code, plain_text
from vd_forecasting.rendering.templates import render
from vd_forecasting.vd_array import DIMS, source_of
from vd_forecasting.wording import plural, span, with_unit

logger = logging.getLogger(__name__)


def ingest(source: xr.DataArray, report: Report) -> tuple[xr.DataArray, str]:
    """Hand on the VD array of a source, which may be lazy, and report on it in Markdown.

    Its attribute ``ingest_notes``, which the result lacks, holds what its reader left out, as it
    says it, in English; nothing else is changed. Cleaning removes wrong values later.
    """
    if set(source.dims) != set(DIMS):
        raise ValueError(
            f"a source must have the dims {', '.join(DIMS)}; this one has "
            f"{', '.join(map(str, source.dims))}"
        )
    vd = source.transpose(*DIMS)
    notes = tuple(str(note) for note in source.attrs.get(NOTES, ()))
    vd.attrs = {name: value for name, value in source.attrs.items() if name != NOTES}
    logger.info("%s: %s", source_of(vd), _size(vd))
    for note in notes:
        logger.warning("%s: %s", source_of(vd), note)
    with speaking(report.language):
        return vd, render(__package__, "ingest", vd=vd, notes=notes, **_view(vd))


def _view(vd: xr.DataArray) -> dict[str, Any]:
    names = vd["feature"].to_numpy()
    units = vd["unit"].to_numpy() if "unit" in vd.coords else [""] * len(names)
    features = [
        with_unit(code(str(name)), plain_text(unit))
        for name, unit in zip(names, units, strict=True)
    ]
    placed = 0
    if {"position_lat", "position_lon"} <= set(vd.coords):
        placed = int((vd["position_lat"].notnull() & vd["position_lon"].notnull()).sum())
    source, size = source_of(vd), _size(vd)
    return {"source": source, "size": size, "features": features, "placed": placed}


def _size(vd: xr.DataArray) -> str:
    """How much there is, and from when to when."""
    times = vd["time"].to_numpy()
    usable = times[~np.isnat(times)]
    between = say("no usable time stamp")
    if usable.size:
        between = span(*np.datetime_as_string([usable.min(), usable.max()], unit="m"))
    return say(
        "{steps} ({between}), {detectors}, {features}",
        steps=plural(vd.sizes["time"], "time step"),
        between=between,
        detectors=plural(vd.sizes["vd"], "detector"),
        features=plural(vd.sizes["feature"], "feature"),
    )
