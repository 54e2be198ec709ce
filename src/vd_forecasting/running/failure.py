"""What stands where something would be, had the node that makes it not failed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

TAKES_FAILURES = "takes_failures"
"""Nodes with this tag run also if some of their inputs were not made; they get a :class:`Failure`
for each of those."""


@dataclass(frozen=True)
class Failure:
    """That a node failed, and why."""

    node: str
    reason: str
    """One line."""

    def __str__(self) -> str:
        namespace = self.node.rpartition(".")[0]
        return f"{self.node}: {self.reason.removeprefix(f'{namespace}: ')}"


class FailedDataset(AbstractDataset[NoReturn, Failure]):
    """Takes the place of a dataset that was not made; what its file holds is of an earlier run.

    Args:
        failure: what it gives to the nodes that read it.
        filepath: of the dataset whose place it takes.
    """

    def __init__(self, failure: Failure, filepath: Path | None) -> None:
        self._failure = failure
        self._filepath = filepath

    def load(self) -> Failure:
        return self._failure

    def save(self, data: NoReturn) -> None:
        raise DatasetError("what was not made cannot be saved")

    def _exists(self) -> bool:
        return False

    def _describe(self) -> dict[str, Any]:
        return {"failure": str(self._failure), "filepath": str(self._filepath)}
