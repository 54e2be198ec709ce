"""Loads tables by the datasets that the catalog would use."""

from pathlib import Path
from typing import Any

import xarray as xr

from tests.make.exports import LONG_COLUMNS
from vd_forecasting.datasets import LongTableDataset, WideTableDataset


def load_wide(path: Path, **options: Any) -> xr.DataArray:
    fixed = {"filepath": str(path), "time_column": "time", "feature": "avg_speed"}
    return WideTableDataset(**fixed | options).load()


def load_long(path: Path, **options: Any) -> xr.DataArray:
    fixed = {
        "filepath": str(path),
        "time_column": "timestamp",
        "vd_column": "vdid",
        "features": LONG_COLUMNS,
    }
    return LongTableDataset(**fixed | options).load()
