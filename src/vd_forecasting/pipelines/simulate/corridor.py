"""A freeway corridor of 16 km, one direction: how many want to drive and how many it can take, and
the traffic that uxsim makes of it.

::

            off   on              off   on                off    on
    0 ══ 1 ══ 2 ══ 2.8 ══ 4 ══ 5 ══ 6 ══ 6.8 ══ 8 ══ 9.2 ══ 10 ══ 11 ══ 12 ══ 13 ══ 14.5 ══ 16 km
    └ 3 lanes                         weaving              └ 4 lanes    └ 3 lanes

Two recurring bottlenecks: the lane drop at km 12 and the weaving section at km 6.8. uxsim moves
platoons by Newell's simplified car following, a triangular fundamental diagram.
"""

import itertools
import logging
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vd_forecasting.parameters import Simulate

logger = logging.getLogger(__name__)

NODES_KM = (
    *(0.0, 1.0, 2.0, 2.8, 4.0, 5.0, 6.0, 6.8),
    *(8.0, 9.2, 10.0, 11.0, 12.0, 13.0, 14.5, 16.0),
)
LANE_GAIN_KM, LANE_DROP_KM = 10.0, 12.0
WEAVING_KM = 6.8
EXITS = {2.0: 0.10, 6.0: 0.15, 9.2: 0.13}
"""Off-ramps: km and the share of the passing vehicles that leave."""
ENTRIES_KM = (0.0, 2.8, 6.8, 10.0)
"""Where vehicles enter: the upstream end, then the on-ramps."""
DETECTORS_KM = (11.4, 10.5, 9.6, 8.6, 7.5, 6.4, 5.3, 4.4, 3.4, 2.4, 1.4, 0.6, 12.6, 14.2)
"""In the order of the file: upstream from the lane drop, then downstream of it.

None stands within 400 m upstream of an off-ramp or downstream of an on-ramp: a platoon is last
seen on the main road up to one time step before it leaves, and first seen one after it joins.
"""

FREE_SPEED = 27.8  # m/s
JAM_DENSITY = 0.13  # veh/m and lane
REACTION_TIME = 1.5  # s
PLATOON = 5  # vehicles that uxsim moves as one
TIME_STEP = PLATOON * REACTION_TIME  # s; an interval must be a multiple of it
LANE_CAPACITY = 3600 / (REACTION_TIME + 1 / (JAM_DENSITY * FREE_SPEED))  # veh/h
RAMP_LENGTH = 400.0  # m
RAMP_SPEED = 16.7  # m/s
CELL = 300.0  # m, road around a detector over which speeds are averaged
WARM_UP = pd.Timedelta("30min")
INTERVAL = pd.Timedelta("5min")
ENTRY_LEVEL = (4500.0, 950.0, 1250.0, 1350.0)
"""veh/h at each entry where the daily profile is 1, about the evening peak."""
WEAVING_CAPACITY = 5700.0  # veh/h
LANE_DROP_CAPACITY = 0.94 * 3 * LANE_CAPACITY  # veh/h

Routes = dict[tuple[float, float], tuple[Any, Any, list[Any]]]
"""uxsim's origin, destination and links by (entry km, exit km)."""


