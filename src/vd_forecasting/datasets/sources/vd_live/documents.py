"""VDLive and VD files in XML and, with the same names, in JSON.

The XML, of the namespace http://traffic.transportdata.tw/standard/traffic/schema/, is not trusted:
a document type declaration, without which there are no entities to expand and nothing to fetch, is
refused, as is a document of more parts than any minute has.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from vd_forecasting.datasets.hdf5_attributes import as_number, as_text
from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Lane, Records
from vd_forecasting.datasets.sources.vd_live.plain_xml import read_plain

Station = dict[str, Any]
"""The ``vdid`` of a detector and its coordinates, as in :mod:`~.datasets.hdf5_attributes`."""

_MOST_PARTS = 4_000_000


def read_live_xml(content: bytes) -> Records:
    """The records of a VDLiveList; a ValueError if it is none, malformed or declares a type."""
    check(content)
    plain = read_plain(content)
    return plain if plain is not None else read_tree(content)


def read_tree(content: bytes) -> Records:
    """The records by way of a tree, for XML of any form."""
    root = parse(content, "VDLiveList")
    records = Records(update_time=root.findtext("UpdateTime") or "")
    for vd in root.iter("VDLive"):
        texts = {child.tag: child.text or "" for child in vd}
        lanes = (lane for flows in vd.findall("LinkFlows") for lane in flows.iter("Lane"))
        vdid, stamp, status = (texts.get(key, "") for key in ("VDID", "DataCollectTime", "Status"))
        records.add(vdid, stamp, status, map(_lane_of_tree, lanes))
    return records


def _lane_of_tree(lane: ElementTree.Element) -> Lane:
    cells = {cell.tag: cell.text for cell in lane}
    vehicles = lane.findall("Vehicles")
    volumes: list[Cell] = [volume.text for one in vehicles for volume in one.iter("Volume")]
    return cells.get("Speed"), cells.get("Occupancy"), volumes


def read_stations_xml(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in parse(content, "VDList").iter("VD"):
        lanes = [count.text for count in vd.iter("LaneNum")]
        stations.append(_station({child.tag: child.text for child in vd}, lanes))
    return stations


def parse(content: bytes, root_name: str) -> ElementTree.Element:
    """The root of a checked document, its names without the namespace of the root."""
    check(content)
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:  # a prefix that stands for nothing
        raise ValueError(f"not well-formed XML ({error})") from error
    name = root.tag.rpartition("}")[2]
    if name != root_name:
        raise ValueError(f"its root is {name[:80]!r}, must be {root_name!r}")
    namespace = root.tag.removesuffix(name)
    for element in root.iter():
        same = element.tag.startswith(namespace)
        element.tag = element.tag.removeprefix(namespace) if same else "of another namespace"
    return root


def check(content: bytes) -> None:
    """Parse a document and drop it; a ValueError if it is malformed, too large or has a type."""
    if content.count(b"<") > _MOST_PARTS:
        raise ValueError(f"has more than {_MOST_PARTS:,} tags")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not well-formed XML ({error})") from error


def _refuse(*declaration: object) -> NoReturn:
    raise ValueError("declares a document type, which no VD file needs and attacks do")


def read_live_json(content: bytes) -> Records:
    """The records of a VDLiveList; a ValueError if it is something else, or not JSON."""
    document = _parse_json(content)
    records = Records(update_time=_text(document, "UpdateTime"))
    for vd in _list(document, "LiveTrafficData", "VDLives", "VDLiveList"):
        lanes = (lane for flow in _dicts(vd, "LinkFlows") for lane in _dicts(flow, "Lanes"))
        vdid, stamp, status = (_text(vd, key) for key in ("VDID", "DataCollectTime", "Status"))
        records.add(vdid, stamp, status, map(_lane_of_json, lanes))
    return records


def _lane_of_json(lane: dict[str, Any]) -> Lane:
    volumes: list[Cell] = [_cell(vehicle, "Volume") for vehicle in _dicts(lane, "Vehicles")]
    return _cell(lane, "Speed"), _cell(lane, "Occupancy"), volumes


def read_stations_json(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in _list(_parse_json(content), "VDs", "VDList"):
        links = [link.get("LaneNum") for link in _dicts(vd, "DetectionLinks")]
        stations.append(_station(vd, links or [vd.get("LaneNum")]))
    return stations


def _parse_json(content: bytes) -> dict[str, Any]:
    if content.count(b",") > _MOST_PARTS:
        raise ValueError(f"has more than {_MOST_PARTS:,} values")
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


def _station(known: Mapping[str, Any], lanes: Iterable[Any]) -> Station:
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
