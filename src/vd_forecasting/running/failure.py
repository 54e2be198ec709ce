"""Placeholder for a dataset whose node failed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

TAKES_FAILURES = "takes_failures"
"""Nodes with this tag also run if some of their inputs are missing; for each of those they get a
:class:`Failure`."""


@dataclass(frozen=True)
class Failure:
    """A node that failed, and why."""

    node: str
    reason: str
    """One line."""

    def __str__(self) -> str:
        namespace = self.node.rpartition(".")[0]
        return f"{self.node}: {self.reason.removeprefix(f'{namespace}: ')}"


class FailedDataset(AbstractDataset[NoReturn, Failure]):
    """Takes the place of a dataset that was not made; its file is that of an earlier run.

    Args:
        failure: loaded by the nodes that read it.
        filepath: file of the dataset that it replaces.
    """

    def __init__(self, failure: Failure, filepath: Path | None) -> None:
        self._failure = failure
        self._filepath = filepath

    def load(self) -> Failure:
        return self._failure

    def save(self, data: NoReturn) -> None:
        raise DatasetError("a failure cannot be saved")

    def _exists(self) -> bool:
        return False

    def _describe(self) -> dict[str, Any]:
        return {"failure": str(self._failure), "filepath": str(self._filepath)}
