"""VD HDF5 files: what is read, how little of it, and what is refused."""

import copy
import os
import pickle
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, DatasetError

from tests.make.arrays import make_clean
from tests.make.held_frames import frames_held
from tests.make.vd_files import NAMES, STAMPS, VALUES, VDIDS, write
from vd_forecasting.datasets import VDHDF5Dataset


def load(path: Path, **options: Any) -> xr.DataArray:
    return VDHDF5Dataset(filepath=str(path), **options).load()


def refusal(path: Path, **options: Any) -> str:
    """What the error says after the path."""
    with pytest.raises(DatasetError) as error:
        load(path, **options)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.h5"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes read from the features while the test runs."""
    shapes: list[tuple[int, ...]] = []
    original = h5py.Dataset.__getitem__

    def spy(self: h5py.Dataset, args: Any, new_dtype: Any = None) -> Any:
        found = original(self, args, new_dtype)
        if self.name == "/data/features":
            shapes.append(np.shape(found))
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    return shapes


# What is loaded


def test_the_array_is_labelled(path: Path) -> None:
    data = load(write(path))
    assert data.name == "features"
    assert data.dims == ("time", "vd", "feature")
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data.values, VALUES)
    expected = [stamp or "NaT" for stamp in STAMPS]
    np.testing.assert_array_equal(data["time"].values, np.array(expected, dtype="M8[ns]"))
    assert data["time"].dtype == np.dtype("M8[ns]")
    assert data["vd"].values.tolist() == VDIDS
    assert data["feature"].values.tolist() == NAMES
    assert data["unit"].values.tolist() == ["", ""]
    assert set(data.coords) == {"time", "vd", "feature", "unit"}
    assert data.attrs == {"source_file": "a.h5"}
    assert data.sel(vd="None", feature="avg_speed", time="2015-01-01T00:05").item() == 8


@pytest.mark.parametrize("kind", ["variable", "fixed utf-8", "fixed ascii"])
def test_strings_may_be_of_fixed_or_variable_length(path: Path, kind: str) -> None:
    vdids = ["VD-1", "", "國道"] if kind != "fixed ascii" else ["VD-1", "", "x"]
    dtypes = {
        "variable": h5py.string_dtype(),
        "fixed utf-8": h5py.string_dtype("utf-8", 30),
        "fixed ascii": h5py.string_dtype("ascii", 30),
    }
    with h5py.File(write(path, metadata__vdids=None, metadata__timestamps=None), "a") as file:
        for name, texts in (
            ("vdids", vdids),
            ("timestamps", [f"{s}Z" if s else s for s in STAMPS]),
        ):
            encoded = np.array([text.encode() for text in texts], dtype=dtypes[kind])
            file.create_dataset(f"metadata/{name}", data=encoded)
    data = load(path)
    assert data["vd"].values.tolist() == vdids
    assert data["time"].values[1] == np.datetime64("2015-01-01T00:05")
    assert data.attrs["utc_offset"] == "+00:00"


def test_timestamps_with_offsets_are_local_time(path: Path) -> None:
    stamps = ["bad", "2015-01-01T00:05:00+08:00", "2014-12-31T16:10:00Z", "None"]
    data = load(write(path, metadata__timestamps=stamps))
    assert data.attrs["utc_offset"] == "+08:00"
    np.testing.assert_array_equal(
        data["time"].values,
        np.array(["NaT", "2015-01-01T00:05", "2015-01-01T00:10", "NaT"], dtype="M8[ns]"),
    )


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4", "i2", "u1", "i8"])
def test_any_numeric_type_becomes_float32(path: Path, dtype: str) -> None:
    values = np.arange(24).reshape(4, 3, 2).astype(dtype)
    data = load(write(path, data__features=values))
    assert data.dtype == np.float32
    assert data.values.dtype == np.float32
    np.testing.assert_array_equal(data.values, values.astype(np.float32))
    np.testing.assert_array_equal(data[1:3, [2, 0]].values, values[1:3, [2, 0]])


