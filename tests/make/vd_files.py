"""A small VD file, written by plain h5py."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

STAMPS = ["2015-01-01T00:00:00", "2015-01-01T00:05:00", "", "2015-01-01T00:15:00"]
VDIDS = ["VD-11-0020-002-001", "None", "VD-11-0020-002-003"]
NAMES = ["avg_speed", "total_volume"]
VALUES = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
VALUES[1, 2, 0] = np.nan


def write(path: Path, **changes: Any) -> Path:
    """A small valid file by plain h5py; ``changes`` replaces data sets, or drops them with None."""
    contents = {
        "data/features": VALUES,
        "metadata/vdids": VDIDS,
        "metadata/feature_names": NAMES,
        "metadata/timestamps": STAMPS,
    } | {name.replace("__", "/"): content for name, content in changes.items()}
    with h5py.File(path, "w") as file:
        for name, content in contents.items():
            if content is not None:
                file[name] = content
    return path
