"""PEMS03 to PEMS08: what is read of them, and what is refused."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.make.exports import assert_same, loaded_or_told, sample, write_pems_npz
from tests.make.refused import refusal
from vd_forecasting.datasets import PemsNpzDataset

ORDER = ["total_volume", "avg_occupancy", "avg_speed"]


def load(path: Path, **options: Any) -> xr.DataArray:
    return PemsNpzDataset(**{"filepath": str(path), "start": "2024-03-04", **options}).load()


@pytest.fixture
def vd() -> xr.DataArray:
    return sample().sel(feature=ORDER)


@pytest.fixture
def path(tmp_path: Path, vd: xr.DataArray) -> Path:
    return write_pems_npz(tmp_path / "PEMS04.npz", vd)


def test_what_was_exported_comes_back(path: Path, vd: xr.DataArray, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(vd["vd"].values))
    found = load(path, vdids=str(names))
    # a share in float64 and back to % in float32: equal but for the last bit
    np.testing.assert_allclose(found[..., 1], vd[..., 1], rtol=2e-7)
    assert_same(found.isel(feature=[0, 2]), vd.isel(feature=[0, 2]))


def test_blocks_are_put_together(
    path: Path, vd: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vd_forecasting.datasets.sources.pems_npz._BLOCK_BYTES", 700)
    np.testing.assert_array_equal(load(path)[..., 0], vd[..., 0])


def test_names_units_and_clock(path: Path) -> None:
    found = load(path, start="2018-01-01", units={"avg_speed": "mph"})
    assert found["vd"].values.tolist() == ["0", "1", "2", "3"]
    assert found["unit"].values.tolist() == ["veh/interval", "%", "mph"]
    assert str(found["time"].values[1]) == "2018-01-01T00:05:00.000000000"


@pytest.mark.parametrize(
    ("name", "start"),
    [("PEMS08.npz", "2016-07-01"), ("pems03_old.npz", "2018-09-01"), ("his.npz", "2018-01-01")],
)
def test_a_start_that_was_not_given_is_noted(path: Path, name: str, start: str) -> None:
    found = load(path.rename(path.with_name(name)), start=None)
    assert str(found["time"].values[0])[:10] == start
    assert f"no start was given: {start}, that of" in found.attrs["ingest_notes"][0]
    assert "ingest_notes" not in load(path.with_name(name)).attrs


def test_negative_volumes_are_noted(tmp_path: Path) -> None:
    values = np.ones((10, 3, 2))
    values[:4, 0, 0] = -1.25
    values[4, 0, 0] = -np.inf
    np.savez(tmp_path / "his.npz", data=values)
    (note,) = load(tmp_path / "his.npz").attrs["ingest_notes"]
    assert note.startswith(
        "4 of 30 values of total_volume are negative, such as -1.25: z-scores instead"
    )


def test_much_of_little_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vd_forecasting.datasets.sources.source.ALWAYS_UNPACKED_BYTES", 1000)
    np.savez_compressed(path, data=np.zeros((10_000, 3, 1)))
    assert "more than 200 times what is stored is refused" in refusal(load, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("data.npy", b"x")
    assert "compressed in another way than NumPy does" in refusal(load, path)


@pytest.mark.parametrize("shape", [(20, 3), (20, 3, 1)])
def test_flow_alone(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", data=np.arange(60, dtype=np.int32).reshape(shape))
    found = load(tmp_path / "a.npz")
    assert found.shape == (20, 3, 1)
    assert found["feature"].values.tolist() == ["total_volume"]
    assert found.values[1, 0, 0] == 3


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4)), "has 4 features, but the entry names 3"),
        (np.zeros(4), "must be time × VD × feature"),
        (np.zeros((0, 3, 1)), "must be time × VD × feature"),
        (np.zeros((2, 3, 1), "S4"), "must be numeric"),
        (np.zeros((2, 3, 1), complex), "must be numeric"),
        (np.full((2, 3, 1), None), "type object, must be numeric"),
        (np.asfortranarray(np.zeros((2, 3, 2))), "column by column"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "a.npz", data=array)
    assert message in refusal(load, tmp_path / "a.npz")


def with_header(path: Path, shape: str, body: bytes = b"") -> Path:
    file = io.BytesIO()
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
    padded = header.ljust(117).encode() + b"\n"
    file.write(b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", file.getvalue())
    return path


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(10, 3, 1)", "declares more values than"),
        ("(1000000, 1000000, 3)", "GiB as float32"),
        ("(-1, 3, 1)", "must be time × VD × feature"),
        ("'x'", "damaged"),
        ("__import__('os')", "damaged"),
        ("(" * 5000, "damaged"),
    ],
)
def test_headers_are_not_believed(tmp_path: Path, shape: str, message: str) -> None:
    assert re.search(message, refusal(load, with_header(tmp_path / "a.npz", shape)))


def test_the_entry_is_checked(path: Path, tmp_path: Path) -> None:
    assert "positive duration" in refusal(load, path, interval="-5min")
    assert "without an offset" in refusal(load, path, start="2018-01-01T00:00+08:00")
    (tmp_path / "names.txt").write_text("a b")
    assert "has 2 names, but the array 4 VDs" in refusal(
        load, path, vdids=str(tmp_path / "names.txt")
    )
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("x.npy", b"")
    assert "has no array 'data'; it holds 'x.npy'" in refusal(load, tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("no zip")
    assert "not a whole .npz file" in refusal(load, tmp_path / "text.npz")


@given(data=st.data())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_told_or_harmless(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    broken = path.with_name("broken.npz")
    if data.draw(st.booleans()):
        content = whole[: data.draw(st.integers(0, len(whole)))]
    else:
        at = data.draw(st.sampled_from([0, len(whole) - 200])) + data.draw(st.integers(0, 190))
        noise = data.draw(st.binary(min_size=1, max_size=16))
        content = whole[:at] + noise + whole[at + len(noise) :]
    broken.write_bytes(content)
    found = loaded_or_told(lambda: load(broken))
    assert found is None or found.shape == (300, 4, 3)


def test_a_header_of_python_2_is_read_without_a_warning(path: Path, vd: xr.DataArray) -> None:
    with zipfile.ZipFile(path) as archive:
        content = archive.read("data.npy")
    steps = str(vd.sizes["time"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        old = content.replace(b"(" + steps + b", ", b"(" + steps + b"L,", 1)
        archive.writestr("data.npy", old)
    np.testing.assert_array_equal(load(path)[..., 0], vd[..., 0])
