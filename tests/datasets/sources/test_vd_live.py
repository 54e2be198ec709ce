"""Archives of VDLive files: what is read of them, what is left out, and what cannot hurt."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.make.exports import (
    LANE_FEATURES,
    NAMESPACE,
    archive_files,
    assert_same,
    for_lanes,
    live_json,
    live_xml,
    loaded_or_told,
    sample,
    stations_xml,
    write_archive,
)
from tests.make.refused import refusal
from vd_forecasting.datasets import VDHDF5Dataset, VDLiveArchiveDataset
from vd_forecasting.datasets.sources import archive, source
from vd_forecasting.datasets.sources.vd_live import dataset, documents, parts
from vd_forecasting.datasets.sources.vd_live.documents import (
    read_live_json,
    read_live_xml,
    read_plain,
)
from vd_forecasting.datasets.sources.vd_live.lanes import FEATURES, Records, features_of
from vd_forecasting.datasets.sources.vd_live.minutes import minute_of_file, minute_of_record
from vd_forecasting.datasets.sources.vd_live.parts import make_part

CODES = (-99.0, -1.0, 255.0, 999.0)


def load(path: Path, **options: Any) -> xr.DataArray:
    fixed: dict[str, Any] = {
        "filepath": str(path),
        "parts": str(path.parent / "parts"),
        "workers": 1,
    }
    return VDLiveArchiveDataset(**fixed | options).load()


@pytest.fixture(scope="module")
def vd() -> xr.DataArray:
    return for_lanes(sample(steps=80, vds=3))


@pytest.fixture(autouse=True)
def forget() -> None:
    """Parts of one test are not those of the next."""
    parts._loaded.cache_clear()


# The way in


@pytest.mark.parametrize("form", ["xml", "xml.gz", "json"])
@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar"])
def test_what_was_exported_comes_back(
    tmp_path: Path, vd: xr.DataArray, form: str, name: str
) -> None:
    path = write_archive(tmp_path / name, archive_files(vd, form))
    found = load(path, features=LANE_FEATURES)
    assert_same(found, vd)
    assert found.attrs == {"source_file": name, "utc_offset": "+08:00"}
    for coord in ("position_lon", "position_lat", "lane_num", "road_id", "road_name"):
        assert found[coord].values.tolist() == vd[coord].values.tolist()


def test_the_saved_file_is_the_array(tmp_path: Path, vd: xr.DataArray) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd))
    target = VDHDF5Dataset(filepath=str(tmp_path / "out.h5"))
    target.save(load(path, features=LANE_FEATURES))
    assert_same(target.load(), vd)


@pytest.mark.integration
def test_processes_make_the_same(tmp_path: Path, vd: xr.DataArray) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd))
    assert_same(load(path, features=LANE_FEATURES, workers=2), vd)


@pytest.mark.parametrize(
    "key",
    [
        {"time": 5},
        {"time": slice(40, 50), "vd": 1},
        {"time": [70, 3, 3], "vd": [2, 0]},
        {"feature": [2]},
        {"time": slice(None, None, -7)},
        {"time": slice(0, 0)},
    ],
)
def test_any_part_of_the_array(tmp_path: Path, vd: xr.DataArray, key: dict[str, Any]) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd, "json"))
    found = load(path, features=LANE_FEATURES).isel(key)
    np.testing.assert_array_equal(found.values, vd.isel(key).values)


def test_a_killed_ingest_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, vd: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd))
    one, other = (VDHDF5Dataset(filepath=str(tmp_path / name)) for name in ("1.h5", "2.h5"))
    one.save(load(path, parts=str(tmp_path / "whole")))
    made = []

    def killed_at_the_second(*arguments: Any) -> Any:
        made.append(arguments[-1])
        if len(made) == 2:
            raise KeyboardInterrupt
        return make_part(*arguments)

    monkeypatch.setattr(parts, "make_part", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        load(path)
    other.save(load(path))
    assert len(made) == 4  # of three parts, the first was not read again
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.integration
def test_workers_end_with_the_process_that_started_them() -> None:
    """Else a killed ingest would leave them waiting forever."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(300):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {worker} still runs")


_PARENT = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from vd_forecasting.datasets.sources.vd_live.dataset import _end_with_parent
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), _end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_a_damaged_part_is_made_again(tmp_path: Path, vd: xr.DataArray) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd))
    load(path)
    for part in (tmp_path / "parts").iterdir():
        part.write_bytes(part.read_bytes()[:100])
    assert_same(load(path, features=LANE_FEATURES), vd)


def test_a_changed_file_is_read_again(tmp_path: Path, vd: xr.DataArray) -> None:
    path = write_archive(tmp_path / "folder", archive_files(vd, "xml"))
    load(path)
    changed = vd.copy(deep=True)
    changed[4, 1, 0] = 12.5
    write_archive(path, archive_files(changed, "xml"))
    assert_same(load(path, features=LANE_FEATURES), changed)


# Features


def lane(speed: object = 80, occupancy: object = 10, *volumes: object) -> str:
    counted = "".join(
        f"<Vehicle><VehicleType>S</VehicleType><Volume>{v}</Volume><Speed>7</Speed></Vehicle>"
        for v in volumes
    )
    return (
        f"<Lane><Speed>{speed}</Speed><Occupancy>{occupancy}</Occupancy>"
        f"<Vehicles>{counted}</Vehicles></Lane>"
    )


def record(*lanes: str, vdid: str = "VD-1", status: str = "0", stamp: str = "") -> str:
    stamp = stamp or "2024-03-04T00:00:00+08:00"
    return (
        f"<VDLive><VDID>{vdid}</VDID><LinkFlows><LinkFlow><Lanes>{''.join(lanes)}</Lanes>"
        f"</LinkFlow></LinkFlows><Status>{status}</Status>"
        f"<DataCollectTime>{stamp}</DataCollectTime></VDLive>"
    )


def document(*records: str) -> bytes:
    return (
        f'<VDLiveList xmlns="{NAMESPACE}"><VDLives>{"".join(records)}</VDLives></VDLiveList>'
    ).encode()


