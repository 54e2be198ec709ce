"""The states of trainings in progress, kept so that a killed one can resume."""

import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import remove_leftovers, replacing
from vd_forecasting.datasets.checkpoint import load_plain, save_plain

logger = logging.getLogger(__name__)

SUFFIX = ".state.pt"

State = dict[str, Any]
"""Nested dicts and lists of tensors, numbers and strings."""


@dataclass(frozen=True)
class TrainingState:
    """States by name, each a file in one folder that comes with the first of them."""

    folder: Path

    def load(self, name: str) -> State | None:
        """The state of that name; None, with a log line for a broken file, if there is none."""
        path = self._path(name)
        try:
            return load_plain(path) if path.is_file() else None
        except DatasetError as error:
            logger.warning("%s; it is ignored", error)
            return None

    def save(self, name: str, state: State) -> None:
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

    Example::

        training_state:
          type: vd_forecasting.datasets.TrainingStateDataset
          filepath: data/06_models/training_state
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
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
