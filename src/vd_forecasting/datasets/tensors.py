"""Files of nested dicts and lists of tensors, numbers and strings, as ``torch.save`` makes them:
trained models, and the states of trainings in progress, kept so that a killed one can resume.

Reading one runs no code and takes no more memory than the file is large.
"""

import logging
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import FileDataset, local_path, remove_leftovers, replacing
from vd_forecasting.wording import first_line

logger = logging.getLogger(__name__)

SUFFIX = ".state.pt"

Plain = dict[str, Any]  # nested dicts and lists of tensors, numbers and strings


class CheckpointDataset(FileDataset[Plain, Plain]):
    """Loads and saves a trained model, its tensors onto the CPU wherever they were trained."""

    def load(self) -> Plain:
        if not self.filepath.is_file():
            raise DatasetError(f"{self.filepath}: no such file; run the training that makes it")
        try:
            return load_plain(self.filepath)
        except DatasetError as error:
            raise DatasetError(f"{error}; delete it and train again") from error

    def save(self, data: Plain) -> None:
        with replacing(self.filepath) as temporary:
            save_plain(data, temporary)


@dataclass(frozen=True)
class TrainingState:
    """States by name, each a file in one folder that comes with the first of them."""

    folder: Path

    def load(self, name: str) -> Plain | None:
        """The state of that name; None, with a log line for a broken file, if there is none."""
        path = self._path(name)
        try:
            return load_plain(path) if path.is_file() else None
        except DatasetError as error:
            logger.warning("%s; it is ignored", error)
            return None

    def save(self, name: str, state: Plain) -> None:
        """Keep a state, in place of an earlier one of that name, safe from a power failure."""
        with replacing(self._path(name)) as temporary:
            save_plain(state, temporary)

    def clear(self, besides: Collection[str] = ()) -> None:
        """Remove all states but some, given by name."""
        kept = {self._path(name) for name in besides}
        with suppress(OSError):  # one that stays is ignored or overwritten by the next training
            for path in set(self.folder.glob(f"*{SUFFIX}")) - kept:
                path.unlink(missing_ok=True)
            remove_leftovers(self.folder)
            self.folder.rmdir()

    def _path(self, name: str) -> Path:
        # A name may hold a VDID, and a VDID may hold anything.
        readable = quote(name, safe="").lstrip(".")[:60]
        digest = blake2b(name.encode(), digest_size=4).hexdigest()
        return self.folder / f"{readable}-{digest}{SUFFIX}"


class TrainingStateDataset(AbstractDataset[Collection[str], TrainingState]):
    """Gives a training the folder in which it keeps its states as it proceeds.

    Saved are the names of the states that the training may use; others are removed. The training
    itself writes the states: a node's output would come too late for a run that is killed.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = local_path(filepath)
        self.metadata = metadata

    def load(self) -> TrainingState:
        remove_leftovers(self._folder)
        return TrainingState(self._folder)

    def save(self, data: Collection[str]) -> None:
        TrainingState(self._folder).clear(data)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def _exists(self) -> bool:
        return True


def save_plain(data: Plain, path: Path) -> None:
    """Write a new file; equal content makes equal bytes."""
    import torch  # noqa: PLC0415  (seconds to import; the catalog alone does not need it)

    # Given a path, torch would write its name into the file.
    with path.open("wb") as file:
        torch.save(data, file)


def load_plain(path: Path) -> Plain:
    """Read a file, with its tensors on the CPU; a DatasetError of one line if there is none, or it
    holds anything but plain values, or tensors larger than the file."""
    import torch  # noqa: PLC0415

    try:
        _refuse_inflated(path)
        data = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except Exception as error:  # torch raises a different class for every way to be broken
        raise DatasetError(f"{path}: not a file of plain tensors ({first_line(error)})") from error
    if not isinstance(data, dict):
        raise DatasetError(f"{path}: holds a {type(data).__name__}, not a dict")
    for tensor in _tensors(data):
        # A tensor may claim to repeat one number as often as it likes.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DatasetError(f"{path}: a tensor is larger than what the file holds of it")
    return data


def _refuse_inflated(path: Path) -> None:
    """Refuse compressed or overlapping entries, which torch never writes: they may unfold."""
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its parts are larger than the whole")


def _tensors(data: Any) -> Iterator[Any]:
    """Every distinct tensor in nested dicts, lists and tuples."""
    import torch  # noqa: PLC0415

    seen: set[int] = set()
    todo = [data]
    while todo:
        value = todo.pop()
        if id(value) in seen or not isinstance(value, torch.Tensor | dict | list | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            yield value
        else:
            todo += value.values() if isinstance(value, dict) else value
