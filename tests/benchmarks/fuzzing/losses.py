"""What a reader lost without a word: a second, plain reading of the same file.

Only what needs no interpretation counts: a plain number in a row whose time stamp and detector are
as they were before the input was changed. It must be in the array, or a note must count it.
"""

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import xarray as xr

from tests.benchmarks.fuzzing.mutations import Rows
from vd_forecasting.datasets.sources.source import NOTES

Place = tuple[np.datetime64, str, str]
"""Time, VDID and feature."""

_PLAIN = re.compile(r"-?(0|[1-9]\d{0,4})(\.\d{1,2})?", re.ASCII)
_HEAD_ROWS = 50
_UNREADABLE = (
    *(ValueError, TypeError, AttributeError, OSError, EOFError, RecursionError),
    *(csv.Error, zlib.error, ElementTree.ParseError),
)
_REREAD = (
    "are written with",
    "broken file",
    "other tables",
    "set thousands",
    "files lack columns",
    "neither live",
)
"""Notes that explain any number of values."""


@dataclass(frozen=True)
class Layout:
    """What the columns of a table mean, and the labels that its rows had before it was changed."""

    features: Mapping[str, Sequence[str]]
    """By feature its column, or those of the steps of a day."""
    times: Mapping[str, np.datetime64]
    """By text, of several columns with a blank between."""
    time: Sequence[str]
    vd: Sequence[str]
    vdids: frozenset[str]
    names: Sequence[str] | None = None
    """Of the columns of a file that has no row of names."""
    delimiter: str = ","
    encoding: str = "utf-8"
    flags: Sequence[str] = ()


def rows_of_csv(path: Path, layout: Layout) -> list[list[str]] | None:
    """The rows of a CSV file; None where it is none for plain eyes."""
    content = path.read_bytes()
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else layout.encoding
        )
        rows = csv.reader(
            io.StringIO(text.removeprefix("\ufeff"), newline=""),
            delimiter=layout.delimiter,
            strict=True,
        )
        found = [row for row in rows if row]
    except _UNREADABLE:
        return None
    return found if layout.names is None else [[*layout.names], *found]


def expected_long(rows: Rows, layout: Layout) -> dict[Place, list[float]]:
    """The plain numbers of a table with a row per time and detector."""
    found: dict[Place, list[float]] = defaultdict(list)
    for time, cells in _known_rows(rows, layout, [*layout.time, *layout.vd, *layout.flags]):
        vdid = "-".join(cells[name] for name in layout.vd)
        for feature, columns in layout.features.items():
            for step, column in enumerate(columns):
                if vdid in layout.vdids and _PLAIN.fullmatch(cells.get(column, "")):
                    place = (time + step * np.timedelta64(1, "h"), vdid, feature)
                    found[place].append(float(cells[column]))
    return found


def expected_wide(rows: Rows, layout: Layout) -> dict[Place, list[float]]:
    """The plain numbers of a table, time × detector."""
    (feature,) = layout.features
    found: dict[Place, list[float]] = defaultdict(list)
    for time, cells in _known_rows(rows, layout, layout.time):
        for vdid in layout.vdids & {*cells}:
            if _PLAIN.fullmatch(cells[vdid]):
                found[time, vdid, feature].append(float(cells[vdid]))
    return found


def _known_rows(
    rows: Rows, layout: Layout, needed: Sequence[str]
) -> Iterator[tuple[np.datetime64, dict[str, str]]]:
    """The times and cells of rows whose time stamp is known, below the row with these names."""
    heads = [[cell.strip() for cell in row] for row in rows[:_HEAD_ROWS]]
    at = next((n for n, head in enumerate(heads) if {*needed} <= {*head}), len(rows))
    for row in rows[at + 1 :]:
        cells: dict[str, str] = {}
        for name, cell in zip_longest(heads[at], row[: len(heads[at])], fillvalue=""):
            cells.setdefault(name, cell)
        time = layout.times.get(" ".join(cells[name] for name in layout.time))
        if time is not None:
            yield time, cells


def lost(expected: Mapping[Place, Sequence[float]], array: xr.DataArray, each: int = 1) -> str:
    """The values that are neither in the array nor noted, with an example; "" if there is none.

    A row that a note counts holds ``each`` values.
    """
    notes = [*map(str, array.attrs.get(NOTES, ()))]
    if any(word in note for note in notes for word in _REREAD):
        return ""
    counts = [re.findall(r"(?:^|in )(\d[\d,]*) ", note) for note in notes]
    allowed = each * sum(int(number.replace(",", "")) for found in counts for number in found)
    times: dict[Any, list[int]] = defaultdict(list)
    for step, time in enumerate(array["time"].to_numpy().astype("datetime64[ns]").tolist()):
        times[time].append(step)
    vdids, features = (
        {name: place for place, name in enumerate(array[dim].to_numpy().tolist())}
        for dim in ("vd", "feature")
    )
    values = array.to_numpy()
    missing, example = 0, ""
    for (time, vdid, feature), numbers in expected.items():
        steps = times.get(time.astype("datetime64[ns]").item(), [])
        there = []
        if vdid in vdids:
            there = [values[step, vdids[vdid], features[feature]] for step in steps]
        wrong = [one for one in numbers if not any(np.isclose(one, found) for found in there)]
        if wrong:
            missing += len(wrong)
            example = example or f"{wrong[0]:g} of {vdid} at {time} is {there}"
    return f"{missing} lost, {allowed} noted: {example}" if missing > allowed else ""


