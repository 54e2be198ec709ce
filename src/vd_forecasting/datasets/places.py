"""Where a file lies: on this machine, or in an object store such as S3.

A place on this machine is a ``Path``. One elsewhere, such as ``s3://bucket/file.h5``, is a
:class:`RemoteFile` with the few methods of a path that datasets need, over fsspec. Access keys and
the address of the store come from where its own tools look for them, such as ``AWS_ENDPOINT_URL``.

A store shows an object whole or not at all, and takes it whole: it is written to this machine's
temporary folder first (:func:`.atomic.replacing`).
"""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, ClassVar, Literal

import fsspec
from kedro.io import DatasetError

from vd_forecasting.garbage import no_garbage_collection
from vd_forecasting.wording import one_line

_HERE = "file://"

BLOCK_BYTES = 2**19
"""What is fetched at once. Chunks of HDF5 files take tens of kilobytes and lie scattered."""

MOST_BLOCKS = 256
"""Kept in memory. Cleaning takes a few detectors at a time, a chunk from each half week: the blocks
of a year hold the chunks of the next detectors too."""


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file that is not on this machine.

    Raises:
        FileNotFoundError: it is not there.
        DatasetError: one line; the store cannot be reached, or refuses.
    """

    url: str  # such as s3://bucket/folder/file.h5

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemoteFile":
        return RemoteFile(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "RemoteFile":
        return RemoteFile(self.url.rpartition("/")[0])

    def with_suffix(self, suffix: str) -> "RemoteFile":
        return self.parent / PurePosixPath(self.name).with_suffix(suffix).name

    def is_file(self) -> bool:
        return self._kind() == "file"

    def exists(self) -> bool:
        return self._kind() is not None

    def _kind(self) -> str | None:
        """What is there, by ``info``: ``isfile`` takes a store that does not answer for a no."""
        try:
            with self._store() as (store, path):
                return str(store.info(path)["type"])
        except FileNotFoundError:
            return None

    def size(self) -> int:
        """In bytes."""
        with self._store() as (store, path):
            return int(store.size(path))

    def checksum(self) -> str:
        """Another one if the content is another: of S3 its ETag; of other stores whatever they say,
        such as size and time of the last change."""
        with self._store() as (store, path):
            return f"{store.checksum(path):x}"

    def modified(self) -> str:
        """When it was written, to the second or finer."""
        with self._store() as (store, path):
            return str(store.modified(path).isoformat())

    def read_bytes(self, most: int | None = None) -> bytes:
        """The content, or so much of its beginning."""
        with self._store() as (store, path):
            return bytes(store.cat_file(path, end=most))

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode(encoding)

    @contextmanager
    def open(self, mode: Literal["rb"]) -> Iterator[io.RawIOBase]:
        """The content, of which only the blocks are fetched that are read."""
        checksum = self.checksum()
        with self._store() as (store, path):
            file = store.open(path, mode, cache_type="none")
        with file:
            yield _Reader(file, (self.url, checksum))

    def put(self, path: Path) -> None:
        """Replace the content by that of a file on this machine."""
        try:
            with self._store() as (store, own):
                store.put_file(str(path), own)
        except FileNotFoundError as error:
            raise DatasetError(f"{self}: cannot be written, there is no such bucket") from error

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            with self._store() as (store, path):
                store.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def glob(self, pattern: str) -> "list[RemoteFile]":
        """The files in this folder with such a name."""
        try:
            with self._store() as (store, path):
                names = [PurePosixPath(found).name for found in store.ls(path, detail=False)]
        except FileNotFoundError:
            return []
        return [self / name for name in sorted(names) if fnmatchcase(name, pattern)]

    @contextmanager
    def _store(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it.

        fsspec keeps the file systems of a process, and none across a fork. What they list is not
        kept: others write too.
        """
        with _naming(self.url):
            yield fsspec.url_to_fs(self.url, use_listings_cache=False)


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Turns errors into those of a :class:`RemoteFile`, with its address."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
    except Exception as error:  # every store has errors of its own
        raise DatasetError(f"{url}: {one_line(error)}") from error


