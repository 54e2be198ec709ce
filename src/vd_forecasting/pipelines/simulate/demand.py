"""Demand and capacity: how many want to drive each day, and how many the road can take."""

import itertools

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vd_forecasting.parameters import Simulate
from vd_forecasting.pipelines.simulate import corridor

INTERVAL = pd.Timedelta("5min")
ENTRY_LEVEL = (4500.0, 950.0, 1250.0, 1350.0)
"""veh/h at each entry where the daily profile is 1, about the evening peak."""
WEAVING_CAPACITY = 5700.0  # veh/h
LANE_DROP_CAPACITY = 0.94 * 3 * corridor.LANE_CAPACITY  # veh/h


def plan(simulate: Simulate) -> xr.Dataset:
    """The ``demand`` (time, entry) and ``capacity`` (time, node) of all days, veh/h; infinite =
    unlimited. The coordinates ``entry`` and ``node`` are in km.

    Day ``d`` depends on the seed and on ``d`` alone, so more days leave earlier ones unchanged.
    """
    days = enumerate(pd.date_range(simulate.start, periods=simulate.days, freq="D"))
    return xr.concat([_plan_day(day, number, simulate) for number, day in days], dim="time")


def _plan_day(day: pd.Timestamp, number: int, simulate: Simulate) -> xr.Dataset:
    rng = np.random.default_rng([simulate.seed, 0, number])
    time = pd.date_range(day, periods=pd.Timedelta("1D") // INTERVAL, freq=INTERVAL)
    hour = ((time - day) / pd.Timedelta("1h")).to_numpy(float)
    profile = _profile(hour, day.weekday(), rng)
    entering = [
        simulate.demand * level * profile * rng.normal(1, 0.03) * _wander(len(time), 0.05, rng)
        for level in ENTRY_LEVEL
    ]
    demand = np.stack(entering, axis=-1)

    capacity = pd.DataFrame(np.inf, index=hour, columns=list(corridor.NODES_KM))
    road = rng.normal(1, 0.025)  # weather, light, drivers
    capacity[corridor.LANE_DROP_KM] = LANE_DROP_CAPACITY * road * _wander(len(time), 0.09, rng)
    capacity[corridor.WEAVING_KM] = WEAVING_CAPACITY * road * _wander(len(time), 0.09, rng)
    for _ in range(rng.poisson(simulate.incidents_per_day)):
        km = rng.choice(corridor.NODES_KM[1:-1])
        begin = rng.uniform(6, 21)
        blocked = (hour >= begin) & (hour < begin + rng.uniform(20, 60) / 60)
        left = rng.uniform(0.2, 0.5) * corridor.lanes(km) * corridor.LANE_CAPACITY
        capacity.loc[blocked, km] = np.minimum(capacity.loc[blocked, km], left)
    return xr.Dataset(
        {"demand": (("time", "entry"), demand), "capacity": (("time", "node"), capacity.values)},
        coords={"time": time, "entry": list(corridor.ENTRIES_KM), "node": list(corridor.NODES_KM)},
    )


def _profile(
    hour: NDArray[np.float64], day_of_week: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Demand over the day, 1 = the evening peak of an ordinary weekday."""

    def peak(at: float, width: float, height: float) -> NDArray[np.float64]:
        at, height = at + rng.normal(0, 0.25), height * rng.normal(1, 0.08)
        return height * np.exp(-0.5 * ((hour - at) / (width * rng.uniform(0.85, 1.15))) ** 2)

    daytime = rng.normal(1, 0.05) / (1 + np.exp(-(hour - 6.3) / 0.5))
    daytime = daytime / (1 + np.exp((hour - 21) / 0.9))
    saturday, sunday = 5, 6
    if day_of_week == saturday:
        busy = 0.40 * daytime + peak(11, 1.8, 0.25) + peak(16.5, 1.8, 0.22)
    elif day_of_week == sunday:
        busy = 0.36 * daytime + peak(11.5, 2, 0.16) + peak(17.5, 1.6, 0.56)
    else:
        friday = 0.06 if day_of_week == 4 else 0.0
        busy = 0.44 * daytime + peak(7.8, 0.8, 0.52) + peak(17.8, 1.05, 0.55 + friday)
    whole: NDArray[np.float64] = (0.09 + busy) * rng.normal(1, 0.035)
    return whole


def _wander(steps: int, deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Correlated noise around 1: an autoregression that forgets in about half an hour."""
    memory = 0.85
    shocks = rng.normal(0, deviation * np.sqrt(1 - memory**2), steps)
    shocks[0] /= np.sqrt(1 - memory**2)
    noise = itertools.accumulate(shocks, lambda value, shock: memory * value + shock)
    return (1 + np.fromiter(noise, np.float64, steps)).clip(min=0.5)
