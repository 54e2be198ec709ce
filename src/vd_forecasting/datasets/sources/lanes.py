"""From lanes, as detectors of their own, to the detectors they belong to."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.sources import source
from vd_forecasting.vocabulary import SPEED, VOLUME

ERROR_CODES = (-99, -1, 255, 999)
"""What a lane reports in place of a number, by default."""

_VEHICLES = 255  # do occur in an interval longer than a minute
_INFINITE = 1e39  # as float32; squares of it are finite as float64


def codes_of(feature: str, error_codes: Sequence[float]) -> tuple[float, ...]:
    """The error codes of a feature: all of them, but for volumes that do occur."""
    return tuple(code for code in error_codes if (feature, code) != (VOLUME, _VEHICLES))


def drop_errors(lanes: source.Floats, features: list[str], error_codes: Sequence[float]) -> int:
    """Make errors of lanes [T, L, F] missing, before they are summed; and their number.

    Errors are the error codes and, of the project's own features, all numbers below zero.
    """
    dropped = 0
    for place, name in enumerate(features):
        values = lanes[..., place]
        wrong = np.isin(values, np.array(codes_of(name, error_codes), dtype=np.float32))
        if name in source.UNITS:
            wrong |= values < 0
        values[wrong] = np.nan
        dropped += int(wrong.sum())
    return dropped


def merge_lanes(
    lanes: source.Floats, vd_of_lane: npt.NDArray[np.intp], features: list[str]
) -> tuple[source.Floats, int]:
    """The detectors [T, N, F] of lanes [T, L, F]; and how many volumes lack some of their lanes.

    Volumes are summed; speeds are weighted by them, or equal where none is above 0 or known; all
    else is the mean of the lanes that report it.
    """
    vds = int(vd_of_lane.max(initial=-1)) + 1
    merged = np.full((len(lanes), vds, len(features)), np.nan, dtype=np.float32)
    incomplete = 0
    for vd in range(vds):
        some = lanes[:, vd_of_lane == vd].astype(np.float64)  # [T, lanes of this detector, F]
        some = np.clip(some, -_INFINITE, _INFINITE)
        known = ~np.isnan(some)
        number = known.sum(axis=1)
        for place, name in enumerate(features):
            weight = known[..., place].astype(float)
            if name == SPEED and VOLUME in features:
                volume = np.nan_to_num(some[..., features.index(VOLUME)]).clip(min=0) * weight
                weight = np.where((volume > 0).any(axis=1, keepdims=True), volume, weight)
            total = (np.nan_to_num(some[..., place]) * weight).sum(axis=1)
            if name == VOLUME:
                incomplete += int(
                    ((number[:, place] > 0) & (number[:, place] < some.shape[1])).sum()
                )
            else:
                total /= np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
            merged[:, vd, place] = source.as_float32(np.where(number[:, place] > 0, total, np.nan))
    return merged, incomplete