def features(*lanes: str, **more: str) -> dict[str, float]:
    values = features_of(read_live_xml(document(record(*lanes, **more))), CODES)
    return dict(zip(FEATURES, values[0].tolist(), strict=True))


WHOLE = document(record(lane(90, 10, 6, 3), lane(60, 20, 1, 0)), record(lane(5, 5, 5), vdid="B"))
NOTHING = dict.fromkeys(FEATURES, float("nan"))


def test_features_over_lanes() -> None:
    found = features(lane(90, 10, 6, 3), lane(60, 20, 1, 0))
    assert found == {
        "avg_speed": 87.0,
        "total_volume": 10.0,
        "avg_occupancy": 15.0,
        "speed_std": 15.0,
        "lane_count": 2.0,
    }


def test_a_plain_mean_where_no_volume_is_known() -> None:
    found = features(lane(90, 10), lane(60, 20))
    assert found["avg_speed"] == 75
    assert np.isnan(found["total_volume"])
    assert features(lane(90, 10, 0), lane(60, 20, 0))["avg_speed"] == 75


@pytest.mark.parametrize("wrong", [-99, -1, 255, 999, -5, "fast", "1_0", "nan", "inf", "9" * 400])
def test_a_lane_with_an_error_is_left_out(wrong: object) -> None:
    good = lane(60, 20, 5)
    alone = {"avg_speed": 60, "total_volume": 5, "avg_occupancy": 20, "lane_count": 1}
    for bad in (lane(wrong, 10, 4), lane(80, wrong, 4)):
        found = features(bad, good)
        assert np.isnan(found.pop("speed_std"))
        assert found == alone
        np.testing.assert_equal(features(bad), NOTHING)
    if wrong != 255:
        np.testing.assert_equal(features(lane(80, 10, 1, wrong)), NOTHING)


@pytest.mark.parametrize("status", ["1", "2", "broken"])
def test_a_faulty_vd_is_missing(status: str) -> None:
    np.testing.assert_equal(features(lane(60, 20, 5), status=status), NOTHING)


@pytest.mark.parametrize("status", ["0", "", " 0 "])
def test_a_healthy_vd_is_not(status: str) -> None:
    assert features(lane(60, 20, 5), status=status)["avg_speed"] == 60


def test_no_lane_is_missing_and_never_zero() -> None:
    np.testing.assert_equal(features(), NOTHING)
    np.testing.assert_equal(features("<Lane></Lane>"), NOTHING)
    np.testing.assert_equal(features(lane("", "")), NOTHING)


def test_an_empty_lane_has_no_speed_but_a_volume() -> None:
    found = features(lane(0, 0, 0, 0))
    assert (found["total_volume"], found["avg_occupancy"], found["lane_count"]) == (0, 0, 1)
    assert np.isnan(found["avg_speed"])
    assert features(lane(0, 60, 0))["avg_speed"] == 0  # a queue that stands on the detector


def test_json_is_read_as_xml_is(vd: xr.DataArray) -> None:
    one, other = read_live_xml(live_xml(vd, 3)), read_live_json(live_json(vd, 3))
    assert one.vdids == other.vdids
    np.testing.assert_array_equal(features_of(one, CODES), features_of(other, CODES))


def test_a_bool_is_no_number() -> None:
    content = {
        "VDLives": [{"VDID": "A", "LinkFlows": [{"Lanes": [{"Speed": True}, {"Speed": 1}]}]}]
    }
    values = features_of(read_live_json(json.dumps(content).encode()), CODES)
    assert values[0, [0, 4]].tolist() == [1, 1]


# Time and names


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("2024-03-04T00:00:59+08:00", 0),
        ("2024-03-03T16:01:00Z", 1),
        ("2024-03-04 00:02", 2),
        ("2024-03-04T00:03:00.1234567+08:00", 3),
        ("2024-03-04T01:04:00+0900", 4),
    ],
)
def test_times_of_records(text: str, minutes: float) -> None:
    start = np.datetime64("2024-03-04", "m").astype(int)
    assert minute_of_record(text, 480) == start + minutes


@pytest.mark.parametrize(
    "text",
    ["", "now", "2024-13-04T00:00:00", "1900-01-01T00:00", "0001-01-01T00:00", "9999-12-31T00:00",
     "2024-03-04", "2024-03-04T24:00", "2024-03-04T00:00+99:00", "２０２４-03-04T00:00"],
)  # fmt: skip
def test_times_that_are_none(text: str) -> None:
    assert minute_of_record(text, 480) is None


@pytest.mark.parametrize(
    "path",
    ["x/20240304/VDLive_0512.xml.gz", "20240304.zip/VDLive_0512.xml", "2024-03-04/VDLive_0512.xml",
     "20230101/2024-03-04_05-12-33/VDLiveList.json", "2024/20240304_051200/VDLive.json"],
)  # fmt: skip
def test_times_of_files(path: str) -> None:
    assert minute_of_file(path) == np.datetime64("2024-03-04T05:12", "m").astype(int)


@pytest.mark.parametrize(
    "path", ["VDLive_0512.xml", "20240304/VDLive.xml", "20241399/VDLive_0512.xml"]
)
def test_files_that_do_not_tell_a_time(path: str) -> None:
    assert minute_of_file(path) is None


def test_records_are_of_the_minute_they_were_collected_in(tmp_path: Path) -> None:
    """An old record that the next file repeats is not a new one; a clock far off is left out."""
    at = "2024-03-04T00:0{}:00+08:00".format
    files = {
        "20240304/VDLive_0000.xml": document(record(lane(50), vdid="A", stamp=at(0))),
        "20240304/VDLive_0001.xml": document(
            record(lane(50), vdid="A", stamp=at(0)),
            record(lane(70), vdid="B", stamp="2024-03-03T16:01:10Z"),
            record(lane(70), vdid="C", stamp="2023-03-04T00:01:00+08:00"),
            record(lane(70), vdid="D", stamp="soon"),
            record(lane(70), vdid=""),
        ),
    }
    found = load(write_archive(tmp_path / "a", files), features=["avg_speed"])
    assert found["vd"].values.tolist() == ["A", "B"]
    np.testing.assert_array_equal(found.values[..., 0], [[50, np.nan], [np.nan, 70]])
    assert set(found.attrs["ingest_notes"]) == {
        "1 records without a usable VDID left out",
        "1 records without a usable time left out",
        "1 records left out whose time is far from that of their file",
    }


