"""Files of nested dicts and lists of tensors, numbers and strings, as ``torch.save`` makes them.

Reading one runs no code and takes no more memory than the file is large.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.io import DatasetError

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.file_dataset import FileDataset
from vd_forecasting.wording import first_line


class CheckpointDataset(FileDataset[dict[str, Any], dict[str, Any]]):
    """Loads and saves a trained model, its tensors onto the CPU wherever they were trained.

    Example::

        best_model:
          type: vd_forecasting.datasets.CheckpointDataset
          filepath: data/06_models/best_model.pt
    """

    def load(self) -> dict[str, Any]:
        if not self.filepath.is_file():
            raise DatasetError(f"{self.filepath}: no such file; run the training that makes it")
        try:
            return load_plain(self.filepath)
        except DatasetError as error:
            raise DatasetError(f"{error}; delete it and train again") from error

    def save(self, data: dict[str, Any]) -> None:
        with replacing(self.filepath) as temporary:
            save_plain(data, temporary)


def save_plain(data: dict[str, Any], path: Path) -> None:
    """Write a new file; equal content makes equal bytes."""
    import torch  # noqa: PLC0415  (seconds to import; the catalog alone does not need it)

    # Given a path, torch would write its name into the file.
    with path.open("wb") as file:
        torch.save(data, file)


def load_plain(path: Path) -> dict[str, Any]:
    """Read a file, with its tensors on the CPU.

    Raises:
        DatasetError: one line; there is no such file, or it holds anything but plain values, or
            tensors larger than the file.
    """
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