# --- records of TDX -------------------------------------------------------------------------------

_RECORD = [
    "VDLive",
    "VDID",
    "LinkFlows",
    "LinkFlow",
    "LinkID",
    "Lanes",
    "Lane",
    "LaneID",
    "LaneType",
    "Speed",
    "Occupancy",
    "Vehicles",
    "Vehicle",
    "VehicleType",
    "Volume",
    "Speed",
    "Status",
    "DataCollectTime",
]
CHANNELS = ("avg_speed", "total_volume", "avg_occupancy")


def expected_live(
    files: Mapping[str, bytes], times: Mapping[str, np.datetime64], vdids: Iterable[str]
) -> dict[Place, list[float]]:
    """The plain numbers of records of one lane with one kind of vehicle."""
    known = {*vdids}
    found: dict[Place, list[float]] = defaultdict(list)
    for name, content in files.items():
        try:
            plain = gzip.decompress(content) if name.endswith(".gz") else content
            is_xml = name.removesuffix(".gz").endswith(".xml")
            records = [*(_records_of_xml(plain) if is_xml else _records_of_json(plain))]
        except _UNREADABLE:
            continue
        for vdid, stamp, *numbers in records:
            if vdid in known and stamp in times and all(map(_is_measured, numbers)):
                for feature, number in zip(CHANNELS, numbers, strict=True):
                    found[times[stamp], vdid, feature].append(float(number))
    return found


def _is_measured(number: Any) -> bool:
    text = str(number) if isinstance(number, str | int | float) else ""
    is_plain = bool(_PLAIN.fullmatch(text)) and not isinstance(number, bool)
    return is_plain and 0 < float(text) < 250


def _records_of_json(content: bytes) -> Iterator[tuple[Any, ...]]:
    for line in filter(bytes.strip, content.splitlines()):
        document = json.loads(line)
        for record in document.get("LiveTrafficData", [document]):
            match record:
                case {
                    "VDID": str(vdid),
                    "DataCollectTime": str(stamp),
                    "LinkFlows": [{"Lanes": [{"Vehicles": [{"Volume": volume}], **lane}]}],
                } if "Status" not in record:
                    yield vdid, stamp, lane.get("Speed"), volume, lane.get("Occupancy")


def _records_of_xml(content: bytes) -> Iterator[tuple[Any, ...]]:
    root = ElementTree.fromstring(content)
    space = root.tag.removesuffix("VDLiveList")
    for record in root.iter(f"{space}VDLive"):
        parts = [*record.iter()]
        if [part.tag.removeprefix(space) for part in parts] == _RECORD and parts[-2].text == "0":
            vdid, speed, occupancy, volume, stamp = (parts[n].text for n in (1, 9, 10, 14, -1))
            yield vdid, stamp, speed, volume, occupancy


# --- arrays ---------------------------------------------------------------------------------------


def different(found: Any, expected: Any) -> str:
    """Why values are not those that the file holds; "" if they are."""
    with np.errstate(all="ignore"):
        expected = np.asarray(expected).astype(np.float32)
    if found.shape != expected.shape:
        return f"shape {found.shape} in place of {expected.shape}"
    count = int((~((found == expected) | (np.isnan(found) & np.isnan(expected)))).sum())
    return f"{count} values differ" if count else ""


def different_vd(path: Path, array: xr.DataArray) -> str:
    """Of a VD file."""
    with h5py.File(path, "r") as file:
        return different(array.to_numpy(), file["data/features"][:])


def different_frame(path: Path, array: xr.DataArray) -> str:
    """Of a pandas HDF5 file."""
    with h5py.File(path, "r") as file:
        frame = next(file[name] for name in file if "axis1" in file[name])
        blocks = [frame[f"block{n}_values"][:] for n in range(9) if f"block{n}_values" in frame]
    with np.errstate(over="ignore"):
        finite = sum(int(np.isfinite(block.astype(np.float32)).sum()) for block in blocks)
    there = int(np.isfinite(array.to_numpy()).sum())
    return f"{there} values in place of {finite}" if there != finite else ""


def different_npz(path: Path, array: xr.DataArray) -> str:
    """Of a PeMS file, whose occupancy is a share."""
    with warnings.catch_warnings(), np.load(path) as file, np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # Python 2 wrote other headers
        data = file["data"].astype(np.float32)
    data = data.reshape(*data.shape[:2], -1)
    if data.shape[2] > 1:
        data[..., 1] *= 100
    return different(array.to_numpy(), data)
