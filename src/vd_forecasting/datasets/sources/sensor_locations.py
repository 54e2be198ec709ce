"""Where detectors are, from a CSV file such as DCRNN's ``graph_sensor_locations.csv``."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vd_forecasting.datasets.hdf5_attributes import as_number

_MOST_BYTES = 64 * 2**20


def read_locations(path: str | None, vdids: Sequence[str]) -> dict[str, Any]:
    """Coordinates ``position_lat`` and ``position_lon``, each [N] with NaN where the file has none.

    The file has the columns ``sensor_id, latitude, longitude``; others are ignored. Without a file,
    nothing is known.

    Raises:
        ValueError: there is no such file, or it lacks a column.
    """
    if not path:
        return {}
    if not Path(path).is_file():
        raise ValueError(f"locations: {path}: no such file")
    if Path(path).stat().st_size > _MOST_BYTES:
        raise ValueError(f"locations: {path}: larger than any list of detectors")
    with Path(path).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for name in ("sensor_id", "latitude", "longitude"):
                if name not in (reader.fieldnames or ()):
                    raise ValueError(f"locations: {path}: has no column {name!r}")
            rows = {str(row["sensor_id"]).strip(): row for row in reader}
        except csv.Error as error:
            raise ValueError(f"locations: {path}: not a CSV file ({error})") from error
    found: list[Mapping[str, Any]] = [rows.get(vdid, {}) for vdid in vdids]
    return {
        name: ("vd", [as_number(row.get(column)) for row in found])
        for name, column in (("position_lat", "latitude"), ("position_lon", "longitude"))
    }
