"""VDLive and VD in XML, of the namespace http://traffic.transportdata.tw/standard/traffic/schema/.

The XML is not trusted: a document type declaration, without which there are no entities to expand
and nothing to fetch, is refused, as is a document of more elements than any minute has.
"""

from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from vd_forecasting.datasets.sources.vd_live.lanes import Records
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
    vd_live, vdid, status, time, flows, lane, speed, occupancy, vehicles, volume = _names(
        root, "VDLive", "VDID", "Status", "DataCollectTime", "LinkFlows", "Lane", "Speed"
    ) + _names(root, "Occupancy", "Vehicles", "Volume")
    records = Records(update_time=root.findtext(_names(root, "UpdateTime")[0]) or "")
    for vd in root.iter(vd_live):
        record = len(records.vdids)
        texts: dict[str, str | None] = {}
        for child in vd:
            if child.tag == flows:
                for measured in child.iter(lane):
                    lane_index = len(records.speeds)
                    cells: dict[str, str | None] = {}
                    for cell in measured:
                        if cell.tag == vehicles:
                            counts = [count.text for count in cell.iter(volume)]
                            records.volumes += counts
                            records.lane_of_volume += [lane_index] * len(counts)
                        else:
                            cells[cell.tag] = cell.text
                    records.record_of_lane.append(record)
                    records.speeds.append(cells.get(speed))
                    records.occupancies.append(cells.get(occupancy))
            else:
                texts[child.tag] = child.text
        records.vdids.append((texts.get(vdid) or "").strip())
        records.stamps.append(texts.get(time) or "")
        records.healthy.append((texts.get(status) or "").strip() in ("", "0"))
    return records


def read_stations_xml(content: bytes) -> list[Station]:
    """The detectors of a VDList.

    Raises:
        ValueError: as :func:`read_live_xml`.
    """
    root = parse(content, "VDList")
    (vd, lanes) = _names(root, "VD", "LaneNum")
    fields = dict(zip(_names(root, *Station.KEYS), Station.KEYS, strict=True))
    stations = []
    for element in root.iter(vd):
        known = {fields[child.tag]: child.text for child in element if child.tag in fields}
        stations.append(station(known, [count.text for count in element.iter(lanes)]))
    return stations


def parse(content: bytes, root_name: str) -> ElementTree.Element:
    """The root of a document.

    Raises:
        ValueError: it is not well-formed, has another root, or looks like an attack.
    """
    check(content)
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:  # a prefix that stands for nothing
        raise ValueError(f"not well-formed XML ({error})") from error
    name = root.tag.rpartition("}")[2]
    if name != root_name:
        raise ValueError(f"its root is {name[:80]!r}, must be {root_name!r}")
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


def _names(root: ElementTree.Element, *names: str) -> list[str]:
    """Names in the namespace of the root."""
    namespace = root.tag[: root.tag.rfind("}") + 1]
    return [namespace + name for name in names]
