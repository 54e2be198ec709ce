"""HDF5 attributes of unknown origin as plain Python values; odd ones are no error."""

import math
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

UNREADABLE = (KeyError, OSError, RuntimeError, ValueError, TypeError)
"""Errors of h5py for damaged or unsupported objects, depending on where it notices."""


def read_attributes(item: h5py.Group) -> dict[str, str | int | float]:
    """Attributes of ``item`` that are a single string or number."""
    attrs: dict[str, str | int | float] = {}
    for name in item.attrs:
        with suppress(*UNREADABLE):
            value = _scalar(item.attrs[name])
            if isinstance(value, str | int | float):
                attrs[name] = value
    return attrs


def read_texts(item: h5py.Dataset, name: str) -> list[str]:
    """The attribute ``name`` as a list of strings, empty where there is no such list."""
    try:
        return [as_text(value) for value in np.atleast_1d(item.attrs[name]).tolist()]
    except UNREADABLE:
        return []


def as_number(value: Any) -> float:
    """The number in ``value``, also one written as text; NaN if there is no finite one."""
    try:
        number = float(_scalar(value))
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def as_text(value: Any) -> str:
    """The string in ``value``, or its number as one; "" if there is neither."""
    scalar = _scalar(value)
    if isinstance(scalar, float) and math.isnan(scalar):
        return ""
    return str(scalar) if isinstance(scalar, str | int | float) else ""


def _scalar(value: Any) -> Any:
    """The one Python value in what h5py makes of an attribute, or None."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):  # h5py decodes invalid bytes to surrogates
        return value.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    return value
