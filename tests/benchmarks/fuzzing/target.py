"""A reader, its inputs, and what every source must give."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import xarray as xr

from tests.make.exports import assert_same
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.parameters import Report
from vd_forecasting.pipelines.ingest.ingest import ingest
from vd_forecasting.wording import without_controls


@dataclass(frozen=True)
class Target:
    """A reader and how its inputs are made and judged."""

    name: str
    file: str
    make: Callable[[Path, Random], Any]
    """Writes an input, changed or not; gives what the judge needs to know of it."""
    read: Callable[[Path], Any]
    """Reads all of it, as Kedro does."""
    judge: Callable[[Path, Any, Any], str] = lambda path, made, found: ""
    """What is wrong about what was read; "" if nothing."""


def problem_of(array: xr.DataArray, path: Path) -> str:
    """Why the pipeline ``ingest`` cannot hand the array on; "" if it can, and it comes back."""
    vd, page = ingest(array, Report(language="en"))
    if any(without_controls(line) != line for line in page.split("\n")) or "<script" in page:
        return "text of the file is raw on the page"
    names = [*map(str, [*vd["vd"].to_numpy(), *vd["feature"].to_numpy()])]
    if [*map(without_controls, names)] != names:
        return f"names with control characters: {names}"
    saved = VDHDF5Dataset(filepath=str(path.parent / "ingested.h5"))
    saved.save(vd)
    assert_same(saved.load(), vd)
    return ""