def test_without_its_own_time_a_record_is_of_its_file(tmp_path: Path) -> None:
    content = document(record(lane(50))).replace(b"2024-03-04T00:00:00+08:00", b"")
    found = load(write_archive(tmp_path / "a", {"20240304/VDLive_0512.xml": content}))
    assert str(found["time"].values[0])[:16] == "2024-03-04T05:12"


def test_of_duplicate_vds_the_last_value_wins(tmp_path: Path) -> None:
    content = document(record(lane(50, 5)), record(lane(70, "")), record(lane("", "")))
    found = load(write_archive(tmp_path / "a", {"20240304/VDLive_0000.xml": content}))
    assert found.sel(feature=["avg_speed", "avg_occupancy"]).values.ravel().tolist() == [70, 5]


@pytest.mark.parametrize("files_per_part", [1, 30])
def test_records_that_contradict_each_other_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_per_part: int
) -> None:
    monkeypatch.setattr(dataset, "FILES_PER_PART", files_per_part)
    at = "2024-03-04T00:0{}:00+08:00".format
    files = {
        "VDLive_20240304_0000.xml": document(
            record(lane(50), vdid="A", stamp=at(0)), record(lane(60), vdid="B", stamp=at(0))
        ),
        "VDLive_20240304_0001.xml": document(  # the same, unknown, and another
            record(lane(50), vdid="A", stamp=at(0)),
            record(lane(50), vdid="A", stamp=at(0), status="1"),
            record(lane(90), vdid="B", stamp=at(0)),
            record(lane(70), vdid="B", stamp=at(1)),
        ),
        "VDLive_20240304_0002.xml": document(record(lane(80), vdid="B", stamp=at(0))),
    }
    found = load(write_archive(tmp_path / "a", files), features=["avg_speed"])
    np.testing.assert_array_equal(found.values[..., 0], [[50, 80], [np.nan, 70]])
    assert found.attrs["ingest_notes"][-1] == (
        "2 records contradict another of their minute and detector, such as B at 2024-03-04T00:00; "
        "the last of each value is kept"
    )


def test_names_in_any_script(tmp_path: Path, vd: xr.DataArray) -> None:
    named = vd.isel(vd=[0]).assign_coords(road_name=("vd", ["國道一號"]), vd=["VD-國道&<1>"])
    found = load(write_archive(tmp_path / "a", archive_files(named)))
    assert found["vd"].values.tolist() == ["VD-國道&<1>"]
    assert found["road_name"].values.tolist() == ["國道一號"]


# Both directions of a road


TWO_LINKS = {"L1": "N", "L2": "S"}


def flow(link: str, *lanes: str) -> str:
    return f"<LinkFlow><LinkID>{link}</LinkID><Lanes>{''.join(lanes)}</Lanes></LinkFlow>"


def two_flows(*flows: str, vdid: str = "VD-1", minute: int = 0) -> str:
    return (
        f"<VDLive><VDID>{vdid}</VDID><LinkFlows>{''.join(flows)}</LinkFlows><Status>0</Status>"
        f"<DataCollectTime>2024-03-04T00:{minute:02d}:00+08:00</DataCollectTime></VDLive>"
    )


BOTH = two_flows(flow("L1", lane(60, 3, 4), lane(62, 3, 5)), flow("L2", lane(8, 60, 23)))


def as_json(content: bytes) -> bytes:
    """The same in JSON."""
    records = []
    for vd in documents.parse(content, "VDLiveList").iter("VDLive"):
        flows = [
            {
                **{part.tag: part.text for part in one if part.tag != "Lanes"},
                "Lanes": [
                    {
                        "Speed": each.findtext("Speed"),
                        "Occupancy": each.findtext("Occupancy"),
                        "Vehicles": [{"Volume": v.text} for v in each.iter("Volume")],
                    }
                    for each in one.iter("Lane")
                ],
            }
            for one in vd.iter("LinkFlow")
        ]
        stamp = vd.findtext("DataCollectTime")
        records.append({"VDID": vd.findtext("VDID"), "DataCollectTime": stamp, "LinkFlows": flows})
    return json.dumps({"VDLives": records}).encode()


def vd_list(links: dict[str, str], vdid: str = "VD-1", tag: str = "Bearing") -> bytes:
    detection = "".join(
        f"<DetectionLink><LinkID>{link}</LinkID><{tag}>{bearing}</{tag}><LaneNum>{lanes}</LaneNum>"
        "</DetectionLink>"
        for lanes, (link, bearing) in enumerate(links.items(), 1)
    )
    return (
        f"<VDList><VDs><VD><VDID>{vdid}</VDID><DetectionLinks>{detection}</DetectionLinks>"
        "<PositionLon>121.5</PositionLon></VD></VDs></VDList>"
    ).encode()


