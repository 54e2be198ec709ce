"""From what lanes report to the features of a VD."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.sources.lanes import codes_of
from vd_forecasting.vocabulary import VOLUME

FEATURES = ("avg_speed", "total_volume", "avg_occupancy", "speed_std", "lane_count")

Floats = npt.NDArray[np.float64]
Cell = bytes | str | int | float | None
"""The content of a file where a number belongs; bytes are text not yet decoded."""
Link = tuple[str, str]
"""LinkID, and the bearing that a record gives itself, or ""."""
Lane = tuple[Cell, Cell, list[Cell], Link]
"""Speed, occupancy, a volume for each type of vehicle, and the link it belongs to."""

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
    links: list[Link] = field(default_factory=list)  # [L]; [] where no record has several
    has_several_links: bool = False
    update_time: str = ""
    """Of the file."""

    def add(self, vdid: str, stamp: str, status: str, lanes: Iterable[Lane]) -> None:
        """Add a record."""
        first = len(self.links)
        for speed, occupancy, volumes, link in lanes:
            self.lane_of_volume += [len(self.speeds)] * len(volumes)
            self.volumes += volumes
            self.record_of_lane.append(len(self.vdids))
            self.speeds.append(speed)
            self.occupancies.append(occupancy)
            self.links.append(link)
        if len(self.links) > first + 1:
            self.has_several_links |= len({*self.links[first:]}) > 1
        self.vdids.append(vdid.strip())
        self.stamps.append(stamp)
        self.healthy.append(status.strip() in ("", "0"))


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
    volumes = _numbers(records.volumes, codes_of(VOLUME, error_codes))
    volume = _sums(lane_of_volume, volumes, lanes)

    faulty = np.isinf(speed) | np.isinf(occupancy) | np.isinf(volume)
    silent = np.isnan(speed) & np.isnan(occupancy) & np.isnan(volume)
    valid = ~faulty & ~silent & np.array(records.healthy, dtype=bool)[record]
    record, speed, occupancy, volume = (
        values[valid] for values in (record, speed, occupancy, volume)
    )
    # NaN > 0 is False, as wanted
    speed[(speed == 0) & (volume == 0) & ~(occupancy > 0)] = np.nan

    sums = partial(_sums, record, count=count)

    def numbers(values: Floats) -> Floats:
        return sums(np.where(np.isnan(values), np.nan, 1))

    weight = np.where(np.isnan(speed), np.nan, np.nan_to_num(volume))
    weights = sums(weight)
    weighted = sums(speed * weight) / np.where(weights > 0, weights, 1)
    mean = sums(speed) / numbers(speed)
    variance = sums((speed - mean[record]) ** 2) / numbers(speed)
    features = (
        np.where(weights > 0, weighted, mean),
        sums(volume),
        sums(occupancy) / numbers(occupancy),
        np.where(numbers(speed) > 1, np.sqrt(variance), np.nan),
        sums(np.ones(len(record))),
    )
    return np.stack(features, axis=-1).astype(np.float32)


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


def _sums(groups: npt.NDArray[np.intp], values: Floats, count: int) -> Floats:
    """The sum of each group's known values, [count], NaN where none is known."""
    known = ~np.isnan(values)
    # one error makes the sum of its group infinite
    total = np.bincount(groups[known], values[known], count)
    return np.where(np.bincount(groups[known], minlength=count) > 0, total, np.nan)
