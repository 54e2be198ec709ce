"""A source as a VD array, and a page about it."""

import logging

import numpy as np
import xarray as xr

from vd_forecasting.vd_array import DIMS

logger = logging.getLogger(__name__)

NOTES = "ingest_notes"


def ingest(source: xr.DataArray) -> tuple[xr.DataArray, str]:
    """Hand on the VD array of a source unchanged; cleaning removes wrong values later.

    Args:
        source: ``("time", "vd", "feature")``, may be lazy; the attribute ``ingest_notes`` holds
            what its reader left out or changed.

    Returns:
        The array without the notes, and a Markdown page about it.

    Raises:
        ValueError: a dimension is missing.
    """
    if set(source.dims) != set(DIMS):
        raise ValueError(
            f"a source must have the dims {', '.join(DIMS)}; this one has "
            f"{', '.join(map(str, source.dims))}"
        )
    vd = source.transpose(*DIMS)
    notes = tuple(str(note) for note in source.attrs.get(NOTES, ()))
    vd.attrs = {name: value for name, value in source.attrs.items() if name != NOTES}
    logger.info("%s: %s", _name(vd), _size(vd))
    for note in notes:
        logger.warning("%s: %s", _name(vd), note)
    return vd, _page(vd, notes)


def _page(vd: xr.DataArray, notes: tuple[str, ...]) -> str:
    units = [str(unit) for unit in vd["unit"].to_numpy()] if "unit" in vd.coords else []
    names = [str(name) for name in vd["feature"].to_numpy()]
    described = [
        f"`{name}`" + (f" ({unit})" if unit else "")
        for name, unit in zip(names, units or [""] * len(names), strict=True)
    ]
    placed = "position_lat" in vd.coords and "position_lon" in vd.coords
    known = (
        int((vd["position_lat"].notnull() & vd["position_lon"].notnull()).sum()) if placed else 0
    )
    lines = [
        f"# Ingested: {_name(vd)}",
        "\n".join(
            [
                f"- {_size(vd)}.",
                f"- Features: {', '.join(described)}.",
                f"- Clock: {vd.attrs.get('utc_offset', 'no UTC offset known')}.",
                f"- Coordinates: of {known:,} of {vd.sizes['vd']:,} VDs.",
            ]
        ),
        "## Left out",
        "\n".join(f"- {note}" for note in notes) if notes else "Nothing.",
    ]
    return "\n\n".join(lines) + "\n"


def _size(vd: xr.DataArray) -> str:
    times = vd["time"].to_numpy()
    usable = times[~np.isnat(times)]
    span = "no usable time stamp"
    if usable.size:
        first, last = np.datetime_as_string([usable.min(), usable.max()], unit="m")
        span = f"{first} to {last}"
    return (
        f"{vd.sizes['time']:,} time steps ({span}), {vd.sizes['vd']:,} VDs, "
        f"{vd.sizes['feature']} feature{'' if vd.sizes['feature'] == 1 else 's'}"
    )


def _name(vd: xr.DataArray) -> str:
    return str(vd.attrs.get("source_file", "source"))
