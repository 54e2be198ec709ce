"""Some minutes of an archive, read once and kept, so that a killed ingest resumes where it was.

A part holds R records as arrays; its name is a digest of the files it was made from and of how they
were read, so a part that is there is right, and one that is not is made. All of them are one lazy
array, of which a read opens only the parts it overlaps.
"""

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.limits import ALWAYS_RECORDS, MOST_RECORDS, RECORD_BYTES
from vd_forecasting.datasets.sources.archive import (
    Member,
    notes_of_broken,
    printable,
    read_lines,
    read_member,
)
from vd_forecasting.datasets.sources.source import LeftOut
from vd_forecasting.datasets.sources.vd_live.directions import Bearings, records_apart
from vd_forecasting.datasets.sources.vd_live.documents import (
    read_live_json,
    read_live_lines,
    read_live_xml,
)
from vd_forecasting.datasets.sources.vd_live.lanes import FEATURES, Records, features_of
from vd_forecasting.datasets.sources.vd_live.minutes import minute_of_file, minute_of_record
from vd_forecasting.garbage import no_garbage_collection
from vd_forecasting.wording import one_line

_FORMAT = 2  # increased when a part of the same files would hold something else
_LONGEST_VDID = 200
_NO_VALUES = np.empty((0, len(FEATURES)), dtype=np.float32)
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, TypeError)
LEFT_OUT = {
    "unnamed": "records without a usable VDID left out",
    "untimed": "records without a usable time left out",
    "off_clock": "records left out whose time is far from that of their file",
    "faulty": "records of VDs that report to be faulty count as missing",
    "contradicting": "records contradict another of their minute and detector, such as {}; the "
    "last of each value is kept",
    "mixed": "records join links whose direction (Bearing) no list of detectors gives, such as {}",
    "lines": "lines of JSON without a record left out, such as {}",
    "others": "files are neither live records nor lists of VDs; ignored",
}


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    utc_offset: int  # of the clock, minutes
    tolerance: int  # minutes a record may be off the time of its file
    error_codes: tuple[float, ...]
    bearings: Bearings | None = None
    """None leaves the directions of a detector together."""

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass
class Part:
    """R records of V detectors."""

    vdids: list[str]  # [V]
    vd: npt.NDArray[np.int32]  # [R]
    minute: npt.NDArray[np.int64]  # [R], since 1970 on the clock
    values: npt.NDArray[np.float32]  # [R, 5], see lanes.FEATURES
    broken: list[tuple[str, str]]  # files, and why
    left_out: LeftOut


def part_path(folder: Path, source: Path, members: Sequence[Member], reading: Reading) -> Path:
    """Where the part of some files is kept."""
    made_from = [_FORMAT, source.name, reading.digest, [asdict(member) for member in members]]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    return folder / f"{digest}.npz"


def make_part(source: Path, members: Sequence[Member], reading: Reading, path: Path) -> None:
    """Read some files of an archive into the part at ``path``; broken ones are noted in it."""
    with (
        no_garbage_collection()
    ):  # which takes a third of the time: 200,000 elements, none in a cycle
        part = _read_files(source, members, reading)
    named = {"vdids": part.vdids, "broken": part.broken, "left_out": vars(part.left_out)}
    labels = json.dumps(named).encode()
    arrays = {name: getattr(part, name) for name in ("vd", "minute", "values")}
    # as np.savez_compressed, but faster by the lowest level of compression
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, array in {"labels": np.frombuffer(labels, dtype=np.uint8), **arrays}.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def load_part(path: Path, with_values: bool = True) -> Part | None:
    """The part at ``path``, its values [0, 5] if they stay unread; None if none, or damaged."""
    try:
        # np.load would leave a damaged file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            labels = json.loads(file["labels"].tobytes())
            numbers, examples = (labels["left_out"][key] for key in ("numbers", "examples"))
            return Part(
                vdids=[str(vdid) for vdid in labels["vdids"]],
                vd=file["vd"],
                minute=file["minute"],
                values=file["values"] if with_values else _NO_VALUES,
                broken=[(str(name), str(why)) for name, why in labels["broken"]],
                left_out=LeftOut(Counter(numbers), dict(examples)),
            )
    except _DAMAGED:
        return None


