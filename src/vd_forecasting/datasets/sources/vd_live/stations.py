"""The entries of a list of detectors."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from vd_forecasting.datasets.hdf5_attributes import as_number, as_text

Station = dict[str, Any]
"""The ``vdid`` of a detector and its properties, as in :mod:`vd_forecasting.datasets.vd_info`."""


def station(known: Mapping[str, Any], lanes: Iterable[Any]) -> Station:
    """A detector from what the list has of it and the LaneNum of its links."""
    counts = [count for count in map(as_number, lanes) if count >= 0]  # NaN is not
    return {
        "vdid": as_text(known.get("VDID")).strip(),
        "position_lon": known.get("PositionLon"),
        "position_lat": known.get("PositionLat"),
        "lane_num": sum(counts) if counts else math.nan,
        "road_id": as_text(known.get("RoadID")).strip(),
        "road_name": as_text(known.get("RoadName")).strip(),
    }
