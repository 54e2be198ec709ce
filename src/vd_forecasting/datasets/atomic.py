"""Datasets of one file that is whole or not there: written beside its target, then renamed."""

import errno
import io
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar
from zlib import crc32

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset
from pandas.api.types import is_numeric_dtype
from pydantic import BaseModel, ValidationError

from vd_forecasting.datasets.limits import MEMORY_MB, MemoryLimit
from vd_forecasting.datasets.places import Place, RemoteFile, place
from vd_forecasting.running import kedro_private
from vd_forecasting.wording import one_line

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")

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
def replacing(file: Place) -> Iterator[Path]:
    """Give a path to write to; on success what is there takes the place of ``file``.

    On failure it is removed and whatever stood at ``file`` is left as it was. Nothing is there yet
    when the path is given; it ends like ``file``, for writers that go by the suffix. One of
    :data:`WRITE_PROBLEMS` becomes a DatasetError of one line. An error that an interrupt led to,
    such as torch's of half a file, is the interrupt.
    """
    try:
        with _beside(file) if isinstance(file, Path) else _to_send(file) as temporary:
            yield temporary
    except Exception as error:
        if any(isinstance(one, KeyboardInterrupt) for one in _leading_to(error)):
            raise KeyboardInterrupt from error
        problem = write_problem(error)
        if problem is None:
            raise
        raise DatasetError(f"{file}: cannot be written, {problem}") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path beside that of a file of this machine.

    The content is on the disk before the name is, so that not even a power failure leaves half a
    file; what a killed process left behind is removed. A link stays, and what it leads to is
    replaced.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{_HOST}-{os.getpid()}-{token_hex(4)}.{target.name}")
    try:
        if target.exists() and not target.is_file():
            raise DatasetError(f"{path}: cannot be written, {target} is no file")
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        yield temporary
        _sync(temporary, os.O_RDWR)
        temporary.replace(target)
        if os.name == "posix":
            with suppress(OSError):  # not every file system can; the content is safe in any case
                _sync(target.parent, os.O_RDONLY)
    finally:
        with suppress(OSError):  # the folder may not even exist
            temporary.unlink(missing_ok=True)


@contextmanager
def _to_send(file: RemoteFile) -> Iterator[Path]:
    """A path in a temporary folder, of a file that is sent to its store when it is whole."""
    with TemporaryDirectory(prefix="vd_forecasting-") as folder:
        temporary = Path(folder, file.name)
        yield temporary
        file.put(temporary)


@contextmanager
def replacing_hdf5(file: Place) -> Iterator[io.RawIOBase]:
    """As :func:`replacing`, with the new file as an object for ``h5py.File``, closed before this.

    HDF5 does not survive a failed write: it fails again when the file is closed and when Python
    ends, with tracebacks and a crash. So the first failure is kept, nothing more is written, and
    the failure is raised when HDF5 has closed the file.

    Flush the file after each array, so that the same content makes the same bytes. HDF5 finds the
    place of compressed values when the array is flushed or closed, and it is closed with the last
    reference to it. A profiler, as every Dask worker has one, may hold one a little longer.
    """
    with replacing(file) as temporary, _FailingLater(temporary, "w+") as raw:
        try:
            yield raw
        finally:
            if raw.failure is not None:
                raise raw.failure


class _FailingLater(io.FileIO):
    """An unbuffered file that writes until that fails or is interrupted, then only claims to."""

    failure: OSError | KeyboardInterrupt | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.failure is None:
                left = left[super().write(left) :]  # a nearly full disk takes a part
        except (OSError, KeyboardInterrupt) as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            super().truncate(size)
        except (OSError, KeyboardInterrupt) as error:
            self.failure = self.failure or error
        return size or 0


