"""The longest stretches without values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.pipelines.data_quality.stretches import stretches
from vd_forecasting.vd_array import each_few_vds

# Finding stretches takes several times the memory of the values.
_VDS_AT_ONCE = 8


@dataclass(frozen=True)
class Gap:
    """A stretch of missing values, shared by some detectors in some features."""

    start: int
    """First missing time step."""
    length: int
    """Time steps."""
    vds: tuple[int, ...]
    """Positions along ``vd``."""
    features: tuple[int, ...]
    """Positions along ``feature``."""


def longest_gaps(vd_clean: xr.DataArray, count: int) -> list[Gap]:
    """The ``count`` longest gaps, longest first.

    Stretches that begin and end together are one gap: first over the features of a detector, then
    over the detectors that miss the same features.
    """
    found = np.empty((0, 4), dtype=np.int64)  # start, length, vd, feature
    for part, values in each_few_vds(vd_clean, _VDS_AT_ONCE, "find gaps"):
        found = _of_longest(np.vstack([found, _missing(values, part.start)]), count)

    features_of: dict[tuple[int, int, int], list[int]] = {}
    for start, length, vd, feature in found.tolist():
        features_of.setdefault((start, length, vd), []).append(feature)
    vds_of: dict[tuple[int, int, tuple[int, ...]], list[int]] = {}
    for (start, length, vd), features in features_of.items():
        vds_of.setdefault((start, length, tuple(sorted(features))), []).append(vd)
    gaps = [
        Gap(start, length, tuple(sorted(vds)), features)
        for (start, length, features), vds in vds_of.items()
    ]
    return sorted(gaps, key=lambda gap: (-gap.length, gap.start, gap.vds))[:count]


def _missing(values: npt.NDArray[np.float32], first_vd: int) -> npt.NDArray[np.int64]:
    """All stretches of missing values in [F, n, T], [S, (start, length, vd, feature)]."""
    _, vds, steps = values.shape
    series, start, length = stretches(~np.isfinite(values).reshape(-1, steps))
    feature, vd = np.divmod(series, vds)
    return np.column_stack([start, length, vd + first_vd, feature])


def _of_longest(found: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The stretches that share start and length with one of the ``count`` longest."""
    spans, which = np.unique(found[:, :2], axis=0, return_inverse=True)
    if len(spans) <= count:
        return found
    longest = np.lexsort((spans[:, 0], -spans[:, 1]))[:count]
    return found[np.isin(which.ravel(), longest)]
