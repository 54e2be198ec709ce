"""Where detectors are: attributes of the groups /metadata/vd_info/<vdid> of a VD file."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
import xarray as xr

from vd_forecasting.datasets.hdf5_attributes import UNREADABLE, as_number, as_text

NUMBERS = ("position_lon", "position_lat", "lane_num")
TEXTS = ("road_id", "road_name")


def read_info(group: h5py.Group, vdids: list[str]) -> dict[str, Any]:
    """The coordinates of ``vdids``, as :func:`as_coords`."""
    return as_coords([_read_one(group, vdid) for vdid in vdids])


def as_coords(known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Coordinates, each [N]: the NUMBERS with NaN for unknown, the TEXTS with ""."""
    numbers = {name: [as_number(one.get(name)) for one in known] for name in NUMBERS}
    texts = {name: np.array([as_text(one.get(name)) for one in known], str) for name in TEXTS}
    return {name: ("vd", values) for name, values in (numbers | texts).items()}


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


def _read_one(group: h5py.Group, vdid: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    with suppress(*UNREADABLE):  # the attributes read before an error are kept
        if _can_be_group(vdid) and isinstance(group.get(vdid, getlink=True), h5py.HardLink):
            found = group[vdid].attrs
            for name in (*NUMBERS, *TEXTS):
                if name in found:
                    attrs[name] = found[name]
    return attrs


def _can_be_group(vdid: str) -> bool:
    # "/" would nest, and "." is the group itself
    return vdid not in ("", ".") and "/" not in vdid and "\0" not in vdid
