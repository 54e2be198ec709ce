"""A freeway corridor of 16 km, one direction, driven with uxsim.

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

Routes = dict[tuple[float, float], tuple[Any, Any, list[Any]]]
"""uxsim's origin, destination and links by (entry km, exit km)."""


def lanes(km: float) -> int:
    """Number of lanes just downstream of ``km``."""
    return 4 if LANE_GAIN_KM <= km < LANE_DROP_KM else 3


def drive(plan: xr.Dataset, simulate: Simulate) -> xr.Dataset:
    """Drive the days that :func:`.demand.plan` planned and observe the traffic at the detectors.

    Every day starts from an empty road half an hour before its first interval.

    Returns:
        ``flow`` (veh/h), ``speed`` (km/h, space mean) and ``speed_spread`` (km/h, standard
        deviation between platoons), all (time, km), of all lanes together.
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
    for number, (date, day) in enumerate(plan.groupby(plan["time"].dt.floor("D"))):
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
            _limit(node, limit)
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


def _limit(node: Any, limit: float) -> None:
    """Let at most ``limit`` vehicles per hour through a node."""
    limited = np.isfinite(limit)
    if limited and node.flow_capacity is None:
        node.flow_capacity_remain = 0.0
    node.flow_capacity, node.number_of_lanes = (limit / 3600, 4) if limited else (None, None)


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