@pytest.mark.parametrize("form", ["plain xml", "xml by the tree", "json"])
@pytest.mark.parametrize("tag", ["Bearing", "RoadDirection"])
def test_two_directions_of_a_vd_are_two_detectors(tmp_path: Path, form: str, tag: str) -> None:
    content = {
        "plain xml": document(BOTH, record(lane(50, 5, 1), vdid="B")),
        "xml by the tree": document("<!-- -->", BOTH, record(lane(50, 5, 1), vdid="B")),
        "json": as_json(document(BOTH, record(lane(50, 5, 1), vdid="B"))),
    }[form]
    files = {"20240304/VD.xml": vd_list(TWO_LINKS, tag=tag)}
    files[f"20240304/VDLive_0000.{form.rpartition(' ')[2] if form == 'json' else 'xml'}"] = content
    path = write_archive(tmp_path / "a", files)
    found = load(path, features=["avg_speed", "total_volume", "lane_count"])
    assert found["vd"].values.tolist() == ["VD-1-N", "VD-1-S", "B"]
    expected: list[list[float]] = [[550 / 9, 9, 2], [8, 23, 1], [50, 1, 1]]
    np.testing.assert_allclose(found.values[0], expected, 1e-6)
    assert found["lane_num"].values[:2].tolist() == [1, 2]
    assert found["position_lon"].values[:2].tolist() == [121.5, 121.5]
    (note,) = found.attrs["ingest_notes"]
    assert note.startswith("2 detectors, such as VD-1-N, are one direction of a VD with several")
    one = load(path, features=["total_volume"], split_directions=False)
    assert one["vd"].values.tolist() == ["VD-1", "B"]
    assert one.values.ravel().tolist() == [32, 1]
    assert "ingest_notes" not in one.attrs


def test_a_direction_keeps_its_name_where_the_other_is_silent(tmp_path: Path) -> None:
    files = {
        "20240304/VD.xml": vd_list(TWO_LINKS),
        "20240304/VDLive_0000.xml": document(BOTH),
        "20240304/VDLive_0001.xml": document(two_flows(flow("L2", lane(9, 5, 1)), minute=1)),
        "20240304/VDLive_0002.xml": document(two_flows(minute=2)),
    }
    found = load(write_archive(tmp_path / "a", files), features=["total_volume"])
    assert found["vd"].values.tolist() == ["VD-1-N", "VD-1-S"]
    np.testing.assert_array_equal(found.values[..., 0], [[9, 23], [np.nan, 1], [np.nan, np.nan]])


@pytest.mark.parametrize("links", [{}, {"L1": "N"}, {"L1": "N", "L2": ""}, {"L1": "N", "L3": "S"}])
def test_links_of_unknown_direction_stay_together_and_are_noted(
    tmp_path: Path, links: dict[str, str]
) -> None:
    files = {"20240304/VDLive_0000.xml": document(BOTH), "20240304/VD.xml": vd_list(links)}
    found = load(write_archive(tmp_path / "a", files), features=["total_volume"])
    if len(links) == 2 and all(links.values()):  # the link that the list does not know
        assert found["vd"].values.tolist() == ["VD-1", "VD-1-N"]
        assert found.values.ravel().tolist() == [23, 9]
        return
    assert found["vd"].values.tolist() == ["VD-1"]
    assert found.values.ravel().tolist() == [32]
    assert found.attrs["ingest_notes"] == (
        "1 records join links whose direction (Bearing) no list of detectors gives, such as VD-1",
    )


def test_links_of_one_direction_are_one_detector(tmp_path: Path) -> None:
    files = {"20240304/VDLive_0000.xml": document(BOTH)}
    files["20240304/VD.xml"] = vd_list({"L1": "N", "L2": "N"})
    found = load(write_archive(tmp_path / "a", files), features=["total_volume"])
    assert found["vd"].values.tolist() == ["VD-1"]
    assert "ingest_notes" not in found.attrs


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_link_may_tell_its_own_direction(tmp_path: Path, form: str) -> None:
    told = BOTH.replace("<LinkID>L1</LinkID>", "<Bearing>N</Bearing>").replace(
        "</LinkID>", "</LinkID><Bearing>S</Bearing>"
    )
    content = document(told) if form == "xml" else as_json(document(told))
    path = write_archive(tmp_path / "a", {f"20240304/VDLive_0000.{form}": content})
    found = load(path, features=["total_volume"])
    assert found["vd"].values.tolist() == ["VD-1-N", "VD-1-S"]
    assert found.values.ravel().tolist() == [9, 23]


def test_a_name_of_a_direction_that_is_taken_is_not_given(tmp_path: Path) -> None:
    lists = vd_list(TWO_LINKS).replace(b"</VDs>", b"<VD><VDID>VD-1-N</VDID></VD></VDs>")
    files = {"20240304/VD.xml": lists}
    files["20240304/VDLive_0000.xml"] = document(BOTH, record(lane(50, 5, 1), vdid="VD-1-N"))
    found = load(write_archive(tmp_path / "a", files), features=["total_volume"])
    assert found["vd"].values.tolist() == ["VD-1", "VD-1-N"]
    assert found.values.ravel().tolist() == [32, 1]


# JSON lines


def line_of(minute: int, vdid: str = "A", **more: Any) -> bytes:
    stamp = f"2024-03-04T00:{minute:02d}:00+08:00"
    flows = [{"LinkID": "1", "Lanes": [{"Speed": 50 + minute, "Occupancy": 5}]}]
    return json.dumps({"VDID": vdid, "DataCollectTime": stamp, "LinkFlows": flows} | more).encode()


LINES = b"\n".join(line_of(minute) for minute in range(59)) + b"\n" + line_of(59)


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar"])
@pytest.mark.parametrize(
    "file",
    ["VDLive_20240304.json", "VDLive_20240304.jsonl", "VDLive_2024-03-04.ndjson.gz",
     "20240304/VDLive_0000.json.gz"],
)  # fmt: skip
def test_json_lines(tmp_path: Path, name: str, file: str) -> None:
    """A file of a day, whose name is no minute."""
    content = gzip.compress(LINES) if file.endswith(".gz") else LINES
    found = load(write_archive(tmp_path / name, {file: content}), features=["avg_speed"])
    assert found.values.ravel().tolist() == list(range(50, 110))
    assert str(found["time"].values[-1])[:16] == "2024-03-04T00:59"


@pytest.mark.parametrize("name", ["VDLive_20240304.jsonl", "VDLive_0000.xml.gz"])
def test_a_single_file_is_a_source(tmp_path: Path, name: str) -> None:
    content = LINES if name.endswith("l") else gzip.compress(WHOLE)
    write_archive(tmp_path / "a", {name: content, "VDLive_0005.json": b"broken"})
    found = load(tmp_path / "a" / name)
    assert found.attrs == {"source_file": name, "utc_offset": "+08:00"}


