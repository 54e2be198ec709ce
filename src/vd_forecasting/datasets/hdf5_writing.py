"""A file HDF5 can write to on a disk that may fill up."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def file_for_hdf5(path: Path) -> Iterator[io.RawIOBase]:
    """Give a new file at ``path`` as an object for ``h5py.File``, to be closed before this.

    HDF5 does not survive a failed write: it fails again when the file is closed and when Python
    ends, with tracebacks and a crash. So the first failure is kept, nothing more is written, and
    the failure is raised when HDF5 has closed the file.

    Raises:
        OSError: the first write that failed.
    """
    with _FailingLater(path, "w+") as file:
        try:
            yield file
        finally:
            if file.failure is not None:
                raise file.failure


class _FailingLater(io.FileIO):
    """An unbuffered file that writes until that fails, then only claims to write."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.failure is None:
                left = left[super().write(left) :]  # a nearly full disk takes a part
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
        return size or 0