def test_vd_info_becomes_coordinates(path: Path) -> None:
    with h5py.File(write(path), "a") as file:
        info = file.create_group("metadata/vd_info")
        info.create_group(VDIDS[0]).attrs.update(
            position_lon=121.5, position_lat=25.0, road_id="N5", road_name="國道5號", lane_num=3
        )
        info.create_group("None").attrs.update(lane_num=b"2", road_id=5)
    data = load(path)
    np.testing.assert_array_equal(data["position_lon"], [121.5, np.nan, np.nan])
    np.testing.assert_array_equal(data["position_lat"], [25.0, np.nan, np.nan])
    np.testing.assert_array_equal(data["lane_num"], [3, 2, np.nan])
    assert data["road_id"].values.tolist() == ["N5", "5", ""]
    assert data["road_name"].values.tolist() == ["國道5號", "", ""]
    assert all(data[name].dims == ("vd",) for name in ("position_lon", "road_id", "lane_num"))
    assert data["lane_num"].sel(vd="None") == 2


@pytest.mark.parametrize(
    "odd",
    [
        "many",
        "",
        h5py.Empty("f4"),
        np.array([1.0, 2.0]),
        np.array([[3.0]]),
        np.inf,
        1j,
        b"\xff",
        np.void(b"abc"),
        np.array([b"1", b"2"], dtype="S1"),
        np.array([], dtype="f4"),
    ],
    ids=repr,
)
def test_odd_vd_info_and_units_are_unknown_and_no_error(path: Path, odd: Any) -> None:
    with h5py.File(write(path), "a") as file:
        group = file.create_group(f"metadata/vd_info/{VDIDS[0]}")
        for name in ("position_lon", "position_lat", "road_id", "road_name", "lane_num"):
            group.attrs[name] = odd
        file["metadata/feature_names"].attrs["units"] = odd
        file.attrs["odd"] = odd
    data = load(path).load()
    lane_num = data["lane_num"].values[0]
    assert lane_num == 3 if np.shape(odd) == (1, 1) else np.isnan(lane_num)
    data["road_name"].values[0].encode()  # can be written to a report
    if not (isinstance(odd, np.ndarray) and odd.dtype == "S1"):  # two strings for two features
        assert data["unit"].values.tolist() == (
            ["1.0", "2.0"] if np.shape(odd) == (2,) else ["", ""]
        )
    assert isinstance(data.attrs.get("odd", ""), str | int | float)
    VDHDF5Dataset(filepath=str(path)).save(data)
    xr.testing.assert_identical(load(path), data)


def test_vd_info_of_another_kind_is_ignored(path: Path) -> None:
    assert "road_id" not in load(write(path, metadata__vd_info=[1, 2])).coords
    with h5py.File(write(path), "a") as file:
        file["metadata/vd_info"] = h5py.SoftLink("/data")
    assert "road_id" not in load(path).coords
    with h5py.File(write(path), "a") as file:
        file.create_group("metadata/vd_info").create_dataset(VDIDS[0], data=1)
        file[f"metadata/vd_info/{VDIDS[1]}"] = h5py.ExternalLink("b.h5", "/")
    assert load(path)["road_id"].values.tolist() == ["", "", ""]


@pytest.mark.parametrize("vdid", ["a/b", "/", "/metadata", ".", "..", "", " ", "國道/5", "x" * 300])
def test_any_vdid_is_kept(path: Path, vdid: str) -> None:
    data = load(write(path, metadata__vdids=["VD-1", vdid, "None"]))
    data = data.assign_coords(lane_num=("vd", [1.0, 2.0, 3.0]))
    VDHDF5Dataset(filepath=str(path)).save(data)
    again = load(path)
    assert again["vd"].values.tolist() == ["VD-1", vdid, "None"]
    unknown = "/" in vdid or vdid in ("", ".")  # cannot name an HDF5 group
    np.testing.assert_array_equal(again["lane_num"], [1, np.nan if unknown else 2, 3])


def test_root_attributes_that_are_one_value_are_kept(path: Path) -> None:
    with h5py.File(write(path), "a") as file:
        file.attrs["description"] = "two detectors"
        file.attrs["fixed"] = np.bytes_("bytes")
        file.attrs["num_timesteps"] = np.int64(4)
        file.attrs["share"] = np.float32(0.5)
        file.attrs["list"] = [1, 2]
        file.attrs["source_file"] = "first.h5"
    attrs = load(path).attrs
    assert attrs == {
        "description": "two detectors",
        "fixed": "bytes",
        "num_timesteps": 4,
        "share": 0.5,
        "source_file": "first.h5",
    }
    assert {type(value) for value in attrs.values()} == {str, int, float}


# Features asked for


