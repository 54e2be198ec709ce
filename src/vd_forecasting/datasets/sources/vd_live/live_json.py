"""VDLive and VD in JSON, with the names they have in XML."""

import json
from collections.abc import Iterator
from typing import Any

from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Records
from vd_forecasting.datasets.sources.vd_live.stations import Station, station

_MOST_VALUES = 4_000_000
_LIVE_KEYS = ("LiveTrafficData", "VDLives", "VDLiveList")
_STATION_KEYS = ("VDs", "VDList")


def read_live_json(content: bytes) -> Records:
    """The records of a VDLiveList.

    Raises:
        ValueError: it is something else, or not JSON.
    """
    document = _parse(content)
    records = Records(update_time=_text(document, "UpdateTime"))
    for vd in _list(document, _LIVE_KEYS):
        record = len(records.vdids)
        records.vdids.append(_text(vd, "VDID").strip())
        records.stamps.append(_text(vd, "DataCollectTime"))
        records.healthy.append(_text(vd, "Status").strip() in ("", "0"))
        for flow in _dicts(vd.get("LinkFlows")):
            for lane in _dicts(flow.get("Lanes")):
                counts = [_cell(vehicle, "Volume") for vehicle in _dicts(lane.get("Vehicles"))]
                records.volumes += counts
                records.lane_of_volume += [len(records.speeds)] * len(counts)
                records.record_of_lane.append(record)
                records.speeds.append(_cell(lane, "Speed"))
                records.occupancies.append(_cell(lane, "Occupancy"))
    return records


def read_stations_json(content: bytes) -> list[Station]:
    """The detectors of a VDList.

    Raises:
        ValueError: as :func:`read_live_json`.
    """
    stations = []
    for vd in _list(_parse(content), _STATION_KEYS):
        links = [link.get("LaneNum") for link in _dicts(vd.get("DetectionLinks"))]
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


def _list(document: dict[str, Any], keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for key in keys:
        if isinstance(document.get(key), list):
            return _dicts(document[key])
    raise ValueError(f"has no list {' or '.join(keys)}")


def _dicts(found: Any) -> Iterator[dict[str, Any]]:
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return "" if value is None else str(value) if isinstance(value, str | int | float) else "?"


def _cell(found: dict[str, Any], key: str) -> Cell:
    value = found.get(key)
    return value if value is None or isinstance(value, str | int | float) else "?"
