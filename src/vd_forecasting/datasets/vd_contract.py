"""The VD file: its labels, checked without reading a single feature value.

No link is followed, in this and in any other HDF5 file: a file from anywhere must not show another
file of this machine.
"""

import logging
import math
import mmap
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from kedro.io import DatasetError

from vd_forecasting.datasets import hdf5_attributes as attributes
from vd_forecasting.datasets.limits import COPIES, MemoryLimit
from vd_forecasting.datasets.places import Place, readable
from vd_forecasting.datasets.timestamps import parse_timestamps
from vd_forecasting.wording import one_line, quoted, without_controls

logger = logging.getLogger(__name__)

FEATURES = "/data/features"
VDIDS = "/metadata/vdids"
FEATURE_NAMES = "/metadata/feature_names"
TIMESTAMPS = "/metadata/timestamps"
VD_INFO = "/metadata/vd_info"

CACHE_BYTES = 2**26
"""For a file whose labels are read: each of their chunks is unpacked once."""

_SEARCHED_BYTES = 2**26  # of a larger file, the beginning
_STRING_BYTES = 64  # of a Python string, without its characters
# Values are read piece by piece. No compression reaches this: most of them were never written, and
# working through them would not end.
_MOST_UNFOLDING = 1000
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
def open_vd_file(path: Place, cache_bytes: int | None = None) -> Iterator[h5py.File]:
    """Open ``path`` for reading; a DatasetError of one line, which names ``path``, if the file is
    missing, damaged or breaks the contract, found now or while the caller reads from it."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "no such file"
        raise DatasetError(f"{path}: {what}")
    with readable(path) as content, _opened(content, path, cache_bytes) as file:
        try:
            yield file
        except ContractError as error:
            raise DatasetError(f"{path}: {error}") from error
        except attributes.UNREADABLE as error:
            raise DatasetError(f"{path}: damaged HDF5 file ({one_line(error)})") from error


def _opened(content: Path | IO[bytes], path: Place, cache_bytes: int | None) -> h5py.File:
    try:
        return h5py.File(content, "r", rdcc_nbytes=cache_bytes)
    except OSError as error:
        text = one_line(error)
        if "signature not found" in text:
            text = "not an HDF5 file"
        elif "truncated file" in text:
            text = "truncated HDF5 file, part of it is missing; copy or download it again"
        raise DatasetError(f"{path}: {text}") from error


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


def read_labels(file: h5py.File, limit: MemoryLimit) -> tuple[dict[str, Any], dict[str, Any]]:
    """The coordinates and attributes of the array, as :class:`.vd_hdf5.VDHDF5Dataset` describes
    them: everything in a VD file except the feature values.

    Raises:
        ContractError: they are missing, empty or ambiguous, or do not fit the values.
        DatasetError: they take more memory than the limit.
    """
    parts, counted = (TIMESTAMPS, VDIDS, FEATURE_NAMES), ("time steps", "VDs", "features")
    check_heaps(limit.path)
    features = features_of(file)
    shape = features.shape
    stamps, stored_vdids, names = texts = [
        read_strings(_member(file, name), limit) for name in parts
    ]
    for axis, (size, name, labels, what) in enumerate(
        zip(shape, parts, texts, counted, strict=True)
    ):
        if size != len(labels):
            raise ContractError(
                f"{FEATURES} has {size} {what} (axis {axis}), but {name} has {len(labels)}"
            )
        if size == 0:
            raise ContractError(f"the file is empty: {FEATURES} has 0 {what} (axis {axis})")
    check_chunks(features, limit)
    if features.nbytes > _MOST_UNFOLDING * limit.file_bytes:
        limit.check(features.nbytes, f"{FEATURES} declares the shape {shape}")
    for name, labels in ((VDIDS, stored_vdids), (FEATURE_NAMES, names)):
        limit.check_names(max(map(len, labels)), len(labels), f"a name in {name}")
    vdids, names = _readable(stored_vdids, VDIDS, limit), _readable(names, FEATURE_NAMES, limit)
    times, utc_offset = parse_timestamps(stamps)
    if np.isnat(times).all():
        raise ContractError(
            f"no usable time stamp among the {len(stamps)} of {TIMESTAMPS}: all are blank or not "
            f"ISO 8601, such as {next((s for s in stamps if s.strip()), '')!r}"
        )
    for name, labels, what in ((VDIDS, vdids, "VDIDs"), (FEATURE_NAMES, names, "features")):
        if twice := duplicates(labels):
            raise ContractError(f"duplicate {what} in {name}: {quoted(twice)}")
    units = attributes.read_texts(_member(file, FEATURE_NAMES), "units", limit)
    units = _readable(units, f"units of {FEATURE_NAMES}", limit)
    if len(units) != len(names):
        units = [""] * len(names)
    coords: dict[str, Any] = {"time": ("time", times), "vd": ("vd", np.array(vdids, dtype=str))}
    coords["feature"], coords["unit"] = (("feature", np.array(x, str)) for x in (names, units))
    info = None
    with suppress(*attributes.UNREADABLE):  # it is optional, so no oddity in it is an error
        info = follow(file, VD_INFO)
    if isinstance(info, h5py.Group):
        coords |= attributes.read_info(info, stored_vdids, limit)
        for name in attributes.TEXTS:
            texts_of_vds = _readable(coords[name][1].tolist(), f"{VD_INFO}: {name}", limit)
            coords[name] = ("vd", np.array(texts_of_vds, dtype=str))
    clock = {} if utc_offset is None else {"utc_offset": utc_offset}
    return coords, {**attributes.read_attributes(file, limit), **clock}


def replace_controls(names: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """Names whose control characters are spaces, and a note, if any are changed: in a log or on a
    page, what follows a line break would pass for the program's own words."""
    clean = list(map(without_controls, names))
    odd = [name for name, own in zip(names, clean, strict=True) if name != own]
    if not odd:
        return clean, []
    return clean, [
        f"control characters in {len(odd):,} of {what}, such as {odd[0]!r}, are now spaces"
    ]


