"""An archive of minute-by-minute VD records as one VD array."""

import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm
from xarray.core import indexing

from vd_forecasting.datasets.hdf5_attributes import as_coords
from vd_forecasting.datasets.sources.archive import (
    Member,
    list_members,
    printable,
    read_member,
)
from vd_forecasting.datasets.sources.lanes import ERROR_CODES
from vd_forecasting.datasets.sources.source import Labels, SourceDataset
from vd_forecasting.datasets.sources.vd_live import documents, parts
from vd_forecasting.datasets.sources.vd_live.directions import bearings_of, stations_apart
from vd_forecasting.datasets.sources.vd_live.lanes import FEATURES
from vd_forecasting.datasets.sources.vd_live.minutes import minute_of_file, parse_offset
from vd_forecasting.wording import one_line, plural

FILES_PER_PART = 30
"""Half an hour; a killed ingest loses at most that per process."""

_BYTES_PER_PART = 192 * 2**20
_GZIP_RATIO = 8  # about; of JSON lines, a file holds a day or a month
_LIVE = re.compile(r"VDLive(List)?([_-]?\d[\d_-]*)?\.(xml|jsonl?|ndjson)(\.gz)?", re.IGNORECASE)
_STATIONS = re.compile(r"VD(List)?([_-]?\d+)?\.(xml|json)(\.gz)?", re.IGNORECASE)