class _Reader(io.RawIOBase):
    """Reads a file of fsspec through blocks that all readers in a process share.

    An array that lies in a file opens it anew for every part that is read. ``content`` names what
    is in the file, in this version.
    """

    _blocks: ClassVar[dict[tuple[Any, ...], bytes]] = {}  # the one used last is at the end
    _lock: ClassVar[Lock] = Lock()

    def __init__(self, file: Any, content: tuple[str, str]) -> None:
        self._file, self._content = file, content
        self._size = file.seek(0, io.SEEK_END)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(self._size - self._at, 0)]
        begin = self._at
        while left := view[self._at - begin :]:
            number, within = divmod(self._at, BLOCK_BYTES)
            part = self._block(number)[within : within + len(left)]
            if not part:
                raise DatasetError(f"{self._content[0]}: has become shorter while it was read")
            left[: len(part)] = part
            self._at += len(part)
        return len(view)

    def _block(self, number: int) -> bytes:
        key = (*self._content, number)
        with self._lock:
            block = self._blocks.pop(key, None)
            if block is None:
                # An object of h5py that is freed here would wait for the lock of h5py, whose owner
                # waits for this thread.
                with _naming(self._content[0]), no_garbage_collection():
                    self._file.seek(number * BLOCK_BYTES)
                    block = self._file.read(BLOCK_BYTES)
            self._blocks[key] = block
            if len(self._blocks) > MOST_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
        return block


Place = Path | RemoteFile


def place(path: str) -> Place:
    """The place that a path or an address leads to.

    Raises:
        ValueError: one line; the address is of no known kind.
        ImportError: one line; a package is missing to read it.
    """
    text = str(path)  # digits alone are a number in YAML
    if not is_remote(text):
        return Path(text.removeprefix(_HERE))
    protocol = text.partition("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise ValueError(f"{text}: {one_line(error)}") from error
    except ImportError as error:
        mend = "pip install -e '.[s3]'" if protocol == "s3" else one_line(error)
        raise ImportError(f"{text}: a package is missing for {protocol}://; {mend}") from error
    return RemoteFile(text)


def is_remote(path: str) -> bool:
    """Whether it is an address and no path on this machine."""
    return "://" in str(path) and not str(path).startswith(_HERE)


def folder(path: str) -> str:
    """A folder as the catalog writes it: an object store takes a doubled slash for another name."""
    return str(path).removeprefix(_HERE).rstrip("/") or "/"


def local_folder(outputs: str) -> str:
    """Where a run keeps what cannot lie in an object store, by the folder of its outputs."""
    return "data" if is_remote(outputs) else outputs


def size_of(file: Place) -> int:
    """In bytes; 0 if it is not there."""
    if isinstance(file, RemoteFile):
        return file.size() if file.exists() else 0
    return file.stat().st_size if file.exists() else 0


def stamp(file: Place) -> tuple[int | str, ...]:
    """Another one if the file has changed."""
    if isinstance(file, RemoteFile):
        return (file.checksum(),)
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def written(file: Place) -> str:
    """When a file was written, also if with the same content: never equal for two runs."""
    return file.modified() if isinstance(file, RemoteFile) else f"{file.stat().st_mtime_ns}"


@contextmanager
def readable(file: Place) -> Iterator[Any]:
    """What h5py and xarray take: a path, or an open file that fetches what they read."""
    if isinstance(file, Path):
        yield file
    else:
        with file.open("rb") as opened:
            yield opened


@contextmanager
def on_this_machine(file: Place) -> Iterator[Path]:
    """The path of a file, or of a copy, for as long as the context lasts, of one elsewhere."""
    if isinstance(file, Path):
        yield file
    else:
        with TemporaryDirectory(prefix="vd_forecasting-") as temporary:
            copy = Path(temporary, file.name)
            copy.write_bytes(file.read_bytes())
            yield copy
