"""Stations: the entries of a list of detectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.hdf5_attributes import as_number, as_text


@dataclass(frozen=True)
class Station:
    """One detector; NaN and "" are unknown."""

    vdid: str
    position_lon: float
    position_lat: float
    lane_num: float
    road_id: str
    road_name: str

    KEYS: ClassVar = ("VDID", "PositionLon", "PositionLat", "RoadID", "RoadName")


def station(known: Mapping[str, Any], lanes: Sequence[Any]) -> Station:
    """A detector from those of its KEYS that are known and the LaneNum of its links."""
    counts = [as_number(count) for count in lanes]
    counts = [count for count in counts if count >= 0]  # NaN is not
    return Station(
        vdid=as_text(known.get("VDID")).strip(),
        position_lon=as_number(known.get("PositionLon")),
        position_lat=as_number(known.get("PositionLat")),
        lane_num=sum(counts) if counts else float("nan"),
        road_id=as_text(known.get("RoadID")).strip(),
        road_name=as_text(known.get("RoadName")).strip(),
    )


def info_of(stations: Iterable[Station], vdids: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Coordinates, lanes and roads of ``vdids``, [N] each; the last of several of one name."""
    by_name = {one.vdid: one for one in stations}
    unknown = station({}, [])
    found = [by_name.get(vdid, unknown) for vdid in vdids]
    return {
        "position_lon": np.array([one.position_lon for one in found]),
        "position_lat": np.array([one.position_lat for one in found]),
        "lane_num": np.array([one.lane_num for one in found]),
        "road_id": np.array([one.road_id for one in found], dtype=str),
        "road_name": np.array([one.road_name for one in found], dtype=str),
    }
