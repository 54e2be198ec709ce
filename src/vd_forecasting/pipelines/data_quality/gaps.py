"""The longest stretches without values."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.pipelines.data_quality.stretches import stretches
from vd_forecasting.vd_array import each_few_vds

# Finding stretches takes several times the memory of the values.
_VDS_AT_ONCE = 8


class Gap(NamedTuple):
    """A stretch of missing values: first step, steps, positions of detectors and features."""

    start: int
    length: int
    vds: tuple[int, ...]
    features: tuple[int, ...]


def longest_gaps(vd_clean: xr.DataArray, count: int) -> list[Gap]:
    """The ``count`` longest gaps, longest first.

    Stretches that begin and end together are one gap: first over the features of a detector, then
    over the detectors that miss the same features.
    """
    found = np.empty((0, 4), dtype=np.int64)  # start, length, vd, feature
    for part, values in each_few_vds(vd_clean, _VDS_AT_ONCE, "find gaps"):
        series, *spans = stretches(~np.isfinite(values).reshape(-1, values.shape[-1]))
        features, vds = np.divmod(series, values.shape[1])
        some = np.column_stack([*spans, vds + part.start, features])
        found = _of_longest(np.vstack([found, some]), count)

    table = pd.DataFrame(found, columns=["start", "length", "vd", "feature"])
    table = table.sort_values(["vd", "feature"])
    for shared in ("feature", "vd"):
        others = [name for name in table.columns if name != shared]
        table = table.groupby(others, sort=False)[shared].agg(tuple).reset_index()
    columns = table[["start", "length", "vd", "feature"]]
    gaps = [Gap(*gap) for gap in columns.itertuples(index=False)]
    return sorted(gaps, key=lambda gap: (-gap.length, gap.start, gap.vds))[:count]


def _of_longest(found: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The stretches that share start and length with one of the ``count`` longest."""
    spans, which = np.unique(found[:, :2], axis=0, return_inverse=True)
    if len(spans) <= count:
        return found
    longest = np.lexsort((spans[:, 0], -spans[:, 1]))[:count]
    return found[np.isin(which.ravel(), longest)]
