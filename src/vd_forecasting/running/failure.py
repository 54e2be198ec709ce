"""Errors in one line, and the placeholder for a dataset whose node failed."""

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from kedro.config import MissingConfigException
from kedro.io import AbstractDataset, DatasetError
from kedro.validation import DataValidationError, ParameterValidationError
from omegaconf.errors import OmegaConfBaseException

from vd_forecasting import wording
from vd_forecasting.datasets.places import Place
from vd_forecasting.language import marked
from vd_forecasting.wording import first_line, shortened

TAKES_FAILURES = "takes_failures"
"""Nodes with this tag also run if some of their inputs are missing; for each of those they get a
:class:`Failure`."""

NEW_DATA = "new_data"
"""Nodes with this tag use trained models on data of their own, or hand them on: what they read of
experiments counts as it was made, whatever file and rules there are now. An experiment that is not
there is left out."""

KEDROS_ERRORS = (DatasetError, DataValidationError, ParameterValidationError)
CONF_ERRORS = (MissingConfigException, OmegaConfBaseException)
USER_ERRORS = (ValueError, ImportError, OSError, *KEDROS_ERRORS, *CONF_ERRORS)
"""Errors shown as one line; anything else is a bug and shown with its traceback."""


FAILED, FAILED_BEFORE = marked("failed"), marked("failed in an earlier run")
USED_OTHER_DATA, NOT_RUN = marked("used other data"), marked("has not run")
STATES = (FAILED, FAILED_BEFORE, USED_OTHER_DATA, NOT_RUN)
"""What may be said of a node whose outputs cannot be used, the worst first."""


@dataclass(frozen=True)
class Failure:
    """A node that failed, and why, in one line; or another one whose outputs cannot be used."""

    node: str
    reason: str
    state: str = FAILED

    @property
    def is_error(self) -> bool:
        """Whether it is more than that nobody asked for it yet."""
        return self.state != NOT_RUN

    def __str__(self) -> str:
        namespace = self.node.rpartition(".")[0]
        state = "" if self.state == FAILED else f" {self.state}"
        return shortened(f"{self.node}{state}: {self.reason.removeprefix(f'{namespace}: ')}")


class FailedDataset(AbstractDataset[NoReturn, Failure]):
    """Takes the place of a dataset that was not made; its file is that of an earlier run."""

    def __init__(self, failure: Failure, filepath: Place | None) -> None:
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


def in_one_line(error: BaseException) -> str:
    """The message of an error as one line of at most 300 characters, without Kedro's words around
    ours; of a bug its kind and the first line."""
    return shortened(wording.in_one_line(_message(error)))


def _message(error: BaseException) -> str:
    if isinstance(error, ParameterValidationError):
        return _parameter_problems(str(error))
    if isinstance(error, DataValidationError):
        return f"{error.dataset_name}: {error.message}"
    of_entry = re.search(r"Failed to instantiate dataset '(.+?)'", str(error))
    if of_entry and error.__cause__:
        return f"{of_entry[1]}: {in_one_line(error.__cause__)}"
    wrapped = isinstance(error, DatasetError) and str(error).startswith("Failed while ")
    if wrapped and isinstance(error.__cause__, DatasetError | OSError):
        error = error.__cause__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {first_line(error)}"
    lines = [line for line in str(error).splitlines() if line.strip()]
    known = isinstance(error, USER_ERRORS)
    return str(error) if known else ": ".join([type(error).__name__, *lines[:1]])


def _parameter_problems(message: str) -> str:
    """Turn pydantic's report, three lines an error, into ``block.key: what is wrong; ...``."""
    block, key, lines = "", "", []
    for line in message.splitlines():
        indent = len(line) - len(line.lstrip())
        if found := re.match(r"- Parameter '(.+?)'(.*is None)?", line):
            block, key = found[1], ""
            if found[2]:
                lines.append(f"{block}: is empty; write what belongs there")
        elif indent == 0:
            key = "." + re.sub(r"(\.\d+)+$", "", line)  # the value found says which of a list
        elif indent == 2:
            what, _, detail = line.strip().partition(" [type=")
            value = re.search(r"input_value=(.*), input_type=", detail)
            what = what.removeprefix("Value error, ")
            what = what.replace("Input should be a valid tuple", "must be a list, in brackets")
            if what == "Extra inputs are not permitted":
                what = "no such parameter; check its spelling"
            elif value and key and value[1] not in what:
                what = f"{what} (found {value[1]})"
            lines.append(f"{block}{key}: {what}")
    return "; ".join(lines) or " ".join(message.split())
