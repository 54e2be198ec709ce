"""Files that are either whole or not there: written beside their target, then renamed."""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any
from zlib import crc32

from kedro.io import DatasetError
from kedro.io.core import get_filepath_str
from kedro.utils import load_obj
from kedro_datasets.json import JSONDataset
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset
from pydantic import BaseModel, ValidationError

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

OLD_SECONDS = 24 * 3600
"""No file takes that long to write."""

_TEMPORARY = re.compile(r"\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<token>[0-9a-f]{8})\..")
_in_use: set[Path] = set()
"""The temporary files that this process is writing."""


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
    temporary = path.with_name(f".{_host()}-{os.getpid()}-{token_hex(4)}.{path.name}")
    _in_use.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        yield temporary
        _sync_file(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)
    except Exception as error:
        problem = write_problem(error)
        if problem is None:
            raise
        raise DatasetError(f"{path}: cannot be written, {problem}") from error
    finally:
        with suppress(OSError):  # the folder may not even exist
            temporary.unlink(missing_ok=True)
        _in_use.discard(temporary)


def write_problem(error: BaseException | None) -> str | None:
    """What of :data:`WRITE_PROBLEMS` an error, or one that led to it, comes from; None if none."""
    while error is not None:
        code = error.errno if isinstance(error, OSError) else None
        # HDF5 tells the number in its message only.
        told = re.search(r"errno = (\d+)", str(error))
        problem = WRITE_PROBLEMS.get(code or (int(told[1]) if told else 0))
        if problem is not None:
            return problem
        error = error.__cause__ or error.__context__
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in ``folder`` whose writers were killed."""
    # Tidying up must not stop anybody from writing.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and _is_left_over(Path(entry.path)):
                Path(entry.path).unlink(missing_ok=True)


def _is_left_over(path: Path) -> bool:
    found = _TEMPORARY.match(path.name)
    if found is None or path in _in_use:
        return False
    if found["host"] == _host() and os.name == "posix":
        pid = int(found["pid"])
        return pid == os.getpid() or not _is_alive(pid)
    # Of a process elsewhere nothing is known but that it would have finished long ago.
    return time.time() - path.stat().st_mtime > OLD_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _host() -> str:
    return f"{crc32(socket.gethostname().encode()):08x}"


def _sync_file(path: Path) -> None:
    """Wait until the content is on the disk; a rename could get there before it."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Wait until the names are on the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system can; the content is safe in any case
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _AtomicSave:
    """Mixin for kedro-datasets' single-file datasets: their ``save`` to a local file is atomic."""

    def save(self: Any, data: Any) -> None:
        write = super().save.__wrapped__  # type: ignore[misc]  # without Kedro's own wrapper
        if self._protocol != "file":
            write(self, data)  # an object store shows a new object only when it is whole
            return
        with replacing(Path(self._get_save_path())) as temporary:
            # a copy, because threads may save or load this very dataset meanwhile
            write(self._copy(_filepath=PurePosixPath(temporary), _version=None), data)


class AtomicJSONDataset(_AtomicSave, JSONDataset):
    """kedro-datasets' JSONDataset, saved atomically; it also saves pydantic models."""

    def save(self, data: Any) -> None:
        """Save plain values or a model."""
        super().save(data.model_dump(mode="json") if isinstance(data, BaseModel) else data)


class RecordDataset(AtomicJSONDataset):
    """A record of :mod:`vd_forecasting.artefacts`, a pydantic model, as a JSON file.

    Example::

        cost:
          type: vd_forecasting.datasets.RecordDataset
          filepath: data/06_models/cost.json
          holds: vd_forecasting.artefacts.Cost

    Args:
        holds: dotted name of the model.
        arguments: those of kedro-datasets' JSONDataset.
    """

    def __init__(self, *, holds: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._holds = holds

    def load(self) -> BaseModel:
        """The record.

        Raises:
            DatasetError: there is no such file, or it holds something else.
        """
        model: type[BaseModel] = load_obj(self._holds)
        try:
            return model.model_validate(super().load())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DatasetError(
                f"{self._filepath}: not a {model.__name__} of this version ({where}: "
                f"{first['msg']}); delete it and run the training that makes it again"
            ) from error


class AtomicCSVDataset(_AtomicSave, CSVDataset):
    """kedro-datasets' CSVDataset, saved atomically."""


class AtomicTextDataset(_AtomicSave, TextDataset):
    """kedro-datasets' TextDataset, saved atomically."""


class AtomicFigureDataset(_AtomicSave, MatplotlibDataset):
    """kedro-datasets' MatplotlibDataset, saved atomically; a saved figure can be loaded, as bytes.

    A figure that one node draws thus reaches the next as the image it was saved as.
    """

    def load(self) -> bytes:
        """The image file, in the format it was saved in.

        Raises:
            DatasetError: there is no such file.
        """
        path = get_filepath_str(self._get_load_path(), self._protocol)
        try:
            with self._fs.open(path, mode="rb") as file:
                content: bytes = file.read()
        except FileNotFoundError as error:
            raise DatasetError(f"{path}: no such file; run the node that draws it") from error
        return content
