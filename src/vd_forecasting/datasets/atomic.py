"""Files that are either whole or not there: written beside their target, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any

from kedro.io import DatasetError
from kedro.io.core import get_filepath_str
from kedro_datasets.json import JSONDataset
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success that file takes the place of ``path``.

    On failure it is removed and whatever stood at ``path`` is left as it was. Nothing is there yet
    when the path is given; it ends like ``path``, for writers that go by the suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{token_hex(8)}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """kedro-datasets' JSONDataset, saved atomically."""


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
