"""Writes a VD array in the formats that sources come in, so that ingesting it gives it back."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from kedro.io import DatasetError

from tests import PROJECT
from vd_forecasting.datasets import VDHDF5Dataset


def sample(steps: int = 300, vds: int = 4) -> xr.DataArray:
    """The first steps and VDs of the project's sample, in memory, error codes and all."""
    path = PROJECT / "data" / "01_raw" / "vd_sample.h5"
    return VDHDF5Dataset(filepath=str(path)).load().isel(time=slice(steps), vd=slice(vds)).load()


def assert_same(found: xr.DataArray, expected: xr.DataArray) -> None:
    """The same values, bit for bit, under the same labels."""
    np.testing.assert_array_equal(found["time"].values, expected["time"].values)
    assert found["vd"].values.tolist() == expected["vd"].values.tolist()
    assert found["feature"].values.tolist() == expected["feature"].values.tolist()
    assert found["unit"].values.tolist() == expected["unit"].values.tolist()
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(found.values, expected.values)


def loaded_or_told(load: Callable[[], xr.DataArray]) -> xr.DataArray | None:
    """What a damaged source still gives; None if it was refused, which takes one line."""
    message = ""
    try:
        return load()
    except DatasetError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return None


def write_pandas_hdf5(path: Path, vd: xr.DataArray, key: str = "df", unit: str = "ns") -> Path:
    """One feature as pandas' fixed format: what ``DataFrame.to_hdf`` writes, pickles included."""
    vdids = np.array([vdid.encode() for vdid in vd["vd"].values.tolist()])
    with h5py.File(path, "w") as file:
        frame = file.create_group(key)
        frame.attrs.update({"pandas_type": b"frame", "nblocks": 1, "ndim": 2})
        frame["axis0"] = vdids
        frame["block0_items"] = vdids
        times = vd["time"].values.astype(f"datetime64[{unit}]").astype(np.int64)
        index = frame.create_dataset("axis1", data=times)
        index.attrs["kind"] = np.bytes_(b"datetime64" if unit == "ns" else f"datetime64[{unit}]")
        index.attrs["name"] = np.bytes_(b"N.")
        frame["block0_values"] = vd.isel(feature=0).values.astype(np.float64)
    return path


def write_pems_npz(path: Path, vd: xr.DataArray) -> Path:
    """The published layout: flow, occupancy as a share, speed."""
    flow, occupancy, speed = (
        vd.sel(feature=name).values.astype(np.float64)
        for name in ("total_volume", "avg_occupancy", "avg_speed")
    )
    np.savez_compressed(path, data=np.stack([flow, occupancy / 100, speed], axis=-1))
    return path


def write_wide_csv(path: Path, vd: xr.DataArray) -> Path:
    """One feature, time × detector."""
    _frame(vd.isel(feature=0)).to_csv(path, index_label="time")
    return path


LONG_COLUMNS = {"avg_speed": "speed", "avg_occupancy": "laneoccupy", "total_volume": "volume"}


def long_frame(vd: xr.DataArray) -> pd.DataFrame:
    """The columns timestamp, vdid and those of LONG_COLUMNS; a row per step and detector."""
    steps, vds = vd.sizes["time"], vd.sizes["vd"]
    stamps = np.datetime_as_string(vd["time"].values, unit="s")
    columns = {column: vd.sel(feature=name).values.ravel() for name, column in LONG_COLUMNS.items()}
    return pd.DataFrame(
        {"timestamp": np.repeat(stamps, vds), "vdid": np.tile(vd["vd"].values, steps), **columns}
    )


def write_long_csv(path: Path, vd: xr.DataArray) -> Path:
    """A row per time step and detector."""
    long_frame(vd).to_csv(path, index=False)
    return path


def _frame(one_feature: xr.DataArray) -> pd.DataFrame:
    stamps = np.datetime_as_string(one_feature["time"].values, unit="s")
    return pd.DataFrame(one_feature.values, index=stamps, columns=one_feature["vd"].values)


# --- VDLive archives ------------------------------------------------------------------------------

NAMESPACE = "http://traffic.transportdata.tw/standard/traffic/schema/"
LANE_FEATURES = ["avg_speed", "total_volume", "avg_occupancy"]
"""What one lane can hold of a VD."""


def for_lanes(vd: xr.DataArray) -> xr.DataArray:
    """The sample as far as an archive can hold it: an error in any cell loses the whole lane."""
    vd = vd.sel(feature=LANE_FEATURES)
    values = vd.values.copy()
    codes = np.array([-99, -1, 255, 999], "float32")
    wrong = np.isin(values, codes) & ~((values == 255) & (np.arange(3) == 1))
    values[(wrong | (values < 0)).any(axis=-1)] = np.nan
    kept = vd.copy(data=values).sortby("time", ascending=True)
    _, first = np.unique(kept["time"].values, return_index=True)
    return kept.isel(time=first).assign_attrs(utc_offset="+08:00")