def test_lines_without_a_record_are_left_out_and_named(tmp_path: Path) -> None:
    lines = [line_of(0), b"", line_of(1)[:50], b'{"a": 1}', line_of(2, DataCollectTime=None)]
    lines.append(line_of(3, DataCollectTime="", UpdateTime="2024-03-04T00:03:20+08:00"))
    path = write_archive(tmp_path / "a", {"VDLive_20240304.jsonl": b"\n".join(lines)})
    found = load(path, features=["avg_speed"])
    assert found.values.ravel().tolist() == [50, 53]
    untimed, wrong = found.attrs["ingest_notes"]
    assert untimed == "1 records without a usable time left out"
    name = "VDLive_20240304.jsonl, line 3: not JSON ("
    assert wrong.startswith(f"2 lines of JSON without a record left out, such as {name}")


def test_the_lines_before_damage_are_kept(tmp_path: Path) -> None:
    content = gzip.compress(b"\n".join(line_of(0, f"VD-{number}") for number in range(5000)))
    path = write_archive(tmp_path / "a", {"VDLive_20240304.jsonl.gz": content[:-500]})
    found = load(path)
    assert 100 < found.sizes["vd"] < 5000
    assert found.attrs["ingest_notes"][1].startswith("VDLive_20240304.jsonl.gz: damaged or cut off")


def test_lines_are_read_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_RECORDS_AT_ONCE", 7)
    path = write_archive(tmp_path / "a", {"VDLive_20240304.jsonl": LINES})
    assert load(path).sizes["time"] == 60


@pytest.mark.parametrize(
    ("module", "limit", "value", "message"),
    [
        (archive, "MOST_MEMBER_BYTES", 10, "a line is larger than 0 MiB"),
        (archive, "MOST_LINES_BYTES", 1000, "larger than 0 MiB"),
        (parts, "MOST_RECORDS", 59, "has more than 59 records in"),
        (parts, "ALWAYS_RECORDS", 1, "has more than "),
        (documents, "MOST_IDLE_LINES", -9, "stopped at line 1"),
        (source, "ALWAYS_UNPACKED_BYTES", 100, "more than 2 times what is stored is refused"),
    ],
)
def test_lines_are_bounded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    limit: str,
    value: int,
    message: str,
) -> None:
    monkeypatch.setattr(module, limit, value)
    if module is source:
        monkeypatch.setattr(source, "MOST_RATIO", 2)
    if limit == "ALWAYS_RECORDS":
        monkeypatch.setattr(parts, "RECORD_BYTES", 100)
    content = gzip.compress(LINES)
    path = write_archive(tmp_path / "a", {"VDLive_20240304.jsonl.gz": content})
    reading = parts.Reading(480, 30, CODES)
    part = parts._read_files(path, archive.list_members(path).members, reading)
    assert message in part.broken[0][1]


def test_a_parts_files_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [100, 100, 100 * 2**20, 100 * 2**20, 300 * 2**20, 5]
    members = [archive.Member(f"{number}.jsonl", size, 0) for number, size in enumerate(sizes)]
    batches = [[one.size for one in batch] for batch in dataset._batches(members)]
    assert batches == [sizes[:3], sizes[3:4], sizes[4:5], sizes[5:]]


# What is broken


def test_long_names_of_roads_are_refused_before_all_are_as_long(
    tmp_path: Path, vd: xr.DataArray
) -> None:
    files = archive_files(vd.isel(time=[0]))
    name = str(vd["road_name"].item(0)).encode()
    files["20240304/VD.xml"] = files["20240304/VD.xml"].replace(name, b"x" * 100_000)
    message = refusal(load, write_archive(tmp_path / "a", files), memory_mb=1)
    assert message.startswith("a road_name has 100,000 characters, times 3 names: 1.20 MB of")


def test_broken_files_are_skipped_counted_and_named(tmp_path: Path, vd: xr.DataArray) -> None:
    files = archive_files(vd)
    names = [name for name in files if "VDLive" in name]
    files[names[3]] = files[names[3]][:100]
    files[names[7]] = gzip.compress(b"<VDLiveList><VDLives>")
    files["20240304/VD.xml"] = b"<VDList>"
    files["20240304/readme.txt"] = b""
    notes = load(write_archive(tmp_path / "a", files)).attrs["ingest_notes"]
    assert notes[0] == "3 broken files skipped"
    assert notes[1].startswith("20240304/VD.xml: not well-formed XML (")
    assert notes[2] == f"{names[3]}: truncated gzip file"
    assert notes[3].startswith(f"{names[7]}: not well-formed XML (")
    assert notes[4].startswith("1 files are neither")


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE VDLiveList [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY b%d "%s">' % (n, b"&a;" * 10) for n in range(10))
    + b"]><VDLiveList>&b9;</VDLiveList>"
)
OUTSIDE = b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><VDLiveList/>'


@pytest.mark.parametrize(
    "content",
    [LAUGHS, OUTSIDE, OUTSIDE.decode().encode("utf-16"), b"<!-- x -->" * 2000 + OUTSIDE],
)
def test_a_document_type_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="declares a document type"):
        read_live_xml(content)


