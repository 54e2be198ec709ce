"""Files of nested dicts and lists of tensors, numbers and strings, as ``torch.save`` makes them:
trained models, and the states of trainings in progress, kept so that a killed one can resume.

Reading one runs no code and takes no more memory than the file is large: :func:`load_plain`.
"""

import logging
import pickletools
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import FileDataset, remove_leftovers, replacing
from vd_forecasting.datasets.chunks import read_chunks, remove_others, write_chunks
from vd_forecasting.datasets.limits import MOST_NODES, count_nodes
from vd_forecasting.datasets.places import Place, on_this_machine, place
from vd_forecasting.wording import first_line

logger = logging.getLogger(__name__)

SUFFIX = ".state.pt"

_CALLED = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2")

Plain = dict[str, Any]  # nested dicts and lists of tensors, numbers and strings


class CheckpointDataset(FileDataset[Plain, Plain]):
    """Loads and saves a checkpoint or several, by name, with tensors on the CPU wherever they were
    trained.

    The weights of more models than :data:`.chunks.MODELS_PER_FILE` are in files in a folder of the
    same name, and are read when asked for.
    """

    def load(self) -> Plain:
        if not self.filepath.is_file():
            raise DatasetError(f"{self.filepath}: no such file; run the training that makes it")
        data = _read(self.filepath)
        return _each_checkpoint(data, partial(read_chunks, folder=self._folder, read=_read))

    def save(self, data: Plain) -> None:
        used: set[str] = set()

        def keep(weights: Any) -> Any:
            index = write_chunks(weights, self._folder, _write)
            used.update(name for name in index.values() if isinstance(name, str))
            return index

        _write(_each_checkpoint(data, keep), self.filepath)
        remove_others(self._folder, used)

    def chunks(self) -> list[Place]:
        """The files in its folder."""
        return [*self._folder.glob("*.pt")]

    @property
    def _folder(self) -> Place:
        return self.filepath.with_suffix("")


def _each_checkpoint(data: Plain, change: Callable[[Any], Any]) -> Plain:
    """The same with the weights of each checkpoint changed."""
    if isinstance(weights := data.get("weights"), Mapping):
        return {**data, "weights": change(weights)}
    return {
        name: _each_checkpoint(value, change) if isinstance(value, dict) else value
        for name, value in data.items()
    }


def _read(file: Place) -> Plain:
    with on_this_machine(file) as path:
        try:
            return load_plain(path)
        except DatasetError as error:
            problem = str(error).replace(str(path), str(file))
            raise DatasetError(f"{problem}; delete it and train again") from error


def _write(data: Any, file: Place) -> None:
    with replacing(file) as temporary:
        save_plain(data, temporary)


@dataclass(frozen=True)
class TrainingState:
    """States by name, each a file in one folder that comes with the first of them."""

    folder: Path
    has_others: bool = False
    """Whether other experiments have folders of this name, ``{experiment}/{name}``, beside it."""

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

    def beside(self, name: str) -> "Iterator[TrainingState]":
        """The folders of other experiments that have a state of that name."""
        pattern = f"*/{self.folder.name}"
        for folder in sorted(self.folder.parent.parent.glob(pattern)) if self.has_others else ():
            other = TrainingState(folder)
            if folder != self.folder and other._path(name).is_file():
                yield other

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

    A run that has ended well needs them no more, unless ``keep`` says that they are what is left of
    a training. With ``has_others`` the folders ``../*/{name}`` are those of other experiments, of
    which some may train the same.
    """

    def __init__(
        self,
        *,
        filepath: str,
        has_others: bool = False,
        keep: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        folder = place(filepath)
        if not isinstance(folder, Path):
            raise ValueError(f"{folder}: states of trainings are kept on disks; name a folder")
        self.folder = folder
        self.has_others = has_others
        self.keep = keep
        self.metadata = metadata

    def load(self) -> TrainingState:
        remove_leftovers(self.folder)
        return TrainingState(self.folder, self.has_others)

    def save(self, data: Collection[str]) -> None:
        TrainingState(self.folder).clear(data)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.folder)}

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
    holds anything but plain values, or tensors larger than the file.

    The file is mapped first, not read: whatever size a tensor claims, it is a part of the map.
    """
    import torch  # noqa: PLC0415

    try:
        _check_entries(path)
        mapped = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if count_nodes(mapped, _parts, MOST_NODES) > MOST_NODES:
            raise ValueError(f"it unfolds to more than {MOST_NODES:,} parts")
        return _copied(mapped, path.stat().st_size)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except Exception as error:  # torch raises a different class for every way to be broken
        raise DatasetError(f"{path}: not a file of plain tensors ({first_line(error)})") from error


def _check_entries(path: Path) -> None:
    """Refuse compressed or overlapping entries, which torch never writes: they may unfold."""
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its parts are larger than the whole")
        for entry in entries:  # whichever of them torch takes
            if entry.filename.lower().endswith("data.pkl"):
                _refuse_calls(file.read(entry))


def _refuse_calls(content: bytes) -> None:
    """Refuse a pickle that makes anything but dicts, lists, numbers, strings and dense tensors.

    torch allows more, such as a byte array or a sparse tensor of any size.
    """
    for operation, called, _ in pickletools.genops(content):
        if operation.name != "GLOBAL":
            continue
        module, _, name = str(called).partition(" ")
        is_storage = module == "torch" and name.endswith("Storage")
        if not is_storage and called not in _CALLED:
            raise ValueError(f"it holds a {module}.{name}")


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple) else ()


def _copied(mapped: Any, most_bytes: int) -> Plain:
    """The same in memory, each tensor once, all together no larger than ``most_bytes``."""
    import torch  # noqa: PLC0415

    copies: dict[int, Any] = {}

    def copy(value: Any) -> Any:
        nonlocal most_bytes
        if isinstance(value, dict):
            return {key: copy(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(copy, value))
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in copies:
            # A tensor may claim to repeat one number as often as it likes.
            most_bytes -= value.numel() * value.element_size()
            if most_bytes < 0:
                raise ValueError("its tensors are larger than the file")
            copies[id(value)] = value.detach().clone()
        return copies[id(value)]

    if not isinstance(mapped, dict):
        raise ValueError(f"it holds a {type(mapped).__name__}, not a dict")
    return {key: copy(value) for key, value in mapped.items()}
