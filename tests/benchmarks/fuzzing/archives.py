"""Records of TDX and of Taiwan's freeways, XML and JSON, in folders and archives."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from tests.benchmarks.fuzzing import losses
from tests.benchmarks.fuzzing.mutations import ODD_TEXTS, damaged, tree_changed, xml_changed
from tests.benchmarks.fuzzing.target import Target, problem_of
from tests.make import exports
from vd_forecasting.datasets import VDLiveArchiveDataset

MINUTES = 4
_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    255,
    1e999,
    10**40,
    0.5,
    {},
    [],
    [[]],
    {"VDID": "VD-9"},
)
_CODECS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ODD_NAMES = ("../VDLive_0001.xml", "/VDLive_0002.json", "a\n/VDLive_0003.xml", "VD.xml", "x" * 200)

ElementTree.register_namespace("", exports.NAMESPACE)


@cache
def _traffic() -> xr.DataArray:
    """A few minutes of three detectors with a lane each."""
    steps = np.arange(MINUTES)[:, None, None] + 10 * np.arange(3)[None, :, None]
    values = (np.array([60.5, 12.0, 4.25]) + steps).astype(np.float32)
    time = np.datetime64("2024-03-04T00:00", "ns") + np.arange(MINUTES) * np.timedelta64(1, "m")
    vdids = ["VD-1", "VD-2", "國道-3"]
    places = {name: ("vd", [24.0, 25.0, 26.0]) for name in ("position_lon", "position_lat")}
    texts = {name: ("vd", ["1", "2", "3"]) for name in ("road_id", "road_name")}
    coords = {"time": time, "vd": vdids, "feature": exports.LANE_FEATURES, **places, **texts}
    coords["lane_num"] = ("vd", [1.0, 1.0, 1.0])
    return xr.DataArray(values, coords, ("time", "vd", "feature"))


@cache
def _whole(form: str) -> dict[str, bytes]:
    """The files of an archive; ``form`` is xml, json or jsonl."""
    if form != "jsonl":
        return exports.archive_files(_traffic(), form)
    lines = [
        json.dumps(record, ensure_ascii=False)
        for step in range(MINUTES)
        for record in json.loads(exports.live_json(_traffic(), step))["LiveTrafficData"]
    ]
    return {"VDLive_20240304.jsonl": "\n".join(lines).encode()}


def _odd(random: Random) -> Any:
    return random.choice((*_ODD_VALUES, *ODD_TEXTS))


def _changed(name: str, content: bytes, random: Random) -> bytes:
    """A file with a few changes."""
    if name.endswith(".jsonl"):
        lines = content.splitlines()
        place = random.randrange(len(lines))
        lines[place] = json.dumps(tree_changed(json.loads(lines[place]), random, _odd)).encode()
        content = b"\n".join(lines)
    elif name.endswith(".json"):
        content = json.dumps(tree_changed(json.loads(content), random, _odd)).encode()
    else:
        content = xml_changed(content, random)
    return damaged(content, random, 0.15)


def _target(kind: str, form: str) -> Target:
    """``kind`` is folder, zip or tar."""

    def make(path: Path, random: Random) -> dict[str, bytes]:
        files = {}
        for name, content in _whole(form).items():
            inside = _changed(name, content, random) if random.random() < 0.4 else content
            if random.random() < 0.3:
                inside = damaged(gzip.compress(inside, 1, mtime=0), random, 0.2)
                files[f"{name}.gz"] = inside
            else:
                files[name] = inside
        _write(path, files, kind, random)
        if kind == "tar":  # which has no checksum of contents
            packed = path.read_bytes()
            files = {name: inside for name, inside in files.items() if inside in packed}
        return files

    def read(path: Path) -> xr.DataArray:
        parts = str(path.parent / "parts")
        features = exports.LANE_FEATURES
        dataset = VDLiveArchiveDataset(
            filepath=str(path), parts=parts, features=features, workers=1
        )
        return dataset.load().load()

    def judge(path: Path, files: dict[str, bytes], array: xr.DataArray) -> str:
        if problem := problem_of(array, path):
            return problem
        times, vdids = (_traffic()[name].to_numpy() for name in ("time", "vd"))
        stamps = {f"{np.datetime_as_string(time, 's')}+08:00": time for time in times}
        expected = losses.expected_live(files, stamps, vdids.tolist())
        return losses.lost(expected, array, len(losses.CHANNELS))

    suffix = {"folder": "d"}.get(kind, kind)
    return Target(f"{form}_{kind}", f"a.{suffix}", make, read, judge)


def _write(path: Path, files: dict[str, bytes], kind: str, random: Random) -> None:
    files = dict(files)
    if random.random() < 0.2:
        files[random.choice(_ODD_NAMES)] = random.choice([*files.values()])
    if kind == "folder":
        exports.write_archive(path, {name.lstrip("./"): inside for name, inside in files.items()})
        return
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", random.choice(_CODECS)) as archive:
            for name, inside in files.items():
                archive.writestr(name, inside)
    else:
        form = random.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
        with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
            for name, inside in files.items():
                info = tarfile.TarInfo(name[:90] if form == tarfile.USTAR_FORMAT else name)
                info.size = len(inside)
                tar.addfile(info, io.BytesIO(inside))
    path.write_bytes(damaged(packed.getvalue(), random, 0.4))


def targets() -> Iterator[Target]:
    """All kinds of archives."""
    for kind in ("folder", "zip", "tar"):
        for form in ("xml", "json", "jsonl"):
            yield _target(kind, form)
