"""From what lanes report to the features of a VD."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FEATURES = ("avg_speed", "total_volume", "avg_occupancy", "speed_std", "lane_count")

Floats = npt.NDArray[np.float64]
Cell = bytes | str | int | float | None
"""The content of a file where a number belongs; bytes are text not yet decoded."""

_FAULT = math.inf  # stands for text that is no number


@dataclass
class Records:
    """The content of one file: R records of detectors, L lanes, V volumes of vehicle types."""

    vdids: list[str] = field(default_factory=list)  # [R]
    stamps: list[str] = field(default_factory=list)  # [R], when collected; "" unknown
    healthy: list[bool] = field(default_factory=list)  # [R]
    record_of_lane: list[int] = field(default_factory=list)  # [L]
    speeds: list[Cell] = field(default_factory=list)  # [L]
    occupancies: list[Cell] = field(default_factory=list)  # [L]
    lane_of_volume: list[int] = field(default_factory=list)  # [V]
    volumes: list[Cell] = field(default_factory=list)  # [V]
    update_time: str = ""
    """Of the file."""


def features_of(records: Records, error_codes: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """The FEATURES of each record, [R, 5], NaN where no valid lane reports them.

    A lane is valid if it reports anything and none of it is an error: a number below zero, an error
    code, or text that is no number. Values it leaves out are unknown, not wrong. Records of a
    detector that reports a fault have no valid lane.

    - avg_speed: mean over lanes weighted with their volumes, plain where these are 0 or unknown.
    - total_volume: sum over lanes and vehicle types.
    - avg_occupancy: mean over lanes.
    - speed_std: standard deviation over lanes with a speed, of at least two.
    - lane_count: valid lanes.

    A speed of 0 with no vehicle counted and no occupancy above 0 is no standing queue but an empty
    lane, which has no speed.
    """
    count, lanes = len(records.vdids), len(records.speeds)
    record = np.array(records.record_of_lane, dtype=np.intp)
    lane_of_volume = np.array(records.lane_of_volume, dtype=np.intp)
    speed = _numbers(records.speeds, error_codes)
    occupancy = _numbers(records.occupancies, error_codes)
    # 255 vehicles are possible where an interval is longer than a minute
    volumes = _numbers(records.volumes, tuple(code for code in error_codes if code != 255))

    counted = ~np.isnan(volumes)
    has_volume = _sums(lane_of_volume[counted], lanes) > 0
    volume = _sums(lane_of_volume[counted], lanes, volumes[counted])
    volume[~has_volume] = np.nan

    faulty = np.isinf(speed) | np.isinf(occupancy) | np.isinf(volume)
    silent = np.isnan(speed) & np.isnan(occupancy) & np.isnan(volume)
    valid = ~faulty & ~silent & np.array(records.healthy, dtype=bool)[record]
    record, speed, occupancy, volume = (
        values[valid] for values in (record, speed, occupancy, volume)
    )
    # NaN > 0 is False, as wanted
    speed[(speed == 0) & (volume == 0) & ~(occupancy > 0)] = np.nan

    return np.stack(
        [
            _mean_speed(record, speed, volume, count),
            _sum(record, volume, count),
            _mean(record, occupancy, count),
            _deviation(record, speed, count),
            _or_nan(_sums(record, count), _sums(record, count) > 0),
        ],
        axis=-1,
    ).astype(np.float32)


def _numbers(cells: list[Cell], error_codes: tuple[float, ...]) -> Floats:
    """Cells as numbers: NaN means not reported, infinite an error."""
    numbers = np.array([_number(cell) for cell in cells], dtype=np.float64)
    numbers[(numbers < 0) | np.isin(numbers, error_codes)] = _FAULT
    return numbers


@lru_cache(maxsize=2**14, typed=True)  # a bool is not the number it equals
def _number(cell: Cell) -> float:
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", errors="replace")
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):
        return _FAULT
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return _FAULT
    # too large for float32 would become infinite later on
    return number if abs(number) < 1e30 else _FAULT


def _sums(groups: npt.NDArray[np.intp], count: int, values: Floats | None = None) -> Floats:
    # one error makes the sum of its group infinite
    return np.bincount(groups, values, minlength=count).astype(np.float64)


def _or_nan(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    return np.where(known, values, np.nan)


def _sum(groups: npt.NDArray[np.intp], values: Floats, count: int) -> Floats:
    known = ~np.isnan(values)
    numbers = _sums(groups[known], count)
    return _or_nan(_sums(groups[known], count, values[known]), numbers > 0)


def _mean(groups: npt.NDArray[np.intp], values: Floats, count: int) -> Floats:
    known = ~np.isnan(values)
    numbers = _sums(groups[known], count)
    return _or_nan(_sum(groups, values, count) / np.maximum(numbers, 1), numbers > 0)


def _mean_speed(groups: npt.NDArray[np.intp], speed: Floats, volume: Floats, count: int) -> Floats:
    known = ~np.isnan(speed)
    groups, speed, volume = groups[known], speed[known], np.nan_to_num(volume[known])
    weights = _sums(groups, count, volume)
    weighted = _sums(groups, count, speed * volume) / np.where(weights > 0, weights, 1)
    return np.where(weights > 0, weighted, _mean(groups, speed, count))


def _deviation(groups: npt.NDArray[np.intp], values: Floats, count: int) -> Floats:
    known = ~np.isnan(values)
    groups, values = groups[known], values[known]
    numbers = _sums(groups, count)
    distance = values - _mean(groups, values, count)[groups]
    variance = _sums(groups, count, distance**2) / np.maximum(numbers, 1)
    return _or_nan(np.sqrt(variance), numbers > 1)
