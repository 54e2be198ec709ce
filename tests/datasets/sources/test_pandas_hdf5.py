"""METR-LA's format: what is read of it, and what is refused."""

import os
import pickle
import re
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kedro.io import DatasetError

from tests.make.exports import assert_same, loaded_or_told, sample, write_pandas_hdf5
from tests.make.refused import refusal
from vd_forecasting.datasets import PandasHDF5Dataset, VDHDF5Dataset


def load(path: Path, **options: Any) -> xr.DataArray:
    return PandasHDF5Dataset(filepath=str(path), feature="avg_speed", **options).load()


@pytest.fixture
def speeds() -> xr.DataArray:
    return sample().isel(feature=[0])


@pytest.fixture
def path(tmp_path: Path, speeds: xr.DataArray) -> Path:
    return write_pandas_hdf5(tmp_path / "speeds.h5", speeds)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_what_was_exported_comes_back(tmp_path: Path, speeds: xr.DataArray, unit: str) -> None:
    path = write_pandas_hdf5(tmp_path / "speeds.h5", speeds, key="speed", unit=unit)
    found = load(path)
    assert_same(found, speeds)
    assert found.attrs == {"source_file": "speeds.h5"}


def test_the_unit_of_the_entry(path: Path) -> None:
    assert load(path, unit="mph")["unit"].values.tolist() == ["mph"]


def test_the_real_file_equals_its_vd_file(real_data: Path) -> None:
    found = load(real_data / "metr-la-week.h5", unit="mph")
    expected = VDHDF5Dataset(filepath=str(real_data / "metr_la_week_vd.h5")).load().load()
    np.testing.assert_array_equal(found["time"].values, expected["time"].values)
    assert found["vd"].values.tolist() == expected["vd"].values.tolist()
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)


def test_blocks_of_several_types_find_their_columns(path: Path, speeds: xr.DataArray) -> None:
    with h5py.File(path, "a") as file:
        frame, values = file["df"], speeds.values[..., 0].astype(np.float64)
        items = frame["axis0"][:]
        for name in ("block0_values", "block0_items"):
            del frame[name]
        frame["block0_values"], frame["block0_items"] = values[:, [3, 0]], items[[3, 0]]
        whole = np.arange(2 * len(values)).reshape(-1, 2)
        frame["block1_values"], frame["block1_items"] = whole, items[[1, 2]]
    found = load(path).values[..., 0]
    np.testing.assert_array_equal(found[:, [0, 3]], speeds.values[:, [0, 3], 0])
    np.testing.assert_array_equal(found[:, [1, 2]], whole)


def test_columns_may_be_numbers(path: Path) -> None:
    with h5py.File(path, "a") as file:
        for name in ("axis0", "block0_items"):
            del file["df"][name]
            file["df"][name] = np.array([773869, 767541, 767542, 1])
    assert load(path)["vd"].values.tolist() == ["773869", "767541", "767542", "1"]


def test_pickled_attributes_stay_closed(path: Path, tmp_path: Path) -> None:
    trap = tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(trap),)

    with h5py.File(path, "a") as file:
        code = pickle.dumps(Trap(), protocol=0)
        file["df"].attrs["info"] = np.bytes_(code)
        file["df/axis1"].attrs["name"] = np.bytes_(code)
        file["df/axis1"].attrs["kind"] = np.bytes_(b"Vdatetime64\np0\n.")  # as Python 2 wrote it
    load(path)
    assert not trap.exists()


def test_locations(path: Path, tmp_path: Path, speeds: xr.DataArray) -> None:
    vdid = speeds["vd"].values[1]
    csv = tmp_path / "where.csv"
    csv.write_text(f"index,sensor_id,latitude,longitude\n0,{vdid},34.1,-118.3\n1,no such,1,far\n")
    found = load(path, locations=str(csv))
    np.testing.assert_array_equal(found["position_lat"], [np.nan, 34.1, np.nan, np.nan])
    np.testing.assert_array_equal(found["position_lon"], [np.nan, -118.3, np.nan, np.nan])
    lost = f"3 detectors without a place in {csv}: {speeds['vd'].item(0)!r} and 2 more"
    assert found.attrs["ingest_notes"] == (lost,)
    csv.write_text("".join(f"{vdid},34.1,-118.3\n" for vdid in speeds["vd"].values))  # PEMS-BAY's
    found = load(path, locations=str(csv))
    assert found["position_lat"].values.tolist() == [34.1] * 4
    assert found["position_lon"].values.tolist() == [-118.3] * 4
    assert "ingest_notes" not in found.attrs
    csv.write_text("a,b\n1,2\n")
    assert "has no column 'sensor_id'" in refusal(load, path, locations=str(csv))
    assert "no such file" in refusal(load, path, locations=str(tmp_path / "absent.csv"))


