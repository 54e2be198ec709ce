"""The longest stretches without values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.vd_array import each_vd_block

# Of a block: runs may take several times the memory of the values.
_VDS_AT_ONCE = 8


@dataclass(frozen=True)
class Gap:
    """A run of missing values, shared by some VDs in some features."""

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

    Runs that begin and end together are one gap: first over the features of a VD, then over the
    VDs that miss the same features.
    """
    runs = np.empty((0, 4), dtype=np.int64)  # start, length, vd, feature
    first = 0
    for block in each_vd_block(vd_clean.transpose("time", "vd", "feature"), "find gaps"):
        values = block.to_numpy()
        for few in range(0, values.shape[1], _VDS_AT_ONCE):
            found = _runs(values[:, few : few + _VDS_AT_ONCE], first + few)
            runs = _of_longest(np.vstack([runs, found]), count)
        first += values.shape[1]

    features_of: dict[tuple[int, int, int], list[int]] = {}
    for start, length, vd, feature in runs.tolist():
        features_of.setdefault((start, length, vd), []).append(feature)
    vds_of: dict[tuple[int, int, tuple[int, ...]], list[int]] = {}
    for (start, length, vd), features in features_of.items():
        vds_of.setdefault((start, length, tuple(sorted(features))), []).append(vd)
    gaps = [
        Gap(start, length, tuple(sorted(vds)), features)
        for (start, length, features), vds in vds_of.items()
    ]
    return sorted(gaps, key=lambda gap: (-gap.length, gap.start, gap.vds))[:count]


def _runs(values: npt.NDArray[np.float32], first_vd: int) -> npt.NDArray[np.int64]:
    """All runs of missing values in [T, N, F], [run, (start, length, vd, feature)]."""
    steps, vds, features = values.shape
    # A step that is not missing on either side keeps the runs of two columns apart.
    missing = np.zeros((vds, features, steps + 2), dtype=np.int8)
    missing[..., 1:-1] = ~np.isfinite(values).transpose(1, 2, 0)
    change = np.diff(missing, axis=-1).reshape(vds * features, steps + 1)
    column, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    vd, feature = np.divmod(column, features)
    return np.column_stack([start, end - start, vd + first_vd, feature])


def _of_longest(runs: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The runs that share start and length with one of the ``count`` longest."""
    spans, which = np.unique(runs[:, :2], axis=0, return_inverse=True)
    if len(spans) <= count:
        return runs
    longest = np.lexsort((spans[:, 0], -spans[:, 1]))[:count]
    return runs[np.isin(which.ravel(), longest)]
