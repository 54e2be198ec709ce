"""Checkpoints of trained models."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import replacing


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
        import torch  # noqa: PLC0415  (seconds to import; the catalog alone does not need it)

        try:
            checkpoint = torch.load(self.filepath, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self.filepath}: no such file; run the training that makes it"
            ) from error
        except Exception as error:  # torch raises a different class for every way to be broken
            raise DatasetError(
                f"{self.filepath}: not a checkpoint of plain tensors "
                f"({str(error).splitlines()[0]}); delete it and train again"
            ) from error
        if not isinstance(checkpoint, dict):
            raise DatasetError(
                f"{self.filepath}: holds a {type(checkpoint).__name__}, not a checkpoint; "
                "delete it and train again"
            )
        return checkpoint

    def save(self, data: dict[str, Any]) -> None:
        import torch  # noqa: PLC0415

        # Given a path, torch writes its name into the file; so equal weights, equal bytes.
        with replacing(self.filepath) as temporary, temporary.open("wb") as file:
            torch.save(data, file)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath)}

    def _exists(self) -> bool:
        return self.filepath.is_file()