def test_only_the_features_asked_for_are_loaded_in_that_order(path: Path) -> None:
    with h5py.File(write(path), "a") as file:
        file["metadata/feature_names"].attrs["units"] = ["km/h", "veh"]
    data = load(path, features=["total_volume", "avg_speed"])
    np.testing.assert_array_equal(data.values, VALUES[..., ::-1])
    assert data["unit"].values.tolist() == ["veh", "km/h"]
    np.testing.assert_array_equal(load(path, features=["total_volume"]).values, VALUES[..., 1:])


def test_an_unknown_feature_is_refused_with_what_there_is(path: Path) -> None:
    write(path)
    assert refusal(path, features=["avg_sped"]) == (
        "no feature 'avg_sped' (did you mean 'avg_speed'?); it has 'avg_speed', 'total_volume'"
    )
    assert refusal(path, features=["xyz"]).startswith("no feature 'xyz'; it has 'avg_speed'")
    assert "asked twice for 'avg_speed'" in refusal(path, features=["avg_speed", "avg_speed"])


@pytest.mark.parametrize("features", ["avg_speed", [], {"avg_speed": 1}])
def test_features_must_be_a_list(path: Path, features: Any) -> None:
    with pytest.raises(DatasetError, match="must be a list"):
        VDHDF5Dataset(filepath=str(path), features=features)


# How little is read


def test_nothing_is_read_before_it_is_asked_for(path: Path, reads: list[tuple[int, ...]]) -> None:
    data = load(write(path), features=["avg_speed"])
    part = data.transpose("vd", "time", "feature").isel(vd=[2, 1])
    repr(part)
    copy.deepcopy(part)
    pickle.dumps(part)
    assert reads == []
    np.testing.assert_array_equal(part.values, VALUES[:, [2, 1], :1].transpose(1, 0, 2))
    assert reads != []


