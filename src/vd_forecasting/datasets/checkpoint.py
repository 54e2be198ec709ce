"""Checkpoints of trained models."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.datasets.plain_tensors import load_plain, save_plain


class CheckpointDataset(AbstractDataset[dict[str, Any], dict[str, Any]]):
    """Loads and saves nested dicts and lists of tensors, numbers and strings with ``torch.save``.

    Loading runs no code: anything but such plain values is refused (``weights_only=True``).
    Tensors are loaded onto the CPU, wherever they were trained.

    Example::

        best_model:
          type: vd_forecasting.datasets.CheckpointDataset
          filepath: data/06_models/best_model.pt
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.filepath = Path(filepath)
        self.metadata = metadata

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

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath)}

    def _exists(self) -> bool:
        return self.filepath.is_file()
