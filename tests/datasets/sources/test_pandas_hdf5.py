"""METR-LA's format: what is read of it, and what is refused."""

import os
import pickle
import re
from collections.abc import Callable
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
    csv.write_text("a,b\n1,2\n")
    assert "has no column 'sensor_id'" in refusal(load, path, locations=str(csv))
    assert "no such file" in refusal(load, path, locations=str(tmp_path / "absent.csv"))


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