def _readable(names: Sequence[str], where: str, limit: MemoryLimit) -> list[str]:
    clean, notes = replace_controls(names, where)
    for note in notes:
        logger.warning("%s: %s", limit.path.name, note)
    return clean


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
        raise ContractError(f"{name} is {kind}; the file must hold its own values")
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
                f"{at} is {kind.get(type(link), 'a link')}; the file must hold its own values"
            )
        item = item[part]
    return item


def check_heaps(path: Place) -> None:
    """Refuse a file in whose lists of strings an entry leads to itself: HDF5 would never return.

    A list begins with GCOL, its version and its size; an entry with its number, 0 for what is free,
    and its size.
    """
    with _searchable(path) as content:
        begin = content.find(b"GCOL\1\0\0\0", 0, _SEARCHED_BYTES)
        while begin >= 0:
            at = begin + 16
            end = min(begin + int.from_bytes(content[begin + 8 : at], "little"), len(content))
            while at + 16 <= end:
                number, size = struct.unpack("<H6xQ", content[at : at + 16])
                if number == size == 0:
                    raise ContractError("damaged HDF5 file (a list of strings has no end)")
                at += size if number == 0 else 16 + (size + 7) // 8 * 8
            begin = content.find(b"GCOL\1\0\0\0", begin + 8, _SEARCHED_BYTES)


@contextmanager
def _searchable(file: Place) -> Iterator[mmap.mmap | bytes]:
    """The content of a file; of one that is not on this machine, the part that is searched."""
    if isinstance(file, Path):
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            yield content
    else:
        with file.open("rb") as fetched:
            yield fetched.read(_SEARCHED_BYTES)


def check_chunks(dataset: h5py.Dataset, limit: MemoryLimit) -> None:
    """Refuse chunks larger than memory may hold: of a chunk, all or nothing is read."""
    if dataset.chunks:
        needed = math.prod(dataset.chunks) * dataset.dtype.itemsize
        limit.check(needed, f"{dataset.name} has chunks of {dataset.chunks}")


def read_strings(dataset: h5py.Dataset, limit: MemoryLimit) -> list[str]:
    """The strings of a data set [N]; a DatasetError if they take more memory than the limit."""
    name, size = dataset.name, dataset.size
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise ContractError(f"{name} has type {dataset.dtype}, must be strings")
    if dataset.ndim != 1:
        raise ContractError(f"{name} has {dataset.ndim} axes, must have 1")
    if size and dataset.id.get_storage_size() == 0:
        raise ContractError(f"{name} declares {size} strings, but none was ever written")
    each = dataset.dtype.itemsize
    limit.check(size * (_STRING_BYTES + each), f"{name} declares {size} strings of {each} bytes")
    check_chunks(dataset, limit)
    at_once = max(size, 1)
    if dataset.dtype.kind == "O":
        # All may be one and the same, as long as the file.
        characters = _characters(dataset, limit.path)
        limit.check(COPIES * (characters or 0), f"{name} refers to long strings")
        if characters is None:
            at_once = limit.most_bytes // (COPIES * limit.file_bytes)
    texts: list[str] = []
    needed = 0
    for start in range(0, size, at_once):
        part = dataset.asstr(errors="replace")[start : start + at_once].tolist()
        needed += COPIES * sum(map(len, part))
        limit.check(needed, f"{name} has strings of up to {max(map(len, part)):,} characters")
        texts += part
    return texts


def _characters(dataset: h5py.Dataset, path: Place) -> int | None:
    """The bytes of all strings of variable length, which HDF5 would allocate to read them; None
    where they are stored in an unusual way.

    Stored are references: the length, and where in the file the string is, in 4 and 12 bytes.
    """
    unusual = dataset.shuffle or dataset.fletcher32 or dataset.compression not in (None, "gzip")
    unusual = unusual or not hasattr(dataset.id, "chunk_iter")
    if unusual or dataset.file.id.get_create_plist().get_sizes() != (8, 8):
        return None
    stored: list[tuple[int, int]] = []  # offsets and sizes in the file
    if dataset.chunks:
        dataset.id.chunk_iter(lambda chunk: stored.append((chunk.byte_offset, chunk.size)))
    else:
        stored.append((dataset.id.get_offset() or 0, 16 * dataset.size))
    characters = 0
    with path.open("rb") as file:
        for offset, size in stored:
            file.seek(offset)
            references = file.read(size)
            if dataset.compression:
                try:
                    references = zlib.decompressobj().decompress(references, 16 * dataset.chunks[0])
                except zlib.error:
                    return None
            whole = references[: len(references) // 16 * 16]
            characters += int(np.frombuffer(whole, "<u4")[::4].sum(dtype=np.int64))
    return characters