def _sync(path: Path, flags: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_problem(error: BaseException | None) -> str | None:
    """Which of :data:`WRITE_PROBLEMS` an error, or one that led to it, comes from; None if none."""
    for one in _leading_to(error):
        # HDF5 gives the number in its message only.
        in_message = re.search(r"errno = (\d+)", str(one))
        code = one.errno if isinstance(one, OSError) else None
        problem = WRITE_PROBLEMS.get(code or (int(in_message[1]) if in_message else 0))
        if problem is not None:
            return problem
    return None


def _leading_to(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the one that led to it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in ``folder`` whose writers were killed."""
    with suppress(OSError):  # tidying up must not keep anybody from writing
        for path in folder.glob(".*"):
            found = _TEMPORARY.match(path.name)
            if found and _is_left_over(path, found):
                path.unlink(missing_ok=True)


def _is_left_over(path: Path, found: re.Match[str]) -> bool:
    if found[1] == _HOST and has_ended(int(found[2])):
        return True
    # Whether a process of another machine still writes is not known, but it cannot take that long.
    return time.time() - path.stat().st_mtime > OLD_SECONDS


def has_ended(process: int) -> bool:
    """Whether a process of this machine is known to be gone."""
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # it lives, and is somebody else's
    return False


class FileDataset(AbstractDataset[Saved, Loaded]):
    """A dataset of one file.

    ``metadata`` of its catalog entry is for plugins, ``memory_mb`` raises the limit of
    :mod:`.limits`.
    """

    def __init__(
        self,
        *,
        filepath: str,
        metadata: dict[str, Any] | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> None:
        self.filepath = place(filepath)
        self.metadata = metadata
        self._memory_mb = memory_mb

    @property
    def limit(self) -> MemoryLimit:
        """What reading the file, as large as it is now, may take."""
        return MemoryLimit(self.filepath, self._memory_mb)

    def _describe(self) -> dict[str, Any]:
        entry = kedro_private.catalog_entry(self)
        known = entry.pop("kwargs", {}) | entry
        return {name: known[name] for name in known if name not in ("type", "args", "metadata")}

    def _exists(self) -> bool:
        return self.filepath.is_file()


class AtomicBytesDataset(FileDataset[bytes, bytes]):
    """A file of a format that others define, as its bytes, saved atomically."""

    def load(self) -> bytes:
        return self.filepath.read_bytes()

    def save(self, data: bytes) -> None:
        with replacing(self.filepath) as temporary:
            temporary.write_bytes(data)


class _AtomicSave:
    """Mixin for kedro-datasets' single-file datasets: their ``save`` is atomic, and the file is
    UTF-8 whatever the locale."""

    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8"},
        "open_args_load": {"mode": "r", "encoding": "utf-8"},
    }

    def save(self, data: Any) -> None:
        save = super().save  # type: ignore[misc]
        with replacing(kedro_private.save_path(self)) as temporary:
            kedro_private.save_unwrapped(save, data, temporary)

    def __getstate__(self) -> dict[str, Any]:
        return kedro_private.picklable_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        kedro_private.restore_state(self, state)


class AtomicJSONDataset(_AtomicSave, JSONDataset):
    """kedro-datasets' JSONDataset, saved atomically; it also saves pydantic models."""

    def save(self, data: Any) -> None:
        super().save(data.model_dump(mode="json") if isinstance(data, BaseModel) else data)


_FORMULA = r"'*[=+\-@\t\r]"
"""Begins a text that a spreadsheet would take for a formula, or such a text made harmless."""


class AtomicCSVDataset(_AtomicSave, CSVDataset):
    """kedro-datasets' CSVDataset, saved atomically.

    A text that a spreadsheet would take for a formula is stored with a ``'`` before it.
    """

    def load(self) -> pd.DataFrame:
        return as_before_saving(super().load())

    def save(self, data: pd.DataFrame) -> None:
        super().save(data.pipe(_without_formulas))


def as_before_saving(data: pd.DataFrame) -> pd.DataFrame:
    """What was read, as it was before it was saved."""
    return _each_text(data, rf"^'({_FORMULA})", r"\1")


def _without_formulas(data: pd.DataFrame) -> pd.DataFrame:
    return _each_text(data, rf"^({_FORMULA})", r"'\1")


def _each_text(data: pd.DataFrame, pattern: str, replacement: str) -> pd.DataFrame:
    """A table with this replaced in each cell that is text."""
    changed = {}
    for name, dtype in data.dtypes.items():
        if not is_numeric_dtype(dtype):  # a text often stands in many rows
            texts = [text for text in data[name].unique() if isinstance(text, str)]
            others = {text: re.sub(pattern, replacement, text) for text in texts}
            if others := {text: other for text, other in others.items() if other != text}:
                changed[str(name)] = data[name].replace(others)
    return data.assign(**changed)


class AtomicTableDataset(AtomicCSVDataset):
    """As :class:`AtomicCSVDataset`, with a copy as Parquet beside the file where pyarrow is
    installed. The CSV file is loaded."""

    def save(self, data: pd.DataFrame) -> None:
        super().save(data)
        path = kedro_private.save_path(self).with_suffix(".parquet")
        if find_spec("pyarrow") is None:
            path.unlink(missing_ok=True)  # one of an earlier run would be of other forecasts
            return
        with replacing(path) as temporary:
            data.to_parquet(temporary, index=False)


class AtomicTextDataset(_AtomicSave, TextDataset):
    """kedro-datasets' TextDataset, saved atomically."""


class RecordDataset(AtomicJSONDataset):
    """A record of :mod:`vd_forecasting.artefacts`, a pydantic model, as a JSON file.

    Example::

        cost:
          type: vd_forecasting.datasets.RecordDataset
          filepath: data/06_models/cost.json
          holds: vd_forecasting.artefacts.Cost

    ``holds`` is the dotted name of the model; all else is as for kedro-datasets' JSONDataset.
    """

    def __init__(self, *, holds: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holds = holds

    def load(self) -> BaseModel:
        model: type[BaseModel] = load_obj(self._holds)
        try:
            return model.model_validate(super().load())
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except DatasetError as error:  # Kedro's, around that of json
            if not isinstance(error.__cause__, ValueError | RecursionError):
                raise
            problem = one_line(error.__cause__)
        raise DatasetError(
            f"{kedro_private.file_of(self)}: not a {model.__name__} of this version "
            f"({problem}); delete it and run the training that makes it again"
        )
