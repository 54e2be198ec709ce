"""Files in a folder, a tar or a zip, read one by one and never unpacked to disk.

Archives are not trusted: a name is never a path to write to, links are not followed, and no member
may be larger than a bound, compressed or not. Whatever cannot be read of them is named.
"""

import bz2
import gzip
import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from vd_forecasting.datasets.limits import (
    MOST_DICTIONARY_BYTES,
    MOST_LINES_BYTES,
    MOST_MEMBER_BYTES,
    MOST_MEMBERS,
)
from vd_forecasting.datasets.sources.source import check_packing, told_as
from vd_forecasting.wording import plural

_MOST_NAMED = 50
_PIECE = 4096  # bytes at once for a codec that unpacks all it is given; LZMA makes 28 MB of them
_LZMA_HEAD_BYTES = 9  # version, size of the properties; of these, one and the dictionary's size
_NO_ARCHIVE = "neither a folder, a zip nor an uncompressed tar; unpack a .tar.gz with gunzip first"
_NO_FILE = "a link, a device or the like; not followed"

# The end of a zip: a record of 22 bytes and a comment; it counts modulo 65,536.
_MOST_COUNTED = 2**16
_MOST_END_BYTES = 22 + _MOST_COUNTED

# Of a tar. tarfile itself reads a negative size as a way back, and takes damage for the end.
_BLOCK = tarfile.BLOCKSIZE
_MOST_NAME_BYTES = 2**16
_PAX = re.compile(rb"(\d{1,5}) ([^=\n]*)=")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_HEADERS = (*_PAX_TYPES, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_WITHOUT_CONTENT = (
    *(tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE),
    *(tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str  # with "/" between folders
    size: int  # in bytes; of a zip, as it declares, once unpacked
    stamp: int  # changes with the content: its time, or its checksum
    offset: int = -1  # where its content begins in a tar
    packed: int = -1  # its size in a zip

    @property
    def stored(self) -> int:
        """What it takes of the disk."""
        return self.size if self.packed < 0 else self.packed

    @property
    def is_gzip(self) -> bool:
        return self.name.lower().endswith(".gz")

    @property
    def form(self) -> str:
        """``xml``, ``json``, ``jsonl``, ..."""
        return self.name.lower().removesuffix(".gz").rpartition(".")[2]


@dataclass
class Listing:
    """What an archive holds."""

    members: list[Member] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # what is left out, and why


def list_members(path: Path) -> Listing:
    """The regular files of an archive, by name; a ValueError if it is none, or damaged."""
    if path.is_dir():
        found = _in_folder(path)
    else:
        with path.open("rb") as file:  # a tar may end with a zip, which is_zipfile looks for
            is_zip = file.read(2) == b"PK"
        found = _in_zip(path) if is_zip else _in_tar(path)
    if len(found.members) > MOST_MEMBERS:
        raise ValueError(f"has {len(found.members):,} files; ingest it year by year")
    found.members.sort(key=lambda member: member.name)
    return found


def read_member(path: Path, member: Member) -> bytes:
    """The content of a file, unpacked if its name ends with ``.gz``; a ValueError if it is damaged
    or larger than ``MOST_MEMBER_BYTES``, an OSError if it cannot be read."""
    if member.size > MOST_MEMBER_BYTES:
        raise ValueError(f"larger than {MOST_MEMBER_BYTES // 2**20} MiB")
    # whatever the codec: each has errors of its own
    with open_stored(path, member) as file, told_as("damaged in the archive", Exception):
        content = file.read(MOST_MEMBER_BYTES + 1)
    if len(content) > MOST_MEMBER_BYTES:
        raise ValueError(f"larger than {MOST_MEMBER_BYTES // 2**20} MiB")
    return _gunzip(content) if member.is_gzip else content


def read_lines(path: Path, member: Member) -> Iterator[bytes]:
    """The lines of a file that may be larger than memory; errors as of :func:`read_member`."""
    size = 0
    with open_stored(path, member) as stored:
        file: Any = gzip.GzipFile(fileobj=stored) if member.is_gzip else stored
        while True:
            try:
                line = file.readline(MOST_MEMBER_BYTES + 1)
            except Exception as error:  # as in read_member
                raise ValueError(f"damaged or cut off ({error})") from error
            if not line:
                return
            size += len(line)
            if len(line) > MOST_MEMBER_BYTES:
                raise ValueError(f"a line is larger than {MOST_MEMBER_BYTES // 2**20} MiB")
            if size > MOST_LINES_BYTES:
                raise ValueError(f"larger than {MOST_LINES_BYTES // 2**20:,} MiB")
            check_packing(size, member.stored)
            yield line


@contextmanager
def open_stored(path: Path, member: Member) -> Iterator[IO[bytes]]:
    """The content of a file as the archive stores it."""
    if path.is_dir():
        with (path / member.name).open("rb") as file:
            yield file
    elif member.offset >= 0:
        with path.open("rb") as file:
            file.seek(member.offset)
            yield io.BufferedReader(_Part(file, member.size))
    else:
        with (
            told_as("damaged in the zip file", zipfile.BadZipFile, EOFError, KeyError),
            told_as("encrypted, or compressed in an unknown way", RuntimeError),
        ):
            archive = _opened_zip(path, path.stat().st_mtime_ns)
            info = archive.getinfo(member.name)
            codec = info.compress_type
            if codec == zipfile.ZIP_BZIP2:  # zipfile would unpack 1 kB of it to a gigabyte at once
                info = _as_stored(info)
            elif codec == zipfile.ZIP_LZMA:
                with archive.open(_as_stored(info)) as packed:
                    _check_dictionary(packed.read(_LZMA_HEAD_BYTES))
            opened = archive.open(info)
        with opened:
            if codec in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield opened
            elif codec == zipfile.ZIP_BZIP2:
                yield cast("IO[bytes]", bz2.BZ2File(opened))
            else:
                yield io.BufferedReader(_Part(opened, member.size, _PIECE))


def _as_stored(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """A member of a zip as if its compressed bytes were its content."""
    stored = copy(info)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, info.compress_size
    del stored.CRC
    return stored


def _check_dictionary(head: bytes) -> None:
    """Refuse LZMA that declares, and so takes, more memory than any content needs."""
    size = int.from_bytes(head[-4:], "little")
    if size > MOST_DICTIONARY_BYTES:
        raise ValueError(
            f"damaged in the archive (LZMA with a dictionary of {size // 2**20:,} MiB; more than "
            f"{MOST_DICTIONARY_BYTES // 2**20} MiB is refused)"
        )


class _Part(io.RawIOBase):
    """The next ``size`` bytes of a file, at most ``piece`` of them at once."""

    def __init__(self, file: IO[bytes], size: int, piece: int = MOST_MEMBER_BYTES) -> None:
        self._file = file
        self._left = size
        self._piece = piece

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(min(len(buffer), self._left, self._piece))
        if self._left and not content:
            raise ValueError("the archive ends within it")
        buffer[: len(content)] = content
        self._left -= len(content)
        return len(content)


def _in_folder(path: Path) -> Listing:
    found = Listing()

    def note(error: OSError) -> None:
        name = Path(error.filename).relative_to(path).as_posix()
        found.skipped.append((name, error.strerror or "cannot be read"))

    for folder, folders, files in os.walk(path, onerror=note):
        for name in (*folders, *files):
            file = Path(folder, name)
            inside, status = file.relative_to(path).as_posix(), file.lstat()
            if stat.S_ISREG(status.st_mode):
                found.members.append(Member(inside, status.st_size, status.st_mtime_ns))
            elif not stat.S_ISDIR(status.st_mode):  # a link may lead out of the folder
                found.skipped.append((inside, _NO_FILE))
    return found


def _in_zip(path: Path) -> Listing:
    found, members = Listing(), dict[str, Member]()
    with told_as("damaged zip file", Exception):  # from anywhere in a library that trusts it
        infos = _opened_zip(path, path.stat().st_mtime_ns).infolist()
    for info in infos:
        if info.filename in members:  # a name opens the last file that has it
            found.skipped.append((info.filename, "there more than once; the last one is read"))
        if not info.is_dir():
            size, packed = info.file_size, info.compress_size
            members[info.filename] = Member(info.filename, size, info.CRC, packed=packed)
    found.members += members.values()
    declared = _files_in_zip(path)
    if declared not in (len(infos) % _MOST_COUNTED, _MOST_COUNTED - 1):  # which stands for more
        why = f"counts {declared:,} files, {len(infos):,} are listed; the others were not read"
        found.skipped.append(("directory of the zip", why))
    return found


def _files_in_zip(path: Path) -> int:
    """How many files the end of a zip counts; what is damaged before it, a library passes over."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _MOST_END_BYTES, 0))
        end = file.read()
    at = end.rfind(b"PK\5\6") + 10
    return int.from_bytes(end[at : at + 2], "little")


def _in_tar(path: Path) -> Listing:
    """The files of a tar. Behind a damaged header the next sound one is looked for."""
    found, named = Listing(), dict[str, str]()
    end, at, sound, is_lost, is_whole = path.stat().st_size, 0, 0, False, False
    with path.open("rb") as file:
        while at < end and at - sound <= MOST_MEMBER_BYTES:
            file.seek(at)
            block, at = file.read(_BLOCK), at + _BLOCK
            if not block.strip(b"\0"):
                is_whole = True
                continue
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                if at == _BLOCK:
                    raise ValueError(_NO_ARCHIVE) from error
                if not is_lost:
                    found.skipped.append((f"byte {at - _BLOCK:,} of the tar", "damaged header"))
                is_lost = True
                continue
            name, size = named.get("path", header.name), _size(named, header.size)
            if size < 0 or (header.type in _HEADERS and size > _MOST_NAME_BYTES):
                found.skipped.append((name, f"has a size of {size:,} bytes in the tar"))
                continue
            if header.type in _HEADERS:
                named |= _naming(header.type, file.read(size))
            else:
                if header.type in _REGULAR and not any("sparse" in key for key in named):
                    found.members.append(Member(name, size, int(header.mtime), at))
                elif not header.isdir():
                    found.skipped.append((name, _NO_FILE))
                named = {}
            at += 0 if header.type in _WITHOUT_CONTENT else -(-size // _BLOCK) * _BLOCK
            sound, is_lost, is_whole = at, False, False
    if not (is_lost or is_whole):
        found.skipped.append(("end of the tar", "missing; what was behind it was cut off"))
    if at < end:
        found.skipped.append((f"byte {sound:,} of the tar", "no file in the 64 MiB behind it"))
    return found


def _size(named: dict[str, str], size: int) -> int:
    """The size in a pax header, which may be beyond that of a plain one; −1 if it is no number."""
    text = named.get("size", str(size))
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else -1


def _naming(kind: bytes, content: bytes) -> dict[str, str]:
    """What a header says of the file behind it: of GNU its long name, of pax records
    ``length key=value``."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    said, at = dict[str, str](), 0
    while kind in _PAX_TYPES and (record := _PAX.match(content, at)):
        value = content[record.end() : at + int(record[1]) - 1]
        said[record[2].decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at = max(at + int(record[1]), record.end())
    return said


@lru_cache(maxsize=1)
def _opened_zip(path: Path, stamp: int) -> zipfile.ZipFile:
    """Kept open, since listing a year of minutes takes seconds; ``stamp`` is part of the key."""
    return zipfile.ZipFile(path)


def notes_of_broken(broken: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Notes on what of an archive cannot be read, and why."""
    if broken:
        yield f"{plural(len(broken), 'broken file')} skipped"
        for name, why in broken[:_MOST_NAMED]:
            yield f"{printable(name)}: {printable(why)}"
        if len(broken) > _MOST_NAMED:
            yield f"… and {len(broken) - _MOST_NAMED:,} more broken files"


def printable(text: str) -> str:
    """Text from outside without line breaks and control characters, cut to 300 characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _gunzip(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MOST_MEMBER_BYTES + 1)
    except EOFError as error:
        raise ValueError("truncated gzip file") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"damaged gzip file ({error})") from error
    if len(unpacked) > MOST_MEMBER_BYTES:
        raise ValueError(f"larger than {MOST_MEMBER_BYTES // 2**20} MiB once unpacked")
    return unpacked
