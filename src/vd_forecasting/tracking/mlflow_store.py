"""Writes entries to MLflow: a run for each, those of experiments nested in that of the run."""

import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from vd_forecasting.datasets.places import Place, on_this_machine
from vd_forecasting.provenance import PACKAGE
from vd_forecasting.tracking.entries import Entry, as_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # its messages go where conf/logging.yml says
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Environment variables that MLflow reads when it is imported; those that are set stay."""

_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """A tracking store of MLflow."""

    uri: str
    artifacts: str | None
    """Where a new experiment of MLflow keeps files; None: where the store says."""

    @classmethod
    def of(cls, uri: str, project: Path) -> "Store":
        """That of an address. An SQLite file without a folder lies in the project, and files that
        are logged beside it, in ``mlartifacts``."""
        if not uri.startswith(_SQLITE):
            return cls(uri, None)
        file = project.absolute() / uri.removeprefix(_SQLITE)
        return cls(f"{_SQLITE}{file.as_posix()}", (file.parent / "mlartifacts").as_uri())

    def write(self, run: Entry, experiments: Sequence[Entry], started: float) -> str | None:
        """Write what is not there yet; returns the number of the run, None if all of it is there.

        Entries with an error are always written; of others, those whose fingerprints no finished
        run of the store has. ``started`` is when the run began, in seconds. Raises whatever MLflow
        raises; what is not whole is then marked as killed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of MLflow and its imports are not the user's
            for name, value in QUIET.items():
                os.environ.setdefault(name, value)
            from mlflow import MlflowClient  # noqa: PLC0415  (an extra)

            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            place = self._experiment(client)
            new = [one for one in experiments if not _is_there(client, place, one)]
            if not new and _is_there(client, place, run):
                return None
            with _running(client, place, run, started) as number:
                for one in new:
                    with _running(client, place, one, started, parent=number):
                        pass
            return number

    def _experiment(self, client: "MlflowClient") -> str:
        """The number of what MLflow calls an experiment: all runs of this project."""
        if found := client.get_experiment_by_name(PACKAGE):
            return str(found.experiment_id)
        return str(client.create_experiment(PACKAGE, artifact_location=self.artifacts))


def _is_there(client: "MlflowClient", place: str, entry: Entry) -> bool:
    """Whether a finished run has all fingerprints of an entry without an error."""
    found = [f"tags.`{_name(key)}` = '{of}'" for key, of in entry.fingerprints().items()]
    condition = " and ".join(["attributes.status = 'FINISHED'", *found])
    return entry.error is None and bool(client.search_runs([place], condition, max_results=1))


@contextmanager
def _running(
    client: "MlflowClient",
    place: str,
    entry: Entry,
    started: float,
    parent: str | None = None,
) -> Iterator[str]:
    """Write an entry, as a run that ends with the context; yields its number."""
    began = round(1000 * started)
    tags = _tags(entry) if parent is None else {**_tags(entry), "mlflow.parentRunId": parent}
    run = client.create_run(place, began, tags, entry.name)
    number = str(run.info.run_id)
    try:
        _write(client, number, entry)
        yield number
    except BaseException:
        with suppress(Exception):
            client.set_terminated(number, "KILLED")
        raise
    client.set_terminated(number, "FINISHED" if entry.error is None else "FAILED")


def _tags(entry: Entry) -> dict[str, str]:
    found = {f"sha256.{file}": sha256 for file, sha256 in entry.hashes.items()}
    found |= entry.fingerprints() if entry.error is None else {"error": entry.error}
    return {**{_name(key): of for key, of in found.items()}, **entry.tags}


def _write(client: "MlflowClient", number: str, entry: Entry) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    now = round(1000 * time.time())
    metrics = [Metric(_name(at.name), at.value, now, at.step) for at in entry.points]
    parameters = [Param(_name(key), as_text(value)) for key, value in entry.parameters.items()]
    client.log_batch(number, metrics, parameters)
    for page in entry.pages:
        _log_file(client, number, page.file, None)
        for figure in page.figures:
            _log_file(client, number, figure, _folder(figure, page.file))
    for record in entry.records.values():
        _log_file(client, number, record, "fingerprints")


def _log_file(client: "MlflowClient", number: str, file: Place, folder: str | None) -> None:
    with on_this_machine(file) as path:
        client.log_artifact(number, str(path), folder)


def _folder(figure: Place, page: Place) -> str | None:
    """Where a figure lies seen from its page, so that the page finds it; None: beside it."""
    folder = PurePath(str(figure)).relative_to(str(page.parent)).parent.as_posix()
    return None if folder == "." else folder


def _name(text: str) -> str:
    """As MLflow takes it."""
    return _NOT_IN_NAMES.sub("_", text)
