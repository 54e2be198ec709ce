"""The base of datasets that are one file of this machine, named by ``filepath``."""

from pathlib import Path
from typing import Any, TypeVar

from kedro.io import AbstractDataset

from vd_forecasting.running.kedro_private import catalog_entry

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class FileDataset(AbstractDataset[Saved, Loaded]):
    """A dataset of one file; ``metadata`` of its catalog entry is for plugins."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.filepath = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        entry = catalog_entry(self)
        known = entry.pop("kwargs", {}) | entry
        return {name: known[name] for name in known if name not in ("type", "args", "metadata")}

    def _exists(self) -> bool:
        return self.filepath.is_file()
