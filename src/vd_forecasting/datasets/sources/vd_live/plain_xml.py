"""Plain XML read with NumPy, without a tree: eight times as fast.

A minute of 3,000 detectors, 3.8 MB with 150,000 tags, takes 0.066 s instead of 0.53 s by
:func:`.documents.read_tree`; a day of minutes 1.6 instead of 12.7 minutes of a core.

Plain means: UTF-8, and below the root no attributes, prefixes, entities, comments, CDATA and
empty-element tags. VDLive files are plain; any other file is read by the tree.
"""

import re

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.sources.vd_live.lanes import Cell, Records

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


def read_plain(content: bytes) -> Records | None:
    """The records of a VDLiveList in well-formed XML; None if it is not plain."""
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
    return _records(Tags(content, begins, ends))


def _records(tags: Tags) -> Records:
    records = tags.opening("VDLive")
    in_flows, in_vehicles = tags.inside("LinkFlows"), tags.inside("Vehicles")
    lanes = tags.opening("Lane") & in_flows
    record_of_tag = np.cumsum(records, dtype=np.int32) - 1
    lane_of_tag = np.cumsum(lanes, dtype=np.int32) - 1
    in_lane = tags.inside("Lane") & in_flows
    of_lane = in_lane & ~in_vehicles
    of_record = tags.inside("VDLive") & ~in_flows
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
        update_time=updated[0].decode() if updated else "",
    )