class VDLiveArchiveDataset(SourceDataset):
    """Loads per-minute VDLive files of the MOTC traffic standard 2.0, XML or JSON, gzipped or not,
    and the JSON lines of TDX's historical service.

    ``filepath`` is a folder, a zip or an uncompressed tar of them, of any number of days, or one
    file; the lists of detectors among them (VD.xml, VDList.json) give coordinates and bearings. A
    detector whose links have several bearings becomes one of each: VD-1-N and VD-1-S. Files are
    read in parallel into parts, which are kept in ``parts``: files read once, also by an ingest
    that was killed, are not read again. That folder may be deleted at any time. The array is lazy
    and reads parts.
    The five features, and which lanes count for them, are those of :func:`.lanes.features_of`.

    Example::

        ingest_source:
          type: vd_forecasting.datasets.VDLiveArchiveDataset
          filepath: data/01_raw/taiwan           # 20240304/VDLive_0000.xml.gz, 20240304/VD.xml, ...
          parts: data/02_intermediate/taiwan
          features: [avg_speed, total_volume, avg_occupancy, speed_std, lane_count]   # optional
          error_codes: [-99, -1, 255, 999]       # optional; numbers below zero are always errors
          utc_offset: "+08:00"                   # optional: of the clock
          tolerance: 30                          # optional: minutes between record and file name
          split_directions: false                # optional: VD-1 instead of VD-1-N and VD-1-S
          workers: 2                             # optional: processes; all cores by default
    """

    def __init__(
        self,
        *,
        parts: str,
        features: Sequence[str] = FEATURES,
        error_codes: Sequence[float] = ERROR_CODES,
        utc_offset: str = "+08:00",
        tolerance: int = 30,
        split_directions: bool = True,
        workers: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._parts = Path(parts)
        self._features = list(features)
        self._error_codes = tuple(float(code) for code in error_codes)
        self._utc_offset = utc_offset
        self._tolerance = tolerance
        self._split_directions = split_directions
        self._workers = workers

    def _read(self) -> tuple[Any, Labels]:
        if unknown := [name for name in self._features if name not in FEATURES]:
            raise ValueError(f"features: no {unknown[0]!r}; there are {', '.join(FEATURES)}")
        offset = parse_offset(self._utc_offset)
        source, files = _sort_files(self.filepath)
        broken = [*files.skipped]
        stations: dict[str, documents.Station] = {}
        for member in files.lists:  # there may be one a day; a later one corrects an earlier one
            read = documents.read_stations_xml
            if member.form == "json":
                read = documents.read_stations_json
            try:
                found = read(read_member(source, member))
                stations |= {one["vdid"]: one for one in found if one["vdid"]}
            except (ValueError, OSError, MemoryError) as error:
                broken.append((member.name, one_line(error)))
        bearings, listed = None, {*stations}
        if self._split_directions:
            bearings = bearings_of(stations)
            stations = stations_apart(stations, bearings)

        reading = parts.Reading(offset, self._tolerance, self._error_codes, bearings)
        batches = list(_batches(files.live))
        paths = [parts.part_path(self._parts, source, batch, reading) for batch in batches]
        self._make(source, batches, paths, reading)
        columns = [FEATURES.index(name) for name in self._features]
        array = parts.PartsArray(paths, columns, stations)
        broken += array.broken
        if not array.vdids:
            name, why = broken[0] if broken else ("", "no record has a place")
            raise ValueError(
                f"nothing usable in its {len(files.live):,} VDLive files; {name}: {why}"
            )
        array.left_out.add("others", files.others, files.other)
        notes = parts.notes_of(broken, array.left_out)
        if apart := [vdid for vdid in array.vdids if vdid in stations and vdid not in listed]:
            notes.append(
                f"{plural(len(apart), 'detector')}, such as {printable(apart[0])}, are one "
                "direction of a VD with several; split_directions: false keeps these together"
            )
        known = [stations.get(vdid, {}) for vdid in array.vdids]
        on_demand: Any = indexing.LazilyIndexedArray(array)
        labels = Labels(
            times=array.minutes.astype("datetime64[m]").astype("datetime64[ns]"),
            vdids=array.vdids,
            features=self._features,
            info=as_coords(known, self.limit) if stations else {},
            utc_offset=self._utc_offset,
            notes=notes,
        )
        return indexing.CopyOnWriteArray(on_demand), labels

    def _make(
        self,
        source: Path,
        batches: list[list[Member]],
        paths: list[Path],
        reading: parts.Reading,
    ) -> None:
        """Make the parts that are missing or damaged."""
        todo = [
            (batch, path)
            for batch, path in zip(batches, paths, strict=True)
            if parts.load_part(path, with_values=False) is None
        ]
        workers = min(self._workers or os.cpu_count() or 1, len(todo))
        with tqdm(total=sum(len(batch) for batch, _ in todo), unit="file", disable=None) as bar:
            if workers < 2:
                for batch, path in todo:
                    parts.make_part(source, batch, reading, path)
                    bar.update(len(batch))
                return
            # spawned, because forking a process that has threads is not safe
            pool = ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=_end_with_parent
            )
            try:
                jobs = {
                    pool.submit(parts.make_part, source, batch, reading, path): len(batch)
                    for batch, path in todo
                }
                for job in as_completed(jobs):
                    job.result()
                    bar.update(jobs[job])
            except BrokenProcessPool as error:
                raise ValueError(
                    "a process that read it was killed, perhaps for want of memory; run again, it "
                    "resumes where it was (workers: 1 takes less memory)"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is killed; else it would wait forever."""

    def wait_and_exit(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    if (parent := parent_process()) is not None:
        threading.Thread(target=wait_and_exit, args=(parent.sentinel,), daemon=True).start()


@dataclass
class _Files:
    """What an archive holds, sorted."""

    live: list[Member]
    """Records, in the order of their minutes."""
    lists: list[Member]
    """Lists of detectors."""
    skipped: list[tuple[str, str]]
    others: int
    other: str = ""
    """One of these."""


def _sort_files(path: Path) -> tuple[Path, _Files]:
    """The folder or archive that holds the files, and these; ``path`` may be one of them."""
    if _LIVE.fullmatch(path.name) and path.is_file():
        status = path.stat()
        member = Member(path.name, status.st_size, status.st_mtime_ns)
        return path.parent, _Files([member], [], [], 0)
    files, listing = _Files([], [], [], 0), list_members(path)
    files.skipped += listing.skipped
    for member in listing.members:
        name = member.name.rpartition("/")[2]
        if _LIVE.fullmatch(name):
            files.live.append(member)
        elif _STATIONS.fullmatch(name):
            files.lists.append(member)
        else:
            files.others += 1
            files.other = files.other or member.name
    if not files.live:
        first = "".join(f"; {name}: {why}" for name, why in files.skipped[:1])
        raise ValueError(
            "has no VDLive_HHMM.xml or VDLiveList.json among its "
            f"{files.others:,} files{printable(first)}"
        )
    # without a time in the name: last, in the order of names
    files.live.sort(key=lambda one: minute_of_file(f"{path.name}/{one.name}") or math.inf)
    return path, files


def _batches(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Members of a part each: few enough, and small enough for memory once unpacked."""
    batch: list[Member] = []
    size = 0
    for member in members:
        unpacked = member.size * (_GZIP_RATIO if member.is_gzip else 1)
        if len(batch) == FILES_PER_PART or (batch and size + unpacked > _BYTES_PER_PART):
            yield batch
            batch, size = [], 0
        batch.append(member)
        size += unpacked
    if batch:
        yield batch