def test_an_ebcdic_document_type_is_refused() -> None:
    content = '<?xml version="1.0" encoding="cp037"?>' + OUTSIDE.decode()
    with pytest.raises(ValueError, match=r"declares a document type|not well-formed"):
        read_live_xml(content.encode("cp037"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not well-formed"),
        (b"<a/>", "its root is 'a', must be 'VDLiveList'"),
        (b'<?xml version="1.0" encoding="no"?><VDLiveList/>', "not well-formed"),
        (b"<VDLiveList>" + b"<a>" * 100_000, "not well-formed"),
    ],
)
def test_xml_that_is_no_list(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_live_xml(content)


def test_too_many_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_PARTS", 10)
    with pytest.raises(ValueError, match="more than 10 tags"):
        read_live_xml(b"<VDLiveList>" + b"<a/>" * 10 + b"</VDLiveList>")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "not JSON"),
        (b"3", "holds a int"),
        (b"{}", "has no list LiveTrafficData"),
        (b'{"LiveTrafficData": 1}', "has no list"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_json_that_is_no_list(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_live_json(content)


@pytest.mark.parametrize("name", ["a", "a.zip", "a.tar"])
def test_what_unpacks_beyond_measure_is_skipped(
    tmp_path: Path, vd: xr.DataArray, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBER_BYTES", 2**20)
    files = archive_files(vd.isel(time=[0]))
    files["20240304/VDLive_0001.xml.gz"] = gzip.compress(bytes(2**24))
    files["20240304/VDLive_0002.xml"] = bytes(2**21)
    notes = load(write_archive(tmp_path / name, files)).attrs["ingest_notes"]
    assert notes == (
        "2 broken files skipped",
        "20240304/VDLive_0001.xml.gz: larger than 1 MiB once unpacked",
        "20240304/VDLive_0002.xml: larger than 1 MiB",
    )


def test_nothing_leaves_an_archive(tmp_path: Path, vd: xr.DataArray) -> None:
    """Names that climb, absolute ones and links: nothing is written, no link is followed."""
    secret = tmp_path / "secret" / "VDLive_0000.xml"
    secret.parent.mkdir()
    secret.write_bytes(live_xml(vd, 0))
    files = {"../../20240304/VDLive_0005.xml": live_xml(vd, 1), "/20240304/VDLive_0010.xml": b"x"}
    inside = tmp_path / "inside"
    inside.mkdir()
    write_archive(inside / "a.zip", files)
    with tarfile.open(inside / "a.tar", "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("20240304/VDLive_0000.xml")
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
    folder = inside / "folder" / "20240304"
    folder.mkdir(parents=True)
    (folder / "VDLive_0000.xml").symlink_to(secret)
    (inside / "folder" / "linked").symlink_to(secret.parent)
    (folder / "VDLive_0005.xml").write_bytes(live_xml(vd, 1))
    before = {path for path in tmp_path.rglob("*") if "parts" not in path.parts}
    for name in ("a.zip", "a.tar", "folder"):
        found = load(inside / name, features=LANE_FEATURES)
        np.testing.assert_array_equal(found.values, vd.sortby("vd").values[1:2])
    after = {path for path in tmp_path.rglob("*") if "parts" not in path.parts}
    assert after == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "neither a folder, a zip nor an uncompressed tar"),
        (b"", "neither a folder|has no VDLive"),
        (gzip.compress(bytes(10240), mtime=0), "unpack a .tar.gz with gunzip first"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    assert re.search(message, refusal(load, tmp_path / "a.bin"))


def tar_of(files: dict[str, bytes], **options: Any) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", **options) as tar:
        for name, each in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            tar.addfile(info, io.BytesIO(each))
    return content.getvalue()


def with_size(content: bytes, name: str, size: int) -> bytes:
    """A tar in which a member declares another size."""
    at = content.index(name.encode())
    header = bytearray(content[at : at + 512])
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:at] + bytes(header) + content[at + 512 :]


@pytest.mark.parametrize("size", [-512, -513, -(2**40), -1])
def test_a_member_of_negative_size_is_skipped(tmp_path: Path, vd: xr.DataArray, size: int) -> None:
    files = archive_files(vd.isel(time=[0, 1, 2]), "xml")
    name = [name for name in files if "VDLive" in name][1]
    path = tmp_path / "a.tar"
    path.write_bytes(with_size(tar_of(files), name, size))
    found = load(path)
    assert found.sizes["time"] == 2
    assert f"{name}: has a size of {size:,} bytes in the tar" in found.attrs["ingest_notes"]
    pax = {"size": str(size)}
    path.write_bytes(tar_of({name: b""}, format=tarfile.PAX_FORMAT, pax_headers=pax))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.pax_headers = pax
        tar.addfile(info)
    assert f"{name}: has a size of {size:,} bytes" in refusal(load, path)


def test_damage_in_a_tar_is_named_and_what_follows_is_read(
    tmp_path: Path, vd: xr.DataArray
) -> None:
    files = archive_files(vd.isel(time=[0, 1, 2]), "xml")
    name = [name for name in files if "VDLive" in name][1]
    content = tar_of(files)
    at = content.index(name.encode())
    path = tmp_path / "a.tar"
    path.write_bytes(content[:at] + b"x" * 512 + content[at + 512 :])
    found = load(path)
    assert found.sizes["time"] == 2
    assert found.attrs["ingest_notes"][1] == f"byte {at:,} of the tar: damaged header"


def test_tars_that_were_joined_are_read_whole(tmp_path: Path, vd: xr.DataArray) -> None:
    path = tmp_path / "a.tar"
    one, other = (tar_of(archive_files(vd.isel(time=[step]), "xml")) for step in (0, 1))
    path.write_bytes(one + other)
    assert load(path).sizes["time"] == 2


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_a_tar(tmp_path: Path, vd: xr.DataArray, form: int) -> None:
    folder = "國道" * (10 if form == tarfile.USTAR_FORMAT else 60)
    files = {f"{folder}/{name}": each for name, each in archive_files(vd, "xml").items()}
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(files, format=form))
    members = archive.list_members(path).members
    assert [member.name for member in members] == sorted(files)
    assert_same(load(path, features=LANE_FEATURES), vd)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_headers_without_end_are_bounded(tmp_path: Path, kind: bytes) -> None:
    one = tarfile.TarInfo("x")
    one.type = kind
    path = tmp_path / "a.tar"
    path.write_bytes(one.tobuf() * 20_000)
    assert "has no VDLive_HHMM.xml" in refusal(load, path)
    one.size = 2**33
    path.write_bytes(one.tobuf() + bytes(2**20))
    assert "x: has a size of 8,589,934,592 bytes in the tar" in refusal(load, path)


@pytest.mark.parametrize("codec", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bad_members_are_skipped_whatever_the_codec(
    tmp_path: Path, vd: xr.DataArray, codec: int
) -> None:
    files = archive_files(vd.isel(time=[0, 1, 2]), "xml")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", codec) as target:
        for name, content in files.items():
            target.writestr(name, content)
        info = target.infolist()[0]
    whole = path.read_bytes()
    assert load(path).sizes["time"] == 3
    start = info.header_offset + 30 + len(info.filename)
    for noise in (b"\xff" * 100, bytes(100), b"\x09\x04\x05\x00\xe1" + b"\xff" * 95):
        path.write_bytes(whole[:start] + noise + whole[start + 100 :])
        found = load(path, parts=str(tmp_path / noise.hex()[:8]))
        assert found.sizes["time"] == 2
        assert found.attrs["ingest_notes"][0] == "1 broken file skipped"
        assert found.attrs["ingest_notes"][1].startswith(f"{info.filename}: damaged in the archive")


def test_a_dictionary_larger_than_any_file_is_refused(tmp_path: Path) -> None:
    name, path = "VDLive_20240304.jsonl", tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as target:
        target.writestr(name, b"{}\n")
    content = bytearray(path.read_bytes())
    at = content.index(name.encode()) + len(name) + 5
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert "LZMA with a dictionary of 4,095 MiB; more than 64 MiB is" in refusal(load, path)


@pytest.mark.parametrize("codec", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_larger_than_it_declares_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: int
) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBER_BYTES", 2**20)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", codec) as target:
        target.writestr("20240304/VDLive_0000.xml", bytes(2**27))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    assert "nothing usable" in refusal(load, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**8


def test_files_that_the_directory_of_a_zip_no_longer_lists_are_counted(
    tmp_path: Path, vd: xr.DataArray
) -> None:
    path = write_archive(tmp_path / "a.zip", archive_files(vd.isel(time=[0, 1, 2])))
    content = bytearray(path.read_bytes())
    entries, end = [at.start() for at in re.finditer(b"PK\1\2", content)], content.rfind(b"PK\5\6")
    comment = end - entries[1]  # swallows all entries but the first
    content[entries[0] + 32 : entries[0] + 34] = comment.to_bytes(2, "little")
    path.write_bytes(content)
    notes = load(path).attrs["ingest_notes"]
    why = f"counts {len(entries)} files, 1 are listed; the others were not read"
    assert f"directory of the zip: {why}" in notes


def test_names_that_a_zip_has_twice_are_noted(tmp_path: Path, vd: xr.DataArray) -> None:
    files = archive_files(vd.isel(time=[0]), "xml")
    path = write_archive(tmp_path / "a.zip", files)
    name = next(name for name in files if "VDLive" in name)
    with zipfile.ZipFile(path, "a") as target, pytest.warns(UserWarning, match="Duplicate name"):
        target.writestr(name, files[name])
    note = f"{name}: there more than once; the last one is read"
    assert note in load(path).attrs["ingest_notes"]


def test_links_and_pipes_in_a_folder_are_named(tmp_path: Path, vd: xr.DataArray) -> None:
    path = write_archive(tmp_path / "a", archive_files(vd.isel(time=[0])))
    os.mkfifo(path / "20240304" / "VDLive_0001.xml")
    (path / "20240305").symlink_to(tmp_path)
    notes = load(path).attrs["ingest_notes"]
    assert notes == (
        "2 broken files skipped",
        "20240305: a link, a device or the like; not followed",
        "20240304/VDLive_0001.xml: a link, a device or the like; not followed",
    )


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path, vd: xr.DataArray) -> None:
    inner = write_archive(tmp_path / "inner.zip", {"x": b""}).read_bytes()
    files = {**archive_files(vd.isel(time=[0]), "xml"), "z.zip": inner}
    found = load(write_archive(tmp_path / "a.tar", files))
    assert found.attrs["ingest_notes"][0].startswith("1 files are neither live records")


def test_nothing_usable(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a", {"x.txt": b""})
    assert "has no VDLive_HHMM.xml or VDLiveList.json among its 1 files" in refusal(load, path)
    write_archive(path, {"20240304/VDLive_0000.xml": b"<"})
    assert "nothing usable in its 1 VDLive files; 20240304/VDLive_0000.xml: not" in refusal(
        load, path
    )
    assert "features: no 'speed'" in refusal(load, path, features=["speed"])
    assert "utc_offset is '8'" in refusal(load, path, utc_offset="8")


def test_an_encrypted_member_is_skipped(tmp_path: Path, vd: xr.DataArray) -> None:
    files = archive_files(vd.isel(time=[0, 1]), "xml")
    path = write_archive(tmp_path / "a.zip", files)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as whole:
        name = next(name for name in whole.namelist() if "VDLive" in name)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark)
        while name.encode() not in content[at : at + 100]:
            at = content.index(mark, at + 1)
        content[at + offset] |= 1
    path.write_bytes(bytes(content))
    notes = load(path).attrs["ingest_notes"]
    assert notes[0] == "1 broken file skipped"
    assert "encrypted" in notes[1]


# Plain XML


def same(one: Records, other: Records) -> None:
    """Records that say the same, whether or not their cells are decoded."""
    assert [one.vdids, one.stamps, one.healthy] == [other.vdids, other.stamps, other.healthy]
    assert one.update_time == other.update_time
    np.testing.assert_array_equal(features_of(one, CODES), features_of(other, CODES))


def test_plain_xml_is_read_as_the_tree_is(vd: xr.DataArray) -> None:
    for step in range(5):
        content = live_xml(vd, step)
        for whole in (content, b"\xef\xbb\xbf" + content, content.replace(b"><", b">\r\n  <")):
            plain = read_plain(whole)
            assert plain is not None
            same(plain, documents.read_tree(whole))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<Speed>90", b"<Speed unit='x'>90"),
        (b"<Speed>90</Speed>", b"<Speed/>"),
        (b"<Speed>90", b"<Speed><!-- <Speed>1</Speed> -->90"),
        (b"<Speed>90", b"<Speed><![CDATA[90]]>"),
        (b"<Speed>90", b"<Speed>&#57;0"),
        (b"<Speed>90", b"<?pi <Speed>?><Speed>90"),
        (b"</Speed>", b"</Speed >"),
        (b" xmlns=", b" xmlns:same='" + NAMESPACE.encode() + b"' xmlns="),
        (b"<VDID>VD-1", b"<VDID>a>b"),
        (b"<Speed>90</Speed>", b"<x:Speed xmlns:x='y'>90</x:Speed>"),
        (b"<VDLiveList", b"<?xml version='1.0' encoding='iso-8859-1'?><VDLiveList"),
        (b"<VDLiveList", b"<?xml version='1.0' encoding = 'iso-8859-1'?><VDLiveList"),
    ],
)
def test_what_is_not_plain_goes_by_the_tree(old: bytes, new: bytes) -> None:
    content = WHOLE.replace(old, new)
    assert content != WHOLE
    assert read_plain(content) is None
    same(read_live_xml(content), documents.read_tree(content))


