"""Stretches: unbroken runs of time steps in which something holds; gaps, without values."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.vd_array import each_few_vds

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class LongestStretches(NamedTuple):
    """First step and number of steps of the longest stretch of each series; 0 steps for none."""

    start: Counts
    length: Counts


def stretches(holds: Mask) -> tuple[Counts, Counts, Counts]:
    """The series, the first step and the number of steps of all stretches, [S], of [n, T].

    They are in the order of the series, and of time within each.
    """
    series, steps = holds.shape
    # A step that does not hold at either end keeps the stretches of neighbouring series apart.
    padded = np.zeros((series, steps + 2), dtype=np.int8)
    padded[:, 1:-1] = holds
    change = np.diff(padded, axis=1)
    index, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return index, start, end - start


def longest_stretches(holds: Mask) -> LongestStretches:
    """The longest stretch, [n], of each series [n, T]; the first of equally long ones."""
    index, begin, steps = stretches(holds)
    start, length = np.zeros((2, len(holds)), dtype=np.int64)
    order = np.lexsort((begin, -steps, index))
    found, first = np.unique(index[order], return_index=True)
    start[found], length[found] = begin[order][first], steps[order][first]
    return LongestStretches(start, length)


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
    table = pd.DataFrame(columns=["start", "length", "vd", "feature"], dtype=np.int64)
    for part, values in each_few_vds(vd_clean, _VDS_AT_ONCE, "find gaps"):
        series, start, length = stretches(~np.isfinite(values).reshape(-1, values.shape[-1]))
        feature, vd = np.divmod(series, values.shape[1])
        found = {"start": start, "length": length, "vd": vd + part.start, "feature": feature}
        table = pd.concat([table, pd.DataFrame(found)])
        spans = table[["start", "length"]].drop_duplicates()
        spans = spans.sort_values(["length", "start"], ascending=[False, True])[:count]
        table = table.merge(spans)

    table = table.sort_values(["vd", "feature"])
    for shared in ("feature", "vd"):
        others = [name for name in table.columns if name != shared]
        table = table.groupby(others, sort=False)[shared].agg(tuple).reset_index()
    columns = table[["start", "length", "vd", "feature"]]
    gaps = [Gap(*gap) for gap in columns.itertuples(index=False)]
    return sorted(gaps, key=lambda gap: (-gap.length, gap.start, gap.vds))[:count]
