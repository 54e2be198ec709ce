"""Arrays that wait in a temporary file until they are saved for good."""

import os
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


class Scratch:
    """Takes arrays out of memory into one file, which is gone when none of them is left.

    It lies in the folder for temporary files, ``TMPDIR``, without a name.
    """

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as this is)
        weakref.finalize(self, self.file.close)

    def keep(self, array: npt.NDArray[Any]) -> Any:
        """A dask array that reads an array from the file, a chunk for each index of its first dim.

        An OSError names the folder, if that is full.
        """
        from dask.array import from_array  # noqa: PLC0415  (slow to import)

        begins = self.file.seek(0, os.SEEK_END)
        try:
            self.file.write(np.ascontiguousarray(array).data)
            self.file.flush()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise OSError(
                error.errno, f"{error.strerror}; set TMPDIR to another", folder
            ) from error
        kept = _Kept(self, begins, array.shape, array.dtype)
        return from_array(kept, (1, *array.shape[1:]), name=False, asarray=True)


@dataclass(frozen=True)
class _Kept:
    """An array in the file, which stays open for it."""

    scratch: Scratch
    begins: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        mapped = np.memmap(self.scratch.file, self.dtype, "r", self.begins, self.shape)
        return np.array(mapped[key])
