"""VD arrays: of made-up traffic, or of given values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

FEATURES = ["avg_speed", "total_volume", "avg_occupancy", "speed_std", "lane_count"]


def make_clean(
    steps: int = 400, vds: int = 3, missing: float = 0.05, seed: int = 0, interval: str = "5min"
) -> xr.DataArray:
    """A clean VD array of daily waves and noise: what data_engineering hands on."""
    random = np.random.default_rng(seed)
    time = pd.date_range("2024-03-04", periods=steps, freq=interval)
    phase = 2 * np.pi * (time.hour.to_numpy() * 60 + time.minute.to_numpy()) / 1440
    wave = np.sin(phase)[:, None] + 0.2 * np.arange(vds)
    features = [80 - 15 * wave, 120 + 60 * wave, 10 + 5 * wave]
    values = np.stack(features, axis=-1) + random.normal(size=(steps, vds, 3))
    values[random.random(values.shape) < missing] = np.nan
    return xr.DataArray(
        values.astype("float32"),
        dims=("time", "vd", "feature"),
        coords={
            "time": time.to_numpy().astype("datetime64[ns]"),
            "vd": [f"VD-{n}" for n in range(vds)],
            "feature": ["avg_speed", "total_volume", "avg_occupancy"],
            "unit": ("feature", ["km/h", "veh/5 min", "%"]),
        },
        attrs={
            "source_file": "made.h5",
            "interval_minutes": float(pd.Timedelta(interval) / pd.Timedelta("1min")),
        },
        name="features",
    )


def with_places(clean: xr.DataArray) -> xr.DataArray:
    """The same with what a file says of its detectors: of three, the lanes of one are unknown."""
    return clean.assign_coords(
        lane_num=("vd", [2.0, 4.0, np.nan]),
        position_lon=("vd", [121.5, 121.5, 121.5]),
        position_lat=("vd", [25.0, 25.1, 25.4]),
        road_id=("vd", ["5", "", "1"]),
        road_name=("vd", ["Freeway 5", "", "Freeway 1"]),
    )


def array(
    values: npt.ArrayLike, features: Sequence[str] | None = None, minutes: int = 60
) -> xr.DataArray:
    """Cleaned values, [time, vd, feature]; features have no unit."""
    values = np.asarray(values, dtype=np.float32)
    names = features or FEATURES[: values.shape[2]]
    return xr.DataArray(
        values,
        dims=("time", "vd", "feature"),
        coords={
            "time": np.datetime64("2024-03-04", "ns")
            + np.arange(len(values)) * np.timedelta64(minutes, "m"),
            "vd": [f"VD-{n}" for n in range(values.shape[1])],
            "feature": names,
            "unit": ("feature", [""] * len(names)),
        },
        attrs={"interval_minutes": float(minutes)},
    )


def one(series: npt.ArrayLike, **labels: Any) -> xr.DataArray:
    """One VD with one feature."""
    return array(np.asarray(series, dtype=float)[:, None, None], **labels)


def raw_array(
    values: npt.ArrayLike,
    minutes: npt.ArrayLike | None = None,
    vdids: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> xr.DataArray:
    """Values as they are in a file, [time, vd, feature]; ``minutes`` is the time of each step."""
    values = np.asarray(values, dtype=np.float32)
    minutes = 5 * np.arange(len(values)) if minutes is None else np.asarray(minutes)
    return xr.DataArray(
        values,
        dims=("time", "vd", "feature"),
        coords={
            "time": np.datetime64("2024-03-01", "ns") + minutes * np.timedelta64(1, "m"),
            "vd": vdids or [f"VD-{n}" for n in range(values.shape[1])],
            "feature": features or FEATURES[: values.shape[2]],
        },
        attrs={"source_file": "test.h5"},
    )


def distinct(steps: int, vds: int, features: int) -> np.ndarray:
    """Values that no rule objects to."""
    return 1 + np.arange(steps * vds * features).reshape(steps, vds, features) % 97.0
