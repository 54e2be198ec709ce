"""Where detectors are: attributes of the groups /metadata/vd_info/<vdid> of a VD file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.datasets.hdf5_attributes import UNREADABLE, as_number, as_text

NUMBERS = ("position_lon", "position_lat", "lane_num")
TEXTS = ("road_id", "road_name")


def read_info(group: h5py.Group, vdids: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Read the NUMBERS, each [N] with NaN for unknown, and the TEXTS, each [N] with ""."""
    return as_arrays([_read_one(group, vdid) for vdid in vdids])


def as_arrays(known: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """The NUMBERS and TEXTS of N detectors, each [N], of which some may be unknown."""
    info: dict[str, npt.NDArray[Any]] = {
        name: np.array([as_number(one.get(name)) for one in known]) for name in NUMBERS
    }
    for name in TEXTS:
        info[name] = np.array([as_text(one.get(name)) for one in known], dtype=str)
    return info


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
    if not _can_be_group(vdid):
        return attrs
    try:
        if not isinstance(group.get(vdid, getlink=True), h5py.HardLink):
            return attrs
        found = group[vdid].attrs
        for name in (*NUMBERS, *TEXTS):
            if name in found:
                attrs[name] = found[name]
    except UNREADABLE:
        pass  # the attributes read so far are kept
    return attrs


def _can_be_group(vdid: str) -> bool:
    # "/" would nest, and "." is the group itself
    return vdid not in ("", ".") and "/" not in vdid and "\0" not in vdid
