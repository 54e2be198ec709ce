"""VDLive and VD in XML, of the namespace http://traffic.transportdata.tw/standard/traffic/schema/.

The XML is not trusted: a document type declaration, without which there are no entities to expand
and nothing to fetch, is refused, as is a document of more elements than any minute has.
"""

from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Lane, Records
from vd_forecasting.datasets.sources.vd_live.plain_xml import read_plain
from vd_forecasting.datasets.sources.vd_live.stations import Station, station

_MOST_TAGS = 4_000_000


def read_live_xml(content: bytes) -> Records:
    """The records of a VDLiveList.

    Raises:
        ValueError: it is something else, not well-formed, or declares a document type.
    """
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
        records.add(vdid, stamp, status, map(_lane, lanes))
    return records


def _lane(lane: ElementTree.Element) -> Lane:
    cells = {cell.tag: cell.text for cell in lane}
    vehicles = lane.findall("Vehicles")
    volumes: list[Cell] = [volume.text for one in vehicles for volume in one.iter("Volume")]
    return cells.get("Speed"), cells.get("Occupancy"), volumes


def read_stations_xml(content: bytes) -> list[Station]:
    """The detectors of a VDList."""
    stations = []
    for vd in parse(content, "VDList").iter("VD"):
        lanes = [count.text for count in vd.iter("LaneNum")]
        stations.append(station({child.tag: child.text for child in vd}, lanes))
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
    """Parse a document and drop it.

    Raises:
        ValueError: it is not well-formed, declares a document type or has too many tags.
    """
    if content.count(b"<") > _MOST_TAGS:
        raise ValueError(f"has more than {_MOST_TAGS:,} tags")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError) as error:
        raise ValueError(f"not well-formed XML ({error})") from error


def _refuse(*declaration: object) -> NoReturn:
    raise ValueError("declares a document type, which no VD file needs and attacks do")