TAGS = ["VDLive", "VDID", "Lane", "Speed", "Occupancy", "Vehicles", "Vehicle", "Volume", "Other",
        "LinkFlows", "Lanes", "Status", "Speedy"]  # fmt: skip
TREE = st.recursive(
    st.builds(
        "<{0}>{1}</{0}>".format, st.sampled_from(TAGS), st.sampled_from(["", "5", "60", "x"])
    ),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>",
        st.sampled_from(["Lane", "Vehicles", "Lanes", "LinkFlows", "Vehicle", "Other"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


def test_vehicles_outside_a_lane_count_nowhere() -> None:
    stray = "<Vehicles><Vehicle><Volume>7</Volume></Vehicle></Vehicles>"
    content = document(
        record(lane(50, 5, 1)), record(vdid="B").replace("<Lanes>", stray + "<Lanes>")
    )
    assert read_plain(content) is not None
    same(read_live_xml(content), documents.read_tree(content))
    assert features_of(read_live_xml(content), CODES)[0, 1] == 1


@given(lanes=st.lists(st.lists(TREE, max_size=4), max_size=3))
@settings(max_examples=60, deadline=None)
def test_odd_trees_never_crash(lanes: list[Any]) -> None:
    records = [record(*("<Lane>" + "".join(cells) + "</Lane>" for cells in lanes))]
    found = read_live_xml(document(*records))
    assert features_of(found, CODES).shape == (len(found.vdids), 5)


# Fuzz

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    if data.draw(st.booleans()):
        return whole[: data.draw(st.integers(0, len(whole)))]
    at = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(min_size=1, max_size=8))
    return whole[:at] + noise + whole[at + len(noise) :]


@given(data=st.data())
@FUZZ
def test_damaged_files_are_told_or_harmless(data: st.DataObject, vd: xr.DataArray) -> None:
    for read, whole in (
        (read_live_xml, WHOLE),
        (read_live_json, live_json(vd, 0)),
        (documents.read_stations_xml, stations_xml(vd)),
    ):
        try:
            found = read(damaged(data, whole))
        except ValueError:
            continue
        if not isinstance(found, list):
            assert features_of(found, CODES).shape == (len(found.vdids), 5)


TEXT = st.one_of(
    st.sampled_from(["", "0", "-0", "1e999", "-99", "80", "9" * 400, " 7 ", "None", "0x1"]),
    st.floats().map(str),
    st.text(st.characters(min_codepoint=32, blacklist_categories=["Cs"]), max_size=6).map(
        lambda text: text.replace("&", "").replace("<", "").replace("]]>", "")
    ),
)


@given(cells=st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=4), status=TEXT, vdid=TEXT, stamp=TEXT)
@FUZZ
def test_no_cell_makes_a_silent_zero(
    tmp_path: Path, cells: list[tuple[str, ...]], status: str, vdid: str, stamp: str
) -> None:
    lanes = [lane(*cell) for cell in cells]
    content = document(record(*lanes, vdid=vdid, status=status, stamp=stamp))
    path = write_archive(tmp_path / "a", {"20240304/VDLive_0000.xml": content})
    found = loaded_or_told(lambda: load(path))
    if found is None:
        return
    assert np.isfinite(found.values[~np.isnan(found.values)]).all()
    if not any(is_zero(cell) for row in cells for cell in row):
        assert not (found.isel(feature=[0, 1, 2]) == 0).any()


def is_zero(text: str) -> bool:
    try:
        return abs(float(text)) < 1e-37
    except ValueError:
        return False


@given(data=st.data())
@FUZZ
def test_damaged_archives_are_told_or_harmless(
    tmp_path: Path, data: st.DataObject, vd: xr.DataArray
) -> None:
    name = data.draw(st.sampled_from(["b.zip", "b.tar"]))
    path = write_archive(tmp_path / name, archive_files(vd.isel(time=[0, 1]), "xml"))
    path.write_bytes(damaged(data, path.read_bytes()))
    found = loaded_or_told(lambda: load(path))
    assert found is None or found.sizes["time"] <= 2


def test_a_tar_that_was_cut_off_between_two_files_is_noted(
    tmp_path: Path, vd: xr.DataArray
) -> None:
    files = archive_files(vd.isel(time=[0, 1]), "xml")
    content, path = tar_of(files), tmp_path / "a.tar"
    path.write_bytes(content)
    assert "ingest_notes" not in load(path).attrs
    last = [name for name in files if "VDLive" in name][-1]
    path.write_bytes(content[: content.index(last.encode())])
    notes = load(path).attrs["ingest_notes"]
    assert notes[1] == "end of the tar: missing; what was behind it was cut off"


def test_lanes_of_an_unknown_element_are_not_those_of_the_record_before_it() -> None:
    other = record(lane(20, 90, 40), vdid="VD-2").replace("VDLive>", "VDLiveOld>")
    whole = document(record(lane(80, 10, 5)), other)
    plain = documents.read_plain(whole)
    assert plain is not None
    same(plain, documents.read_tree(whole))
    assert plain.speeds == [b"80"]
