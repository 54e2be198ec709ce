"""A digest of the data that a model sees."""

import json
from hashlib import blake2b

import numpy as np

from vd_forecasting.artefacts import WindowSet


def data_digest(windows: WindowSet, vds: slice) -> str:
    """Digest of all values that the model of these detectors sees."""
    digest = blake2b(digest_size=16)
    labels = [windows.one_by_one, windows.features, windows.targets, windows.ends]
    digest.update(json.dumps(labels).encode())
    series = [*windows.series(vds), windows.starts("train")]
    limits = (*windows.scaler.values(), *windows.range.values())
    for array in (*series, *(of[vds] for of in limits), windows.static[vds], windows.calendar):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view("uint8").data)
    return digest.hexdigest()
