"""Files that are either whole or not there: written beside their target, then renamed."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any
from zlib import crc32

from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset
from pydantic import BaseModel

from vd_forecasting.running.kedro_private import is_local, save_path, save_unwrapped

WRITE_PROBLEMS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file is larger than is allowed here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of its folder's path is a file",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the disk reports an error",
}
"""What keeps a file from being written, though its content is fine."""

OLD_SECONDS = 24 * 3600  # no file takes that long to write
_HOST = f"{crc32(socket.gethostname().encode()):08x}"
_TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\..")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success that file takes the place of ``path``.

    On failure it is removed and whatever stood at ``path`` is left as it was. Nothing is there yet
    when the path is given; it ends like ``path``, for writers that go by the suffix. The content
    is on the disk before the name is, so that not even a power failure leaves half a file; what a
    killed process left behind is removed.

    Raises:
        DatasetError: in one line, if the disk is full, the folder read-only or the like.
    """
    temporary = path.with_name(f".{_HOST}-{os.getpid()}-{token_hex(4)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        yield temporary
        _sync(temporary, os.O_RDWR)
        temporary.replace(path)
        if os.name == "posix":
            with suppress(OSError):  # not every file system can; the content is safe in any case
                _sync(path.parent, os.O_RDONLY)
    except Exception as error:
        problem = write_problem(error)
        if problem is None:
            raise
        raise DatasetError(f"{path}: cannot be written, {problem}") from error
    finally:
        with suppress(OSError):  # the folder may not even exist
            temporary.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_problem(error: BaseException | None) -> str | None:
    """Which of :data:`WRITE_PROBLEMS` an error, or one that led to it, comes from; None if none."""
    while error is not None:
        # HDF5 gives the number in its message only.
        in_message = re.search(r"errno = (\d+)", str(error))
        code = error.errno if isinstance(error, OSError) else None
        problem = WRITE_PROBLEMS.get(code or (int(in_message[1]) if in_message else 0))
        if problem is not None:
            return problem
        error = error.__cause__ or error.__context__
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in ``folder`` whose writers were killed."""
    with suppress(OSError):  # tidying up must not keep anybody from writing
        for path in folder.glob(".*"):
            if _is_left_over(path):
                path.unlink(missing_ok=True)


def _is_left_over(path: Path) -> bool:
    found = _TEMPORARY.match(path.name)
    if found is None:
        return False
    if found[1] == _HOST and os.name == "posix":
        try:
            os.kill(int(found[2]), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # it lives, and is somebody else's
    # Whether a process of another machine still writes is not known, but it cannot take that long.
    return time.time() - path.stat().st_mtime > OLD_SECONDS


class _AtomicSave:
    """Mixin for kedro-datasets' single-file datasets: their ``save`` to a local file is atomic."""

    def save(self, data: Any) -> None:
        save = super().save  # type: ignore[misc]
        if not is_local(self):  # an object store shows a new object only when it is whole
            save_unwrapped(save, data)
        else:
            with replacing(save_path(self)) as temporary:
                save_unwrapped(save, data, temporary)


class AtomicJSONDataset(_AtomicSave, JSONDataset):
    """kedro-datasets' JSONDataset, saved atomically; it also saves pydantic models."""

    def save(self, data: Any) -> None:
        super().save(data.model_dump(mode="json") if isinstance(data, BaseModel) else data)


class AtomicCSVDataset(_AtomicSave, CSVDataset):
    """kedro-datasets' CSVDataset, saved atomically."""


class AtomicTextDataset(_AtomicSave, TextDataset):
    """kedro-datasets' TextDataset, saved atomically."""
