"""VDLive and VD files in XML and, with the same names, in JSON.

The XML, of the namespace http://traffic.transportdata.tw/standard/traffic/schema/, is not trusted:
a document type declaration, without which there are no entities to expand and nothing to fetch, is
refused, as is a document of more parts than any minute has.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.hdf5_attributes import as_number, as_text
from vd_forecasting.datasets.limits import MOST_IDLE_LINES, MOST_PARTS
from vd_forecasting.datasets.sources.source import told_as
from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Lane, Link, Records

Station = dict[str, Any]
"""The ``vdid`` of a detector, its coordinates, as in :mod:`~.datasets.hdf5_attributes`, and the
``links`` it measures: their LinkID, their bearing, "" if unknown, and their LaneNum."""

_RECORDS_AT_ONCE = 5000
_BEARINGS = ("Bearing", "RoadDirection")
_LONGEST_DIRECTION = 20
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>)?\s*<VDLiveList(\s[^<>]*)?>")
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([^\"']*)")
_UTF8 = (b"utf-8", b"utf8", b"us-ascii", b"ascii")
_NAMESPACE = re.compile(rb"xmlns(?::[^\s=]*)?\s*=\s*[\"']([^\"']*)")

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


class Tags:
    """All tags of plain XML in their order, K in all."""

    def __init__(self, content: bytes, begins: Positions, ends: Positions) -> None:
        self._content = content
        self._text_begins = ends + 1
        self._text_ends = np.append(begins[1:], len(content))
        codes = np.frombuffer(content, dtype=np.uint8)
        self._closing: Mask = codes[begins + 1] == ord("/")
        name_begins = begins + 1 + self._closing
        self._lengths = (ends - name_begins).astype(np.int32)
        # the first eight bytes of each name as one number; shorter names are shifted up until the
        # bytes behind them drop out
        padded = np.concatenate([codes, np.zeros(8, np.uint8)])
        heads: npt.NDArray[np.uint64] = np.ndarray(len(codes), "<u8", padded, strides=(1,))
        shift = (8 * (8 - np.minimum(self._lengths, 8))).astype(np.uint64)
        self._heads = heads[name_begins] << shift

    def opening(self, name: str) -> Mask:
        """Which tags open an element of this name."""
        return self._named(name) & ~self._closing

    def inside(self, name: str) -> Mask:
        """Which tags are within an element of this name, its own opening tag included."""
        named = self._named(name)
        change = named.astype(np.int8)
        change[named & self._closing] = -1
        return np.asarray(np.cumsum(change, dtype=np.int32) > 0, dtype=bool)

    def texts(self, tags: Mask) -> list[bytes]:
        """The text between each of these tags and the next one."""
        content = self._content
        begins, ends = self._text_begins[tags].tolist(), self._text_ends[tags].tolist()
        return [content[begin:end] for begin, end in zip(begins, ends, strict=True)]

    def _named(self, name: str) -> Mask:
        text = name.encode()[:8].rjust(8, b"\0")
        head = np.uint64(int.from_bytes(text, "little"))
        return np.asarray((self._heads == head) & (self._lengths == len(name)), dtype=bool)


def read_live_xml(content: bytes, links: bool = False) -> Records:
    """The records of a VDLiveList; a ValueError if it is none, malformed or declares a type.

    ``links`` are wanted also if no record has several.
    """
    check(content)
    plain = read_plain(content, links)
    return plain if plain is not None else read_tree(content)


def read_plain(content: bytes, links: bool = False) -> Records | None:
    """The records of a VDLiveList in well-formed XML without a tree; None if it is not plain.

    A minute of 3,000 detectors, 3.8 MB with 150,000 tags, takes 0.066 s instead of 0.53 s by
    :func:`read_tree`; a day of minutes 1.6 instead of 12.7 minutes of a core.

    Plain means: UTF-8, and below the root no attributes, prefixes, entities, comments, CDATA and
    empty-element tags. VDLive files are plain; any other file is read by the tree.
    """
    root = _ROOT.match(content)
    if root is None:
        return None
    encoding, namespaces = _ENCODING.search(root[1] or b""), _NAMESPACE.findall(root[2] or b"")
    # where a namespace repeats, a prefix may stand for that of the root itself
    if (encoding and encoding[1].lower() not in _UTF8) or len(set(namespaces)) < len(namespaces):
        return None
    below = root.end()
    if content.find(b"=", below) >= 0 or content.find(b"&", below) >= 0:
        return None  # attributes or entities; also in texts, which is rare enough
    codes = np.frombuffer(content, dtype=np.uint8)
    begins, ends = (np.flatnonzero(codes[below:] == ord(mark)) + below for mark in "<>")
    if len(begins) != len(ends):
        return None  # a ">" in a text
    first, last = codes[begins + 1], codes[ends - 1]
    # comments, CDATA and instructions; empty elements; blanks after the name
    if ((first == ord("!")) | (first == ord("?")) | (last == ord("/")) | (last <= ord(" "))).any():
        return None
    return _records_of_tags(Tags(content, begins, ends), links)


def _records_of_tags(tags: Tags, links: bool) -> Records:
    records = tags.opening("VDLive")
    in_record, in_vehicles = tags.inside("VDLive"), tags.inside("Vehicles")
    in_flows = tags.inside("LinkFlows") & in_record
    lanes = tags.opening("Lane") & in_flows
    record_of_tag = np.cumsum(records, dtype=np.int32) - 1
    lane_of_tag = np.cumsum(lanes, dtype=np.int32) - 1
    in_lane = tags.inside("Lane") & in_flows
    of_lane = in_lane & ~in_vehicles
    of_record = in_record & ~in_flows
    number, lane_number = int(records.sum()), int(lanes.sum())

    def column(name: str, where: Mask, place: npt.NDArray[np.int32], count: int) -> list[bytes]:
        chosen = tags.opening(name) & where
        found = [b""] * count
        for index, text in zip(place[chosen].tolist(), tags.texts(chosen), strict=True):
            found[index] = text
        return found

    vdids, stamps, status = (
        column(name, of_record, record_of_tag, number)
        for name in ("VDID", "DataCollectTime", "Status")
    )
    speeds: list[Cell] = [*column("Speed", of_lane, lane_of_tag, lane_number)]
    occupancies: list[Cell] = [*column("Occupancy", of_lane, lane_of_tag, lane_number)]
    volumes = tags.opening("Volume") & in_vehicles & in_lane
    flows = tags.opening("LinkFlow") & in_flows
    has_several = bool((np.diff(record_of_tag[flows]) == 0).any())
    link_of_lane: list[Link] = []
    if links or has_several:
        flow_of_tag, flow_number = np.cumsum(flows, dtype=np.int32) - 1, int(flows.sum())
        ids, bearings, directions = (
            column(name, in_flows & ~in_lane & (flow_of_tag >= 0), flow_of_tag, flow_number)
            for name in ("LinkID", *_BEARINGS)
        )
        found = [
            _link(number, *(text.decode() for text in texts))
            for number, texts in enumerate(zip(ids, bearings, directions, strict=True))
        ]
        link_of_lane = [found[flow] if flow >= 0 else ("", "") for flow in flow_of_tag[lanes]]
    updated = tags.texts(tags.opening("UpdateTime") & ~tags.inside("VDLives"))
    return Records(
        vdids=[text.decode().strip() for text in vdids],
        stamps=[text.decode() for text in stamps],
        healthy=[text.strip() in (b"", b"0") for text in status],
        record_of_lane=record_of_tag[lanes].tolist(),
        speeds=speeds,
        occupancies=occupancies,
        lane_of_volume=lane_of_tag[volumes].tolist(),
        volumes=[*tags.texts(volumes)],
        links=link_of_lane,
        has_several_links=has_several,
        update_time=updated[0].decode() if updated else "",
    )


def read_tree(content: bytes) -> Records:
    """The records by way of a tree, for XML of any form."""
    root = parse(content, "VDLiveList")
    records = Records(update_time=root.findtext("UpdateTime") or "")
    for vd in root.iter("VDLive"):
        texts = {child.tag: child.text or "" for child in vd}
        vdid, stamp, status = (texts.get(key, "") for key in ("VDID", "DataCollectTime", "Status"))
        records.add(vdid, stamp, status, _lanes_of_tree(vd))
    return records


def _lanes_of_tree(vd: ElementTree.Element) -> Iterator[Lane]:
    link, number = ("", ""), 0
    for part in (part for flows in vd.findall("LinkFlows") for part in flows.iter()):
        if part.tag == "LinkFlow":
            texts = {child.tag: child.text or "" for child in part}
            link = _link(number, *(texts.get(name, "") for name in ("LinkID", *_BEARINGS)))
            number += 1
        elif part.tag == "Lane":
            cells = {cell.tag: cell.text for cell in part}
            vehicles = part.findall("Vehicles")
            volumes: list[Cell] = [volume.text for one in vehicles for volume in one.iter("Volume")]
            yield cells.get("Speed"), cells.get("Occupancy"), volumes, link


def read_stations_xml(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in parse(content, "VDList").iter("VD"):
        lanes = [count.text for count in vd.iter("LaneNum")]
        links = [{part.tag: part.text for part in link} for link in vd.iter("DetectionLink")]
        stations.append(_station({child.tag: child.text for child in vd}, lanes, links))
    return stations


def parse(content: bytes, root_name: str) -> ElementTree.Element:
    """The root of a checked document, its names without the namespace of the root."""
    check(content)
    with told_as("not well-formed XML", ElementTree.ParseError):  # a prefix that stands for nothing
        root = ElementTree.fromstring(content)
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
    if content.count(b"<") > MOST_PARTS:
        raise ValueError(f"has more than {MOST_PARTS:,} tags")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    with told_as("not well-formed XML", expat.ExpatError, LookupError):
        parser.Parse(content, True)


def _refuse(*declaration: object) -> NoReturn:
    raise ValueError("declares a document type, which no VD file needs and attacks do")


def read_live_json(content: bytes) -> Records:
    """The records of a VDLiveList; a ValueError if it is something else, or not JSON."""
    document = _parse_json(content)
    records = Records(update_time=_text(document, "UpdateTime"))
    _add_json(records, document, "")
    return records


def read_live_lines(lines: Iterable[bytes], skip: Callable[[str], None]) -> Iterator[Records]:
    """The records of JSON lines, as TDX's historical service gives them, some thousands at a time.

    A line is a record or a VDLiveList. ``skip`` is told of each line that is neither. A ValueError
    if there are many more lines without than with them.
    """
    records, found = Records(), 0
    try:
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    document = _parse_json(line.removeprefix(b"\xef\xbb\xbf"))
                    _add_json(records, document, _text(document, "UpdateTime"))
            except ValueError as error:
                skip(f"line {number:,}: {error}")
            if len(records.vdids) >= _RECORDS_AT_ONCE:
                found += len(records.vdids)
                yield records
                records = Records()
            if number > MOST_IDLE_LINES + 2 * (found + len(records.vdids)):
                raise ValueError(f"has too many lines without records; stopped at line {number:,}")
    except ValueError:
        yield records
        raise
    yield records


def _add_json(records: Records, document: dict[str, Any], update_time: str) -> None:
    """Add what a document reports; ``update_time`` is for those without a time."""
    for vd in _list(document, "LiveTrafficData", "VDLives", "VDLiveList"):
        vdid, stamp, status = (_text(vd, key) for key in ("VDID", "DataCollectTime", "Status"))
        records.add(vdid, stamp or update_time, status, _lanes_of_json(vd))


def _lanes_of_json(vd: dict[str, Any]) -> Iterator[Lane]:
    for number, flow in enumerate(_dicts(vd, "LinkFlows")):
        bearing, direction = (_text(flow, name) if name in flow else "" for name in _BEARINGS)
        link = _link(number, _text(flow, "LinkID"), bearing, direction)
        for lane in _dicts(flow, "Lanes"):
            volumes: list[Cell] = [_cell(vehicle, "Volume") for vehicle in _dicts(lane, "Vehicles")]
            yield _cell(lane, "Speed"), _cell(lane, "Occupancy"), volumes, link


def _link(number: int, name: str, bearing: str, direction: str) -> Link:
    """A link of a record by its LinkID, or else its number."""
    return name.strip() or f"number {number}", _direction(bearing or direction)


def _direction(value: Any) -> str:
    """``N``, ``SW``, ...; "" for what cannot be part of a VDID."""
    text = as_text(value).strip() if value else ""
    return text if len(text) <= _LONGEST_DIRECTION and text.isprintable() else ""


def read_stations_json(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in _list(_parse_json(content), "VDs", "VDList"):
        links = [*_dicts(vd, "DetectionLinks")]
        lanes = [link.get("LaneNum") for link in links]
        stations.append(_station(vd, lanes or [vd.get("LaneNum")], links))
    return stations


def _parse_json(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_PARTS and sum(map(content.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise ValueError(f"has more than {MOST_PARTS:,} values")
    try:  # told_as is too slow for every line
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
    if "VDID" in document:
        return iter((document,))
    raise ValueError(f"has no list {' or '.join(keys)}")


def _dicts(parent: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    found = parent.get(key)
    return (one for one in found if isinstance(one, dict)) if isinstance(found, list) else iter(())


def _text(parent: dict[str, Any], key: str) -> str:
    value = parent.get(key)
    if isinstance(value, str):
        return value
    return "" if value is None else str(_cell(parent, key))


def _cell(parent: dict[str, Any], key: str) -> str | int | float | None:
    value = parent.get(key)
    return value if value is None or isinstance(value, str | int | float) else "?"


def _station(
    known: Mapping[str, Any], lanes: Iterable[Any], links: Iterable[Mapping[str, Any]]
) -> Station:
    """A detector from what the list has of it, the LaneNum of its links, and these."""
    return {
        "vdid": as_text(known.get("VDID")).strip(),
        "position_lon": known.get("PositionLon"),
        "position_lat": known.get("PositionLat"),
        "lane_num": sum_of_lanes(lanes),
        "road_id": as_text(known.get("RoadID")).strip(),
        "road_name": as_text(known.get("RoadName")).strip(),
        "links": [
            (
                as_text(link.get("LinkID")).strip(),
                next(filter(None, (_direction(link.get(name)) for name in _BEARINGS)), ""),
                link.get("LaneNum"),
            )
            for link in links
        ],
    }


def sum_of_lanes(numbers: Iterable[Any]) -> float:
    """NaN where none is known."""
    counts = [count for count in map(as_number, numbers) if count >= 0]  # NaN is not
    return sum(counts) if counts else math.nan
