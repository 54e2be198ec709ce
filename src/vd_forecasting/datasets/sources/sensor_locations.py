"""Where detectors are, from a CSV file such as DCRNN's ``graph_sensor_locations.csv``."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vd_forecasting.datasets.hdf5_attributes import as_number

_MOST_BYTES = 64 * 2**20


def read_locations(path: Path, vdids: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """``position_lat`` and ``position_lon`` of each detector, [N], NaN where the file has none.

    The file has the columns ``sensor_id, latitude, longitude``; others are ignored.

    Raises:
        ValueError: there is no such file, or it lacks a column.
    """
    if not path.is_file():
        raise ValueError(f"locations: {path}: no such file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"locations: {path}: larger than any list of detectors")
    columns = ("sensor_id", "latitude", "longitude")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        try:
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"locations: {path}: has no column {missing[0]!r}")
            rows = {str(row["sensor_id"]).strip(): row for row in reader}
        except csv.Error as error:
            raise ValueError(f"locations: {path}: not a CSV file ({error})") from error
    nowhere: dict[str, Any] = {}
    found = [rows.get(vdid, nowhere) for vdid in vdids]
    return {
        "position_lat": np.array([as_number(row.get("latitude")) for row in found]),
        "position_lon": np.array([as_number(row.get("longitude")) for row in found]),
    }
