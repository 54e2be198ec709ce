"""The VD file: its labels, checked without reading a single feature value.

No link out of the file is followed: a file from anywhere must not show another file of this
machine.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from kedro.io import DatasetError

from vd_forecasting.datasets import hdf5_attributes as attributes
from vd_forecasting.datasets.timestamps import parse_timestamps
from vd_forecasting.wording import one_line, quoted

FEATURES = "/data/features"
VDIDS = "/metadata/vdids"
FEATURE_NAMES = "/metadata/feature_names"
TIMESTAMPS = "/metadata/timestamps"
VD_INFO = "/metadata/vd_info"

# 38 years of minutes, 100 bytes each: a file of a few kilobytes can declare more strings than any
# machine holds.
_MOST_LABELS = 20_000_000
_MOST_LABEL_BYTES = 2**31
# Of those registered with The HDF Group, the ones that the package hdf5plugin brings.
_FILTERS = {
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32018: "fcidecomp",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
}


class ContractError(ValueError):
    """The file breaks the contract; the message does not name the file."""


@contextmanager
def open_vd_file(path: Path) -> Iterator[h5py.File]:
    """Open ``path`` for reading; a DatasetError of one line, which names ``path``, if the file is
    missing, damaged or breaks the contract, found now or while the caller reads from it."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "no such file"
        raise DatasetError(f"{path}: {what}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        text = one_line(error)
        if "signature not found" in text:
            text = "not an HDF5 file"
        elif "truncated file" in text:
            text = "truncated HDF5 file, part of it is missing; copy or download it again"
        raise DatasetError(f"{path}: {text}") from error
    with file:
        try:
            yield file
        except ContractError as error:
            raise DatasetError(f"{path}: {error}") from error
        except attributes.UNREADABLE as error:
            raise DatasetError(f"{path}: damaged HDF5 file ({one_line(error)})") from error


def features_of(file: h5py.File) -> h5py.Dataset:
    """The feature values, [T, N, F], unread; a ContractError if their shape or type is wrong."""
    dataset = _member(file, FEATURES)
    if dataset.ndim != 3:
        raise ContractError(
            f"{FEATURES} has {dataset.ndim} axes, must have 3: time, VD and feature"
        )
    if dataset.dtype.kind not in "iuf":
        raise ContractError(f"{FEATURES} has type {dataset.dtype}, must be numeric")
    return dataset


def read_labels(file: h5py.File) -> tuple[dict[str, Any], dict[str, Any]]:
    """The coordinates and attributes of the array, as :class:`.vd_hdf5.VDHDF5Dataset` describes
    them: everything in a VD file except the feature values.

    Raises:
        ContractError: they are missing, empty or ambiguous, or do not fit the values.
    """
    parts, counted = (TIMESTAMPS, VDIDS, FEATURE_NAMES), ("time steps", "VDs", "features")
    shape = features_of(file).shape
    stamps, vdids, names = texts = [_strings(file, name) for name in parts]
    for axis, (size, name, labels, what) in enumerate(
        zip(shape, parts, texts, counted, strict=True)
    ):
        if size != len(labels):
            raise ContractError(
                f"{FEATURES} has {size} {what} (axis {axis}), but {name} has {len(labels)}"
            )
        if size == 0:
            raise ContractError(f"the file is empty: {FEATURES} has 0 {what} (axis {axis})")
    times, utc_offset = parse_timestamps(stamps)
    if np.isnat(times).all():
        raise ContractError(
            f"no usable time stamp among the {len(stamps)} of {TIMESTAMPS}: all are blank or not "
            f"ISO 8601, such as {next((s for s in stamps if s.strip()), '')!r}"
        )
    for name, labels, what in ((VDIDS, vdids, "VDIDs"), (FEATURE_NAMES, names, "features")):
        if twice := duplicates(labels):
            raise ContractError(f"duplicate {what} in {name}: {quoted(twice)}")
    units = attributes.read_texts(_member(file, FEATURE_NAMES), "units")
    if len(units) != len(names):
        units = [""] * len(names)
    coords: dict[str, Any] = {"time": ("time", times), "vd": ("vd", np.array(vdids, dtype=str))}
    coords["feature"], coords["unit"] = (("feature", np.array(x, str)) for x in (names, units))
    info = None
    with suppress(*attributes.UNREADABLE):  # it is optional, so no oddity in it is an error
        info = follow(file, VD_INFO)
    if isinstance(info, h5py.Group):
        coords |= attributes.read_info(info, vdids)
    clock = {} if utc_offset is None else {"utc_offset": utc_offset}
    return coords, {**attributes.read_attributes(file), **clock}


def duplicates(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, in their order."""
    return [name for name, times in Counter(names).items() if times > 1]


def _member(file: h5py.File, name: str) -> h5py.Dataset:
    dataset = follow(file, name)
    if dataset is None:
        held = quoted(list(islice(file, 5))) or "nothing"
        raise ContractError(f"not a VD file, it has no {name}; its top level holds {held}")
    return own_dataset(dataset, name)


def own_dataset(item: Any, name: str) -> h5py.Dataset:
    """``item``, if it is a data set whose values lie in this file; else a ContractError."""
    if not isinstance(item, h5py.Dataset):
        raise ContractError(f"{name} is a group, must be a data set")
    if item.is_virtual or item.external:
        kind = "a virtual data set" if item.is_virtual else "stored in another file"
        raise ContractError(f"{name} is {kind}; a VD file must hold its own values")
    if missing := _missing_filter(item):
        raise ContractError(f"{name} needs the HDF5 filter {missing}; or write it again with gzip")
    return item


def _missing_filter(dataset: h5py.Dataset) -> str:
    """The HDF5 filter that this machine lacks to read a data set, and what brings it; or ""."""
    properties = dataset.id.get_create_plist()
    for code in (properties.get_filter(place)[0] for place in range(properties.get_nfilters())):
        name = _FILTERS.get(code)
        if name and not h5py.h5z.filter_avail(code):
            with suppress(ImportError):
                import_module("hdf5plugin")  # which registers its filters
        if not h5py.h5z.filter_avail(code):
            mend = f"{name} ({code}), which the package hdf5plugin brings: pip install hdf5plugin"
            return mend if name else f"number {code}, which is not installed"
    return ""


def follow(file: h5py.File, name: str) -> Any:
    """The object called ``name``; None if there is none, a ContractError where its path leads over
    a soft or an external link, or through a data set."""
    item, at = file, ""
    for part in name.strip("/").split("/"):
        if not isinstance(item, h5py.Group):
            raise ContractError(f"{at} is a data set, must be a group")
        at += f"/{part}"
        link = item.get(part, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            kind = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}
            raise ContractError(
                f"{at} is {kind.get(type(link), 'a link')}; a VD file must hold its own values"
            )
        item = item[part]
    return item


def _strings(file: h5py.File, name: str) -> list[str]:
    dataset = _member(file, name)
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise ContractError(f"{name} has type {dataset.dtype}, must be strings")
    if dataset.ndim != 1:
        raise ContractError(f"{name} has {dataset.ndim} axes, must have 1")
    if dataset.size > _MOST_LABELS or dataset.size * dataset.dtype.itemsize > _MOST_LABEL_BYTES:
        raise ContractError(
            f"{name} declares {dataset.size} strings of {dataset.dtype.itemsize} bytes, "
            "which is more than any VD file needs"
        )
    if dataset.size and dataset.id.get_storage_size() == 0:
        raise ContractError(f"{name} declares {dataset.size} strings, but none was ever written")
    return list(dataset.asstr(errors="replace")[:].tolist())