@pytest.mark.parametrize(
    ("zone", "first", "offset"),
    [
        (b"America/Los_Angeles", "2017-03-11T16:00", "-08:00"),
        (b"UTC", "2017-03-12T00:00", "+00:00"),
        (pickle.dumps(timezone(timedelta(hours=8)), 0), "2017-03-12T08:00", "+08:00"),
        (pickle.dumps(timezone.utc, 0), "2017-03-12T00:00", "+00:00"),
        (b"cpytz\n_FixedOffset\np0\n(I-480\ntp1\nRp2\n.", "2017-03-11T16:00", "-08:00"),
        (b"cpytz\n_UTC\np0\n(tRp1\n.", "2017-03-12T00:00", "+00:00"),
    ],
)
def test_a_zone_in_the_file_is_used(
    tmp_path: Path, speeds: xr.DataArray, zone: bytes, first: str, offset: str
) -> None:
    """Daylight-saving time, from 10 o'clock UTC on, makes no gap."""
    times = np.datetime64("2017-03-12") + np.arange(300) * np.timedelta64(5, "m")
    path = write_pandas_hdf5(tmp_path / "a.h5", speeds.assign_coords(time=times.astype("M8[ns]")))
    with h5py.File(path, "a") as file:
        file["df/axis1"].attrs["tz"] = np.bytes_(zone)
    found = load(path)
    assert found.attrs == {"source_file": "a.h5", "utc_offset": offset}
    assert str(found["time"].values[0])[:16] == first
    assert (np.diff(found["time"].values) == np.timedelta64(5, "m")).all()


@pytest.mark.parametrize("zone", [b"Mars/Olympus", b"../../etc/passwd", b"cos\nsystem\n(S'x'\ntR."])
def test_an_unknown_zone_is_noted_and_stays_closed(path: Path, zone: bytes) -> None:
    with h5py.File(path, "a") as file:
        file["df/axis1"].attrs["tz"] = np.bytes_(zone)
    found = load(path)
    assert found.attrs["utc_offset"] == "+00:00"
    assert re.search(
        "time zone .* is unknown; its times are in UTC", found.attrs["ingest_notes"][0]
    )