def live_xml(vd: xr.DataArray, step: int) -> bytes:
    """One minute of VDs with a lane each."""
    stamp = np.datetime_as_string(vd["time"].values[step], unit="s") + "+08:00"
    records = [
        f"<VDLive><VDID>{escape(str(vdid))}</VDID><LinkFlows><LinkFlow><LinkID>1</LinkID><Lanes>"
        f"{_lane_xml(*vd.values[step, place])}</Lanes></LinkFlow></LinkFlows><Status>0</Status>"
        f"<DataCollectTime>{stamp}</DataCollectTime></VDLive>"
        for place, vdid in enumerate(vd["vd"].values)
    ]
    return (
        f'<?xml version="1.0" encoding="utf-8"?><VDLiveList xmlns="{NAMESPACE}">'
        f"<UpdateTime>{stamp}</UpdateTime><VDLives>{''.join(records)}</VDLives></VDLiveList>"
    ).encode()


def _lane_xml(speed: np.float32, volume: np.float32, occupancy: np.float32) -> str:
    def tag(name: str, value: np.float32) -> str:
        return "" if np.isnan(value) else f"<{name}>{value}</{name}>"

    return (
        f"<Lane><LaneID>0</LaneID><LaneType>1</LaneType>{tag('Speed', speed)}"
        f"{tag('Occupancy', occupancy)}<Vehicles><Vehicle><VehicleType>S</VehicleType>"
        f"{tag('Volume', volume)}<Speed>1</Speed></Vehicle></Vehicles></Lane>"
    )


def stations_xml(vd: xr.DataArray) -> bytes:
    """The list of the VDs."""
    records = [
        f"<VD><VDID>{escape(str(one['vd'].item()))}</VDID><DetectionLinks><DetectionLink>"
        f"<LaneNum>{one['lane_num'].item():g}</LaneNum></DetectionLink></DetectionLinks>"
        f"<PositionLon>{one['position_lon'].item()!r}</PositionLon>"
        f"<PositionLat>{one['position_lat'].item()!r}</PositionLat>"
        f"<RoadID>{one['road_id'].item()}</RoadID><RoadName>{one['road_name'].item()}</RoadName></VD>"
        for one in (vd.isel(vd=place) for place in range(vd.sizes["vd"]))
    ]
    return f'<VDList xmlns="{NAMESPACE}"><VDs>{"".join(records)}</VDs></VDList>'.encode()


def live_json(vd: xr.DataArray, step: int) -> bytes:
    """One minute, as TDX gives it."""
    stamp = np.datetime_as_string(vd["time"].values[step], unit="s") + "+08:00"
    records = []
    for vdid, row in zip(vd["vd"].values, vd.values[step], strict=True):
        speed, volume, occupancy = (None if np.isnan(x) else float(str(x)) for x in row)
        vehicles = [{"VehicleType": "S", "Volume": volume}]
        lane = {"Speed": speed, "Occupancy": occupancy, "Vehicles": vehicles}
        flows = [{"LinkID": "1", "Lanes": [lane]}]
        records.append({"VDID": str(vdid), "DataCollectTime": stamp, "LinkFlows": flows})
    return json.dumps({"UpdateTime": stamp, "LiveTrafficData": records}).encode()


def stations_json(vd: xr.DataArray) -> bytes:
    """The list of the VDs, as TDX gives it."""
    records = [
        {
            "VDID": one["vd"].item(),
            "PositionLon": one["position_lon"].item(),
            "PositionLat": one["position_lat"].item(),
            "RoadID": one["road_id"].item(),
            "RoadName": one["road_name"].item(),
            "DetectionLinks": [{"LaneNum": int(one["lane_num"].item())}],
        }
        for one in (vd.isel(vd=place) for place in range(vd.sizes["vd"]))
    ]
    return json.dumps({"VDs": records}, ensure_ascii=False).encode()


def archive_files(vd: xr.DataArray, form: str = "xml.gz") -> dict[str, bytes]:
    """The files of an archive by name; ``form`` is xml, xml.gz or json."""
    files = {}
    for step, time in enumerate(pd.DatetimeIndex(vd["time"].values)):
        if form == "json":
            folder = f"{time:%Y-%m-%d_%H-%M-%S}"
            files[f"{folder}/VDLiveList.json"] = live_json(vd, step)
            files[f"{folder}/VDList.json"] = stations_json(vd)
            continue
        content = live_xml(vd, step)
        name = f"{time:%Y%m%d}/VDLive_{time:%H%M}.{form}"
        files[name] = gzip.compress(content, mtime=0) if form == "xml.gz" else content
        files[f"{time:%Y%m%d}/VD.xml"] = stations_xml(vd)
    return files


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    """As a folder, or what the suffix of ``path`` says: .zip or .tar."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path
