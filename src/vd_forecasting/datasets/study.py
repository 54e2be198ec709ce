"""Searches for settings, kept so that one that was killed continues."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from vd_forecasting.datasets.atomic import write_problem
from vd_forecasting.datasets.places import place
from vd_forecasting.wording import first_line

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Studies:
    """Optuna's studies by name, in one SQLite file that comes with the first of them."""

    path: Path

    @contextmanager
    def open(self, name: str) -> Iterator[tuple["optuna.Study", "optuna.Trial | None"]]:
        """The study of that name, made if it is not there, which looks for the lowest value; and
        the trial that a killed run has left, if it has.

        Raises:
            DatasetError: one line; the file is no database of Optuna, or cannot be written.
        """
        import optuna  # noqa: PLC0415  (of an extra)
        from sqlalchemy.exc import OperationalError, SQLAlchemyError  # noqa: PLC0415

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            storage = optuna.storages.RDBStorage(f"sqlite:///{self.path}")
        except OSError as error:
            problem = write_problem(error) or str(error)
            raise DatasetError(f"{self.path}: cannot be written, {problem}") from error
        except OperationalError as error:  # such as of a path that SQLite cannot open
            raise DatasetError(f"{self.path}: cannot be opened, {first_line(error)}") from error
        except RuntimeError as error:  # which names another version of Optuna
            problem = first_line(error).replace("$STORAGE_URL", f"sqlite:///{self.path}")
            raise DatasetError(f"{self.path}: {problem}") from error
        except (SQLAlchemyError, AssertionError) as error:
            raise DatasetError(
                f"{self.path}: not a database of studies ({first_line(error)}); delete it and tune "
                "again"
            ) from error
        try:
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            yield study, _left(storage, study)
        except optuna.exceptions.StorageInternalError as error:
            problem = write_problem(error) or first_line(error.__cause__ or error)
            raise DatasetError(f"{self.path}: cannot be written, {problem}") from error
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _left(storage: "optuna.storages.RDBStorage", study: "optuna.Study") -> "optuna.Trial | None":
    import optuna  # noqa: PLC0415

    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        of_study = storage.get_study_id_from_name(study.study_name)
        number = storage.get_trial_id_from_study_id_trial_number(of_study, trial.number)
        return optuna.Trial(study, number)
    return None


class StudyDataset(AbstractDataset[None, Studies]):
    """Gives a search the file in which it keeps its trials as it proceeds.

    Nothing is saved by the catalog: a node's output would come too late for a run that is killed.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        path = place(filepath)
        if not isinstance(path, Path):
            raise ValueError(f"{path}: SQLite needs a disk of this machine; name a file on one")
        self.database = path
        self.metadata = metadata

    def load(self) -> Studies:
        return Studies(self.database)

    def save(self, data: None) -> None:
        raise DatasetError(f"{self.database}: trials are kept by the search itself")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.database)}

    def _exists(self) -> bool:
        return True