def test_no_zone_is_none(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["df/axis1"].attrs["tz"] = np.bytes_(b"N.")
    assert "utc_offset" not in load(path).attrs


def replace(name: str, values: object) -> Callable[[h5py.Group], object]:
    def change(frame: h5py.Group) -> None:
        del frame[name]
        if values is not None:
            frame[name] = values

    return change


def never_written(frame: h5py.Group) -> None:
    del frame["block0_values"]
    frame.create_dataset("block0_values", shape=(300, 4), dtype="f8", chunks=(100, 4))
    frame["block0_values"][:100] = 60.0


def huge(frame: h5py.Group) -> None:
    del frame["axis1"]
    index = frame.create_dataset("axis1", shape=(10**12,), dtype="i8", chunks=(1024,))
    index.attrs["kind"] = b"datetime64"


def packed(frame: h5py.Group) -> None:
    replace("block0_values", None)(frame)
    shape = {"shape": (300, 4), "chunks": (300, 4)}
    values = frame.create_dataset("block0_values", dtype="f8", compression="gzip", **shape)
    values[:] = 0


def odd_filter(code: int) -> Callable[[h5py.Group], None]:
    def change(frame: h5py.Group) -> None:
        replace("block0_values", None)(frame)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((300, 4))
        properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((300, 4))
        values = h5py.h5d.create(
            frame.id, b"block0_values", h5py.h5t.NATIVE_DOUBLE, space, properties
        )
        values.write_direct_chunk((0, 0), bytes(300 * 4 * 8))

    return change


def many_columns(frame: h5py.Group) -> None:
    replace("axis0", None)(frame)
    frame.create_dataset("axis0", shape=(10**6,), dtype="S1", chunks=(10**6,), compression="gzip")
    frame["axis0"][:] = b"a"


def link(frame: h5py.Group) -> None:
    del frame["block0_values"]
    frame["block0_values"] = h5py.ExternalLink("other.h5", "/df/block0_values")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("axis1", None), "it has no df/axis1"),
        (replace("axis1", np.arange(300)), "df/axis1, the index, does not hold date and time"),
        (replace("axis0", np.array([b"a", b"b"])), "the column .* is unknown or there twice"),
        (replace("axis0", np.array([b"a"] * 4)), "is unknown or there twice"),
        (replace("block0_values", np.zeros((4, 300))), "has the shape \\(4, 300\\)"),
        (replace("block0_values", np.zeros((300, 4), "S3")), "must be numeric"),
        (replace("block0_values", None), "no values for the column"),
        (replace("block0_items", np.zeros(4)), "labels of type float64"),
        (never_written, "some of its values were never written"),
        (huge, "is incomplete"),
        (link, "a link to another file"),
        (
            odd_filter(32001),
            r"filter blosc \(32001\), which .* pip install hdf5plugin; or write",
        ),
        (odd_filter(40000), r"the HDF5 filter number 40000, which is not installed"),
        (many_columns, "declares 1,000,000 labels of 1 bytes, more than any file needs"),
        (replace("axis0", np.array([b"a" * 300] * 4)), "declares 4 labels of 300 bytes"),
        (lambda frame: frame.create_group("table"), 'format="fixed"'),
        (lambda frame: frame.attrs.pop("pandas_type"), "no pandas DataFrame in it"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with h5py.File(path, "a") as file:
        change(file["df"])
    assert re.search(message, refusal(load, path))


def test_much_of_little_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(path, "a") as file:
        packed(file["df"])
    assert load(path).shape == (300, 4, 1)
    monkeypatch.setattr("vd_forecasting.datasets.sources.source.ALWAYS_UNPACKED_BYTES", 1000)
    assert "more than 200 times what is stored is refused" in refusal(load, path)


def test_a_list_of_strings_without_an_end(path: Path) -> None:
    """HDF5 itself would never return."""
    with h5py.File(path, "a") as file:
        file.create_dataset("a", data=["b", "c"], dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL") + 16
    content[place : place + 16] = bytes(16)
    path.write_bytes(content)
    assert "a list of strings has no end" in refusal(load, path)


def test_a_small_file_of_a_large_frame_names_the_key(path: Path) -> None:
    with h5py.File(path, "a") as file:
        replace("axis0", np.array([b"%d" % n for n in range(1000)]))(file["df"])
        del file["df/axis1"]
        index = file.create_dataset("df/axis1", data=np.arange(100_000), compression="gzip")
        index.attrs["kind"] = b"datetime64"
    message = refusal(load, path, memory_mb=1)
    assert message.startswith("100,000 × 1,000 values: 400 MB of memory, more than")
    assert "set memory_mb in its catalog entry" in message


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(load, tmp_path / "pipe") == "neither a file nor a folder"


def test_no_such_file_or_key(tmp_path: Path, path: Path) -> None:
    assert "--params source_file=" in refusal(load, tmp_path / "absent.h5")
    assert refusal(load, path, key="speed").startswith("no DataFrame 'speed' in it")


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_told_or_harmless(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    broken = path.with_name("broken.h5")
    if data.draw(st.booleans()):
        content = whole[: data.draw(st.integers(0, len(whole)))]
    else:
        at = data.draw(st.integers(0, 6000))
        noise = data.draw(st.binary(min_size=1, max_size=16))
        content = whole[:at] + noise + whole[at + len(noise) :]
    broken.write_bytes(content)
    found = loaded_or_told(lambda: load(broken))
    assert found is None or found.shape == (300, 4, 1)


def test_a_source_is_never_written(path: Path, speeds: xr.DataArray) -> None:
    with pytest.raises(DatasetError, match="a source is read, never written"):
        PandasHDF5Dataset(filepath=str(path), feature="avg_speed").save(speeds)