def _read_files(source: Path, members: Sequence[Member], reading: Reading) -> Part:
    vdids: dict[str, int] = {}
    vd: list[int] = []
    minute, values = [np.empty(0, np.int64)], [_NO_VALUES]
    broken, left_out = [], LeftOut()
    for member in members:
        most = min(MOST_RECORDS, max(ALWAYS_RECORDS, member.stored // RECORD_BYTES))
        found = 0
        try:
            for path, records in _records(source, member, reading, left_out):
                found += len(records.vdids)
                if found > most:
                    raise ValueError(
                        f"has more than {most:,} records in {member.stored:,} bytes; if they are "
                        "right, unpack it, or split it"
                    )
                features = features_of(records, reading.error_codes)
                minutes = _minutes(records, path, reading, left_out)
                named = np.array([0 < len(vdid) <= _LONGEST_VDID for vdid in records.vdids])
                left_out.add("unnamed", int((~named).sum()))
                left_out.add("faulty", records.healthy.count(False))
                kept = np.flatnonzero(named & (minutes >= 0))
                vd += [vdids.setdefault(records.vdids[index], len(vdids)) for index in kept]
                minute.append(minutes[kept])
                values.append(features[kept])
        except (ValueError, OSError, MemoryError) as error:
            broken.append((member.name, one_line(error)))
    numbers = np.array(vd, dtype=np.int32)
    merged = np.concatenate(minute), np.concatenate(values)
    return Part([*vdids], numbers, *merged, broken, left_out)


def _records(
    source: Path, member: Member, reading: Reading, left_out: LeftOut
) -> Iterator[tuple[str, Records]]:
    """The records of a file, and the path that may name their minute."""
    found = _records_of_lines if member.form in ("jsonl", "ndjson") else _records_of_file
    is_empty = True
    for path, records in found(source, member, reading, left_out):
        if records.vdids:
            is_empty = False
            if reading.bearings is not None:
                records, mixed = records_apart(records, reading.bearings)  # noqa: PLW2901
                if mixed:
                    left_out.add("mixed", len(mixed), mixed[0])
            yield path, records
    if is_empty:
        raise ValueError("reports of no VD")


def _records_of_file(
    source: Path, member: Member, reading: Reading, left_out: LeftOut
) -> Iterator[tuple[str, Records]]:
    path = f"{source.name}/{member.name}"
    if member.form == "xml":
        yield path, read_live_xml(read_member(source, member), links=bool(reading.bearings))
        return
    try:
        records = read_live_json(read_member(source, member))
    except ValueError:  # no document, but perhaps a line for each record
        with suppress(ValueError):
            if read_live_json(next(read_lines(source, member), b"")).vdids:
                yield from _records_of_lines(source, member, reading, left_out)
                return
        raise
    yield path, records


def _records_of_lines(
    source: Path, member: Member, _: Reading, left_out: LeftOut
) -> Iterator[tuple[str, Records]]:
    """Those of JSON lines, some at a time; a file of a day does not name a minute."""

    def skip(why: str) -> None:
        left_out.add("lines", 1, f"{member.name}, {why}")

    for records in read_live_lines(read_lines(source, member), skip):
        yield "", records


def _minutes(
    records: Records, path: str, reading: Reading, left_out: LeftOut
) -> npt.NDArray[np.int64]:
    """The minute of each record [R], −1 where it has none.

    A record belongs to the minute in which it was collected, so an old one that a file repeats is
    not taken for a new one. Without a time of its own it belongs to the minute of the file.
    """
    of_file = minute_of_file(path)
    if of_file is None:
        of_file = minute_of_record(records.update_time, reading.utc_offset)
    minutes = np.full(len(records.vdids), -1, dtype=np.int64)
    for index, stamp in enumerate(records.stamps):
        minute = minute_of_record(stamp, reading.utc_offset) if stamp.strip() else of_file
        if minute is None:
            left_out.add("untimed")
        elif of_file is not None and abs(minute - of_file) > reading.tolerance:
            left_out.add("off_clock")
        else:
            minutes[index] = minute
    return minutes


class PartsArray(BackendArray):
    """[T, N, F] float32 of the records in parts; the last of several values in one place wins.

    ``paths`` are in the order of their files, ``features`` are columns of the parts' values, and
    the VDIDs that are ``listed`` come first, in this order; the others follow sorted. A ValueError
    if a part is missing or damaged.
    """

    def __init__(
        self, paths: Sequence[Path], features: Sequence[int], listed: Iterable[str]
    ) -> None:
        minutes, vdids = set[int](), set[str]()
        self._spans: list[tuple[Path, int, int]] = []  # of parts: their first and last minute
        self._features = list(features)
        self.broken: list[tuple[str, str]] = []  # files, and why
        self.left_out = LeftOut()
        for path in paths:
            part = _loaded(path, with_values=False)
            if inside := np.unique(part.minute).tolist():
                self._spans.append((path, inside[0], inside[-1]))
            minutes.update(inside)
            vdids.update(part.vdids[vd] for vd in np.unique(part.vd).tolist())
            self.broken += part.broken
            self.left_out.numbers.update(part.left_out.numbers)
            self.left_out.examples = part.left_out.examples | self.left_out.examples
        self.minutes = np.array(sorted(minutes), dtype=np.int64)  # [T]
        self.vdids = [vdid for vdid in dict.fromkeys([*listed, *sorted(vdids)]) if vdid in vdids]
        self._place = {vdid: place for place, vdid in enumerate(self.vdids)}
        self.shape = (len(minutes), len(vdids), len(features))
        self.dtype = np.dtype(np.float32)
        self._compare()

    def _compare(self) -> None:
        """Note records whose values are not those of another of their minute and detector."""
        count = len(self.vdids)
        keys, values = np.empty(0, np.int64), _NO_VALUES[:, self._features]
        for path, first, _ in sorted(self._spans, key=lambda span: span[1]):
            part = _loaded(path, with_values=True)
            places = np.array([self._place.get(vdid, -1) for vdid in part.vdids], dtype=np.int64)
            keys = np.append(keys, part.minute * count + places[part.vd])
            values = np.append(values, part.values[:, self._features], axis=0)
            # what is earlier cannot come again: parts are taken by their first minute
            some = np.flatnonzero((keys >= first * count) & ~np.isnan(values).all(axis=1))
            some = some[np.argsort(keys[some], kind="stable")][-MOST_RECORDS:]
            keys, values = keys[some], values[some]
            again = keys[1:] == keys[:-1]
            differs = again & (np.abs(values[1:] - values[:-1]) > 0).any(axis=1)  # NaN is not
            if differs.any():
                minute, place = divmod(int(keys[1:][differs][0]), count)
                example = f"{self.vdids[place]} at {np.datetime64(minute, 'm')}"
                self.left_out.add("contradicting", int(differs.sum()), example)
            last = np.append(~again, True)[: len(keys)]
            keys, values = keys[last], values[last]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        basic = indexing.IndexingSupport.BASIC
        return np.asarray(indexing.explicit_indexing_adapter(key, self.shape, basic, self._read))

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[np.float32]:
        steps = np.arange(self.shape[0])[key[0]]
        start, stop = (int(steps.min()), int(steps.max()) + 1) if steps.size else (0, 0)
        minutes = self.minutes[start:stop]
        block = np.full((len(minutes), *self.shape[1:]), np.nan, dtype=np.float32)
        for path, first, last in self._spans:
            if minutes.size == 0 or last < minutes[0] or first > minutes[-1]:
                continue
            part = _loaded(path, with_values=True)
            inside = (part.minute >= minutes[0]) & (part.minute <= minutes[-1])
            places = np.array([self._place.get(vdid, -1) for vdid in part.vdids], dtype=np.intp)
            inside &= places[part.vd] >= 0
            row = np.searchsorted(minutes, part.minute[inside])
            vd = places[part.vd[inside]]
            for column, feature in enumerate(self._features):
                values = part.values[inside, feature]
                known = ~np.isnan(values)
                # where places repeat, NumPy keeps the last value
                block[row[known], vd[known], column] = values[known]
        return np.asarray(block[steps - start][(..., *key[1:])])


@lru_cache(maxsize=4)
def _loaded(path: Path, with_values: bool) -> Part:
    part = load_part(path, with_values)
    if part is None:
        raise ValueError(f"the part {path} is damaged or gone; ingest again")
    return part


def notes_of(broken: Sequence[tuple[str, str]], left_out: LeftOut) -> list[str]:
    """Notes on broken files and why, and on what else was left out."""
    return [*notes_of_broken(broken), *map(printable, left_out.notes(LEFT_OUT))]