def lanes(km: float) -> int:
    """Number of lanes just downstream of ``km``."""
    return 4 if LANE_GAIN_KM <= km < LANE_DROP_KM else 3


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

    capacity = pd.DataFrame(np.inf, index=hour, columns=list(NODES_KM))
    road = rng.normal(1, 0.025)  # weather, light, drivers
    capacity[LANE_DROP_KM] = LANE_DROP_CAPACITY * road * _wander(len(time), 0.09, rng)
    capacity[WEAVING_KM] = WEAVING_CAPACITY * road * _wander(len(time), 0.09, rng)
    for _ in range(rng.poisson(simulate.incidents_per_day)):
        km = rng.choice(NODES_KM[1:-1])
        begin = rng.uniform(6, 21)
        blocked = (hour >= begin) & (hour < begin + rng.uniform(20, 60) / 60)
        left = rng.uniform(0.2, 0.5) * lanes(km) * LANE_CAPACITY
        capacity.loc[blocked, km] = np.minimum(capacity.loc[blocked, km], left)
    return xr.Dataset(
        {"demand": (("time", "entry"), demand), "capacity": (("time", "node"), capacity.values)},
        coords={"time": time, "entry": list(ENTRIES_KM), "node": list(NODES_KM)},
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
    return np.asarray((0.09 + busy) * rng.normal(1, 0.035))


def _wander(steps: int, deviation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Correlated noise around 1: an autoregression that forgets in about half an hour."""
    memory = 0.85
    shocks = rng.normal(0, deviation * np.sqrt(1 - memory**2), steps)
    shocks[0] /= np.sqrt(1 - memory**2)
    noise = itertools.accumulate(shocks, lambda value, shock: memory * value + shock)
    return (1 + np.fromiter(noise, np.float64, steps)).clip(min=0.5)


def drive(planned: xr.Dataset, simulate: Simulate) -> xr.Dataset:
    """The traffic at the detectors on days planned by :func:`plan`: ``flow`` (veh/h), ``speed``
    (km/h, space mean) and ``speed_spread`` (km/h, standard deviation between platoons), all
    (time, km), of all lanes together.

    Every day starts from an empty road half an hour before its first interval.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import uxsim  # noqa: PLC0415  an optional extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the simulate pipeline needs uxsim: pip install -e ".[simulate]"'
        ) from error
    driven = []
    for number, (date, day) in enumerate(planned.groupby(planned["time"].dt.floor("D"))):
        driven.append(_drive_day(uxsim, day, simulate.seed + number))
        logger.info("Simulated %s", np.datetime_as_string(date, unit="D"))
    return xr.concat(driven, dim="time")


def _drive_day(uxsim: ModuleType, day: xr.Dataset, seed: int) -> xr.Dataset:
    interval = int((day["time"][1] - day["time"][0]) / np.timedelta64(1, "s"))
    before = int(WARM_UP.total_seconds()) // interval
    demand, capacity = (
        np.pad(day[name].values, [(before, 1), (0, 0)], "edge") for name in ("demand", "capacity")
    )
    world, mainline, routes = _build(uxsim, seed, (len(demand) + 1) * interval)
    departures = _departures(demand, interval, np.random.default_rng([seed, 1]))
    for step in range(len(demand)):
        for node, limit in zip(mainline, capacity[step], strict=True):
            limited = np.isfinite(limit)  # at most so many vehicles per hour through the node
            if limited and node.flow_capacity is None:
                node.flow_capacity_remain = 0.0
            node.flow_capacity = limit / 3600 if limited else None
            node.number_of_lanes = 4 if limited else None
        for second, entry, leaving in departures[step]:
            origin, destination, route = routes[entry, leaving]
            world.addVehicle(origin, destination, second).enforce_route(route)
        # the last step is never reached: uxsim's closing statistics of all trips are not needed
        world.exec_simulation(until_t=(step + 1) * interval - TIME_STEP)

    trajectories = _trajectories(world)
    observed = [
        _observe(trajectories, 1000 * km, interval, len(demand))[:, before:-1]
        for km in DETECTORS_KM
    ]
    flow, speed, spread = ((("time", "km"), seen) for seen in np.stack(observed, axis=-1))
    return xr.Dataset(
        {"flow": flow, "speed": speed, "speed_spread": spread},
        coords={"time": day["time"], "km": list(DETECTORS_KM)},
    )


def _build(uxsim: ModuleType, seed: int, tmax: int) -> tuple[Any, list[Any], Routes]:
    """The empty road: uxsim's world, its main-road nodes, and the route of every (entry, exit)."""
    world = uxsim.World(
        deltan=PLATOON,
        reaction_time=REACTION_TIME,
        duo_update_time=tmax,  # every vehicle has its route, none is searched
        random_seed=seed,
        tmax=tmax,
        **dict.fromkeys(("print_mode", "save_mode", "show_mode", "show_progress"), 0),
    )
    nodes = {km: world.addNode(f"{km:g}", 1000 * km, 0) for km in NODES_KM}
    road = {"free_flow_speed": FREE_SPEED, "jam_density_per_lane": JAM_DENSITY}
    ramp = road | {"free_flow_speed": RAMP_SPEED, "length": RAMP_LENGTH}
    main = {}
    for start, end in itertools.pairwise(NODES_KM):
        size = {"length": 1000 * (end - start), "attribute": 1000 * start}
        wide = dict.fromkeys(("number_of_lanes", "merge_priority"), lanes(start))
        ends = (nodes[start], nodes[end])
        main[start] = world.addLink(f"main {start:g}", *ends, **size, **wide, **road)
    first, last = NODES_KM[0], NODES_KM[-1]
    origins: dict[float, tuple[Any, list[Any]]] = {first: (nodes[first], [])}
    destinations: dict[float, tuple[Any, list[Any]]] = {last: (nodes[last], [])}
    for km in ENTRIES_KM[1:]:
        outside = world.addNode(f"on {km:g}", 1000 * km, -RAMP_LENGTH)
        origins[km] = (outside, [world.addLink(f"on {km:g}", outside, nodes[km], **ramp)])
    for km in EXITS:
        outside = world.addNode(f"off {km:g}", 1000 * km, -RAMP_LENGTH)
        destinations[km] = (outside, [world.addLink(f"off {km:g}", nodes[km], outside, **ramp)])
    routes = {
        (entry, leaving): (
            origin,
            destination,
            on + [link for km, link in main.items() if entry <= km < leaving] + off,
        )
        for entry, (origin, on) in origins.items()
        for leaving, (destination, off) in destinations.items()
        if entry < leaving
    }
    world.finalize_scenario()
    return world, list(nodes.values()), routes


def _departures(
    demand: NDArray[np.float64], interval: int, rng: np.random.Generator
) -> list[list[tuple[float, float, float]]]:
    """For every interval the (second, entry km, exit km) of each platoon that departs in it.

    Platoons leave an entry as its cumulative demand passes the next multiple of their size.
    """
    edges = np.arange(len(demand) + 1) * float(interval)
    departures: list[list[tuple[float, float, float]]] = [[] for _ in demand]
    for column, entry in enumerate(ENTRIES_KM):
        waiting = np.concatenate([[0.0], np.cumsum(demand[:, column])]) * interval / 3600
        counts = np.arange(rng.uniform(0, PLATOON), waiting[-1], PLATOON)
        seconds = np.interp(counts, waiting, edges)
        ahead = [km for km in EXITS if km > entry]
        stay = np.cumprod([1.0, *(1 - EXITS[km] for km in ahead)])
        leave = np.append(stay[:-1] * [EXITS[km] for km in ahead], stay[-1])
        exits = rng.choice([*ahead, NODES_KM[-1]], size=len(seconds), p=leave)
        for second, leaving in zip(seconds.tolist(), exits.tolist(), strict=True):
            departures[int(second // interval)].append((second, entry, leaving))
    return departures


def _trajectories(world: Any) -> NDArray[np.float64]:
    """Every platoon's moves on the main road, one row each: time (s), from and to (m)."""
    start = {link: link.attribute for link in world.LINKS if link.attribute is not None}
    pieces = []
    for vehicle in world.VEHICLES.values():
        seen = [
            (time, start[link] + x)
            for time, link, x in zip(vehicle.log_t, vehicle.log_link, vehicle.log_x, strict=True)
            if link in start
        ]
        if len(seen) > 1:
            track = np.array(seen)
            pieces.append(np.column_stack([track[:-1], track[1:, 1]]))
    return np.concatenate(pieces)


def _observe(
    trajectories: NDArray[np.float64], at: float, interval: int, steps: int
) -> NDArray[np.float64]:
    """Flow (veh/h), space-mean speed and its spread (km/h) at one place, (3, steps).

    Flow is the slope of the cumulative count, drawn straight from platoon to platoon: the vehicles
    of a platoon stand for the traffic since the one before. Speed is Edie's: distance over time
    of all platoons in the cell around the place; where none is, it is interpolated in time.
    """
    time, start, end = trajectories.T
    near = (end >= at - CELL / 2) & (start <= at + CELL / 2)
    time, start, end = time[near], start[near], end[near]
    crossing = (start < at) & (end >= at)
    share = (at - start[crossing]) / (end - start)[crossing]
    passed = np.sort(time[crossing] + share * TIME_STEP)
    edges = np.arange(steps + 1) * float(interval)
    flow = np.diff(np.interp(edges, passed, PLATOON * np.arange(len(passed)))) * 3600 / interval

    inside = np.minimum(end, at + CELL / 2) - np.maximum(start, at - CELL / 2)
    moved = end - start
    share = np.divide(inside, moved, out=np.ones_like(moved), where=moved > 0)
    step = (time // interval).astype(int)

    def total(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(step, weights, minlength=steps)[:steps].astype(np.float64)

    seconds, metres = total(share * TIME_STEP), total(share * moved)
    squares = total(share * moved**2 / TIME_STEP)
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = metres / seconds
        spread = np.sqrt(np.maximum(squares / seconds - speed**2, 0))
    known = np.flatnonzero(np.isfinite(speed))
    speed, spread = (np.interp(np.arange(steps), known, x[known]) for x in (speed, spread))
    return np.stack([flow, 3.6 * speed, 3.6 * spread])
