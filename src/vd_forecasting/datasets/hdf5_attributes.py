"""HDF5 attributes of unknown origin as plain Python values; odd ones are no error.

Those of the groups /metadata/vd_info/<vdid> of a VD file say where its detectors are.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from vd_forecasting.datasets.limits import COPIES, MemoryLimit

UNREADABLE = (KeyError, OSError, RuntimeError, ValueError, TypeError)
"""Errors of h5py for damaged or unsupported objects, depending on where it notices."""

NUMBERS = ("position_lon", "position_lat", "lane_num")
TEXTS = ("road_id", "road_name")


def read_attributes(item: h5py.Group, limit: MemoryLimit) -> dict[str, str | int | float]:
    """Attributes of ``item`` that are a single string or number."""
    attrs: dict[str, str | int | float] = {}
    needed = 0
    for name in item.attrs:
        with suppress(*UNREADABLE):
            value = _scalar(_single(item, name, limit))
            if isinstance(value, str | int | float):
                attrs[name] = value
                needed += COPIES * len(str(value))
                limit.check(needed, f"attributes of {item.name}")
    return attrs


def read_texts(item: h5py.Dataset, name: str, limit: MemoryLimit | None = None) -> list[str]:
    """The attribute ``name`` as a list of strings, empty where there is no such list."""
    limit = limit or MemoryLimit(Path(item.file.filename))
    try:
        check_attribute(item, name, limit)
        return [as_text(value) for value in np.atleast_1d(item.attrs[name]).tolist()]
    except UNREADABLE:
        return []


def check_attribute(item: h5py.HLObject, name: str, limit: MemoryLimit) -> int:
    """The number of values of an attribute, if all of them fit into memory; else a DatasetError."""
    stored = item.attrs.get_id(name)
    values = int(stored.get_space().get_simple_extent_npoints())
    # However long, each may be the longest string that the file holds.
    each = limit.file_bytes if stored.dtype.kind == "O" else stored.dtype.itemsize
    limit.check(values * each, f"attribute {name} of {item.name} has {values:,} values")
    return values


def check_attributes(item: h5py.HLObject, limit: MemoryLimit) -> None:
    """Refuse, by a DatasetError, an object whose attributes do not all fit into memory."""
    needed = 0
    for name in item.attrs:
        check_attribute(item, name, limit)
        if h5py.check_string_dtype(item.attrs.get_id(name).dtype):
            needed += COPIES * sum(map(len, read_texts(item, name, limit)))
            limit.check(needed, f"attributes of {item.name}")


def _single(item: h5py.Group, name: str, limit: MemoryLimit) -> Any:
    """An attribute that is one value; None for an array of others, which stays unread."""
    return item.attrs[name] if check_attribute(item, name, limit) == 1 else None


def as_number(value: Any) -> float:
    """The number in ``value``, also one written as text; NaN if there is no finite one."""
    try:
        number = float(_scalar(value))
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def as_text(value: Any) -> str:
    """The string in ``value``, or its number as one; "" if there is neither."""
    scalar = _scalar(value)
    if isinstance(scalar, float) and math.isnan(scalar):
        return ""
    return str(scalar) if isinstance(scalar, str | int | float) else ""


def _scalar(value: Any) -> Any:
    """The one Python value in what h5py makes of an attribute, or None."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):  # h5py decodes invalid bytes to surrogates
        value = value.encode("utf-8", errors="surrogateescape")
    if isinstance(value, bytes):  # with a NUL it could not be written again
        return value.decode("utf-8", errors="replace").replace("\0", "\ufffd")
    return value


def read_info(group: h5py.Group, vdids: list[str], limit: MemoryLimit) -> dict[str, Any]:
    """The coordinates of ``vdids``, as :func:`as_coords`."""
    known: list[dict[str, Any]] = [{} for _ in vdids]
    longest = 0
    for attrs, vdid in zip(known, vdids, strict=True):
        with suppress(*UNREADABLE):  # the attributes read before an error are kept
            if _can_be_group(vdid) and isinstance(group.get(vdid, getlink=True), h5py.HardLink):
                found = group[vdid]
                for name in (*NUMBERS, *TEXTS):
                    if name in found.attrs:
                        attrs[name] = _single(found, name, limit)
                longest = max(longest, *(len(as_text(attrs.get(name))) for name in TEXTS))
                limit.check_names(longest, len(vdids), f"{found.name}: {' or '.join(TEXTS)}")
    return as_coords(known, limit)


def as_coords(known: Sequence[Mapping[str, Any]], limit: MemoryLimit) -> dict[str, Any]:
    """Coordinates, each [N]: the NUMBERS with NaN for unknown, the TEXTS with ""; a DatasetError if
    a text is so long that all would take more memory than the limit."""
    coords: dict[str, Any] = {}
    for name in NUMBERS:
        coords[name] = ("vd", [as_number(one.get(name)) for one in known])
    for name in TEXTS:
        texts = [as_text(one.get(name)) for one in known]
        limit.check_names(max(map(len, texts), default=0), len(texts), f"a {name}")
        coords[name] = ("vd", np.array(texts, str))
    return coords


def write_info(group: h5py.Group, data: xr.DataArray) -> None:
    """Write those of NUMBERS and TEXTS that are coordinates of ``data``."""
    info = {
        name: data[name].values
        for name in (*NUMBERS, *TEXTS)
        if name in data.coords and data[name].dims == ("vd",)
    }
    for index, vdid in enumerate(map(str, data["vd"].values)):
        if not _can_be_group(vdid):
            continue  # unknown when loaded again
        attrs = group.create_group(vdid).attrs
        for name, values in info.items():
            if name in NUMBERS and not math.isnan(number := as_number(values[index])):
                attrs[name] = number
            elif name in TEXTS and (text := as_text(values[index])):
                attrs[name] = text


def _can_be_group(vdid: str) -> bool:
    # "/" would nest, and "." is the group itself
    return vdid not in ("", ".") and "/" not in vdid and "\0" not in vdid
