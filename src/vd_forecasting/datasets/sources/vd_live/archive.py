"""Files in a folder, a tar or a zip, read one by one and never unpacked to disk.

Archives are not trusted: a name is never a path to write to, links are not followed, and no member
may be larger than a bound, compressed or not.
"""

import gzip
import io
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vd_forecasting.datasets.sources.source import told_as

MOST_BYTES = 64 * 2**20
"""A minute of 3,000 detectors takes 5 MB."""

_MOST_MEMBERS = 5_000_000


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str  # with "/" between folders
    size: int  # as stored
    stamp: int  # changes with the content: its time, or its checksum
    offset: int = -1  # where its content begins in a tar

    @property
    def is_json(self) -> bool:
        return self.name.lower().removesuffix(".gz").endswith(".json")


def list_members(path: Path) -> list[Member]:
    """The regular files of an archive, by name; a ValueError if it is none, or damaged."""
    if path.is_dir():
        members = _in_folder(path)
    else:
        with path.open("rb") as file:  # a tar may end with a zip, which is_zipfile looks for
            is_zip = file.read(2) == b"PK"
        members = _in_zip(path) if is_zip else _in_tar(path)
    if len(members) > _MOST_MEMBERS:
        raise ValueError(f"has {len(members):,} files; ingest it year by year")
    return sorted(members, key=lambda member: member.name)


def read_member(path: Path, member: Member) -> bytes:
    """The content of a file, unpacked if its name ends with ``.gz``; a ValueError if it is damaged
    or larger than ``MOST_BYTES``, an OSError if it cannot be read."""
    if member.size > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB")
    if path.is_dir():
        with (path / member.name).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    elif member.offset >= 0:
        with path.open("rb") as file:
            file.seek(member.offset)
            content = file.read(member.size)
        if len(content) < member.size:
            raise ValueError("the archive ends within it")
    else:
        with (
            told_as("damaged in the zip file", zipfile.BadZipFile, zlib.error, EOFError, KeyError),
            told_as("encrypted, or compressed in an unknown way", RuntimeError),
            _opened_zip(path, path.stat().st_mtime_ns).open(member.name) as file,
        ):
            content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB")
    return _gunzip(content) if member.name.lower().endswith(".gz") else content


def _in_folder(path: Path) -> list[Member]:
    members = []
    for file in path.rglob("*"):
        if file.is_file() and not file.is_symlink():  # a link may lead out of the folder
            inside, status = file.relative_to(path).as_posix(), file.stat()
            members.append(Member(inside, status.st_size, status.st_mtime_ns))
    return members


def _in_zip(path: Path) -> list[Member]:
    with told_as("damaged zip file", zipfile.BadZipFile, NotImplementedError):
        infos = _opened_zip(path, path.stat().st_mtime_ns).infolist()
    return [Member(info.filename, info.file_size, info.CRC) for info in infos if not info.is_dir()]


def _in_tar(path: Path) -> list[Member]:
    problem = "neither a folder, a zip nor an uncompressed tar; unpack a .tar.gz with gunzip first"
    # "r:" and not "r:*": in a compressed tar, every file is found by unpacking all before it
    errors = (tarfile.TarError, EOFError, ValueError)
    with told_as(problem, *errors), tarfile.open(path, "r:") as tar:
        return [
            Member(info.name, info.size, int(info.mtime), info.offset_data)
            for info in tar
            if info.isreg() and not info.issparse()
        ]


@lru_cache(maxsize=1)
def _opened_zip(path: Path, stamp: int) -> zipfile.ZipFile:
    """Kept open, since listing a year of minutes takes seconds; ``stamp`` is part of the key."""
    return zipfile.ZipFile(path)


def _gunzip(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MOST_BYTES + 1)
    except EOFError as error:
        raise ValueError("truncated gzip file") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"damaged gzip file ({error})") from error
    if len(unpacked) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB once unpacked")
    return unpacked
