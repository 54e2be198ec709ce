"""Detectors that measure the traffic: first with counting noise, then with every kind of fault."""

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vd_forecasting.datasets.sources.source import UNITS
from vd_forecasting.parameters import Simulate
from vd_forecasting.pipelines.simulate.corridor import LANE_CAPACITY, lanes

SPEED, VOLUME, OCCUPANCY = 0, 1, 2  # their places among the features
DECIMALS = (1, 0, 1, 1, 0)  # of each feature, as roadside controllers send them
ERROR_CODES = (-99.0, -1.0, 255.0, 999.0)
EFFECTIVE_LENGTH = 6.5  # m, of a vehicle and the loop together
COUNT_DISPERSION = 0.5  # variance over mean of a count; a Poisson process has 1
ROAD_ID, ROAD_NAME = "11", "Simulated Freeway 11"
START_LON, START_LAT = 121.31, 25.04
HEADING = np.deg2rad(205)  # clockwise from north

FAULTY = 3
"""Index of the detector that is unfit: mostly missing, stuck for days where it is not."""
OUTAGE = 6
"""Index of the detector that is silent for a day."""


def measure(traffic: xr.Dataset, simulate: Simulate) -> xr.DataArray:
    """The reports of a healthy detector at each place, float32 (time, vd, feature), as sent.

    ``traffic`` has ``flow`` (veh/h), ``speed`` and ``speed_spread`` (km/h), all (time, km). No
    vehicle = volume and occupancy 0, speed and its deviation NaN. Volume and occupancy follow from
    one noisy count, so that they agree.
    """
    rng = np.random.default_rng([simulate.seed, 2])
    flow, speed, spread = (traffic[name].values for name in ("flow", "speed", "speed_spread"))
    shape, km = flow.shape, traffic["km"].values
    lane_count = np.array([lanes(place) for place in km], dtype=float)
    hours = (traffic["time"][1] - traffic["time"][0]) / np.timedelta64(1, "h")

    # Newell's drivers keep their free speed up to capacity; real ones slow down before it
    days, day = np.unique(traffic["time"].dt.floor("D"), return_inverse=True)
    free = rng.normal(1, 0.025, shape[1]) * rng.normal(1, 0.012, (len(days), 1))[day]
    speed = speed * free * (1 - 0.13 * (flow / (lane_count * LANE_CAPACITY)) ** 2)

    deviation = np.sqrt((0.085 * speed) ** 2 + (0.5 * spread) ** 2 + 1.5**2)
    mean_count = flow * float(hours)
    count = np.rint(rng.normal(mean_count, np.sqrt(COUNT_DISPERSION * mean_count))).clip(min=0)
    some = np.maximum(count, 1)
    speed = (speed + rng.normal(size=shape) * (deviation / np.sqrt(some) + 1.3)).clip(min=2)
    deviation = deviation * rng.lognormal(0, 0.06 + 0.7 / np.sqrt(some))
    density = count / float(hours) / speed / lane_count  # veh/km and lane
    occupancy = density * EFFECTIVE_LENGTH / 10 * rng.lognormal(0, 0.03, shape)

    speed, deviation = (np.where(count > 0, x, np.nan) for x in (speed, deviation))
    exact = (speed, count, occupancy.clip(max=100), deviation, np.broadcast_to(lane_count, shape))
    sent = [feature.round(decimals) for feature, decimals in zip(exact, DECIMALS, strict=True)]
    return xr.DataArray(
        np.stack(sent, axis=-1).astype(np.float32),
        dims=("time", "vd", "feature"),
        coords={
            "time": traffic["time"].values,
            "vd": [f"VD-{ROAD_ID}-{10 * place:04.0f}-001-001" for place in km],
            "feature": list(UNITS),
            "unit": ("feature", list(UNITS.values())),
            **_places(km, lane_count),
        },
        name="features",
        attrs={
            "dataset_name": "vd_sample",
            "description": "Simulated, not measured: a freeway corridor driven with uxsim by the "
            "simulate pipeline of vd_forecasting",
            "creation_date": simulate.creation_date,
        },
    )


