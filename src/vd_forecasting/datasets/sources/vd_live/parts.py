"""Some minutes of an archive, read once and kept, so that a killed ingest resumes where it was.

A part holds R records as arrays; its name is a digest of the files it was made from and of how they
were read, so a part that is there is right, and one that is not is made.
"""

import gc
import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.sources.vd_live.archive import Member, read_member
from vd_forecasting.datasets.sources.vd_live.lanes import FEATURES, Records, features_of
from vd_forecasting.datasets.sources.vd_live.live_json import read_live_json
from vd_forecasting.datasets.sources.vd_live.live_xml import read_live_xml
from vd_forecasting.datasets.sources.vd_live.minutes import minute_of_file, minute_of_record
from vd_forecasting.wording import one_line

_FORMAT = 1  # increased when a part of the same files would hold something else
_LONGEST_VDID = 200
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, TypeError)


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    utc_offset: int  # of the clock, minutes
    tolerance: int  # minutes a record may be off the time of its file
    error_codes: tuple[float, ...]


@dataclass
class Part:
    """R records of V detectors."""

    vdids: list[str]  # [V]
    vd: npt.NDArray[np.int32]  # [R]
    minute: npt.NDArray[np.int64]  # [R], since 1970 on the clock
    values: npt.NDArray[np.float32]  # [R, 5], see lanes.FEATURES
    broken: list[tuple[str, str]]  # files, and why
    left_out: Counter[str]  # records, by the keys of assemble.LEFT_OUT


def part_path(folder: Path, source: Path, members: Sequence[Member], reading: Reading) -> Path:
    """Where the part of some files is kept."""
    made_from = [_FORMAT, source.name, asdict(reading), [asdict(member) for member in members]]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    return folder / f"{digest}.npz"


def make_part(source: Path, members: Sequence[Member], reading: Reading, path: Path) -> Path:
    """Read some files of an archive into the part at ``path``; broken ones are noted in it."""
    collecting = gc.isenabled()
    gc.disable()  # a tree of 200,000 elements, none in a cycle: looking for them takes a third
    try:
        part = _read_files(source, members, reading)
    finally:
        if collecting:
            gc.enable()
    counts = {"broken": part.broken, **part.left_out}
    labels = json.dumps({"vdids": part.vdids, "counts": counts}).encode()
    arrays = {name: getattr(part, name) for name in ("vd", "minute", "values")}
    # as np.savez_compressed, but faster by the lowest level of compression
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, array in {"labels": np.frombuffer(labels, dtype=np.uint8), **arrays}.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return path


def load_part(path: Path, with_values: bool = True) -> Part | None:
    """The part at ``path``, its values [0, 5] if they stay unread; None if none, or damaged."""
    try:
        # np.load would leave a damaged file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            labels = json.loads(file["labels"].tobytes())
            counts = labels["counts"]
            broken = [(str(name), str(why)) for name, why in counts.pop("broken")]
            return Part(
                vdids=[str(vdid) for vdid in labels["vdids"]],
                vd=file["vd"],
                minute=file["minute"],
                values=file["values"] if with_values else _nothing(),
                broken=broken,
                left_out=Counter({str(reason): int(number) for reason, number in counts.items()}),
            )
    except _DAMAGED:
        return None


def _read_files(source: Path, members: Sequence[Member], reading: Reading) -> Part:
    vdids: dict[str, int] = {}
    vd: list[int] = []
    minute, values = [np.empty(0, np.int64)], [_nothing()]
    broken, left_out = [], Counter[str]()
    for member in members:
        try:
            read = read_live_json if member.is_json else read_live_xml
            records = read(read_member(source, member))
            if not records.vdids:
                raise ValueError("reports of no VD")
            features = features_of(records, reading.error_codes)
        except (ValueError, OSError, MemoryError) as error:
            broken.append((member.name, one_line(error)))
            continue
        minutes = _minutes(records, f"{source.name}/{member.name}", reading, left_out)
        named = np.array([0 < len(vdid) <= _LONGEST_VDID for vdid in records.vdids])
        left_out["unnamed"] += int((~named).sum())
        left_out["faulty"] += records.healthy.count(False)
        kept = np.flatnonzero(named & (minutes >= 0))
        vd += [vdids.setdefault(records.vdids[index], len(vdids)) for index in kept]
        minute.append(minutes[kept])
        values.append(features[kept])
    return Part(
        vdids=list(vdids),
        vd=np.array(vd, dtype=np.int32),
        minute=np.concatenate(minute),
        values=np.concatenate(values),
        broken=broken,
        left_out=left_out,
    )


def _minutes(
    records: Records, path: str, reading: Reading, left_out: Counter[str]
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
            left_out["untimed"] += 1
        elif of_file is not None and abs(minute - of_file) > reading.tolerance:
            left_out["off_clock"] += 1
        else:
            minutes[index] = minute
    return minutes


def _nothing() -> npt.NDArray[np.float32]:
    return np.empty((0, len(FEATURES)), dtype=np.float32)
