"""An archive of minute-by-minute VD records as one VD array."""

import math
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm
from xarray.core import indexing

from vd_forecasting.datasets.hdf5_attributes import as_coords
from vd_forecasting.datasets.sources.source import Labels, SourceDataset
from vd_forecasting.datasets.sources.vd_live import documents, parts
from vd_forecasting.datasets.sources.vd_live.archive import Member, list_members, read_member
from vd_forecasting.datasets.sources.vd_live.lanes import FEATURES
from vd_forecasting.datasets.sources.vd_live.minutes import minute_of_file, parse_offset
from vd_forecasting.wording import one_line

FILES_PER_PART = 30
"""Half an hour; a killed ingest loses at most that per process."""

_LIVE = re.compile(r"VDLive(List)?([_-]?\d+)?\.(xml|json)(\.gz)?", re.IGNORECASE)
_STATIONS = re.compile(r"VD(List)?([_-]?\d+)?\.(xml|json)(\.gz)?", re.IGNORECASE)


class VDLiveArchiveDataset(SourceDataset):
    """Loads per-minute VDLive files of the MOTC traffic standard 2.0, XML or JSON, gzipped or not.

    ``filepath`` is a folder, a zip or an uncompressed tar of them, of any number of days; the lists
    of detectors among them (VD.xml, VDList.json) give the coordinates. Files are read in parallel
    into parts, which are kept in ``parts``: files read once, also by an ingest that was killed,
    are not read again. That folder may be deleted at any time. The array is lazy and reads parts.
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
          workers: 2                             # optional: processes; all cores by default
    """

    def __init__(
        self,
        *,
        parts: str,
        features: Sequence[str] = FEATURES,
        error_codes: Sequence[float] = (-99, -1, 255, 999),
        utc_offset: str = "+08:00",
        tolerance: int = 30,
        workers: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._parts = Path(parts)
        self._features = list(features)
        self._error_codes = tuple(float(code) for code in error_codes)
        self._utc_offset = utc_offset
        self._tolerance = tolerance
        self._workers = workers

    def _read(self) -> tuple[Any, Labels]:
        if unknown := [name for name in self._features if name not in FEATURES]:
            raise ValueError(f"features: no {unknown[0]!r}; there are {', '.join(FEATURES)}")
        source = self.filepath
        reading = parts.Reading(parse_offset(self._utc_offset), self._tolerance, self._error_codes)
        live, lists, others = _sort_files(source)
        batches = [live[i : i + FILES_PER_PART] for i in range(0, len(live), FILES_PER_PART)]
        paths = [parts.part_path(self._parts, source, batch, reading) for batch in batches]
        self._make(batches, paths, reading)

        stations: dict[str, documents.Station] = {}
        broken = []
        for member in lists:  # there may be one a day; a later one corrects an earlier one
            read = documents.read_stations_json if member.is_json else documents.read_stations_xml
            try:
                found = read(read_member(source, member))
                stations |= {one["vdid"]: one for one in found if one["vdid"]}
            except (ValueError, OSError, MemoryError) as error:
                broken.append((member.name, one_line(error)))
        columns = [FEATURES.index(name) for name in self._features]
        array = parts.PartsArray(paths, columns, stations)
        broken += array.broken
        if not array.vdids:
            name, why = broken[0] if broken else ("", "no record has a place")
            raise ValueError(f"nothing usable in its {len(live):,} VDLive files; {name}: {why}")
        on_demand: Any = indexing.LazilyIndexedArray(array)
        labels = Labels(
            times=array.minutes.astype("datetime64[m]").astype("datetime64[ns]"),
            vdids=array.vdids,
            features=self._features,
            info=as_coords([stations.get(vdid, {}) for vdid in array.vdids]) if stations else {},
            utc_offset=self._utc_offset,
            notes=list(parts.notes_of(broken, array.left_out | {"others": others})),
        )
        return indexing.CopyOnWriteArray(on_demand), labels

    def _make(self, batches: list[list[Member]], paths: list[Path], reading: parts.Reading) -> None:
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
                    parts.make_part(self.filepath, batch, reading, path)
                    bar.update(len(batch))
                return
            # spawned, because forking a process that has threads is not safe
            pool = ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=_end_with_parent
            )
            try:
                jobs = {
                    pool.submit(parts.make_part, self.filepath, batch, reading, path): len(batch)
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


def _sort_files(source: Path) -> tuple[list[Member], list[Member], int]:
    """Live records in the order of their minutes, lists of detectors, number of other files."""
    live, lists, others = [], [], 0
    for member in list_members(source):
        name = member.name.rpartition("/")[2]
        if _LIVE.fullmatch(name):
            live.append(member)
        elif _STATIONS.fullmatch(name):
            lists.append(member)
        else:
            others += 1
    if not live:
        raise ValueError(f"has no VDLive_HHMM.xml or VDLiveList.json among its {others:,} files")
    # without a time in the name: last, in the order of names
    live.sort(key=lambda one: minute_of_file(f"{source.name}/{one.name}") or math.inf)
    return live, lists, others