def spoil(measured: xr.DataArray, simulate: Simulate) -> xr.DataArray:
    """Add the faults of real files: gaps (single records, stretches of one detector, whole rows, a
    day's outage), error codes, impossible values, blank and repeated time stamps, and one detector
    unfit for use. The first detector gets its share of the scattered faults only."""
    rng = np.random.default_rng([simulate.seed, 3])
    values = measured.values.copy()
    time = measured["time"].values.copy()
    steps, vds, _ = values.shape

    _enter_errors(values, simulate.errors, rng)
    _lose_records(values, simulate.missing, rng)
    per_day = int(pd.Timedelta("1D") / pd.Timedelta(time[1] - time[0]))
    if vds > OUTAGE and steps > per_day:
        begin = rng.integers(steps - per_day)
        values[begin : begin + per_day, OUTAGE] = np.nan
    if vds > FAULTY:
        _break_down(values[:, FAULTY], per_day, rng)

    for stretch in _stretches(steps, 0.004, 4, rng):
        values[stretch] = np.nan
        if rng.random() < 0.5:  # the collector lost the clock along with the records
            time[stretch] = np.datetime64("NaT", "ns")
    late = rng.choice(np.arange(1, steps), size=max(steps // 1000, 1), replace=False)
    time[late] = measured["time"].values[late - 1]  # the clock had not moved on yet
    return measured.copy(data=values).assign_coords(time=time)


def _places(km: NDArray[np.float64], lane_count: NDArray[np.float64]) -> dict[str, object]:
    """Coordinates of the detectors along a gently winding line."""
    aside = 0.6 * np.sin(km / 3.5)
    north = km * np.cos(HEADING) - aside * np.sin(HEADING)
    east = km * np.sin(HEADING) + aside * np.cos(HEADING)
    km_per_degree = 111.2
    lon = START_LON + east / km_per_degree / np.cos(np.deg2rad(START_LAT))
    return {
        "position_lon": ("vd", lon.round(6)),
        "position_lat": ("vd", (START_LAT + north / km_per_degree).round(6)),
        "road_id": ("vd", [ROAD_ID] * len(km)),
        "road_name": ("vd", [ROAD_NAME] * len(km)),
        "lane_num": ("vd", lane_count),
    }


def _stretches(
    steps: int, share: float, mean_length: float, rng: np.random.Generator
) -> list[slice]:
    """Random stretches that make up about ``share`` of all steps."""
    number = rng.poisson(share * steps / mean_length)
    begins = rng.integers(steps, size=number)
    return list(map(slice, begins, begins + rng.geometric(1 / mean_length, number)))


def _enter_errors(values: NDArray[np.float32], share: float, rng: np.random.Generator) -> None:
    """Put error codes and impossible values into about ``share`` of the records."""
    steps, vds, features = values.shape
    for vd in range(vds):
        for step in np.flatnonzero(rng.random(steps) < share):
            kind = rng.choice(["record", "value", "speed", "occupancy"], p=[0.5, 0.3, 0.1, 0.1])
            if kind == "record":
                code, volume = rng.choice(ERROR_CODES), values[step, vd, VOLUME]
                values[step, vd] = code
                if code == 255:  # a controller's full byte, no code for a count
                    values[step, vd, VOLUME] = volume
            elif kind == "value":
                values[step, vd, rng.integers(features)] = rng.choice([-99.0, -1.0, 999.0])
            elif kind == "speed":
                values[step, vd, SPEED] = np.round(rng.uniform(201, 254), 1)
            else:
                values[step, vd, OCCUPANCY] = np.round(rng.uniform(101, 180), 1)


def _lose_records(values: NDArray[np.float32], share: float, rng: np.random.Generator) -> None:
    """Lose about ``share`` of the records: half of them singly, half in stretches of an hour."""
    steps, vds, features = values.shape
    for vd in range(vds):
        values[rng.random(steps) < share / 2, vd] = np.nan
        for stretch in _stretches(steps, share / 2, 12, rng):
            values[stretch, vd] = np.nan
        for feature in range(features):  # a single channel
            values[rng.random(steps) < share / 10, vd, feature] = np.nan


def _break_down(values: NDArray[np.float32], per_day: int, rng: np.random.Generator) -> None:
    """Make one detector, (time, feature), unfit: two thirds missing, much of the rest stuck."""
    begin = 0
    while begin < len(values):
        silent = begin + int(per_day * rng.uniform(0.5, 2))
        values[begin:silent] = np.nan
        stuck = silent + int(per_day * rng.uniform(0.2, 0.6))
        values[silent:stuck] = values[silent : silent + 1]
        begin = stuck + int(per_day * rng.uniform(0.1, 0.4))