@pytest.fixture(scope="module")
def wide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of 2,000 VDs, chunked by day and ten VDs."""
    path = tmp_path_factory.mktemp("wide") / "wide.h5"
    times = np.datetime64("2015-01-01") + np.arange(14 * 288) * np.timedelta64(5, "m")
    with h5py.File(path, "w") as file:
        features = file.create_dataset("data/features", (4032, 2000, 3), "f4", chunks=(288, 10, 3))
        features[576:864, 500:510] = 7
        file["metadata/vdids"] = [f"VD-{index}" for index in range(2000)]
        file["metadata/feature_names"] = ["avg_speed", "total_volume", "avg_occupancy"]
        file["metadata/timestamps"] = np.datetime_as_string(times, unit="s").astype("S")
    return path


@pytest.mark.parametrize(
    ("select", "most_chunks"),
    [
        (lambda data: data.isel(vd=[3, 1, 7]), 14),
        (lambda data: data.isel(vd=[1999, 3, 1000, 3]), 3 * 14),
        (lambda data: data.isel(vd=slice(0, 10)), 14),
        (lambda data: data.sel(time="2015-01-03", vd="VD-505"), 1),
        (lambda data: data.sel(time=slice("2015-01-03", "2015-01-04")), 2 * 200),
        (lambda data: data.isel(vd=[3, 1, 7], time=slice(100, 200)), 1),
        (lambda data: data.isel(vd=[13, 5], time=slice(4000, 10, -400)), 2 * 14),
        (lambda data: data.isel(vd=505, time=[4031, 0], feature=1), 2),
        (lambda data: data.sel(vd=["VD-500", "VD-1500"]).transpose()[:, :, ::288], 2 * 14),
    ],
)
def test_only_the_chunks_needed_are_read(
    wide_file: Path,
    reads: list[tuple[int, ...]],
    select: Callable[[xr.DataArray], xr.DataArray],
    most_chunks: int,
) -> None:
    data = load(wide_file)
    part = select(data)
    part.load()
    assert reads
    assert sum(np.prod(shape) for shape in reads) <= most_chunks * 288 * 10 * 3
    if "505" in str(part["vd"].values) and part.ndim == 2 and part.sizes.get("time") == 288:
        assert (part == 7).all()


def test_rows_picked_out_of_order(wide_file: Path) -> None:
    part = load(wide_file).isel(vd=[511, 505, 505], time=[900, 600, 600, 575, 576], feature=0)
    np.testing.assert_array_equal(part.values, np.outer([0, 1, 1, 0, 1], [0, 7, 7]))


def test_loading_needs_little_more_memory_than_the_labels(tmp_path: Path) -> None:
    steps = 525_600
    minutes = np.datetime64("2015-01-01T00:00") + np.arange(steps)
    stamps = np.datetime_as_string(minutes, unit="s").astype("S")
    path = write(
        tmp_path / "year.h5",
        data__features=None,
        metadata__timestamps=np.char.add(stamps, b"+08:00"),
    )
    with h5py.File(path, "a") as file:
        file.create_dataset("data/features", (steps, 3, 2), "f4", chunks=(4096, 3, 2))
    tracemalloc.start()
    start = time.process_time()
    data = load(path)
    seconds = time.process_time() - start
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 20  # 0.4 s untraced on an idle machine
    assert kept < 3 * data["time"].nbytes
    assert peak < 20 * steps * 25  # T strings as Python objects, in passing


def test_a_huge_file_loads_without_being_read(path: Path) -> None:
    with h5py.File(write(path, data__features=None), "a") as file:
        del file["metadata/vdids"]
        file["metadata/vdids"] = [f"VD-{index}" for index in range(100_000)]
        file.create_dataset("data/features", (4, 100_000, 2), "f8", chunks=(4, 100, 2))
    assert load(path).isel(vd=-1).values.tolist() == np.zeros((4, 2)).tolist()


# Copies and processes


def test_it_pickles_and_copies_without_its_values(path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 300, 2)).astype(np.float32)
    stamps = np.datetime_as_string(np.datetime64("2015-01-01T00:00:00") + np.arange(1000))
    data = load(
        write(
            path,
            data__features=values,
            metadata__vdids=[str(index) for index in range(300)],
            metadata__timestamps=stamps.tolist(),
        )
    )
    dumped = pickle.dumps(data.isel(vd=[7, 3]))
    assert len(dumped) < values.nbytes / 50
    for other in (pickle.loads(dumped), copy.deepcopy(data).isel(vd=[7, 3])):
        np.testing.assert_array_equal(other.values, values[:, [7, 3]])
    dataset = pickle.loads(pickle.dumps(VDHDF5Dataset(filepath=str(path))))
    np.testing.assert_array_equal(dataset.load().values, values)
    assert not getattr(dataset, "_SINGLE_PROCESS", False)


def test_no_file_stays_open(path: Path) -> None:
    data = load(write(path))
    data.mean().load()
    with h5py.File(path, "a") as file:  # refused by HDF5 while another handle reads
        assert file["data/features"].shape == VALUES.shape


def test_assigning_to_the_array_leaves_the_file_alone(path: Path) -> None:
    data = load(write(path))
    data[0] = 100
    assert (data.values[0] == 100).all()
    np.testing.assert_array_equal(load(path).values, VALUES)


def test_a_file_that_changed_since_is_not_mixed_with_the_old_labels(path: Path) -> None:
    data = load(write(path))
    write(path, data__features=VALUES[:, ::-1], metadata__vdids=VDIDS[::-1])
    os.utime(path, ns=(0, 0))
    with pytest.raises(DatasetError, match="changed since it was loaded") as error:
        data.isel(vd=0).load()
    assert str(error.value).startswith(f"{path}: ")
    path.unlink()
    with pytest.raises(DatasetError, match="no such file"):
        data.load()


# What is refused


def test_a_file_that_is_none(path: Path, tmp_path: Path) -> None:
    assert refusal(path) == "no such file"
    assert refusal(tmp_path) == "is not a regular file"
    path.write_text("time,vd\n1,2\n")
    assert refusal(path) == "not an HDF5 file"
    path.write_bytes(b"")
    assert "HDF5" in refusal(path) or "file" in refusal(path)


def test_a_truncated_or_damaged_file(path: Path) -> None:
    whole = write(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path).startswith("truncated HDF5 file")
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for position in rng.integers(8, len(whole), size=20):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path).load()
        except DatasetError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  (it may also load)
            assert "\n" not in str(error)  # noqa: PT017


def test_a_damaged_chunk_is_named_when_it_is_read(path: Path) -> None:
    with h5py.File(write(path, data__features=None), "a") as file:
        features = file.create_dataset("data/features", data=VALUES, compression="gzip")
        chunk = features.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    data = load(path)
    with pytest.raises(DatasetError, match="damaged HDF5 file") as error:
        data.load()
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "name", ["data/features", "metadata/vdids", "metadata/feature_names", "metadata/timestamps"]
)
def test_a_missing_data_set_is_named(path: Path, name: str) -> None:
    write(path, **{name.replace("/", "__"): None})
    assert f"it has no /{name}" in refusal(path)
    with h5py.File(path, "a") as file:
        file.create_group(name)
    assert refusal(path) == f"/{name} is a group, must be a data set"


def test_groups_must_be_groups(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = VALUES
    assert refusal(path) == "/data is a data set, must be a group"
    with h5py.File(path, "w") as file:
        file["df"] = VALUES
    assert refusal(path) == "not a VD file, it has no /data/features; its top level holds 'df'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__features": VALUES[0]}, "/data/features has 2 axes, must have 3: time, VD and fe"),
        ({"data__features": 1.0}, "/data/features has 0 axes, must have 3"),
        ({"data__features": VALUES.astype("S4")}, "/data/features has type |S4, must be numeric"),
        ({"data__features": VALUES + 1j}, "/data/features has type complex64, must be numeric"),
        ({"data__features": VALUES > 3}, "/data/features has type bool, must be numeric"),
        (
            {"data__features": VALUES[:3]},
            "/data/features has 3 time steps (axis 0), but /metadata/timestamps has 4",
        ),
        (
            {"metadata__vdids": ["a", "b"]},
            "/data/features has 3 VDs (axis 1), but /metadata/vdids has 2",
        ),
        (
            {"metadata__feature_names": ["a", "b", "c"]},
            "/data/features has 2 features (axis 2), but /metadata/feature_names has 3",
        ),
        ({"metadata__timestamps": [1, 2, 3, 4]}, "/metadata/timestamps has type int64, must be st"),
        ({"metadata__vdids": [VDIDS]}, "/metadata/vdids has 2 axes, must have 1"),
        ({"metadata__vdids": "VD-1"}, "/metadata/vdids has 0 axes, must have 1"),
        ({"metadata__vdids": ["a", "b", "a"]}, "duplicate VDIDs in /metadata/vdids: 'a'"),
        ({"metadata__vdids": ["None", "None", ""]}, "duplicate VDIDs in /metadata/vdids: 'None'"),
        ({"metadata__feature_names": ["x", "x"]}, "duplicate features in /metadata/feature_name"),
        (
            {"metadata__timestamps": ["", " ", "None", "1 pm"]},
            "no usable time stamp among the 4 of /metadata/timestamps: all are blank or not "
            "ISO 8601, such as 'None'",
        ),
    ],
)
def test_what_breaks_the_contract_is_named_in_one_line(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    assert refusal(write(path, **changes)).startswith(message)


@pytest.mark.parametrize(
    ("axis", "name"),
    list(enumerate(["metadata__timestamps", "metadata__vdids", "metadata__feature_names"])),
)
def test_an_empty_file_is_refused(path: Path, axis: int, name: str) -> None:
    shape = [4, 3, 2]
    shape[axis] = 0
    empty = {name: np.array([], dtype="S5"), "data__features": np.zeros(shape)}
    assert refusal(write(path, **empty)).startswith("the file is empty: /data/features has 0 ")


def test_many_duplicates_are_counted(path: Path) -> None:
    vdids = [str(index % 15) for index in range(30)]
    write(path, data__features=np.zeros((4, 30, 2)), metadata__vdids=vdids)
    assert refusal(path).endswith("'8', '9' and 5 more")


@pytest.mark.parametrize("name", ["data/features", "metadata/vdids", "metadata/timestamps", "data"])
def test_links_are_not_followed(path: Path, name: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.h5")
    for link, kind in (
        (h5py.ExternalLink(str(tmp_path / "secret.h5"), f"/{name}"), "a link to another file"),
        (h5py.ExternalLink("missing.h5", f"/{name}"), "a link to another file"),
        (h5py.SoftLink("/elsewhere"), "a soft link"),
    ):
        with h5py.File(write(path), "a") as file:
            file.move(name, "elsewhere")
            file[name] = link
        assert refusal(path) == f"/{name} is {kind}; the file must hold its own values"


def test_values_stored_in_other_files_are_not_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(VALUES.tobytes())
    with h5py.File(write(path, data__features=None), "a") as file:
        external = [(str(tmp_path / "secret"), 0, VALUES.nbytes)]
        file.create_dataset("data/features", VALUES.shape, "f4", external=external)
    assert refusal(path).startswith("/data/features is stored in another file")
    write(tmp_path / "secret.h5")
    layout = h5py.VirtualLayout(shape=VALUES.shape, dtype="f4")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "data/features", VALUES.shape)
    with h5py.File(write(path, data__features=None), "a") as file:
        file.create_virtual_dataset("data/features", layout)
    assert refusal(path).startswith("/data/features is a virtual data set")


def test_features_of_objects_are_refused(path: Path) -> None:
    with h5py.File(write(path, data__features=None), "a") as file:
        file.create_dataset("data/features", (4, 3, 2), h5py.vlen_dtype(np.float32))
    assert refusal(path) == "/data/features has type object, must be numeric"
    with h5py.File(write(path, metadata__vdids=None), "a") as file:
        file.create_dataset("metadata/vdids", (3,), h5py.ref_dtype)
    assert refusal(path) == "/metadata/vdids has type object, must be strings"


@pytest.mark.parametrize("strings", ["S25", "S1000000000", h5py.string_dtype()])
@pytest.mark.parametrize("steps", [3, 10**7, 10**12])
def test_huge_declared_shapes_are_refused_without_allocating(
    path: Path, steps: int, strings: Any
) -> None:
    with h5py.File(write(path, data__features=None, metadata__timestamps=None), "a") as file:
        chunks = (1,) if strings == "S1000000000" else (min(steps, 1000),)
        file.create_dataset("data/features", (steps, 3, 2), "f4", chunks=(2, 3, 2))
        file.create_dataset("metadata/timestamps", (steps,), strings, chunks=chunks)
    tracemalloc.start()
    message = refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message.startswith(f"/metadata/timestamps declares {steps} strings")
    assert peak < 2**20


# Saving


@st.composite
def arrays(draw: st.DrawFn) -> xr.DataArray:
    readable = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])
    text = st.text(readable, max_size=12)
    vdids = draw(st.lists(text | st.just("None"), min_size=1, max_size=12, unique=True))
    names = draw(st.lists(text, min_size=1, max_size=3, unique=True))
    stamps = draw(st.lists(st.none() | st.integers(0, 4 * 10**9), min_size=1, max_size=20))
    blank = np.datetime64("NaT", "s")
    times = np.array([blank if s is None else s for s in stamps], dtype="M8[s]")
    if np.isnat(times).all():
        times[0] = 0
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    values = rng.normal(size=(len(stamps), len(vdids), len(names))).astype(np.float32)
    values[rng.random(values.shape) < 0.3] = np.nan
    coords = {
        "time": times.astype("M8[ns]"),
        "vd": np.array(vdids, dtype=str),
        "feature": np.array(names, dtype=str),
        "unit": ("feature", np.array(draw(_lists_of(text, len(names))), dtype=str)),
    }
    attrs: dict[str, Any] = draw(
        st.dictionaries(st.sampled_from(["description", "dataset_name"]), text)
    )
    attrs |= {"source_file": "a.h5", "count": 3, "share": 0.25}
    if draw(st.booleans()):
        attrs["utc_offset"] = draw(st.sampled_from(["+08:00", "-03:30", "+00:00"]))
    if draw(st.booleans()):
        named = np.array([_can_be_group(vdid) for vdid in vdids])
        for name in ("position_lon", "position_lat", "lane_num"):
            numbers = draw(_lists_of(st.floats(-180, 180) | st.just(np.nan), len(vdids)))
            coords[name] = ("vd", np.where(named, numbers, np.nan))
        for name in ("road_id", "road_name"):
            texts = np.array(draw(_lists_of(text, len(vdids))), dtype=str)
            coords[name] = ("vd", np.where(named, texts, "").astype(str))
    return xr.DataArray(values, coords, ("time", "vd", "feature"), "features", attrs)


def _lists_of(elements: st.SearchStrategy, size: int) -> st.SearchStrategy:
    return st.lists(elements, min_size=size, max_size=size)


def _can_be_group(vdid: str) -> bool:
    return "/" not in vdid and vdid not in ("", ".")


@settings(deadline=None)
@given(arrays())
def test_what_is_saved_is_what_is_loaded(data: xr.DataArray) -> None:
    with TemporaryDirectory() as folder:
        dataset = VDHDF5Dataset(filepath=f"{folder}/sub/a.h5")
        dataset.save(data)
        xr.testing.assert_identical(dataset.load(), data)


def test_the_layout_is_that_of_the_contract(path: Path) -> None:
    data = load(write(path)).assign_coords(unit=("feature", ["km/h", "veh"]))
    data.attrs |= {"utc_offset": "+08:00", "num_timesteps": 9, "none": None, "list": [1]}
    VDHDF5Dataset(filepath=str(path)).save(data)
    with h5py.File(path) as file:
        features = file["data/features"]
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features[:], VALUES)
        assert (features.chunks, features.compression, features.compression_opts) == (
            (4, 3, 2),
            "gzip",
            4,
        )
        assert features.shuffle
        assert file["metadata/vdids"].asstr()[:].tolist() == VDIDS
        assert file["metadata/feature_names"].asstr()[:].tolist() == NAMES
        stamps = [f"{stamp}+08:00" if stamp else "" for stamp in STAMPS]
        assert file["metadata/timestamps"].asstr()[:].tolist() == stamps
        units = file["metadata/feature_names"].attrs["units"]
        assert [unit.decode() for unit in units] == ["km/h", "veh"]
        assert dict(file.attrs) == {
            "source_file": "a.h5",
            "utc_offset": "+08:00",
            "num_timesteps": 4,
        }


def test_the_same_array_makes_the_same_bytes(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.h5")).assign_coords(
        road_name=("vd", ["國道", "", "x"]), lane_num=("vd", [1, 2, np.nan])
    )
    VDHDF5Dataset(filepath=str(tmp_path / "b.h5")).save(data)
    time.sleep(1.1)  # HDF5 keeps times in seconds
    VDHDF5Dataset(filepath=str(tmp_path / "c.h5")).save(data)
    assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "c.h5").read_bytes()
    with frames_held() as held:
        VDHDF5Dataset(filepath=str(tmp_path / "d.h5")).save(data)
    assert held
    assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "d.h5").read_bytes(), "whoever looks on"


def test_a_lazily_loaded_array_can_be_saved_over_its_own_file(path: Path) -> None:
    data = load(write(path))
    VDHDF5Dataset(filepath=str(path)).save(data.isel(vd=[2, 0]).transpose("feature", ...))
    again = load(path)
    np.testing.assert_array_equal(again.values, VALUES[:, [2, 0]])
    assert again.dims == ("time", "vd", "feature")
    assert [file.name for file in path.parent.iterdir()] == ["a.h5"]


def test_a_long_array_is_saved_in_parts(
    path: Path, reads: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vd_forecasting.datasets.vd_hdf5._WRITE_BYTES", 1)
    values = np.random.default_rng(0).normal(size=(2500, 3, 2)).astype(np.float32)
    stamps = np.datetime_as_string(np.datetime64("2015-01-01T00:00:00") + np.arange(2500))
    data = load(write(path, data__features=values, metadata__timestamps=stamps.tolist()))
    other = VDHDF5Dataset(filepath=str(path.parent / "b.h5"))
    other.save(data)
    assert max(shape[0] for shape in reads) == 1024
    np.testing.assert_array_equal(other.load().values, values)


def test_double_precision_and_integers_are_saved_as_float32(path: Path) -> None:
    data = load(write(path)).load()
    dataset = VDHDF5Dataset(filepath=str(path))
    dataset.save(data.astype(np.float64) * 1e300)
    assert np.isinf(dataset.load().values[3]).all()
    dataset.save(data.fillna(0).astype(int))
    np.testing.assert_array_equal(dataset.load().values, np.nan_to_num(VALUES))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.isel(vd=0), "only a DataArray with the dims time, vd, feature"),
        (lambda data: data.values, "only a DataArray with the dims time, vd, feature"),
        (lambda data: data.drop_vars("vd"), "no coordinate 'vd'"),
        (lambda data: data.isel(time=slice(0)), "is empty, its shape is"),
        (lambda data: data.isel(time=[2]), "no usable time stamp"),
        (lambda data: data.assign_coords(time=[1, 2, 3, 4]), "no usable time stamp"),
        (lambda data: data.isel(vd=[0, 0]), "duplicate vd in the array to save: 'VD-11-0020"),
        (lambda data: data.isel(feature=[1, 1]), "duplicate feature in the array to save: 'total"),
        (lambda data: data.astype(str), "must be numeric"),
        (lambda data: data.assign_coords(vd=["\ud800", "b", "c"]), "cannot be written"),
        (lambda data: data.assign_attrs(description="a\0b"), "cannot be written"),
    ],
)
def test_what_cannot_be_loaded_again_is_not_saved(
    path: Path, spoil: Callable[[xr.DataArray], Any], message: str
) -> None:
    data = load(write(path))
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=message) as error:
        VDHDF5Dataset(filepath=str(path)).save(spoil(data))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.h5"]


# Kedro


def test_it_comes_from_the_catalog(path: Path) -> None:
    catalog = DataCatalog.from_config(
        {
            "vd_raw": {
                "type": "vd_forecasting.datasets.VDHDF5Dataset",
                "filepath": str(path),
                "features": ["total_volume"],
                "metadata": {"kedro-viz": {"layer": "raw"}},
            }
        }
    )
    assert not catalog.exists("vd_raw")
    write(path)
    assert catalog.exists("vd_raw")
    assert catalog.load("vd_raw").sizes == {"time": 4, "vd": 3, "feature": 1}
    assert str(path) in str(catalog["vd_raw"])


# Real files


def test_a_year_of_minutes_from_taiwan(real_data: Path) -> None:
    start = time.perf_counter()
    data = load(real_data / "taiwan_n5_2015.h5")
    assert time.perf_counter() - start < 20  # 0.4 s on an idle machine
    assert data.sizes == {"time": 525_600, "vd": 2, "feature": 3}
    assert data["feature"].values.tolist() == ["avg_speed", "total_volume", "avg_occupancy"]
    assert data["vd"].values.tolist() == ["nfbVD-5N-9.013", "nfbVD-5S-9.063"]
    assert data.attrs["utc_offset"] == "+08:00"
    assert data.attrs["source_file"] == "taiwan_n5_2015.h5"
    index = data.indexes["time"]
    assert index.equals(pd.date_range("2015-01-01", periods=525_600, freq="min", unit="ns"))
    assert (data.sel(feature="avg_occupancy") > 100).sum() == 18
    assert data.isnull().mean() == pytest.approx(0.05, abs=0.01)


def test_five_weeks_from_taiwan_are_means_of_the_year(real_data: Path) -> None:
    year = load(real_data / "taiwan_n5_2015.h5")
    weeks = load(real_data / "taiwan_n5_5weeks_5min.h5")
    assert weeks.sizes == {"time": 10_080, "vd": 2, "feature": 3}
    assert weeks["time"].values[0] == np.datetime64("2015-03-02T00:00")
    noon = year.sel(time=slice("2015-03-10T12:00", "2015-03-10T12:04")).mean("time")
    noon.loc[{"feature": "total_volume"}] *= 5  # vehicles per interval
    np.testing.assert_allclose(weeks.sel(time="2015-03-10T12:00"), noon, rtol=1e-5)


def test_a_week_of_los_angeles(real_data: Path) -> None:
    data = load(real_data / "metr_la_week_vd.h5")
    assert data.sizes == {"time": 2016, "vd": 207, "feature": 1}
    assert "utc_offset" not in data.attrs
    with h5py.File(real_data / "metr-la-week.h5") as file:
        original = pd.DataFrame(
            file["df/block0_values"][:], columns=file["df/axis0"].asstr("ascii")[:]
        )
    assert data["vd"].values.tolist() == list(original.columns)
    np.testing.assert_allclose(
        data.isel(vd=[200, 3]).values[..., 0], original.to_numpy()[:, [200, 3]], rtol=1e-6
    )


def test_the_original_layout_is_refused(real_data: Path) -> None:
    message = refusal(real_data / "metr-la-week.h5")
    assert message == "not a VD file, it has no /data/features; its top level holds 'df'"


def test_an_attribute_with_a_nul_can_be_written_again(tmp_path: Path) -> None:
    dataset = VDHDF5Dataset(filepath=str(tmp_path / "a.h5"))
    dataset.save(make_clean(20, vds=1))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        text = h5py.string_dtype("utf-8", 3)
        file.attrs.create("description", np.array(b"a\0b", "S3"), dtype=text)
    again = VDHDF5Dataset(filepath=str(tmp_path / "b.h5"))
    again.save(dataset.load())
    assert again.load().attrs["description"] == "a\ufffdb"
