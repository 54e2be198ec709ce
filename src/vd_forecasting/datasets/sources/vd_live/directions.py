"""Detectors that report both directions of a road, apart: one of each direction."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from vd_forecasting.datasets.sources.vd_live.documents import Station, sum_of_lanes
from vd_forecasting.datasets.sources.vd_live.lanes import Records

Bearings = Mapping[str, Mapping[str, str]]
"""By VDID and LinkID, of detectors with several links."""


def bearings_of(stations: Mapping[str, Station]) -> Bearings:
    """What lists of detectors say of the links of those that have several."""
    found = {}
    for vdid, station in stations.items():
        known = {link: bearing for link, bearing, _ in station["links"] if bearing}
        is_taken = any(_named(vdid, bearing) in stations for bearing in known.values())
        if len(known) > 1 and not is_taken:
            found[vdid] = known
    return found


def stations_apart(stations: Mapping[str, Station], bearings: Bearings) -> dict[str, Station]:
    """The detectors with those of a direction behind the one that reports them."""
    apart = {}
    for vdid, station in stations.items():
        apart[vdid] = station
        for direction in sorted(set(bearings.get(vdid, {}).values())):
            lanes = [lanes for _, bearing, lanes in station["links"] if bearing == direction]
            apart[_named(vdid, direction)] = station | {"lane_num": sum_of_lanes(lanes)}
    return apart


def records_apart(records: Records, bearings: Bearings) -> tuple[Records, list[str]]:
    """The records with one of each direction in place of those that report several.

    The second result are the VDIDs whose links have no known direction: their lanes stay together.
    A link's own bearing, which the standard does not have, holds where no list gives one.
    """
    if not records.has_several_links and bearings.keys().isdisjoint(records.vdids):
        return records, []
    directions: list[str] = []  # of each lane
    links: dict[int, dict[str, str]] = defaultdict(dict)  # of each record, and their directions
    for record, (link, bearing) in zip(records.record_of_lane, records.links, strict=True):
        directions.append(bearings.get(records.vdids[record], {}).get(link) or bearing)
        links[record][link] = directions[-1]
    place: dict[tuple[int, str], int] = {}
    vdids: list[str] = []
    mixed = []
    for record, vdid in enumerate(records.vdids):
        known, reported = {*bearings.get(vdid, {}).values()}, {*links[record].values()}
        is_one = len(known | reported - {""}) < 2
        if is_one and len(links[record]) > 1 and "" in reported:
            mixed.append(vdid)
        for direction in sorted({""} if is_one else reported or known):
            place[record, direction] = len(vdids)
            vdids.append(_named(vdid, direction))
    lanes = zip(records.record_of_lane, directions, strict=True)
    whole = [record for record, _ in place]
    apart = replace(
        records,
        vdids=vdids,
        stamps=[records.stamps[record] for record in whole],
        healthy=[records.healthy[record] for record in whole],
        record_of_lane=[place.get(lane, place.get((lane[0], ""), 0)) for lane in lanes],
    )
    return apart, mixed


def _named(vdid: str, direction: str) -> str:
    return f"{vdid}-{direction}" if direction else vdid
