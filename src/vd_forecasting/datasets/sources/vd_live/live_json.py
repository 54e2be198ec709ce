"""VDLive and VD in JSON, with the names they have in XML."""

import json
from collections.abc import Iterator
from typing import Any

from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Lane, Records
from vd_forecasting.datasets.sources.vd_live.stations import Station, station

_MOST_VALUES = 4_000_000


def read_live_json(content: bytes) -> Records:
    """The records of a VDLiveList.

    Raises:
        ValueError: it is something else, or not JSON.
    """
    document = _parse(content)
    records = Records(update_time=_text(document, "UpdateTime"))
    for vd in _list(document, "LiveTrafficData", "VDLives", "VDLiveList"):
        lanes = (lane for flow in _dicts(vd, "LinkFlows") for lane in _dicts(flow, "Lanes"))
        vdid, stamp, status = (_text(vd, key) for key in ("VDID", "DataCollectTime", "Status"))
        records.add(vdid, stamp, status, map(_lane, lanes))
    return records


def _lane(lane: dict[str, Any]) -> Lane:
    volumes: list[Cell] = [_cell(vehicle, "Volume") for vehicle in _dicts(lane, "Vehicles")]
    return _cell(lane, "Speed"), _cell(lane, "Occupancy"), volumes


def read_stations_json(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in _list(_parse(content), "VDs", "VDList"):
        links = [link.get("LaneNum") for link in _dicts(vd, "DetectionLinks")]
        stations.append(station(vd, links or [vd.get("LaneNum")]))
    return stations


def _parse(content: bytes) -> dict[str, Any]:
    if content.count(b",") > _MOST_VALUES:
        raise ValueError(f"has more than {_MOST_VALUES:,} values")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if isinstance(document, list):
        document = {"VDs": document, "VDLives": document}
    if not isinstance(document, dict):
        raise ValueError(f"holds a {type(document).__name__}, must be an object")
    return document


def _list(document: dict[str, Any], *keys: str) -> Iterator[dict[str, Any]]:
    for key in keys:
        if isinstance(document.get(key), list):
            return _dicts(document, key)
    raise ValueError(f"has no list {' or '.join(keys)}")


def _dicts(parent: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    found = parent.get(key)
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())


def _text(parent: dict[str, Any], key: str) -> str:
    value = _cell(parent, key)
    return "" if value is None else str(value)


def _cell(parent: dict[str, Any], key: str) -> str | int | float | None:
    value = parent.get(key)
    return value if value is None or isinstance(value, str | int | float) else "?"
