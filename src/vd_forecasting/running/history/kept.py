"""What is kept of a run, in a file named by its number."""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vd_forecasting.datasets.atomic import replacing
from vd_forecasting.evaluation.daily_errors import DailyErrors

logger = logging.getLogger(__name__)


class Kept(BaseModel):
    """Base of what is kept: immutable. A key of a later version is passed over."""

    model_config = ConfigDict(frozen=True)


class KeptData(Kept):
    """The data that an experiment was trained and tested on."""

    file: str
    sha256: str | None
    """None where there is no record of it."""
    detectors: int
    vdids: str  # hash of their names, in order
    start: str  # ISO 8601, first time stamp of training
    end: str  # last time stamp of test
    interval_minutes: float

    @property
    def span(self) -> str:
        """``2026-03-02 00:00 to 2026-03-29 23:55``."""
        return " to ".join(time[:16].replace("T", " ") for time in (self.start, self.end))


class KeptExperiment(Kept):
    """How the forecasts of an experiment were made, and how good they were."""

    parameters: dict[str, Any]  # by dotted name
    code: dict[str, str]  # hashes, as of fingerprints
    versions: dict[str, str]  # by package
    data: KeptData
    seeds: int
    errors: DailyErrors


class KeptRun(Kept):
    """A run and the experiments whose test forecasts it made."""

    command: str
    began: datetime
    seconds: float
    experiments: dict[str, KeptExperiment]
    failed: dict[str, str]
    """Experiments of the run of which it made no forecasts, and why."""


def keep(run: KeptRun, folder: Path, most: int) -> int:
    """Save a run and remove the oldest ones beyond so many; returns its number.

    Numbers count up from 1 and are not used twice as long as the run of the last one is there, by
    two runs that end together neither. Raises DatasetError or OSError if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(folder), default=0) + 1
    while True:
        path = folder / f"{number}.json"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            break
    try:
        with replacing(path) as temporary:
            temporary.write_text(run.model_dump_json(), "utf-8")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    for old in _numbers(folder)[:-most]:
        (folder / f"{old}.json").unlink(missing_ok=True)
    return number


def load_runs(folder: Path) -> Mapping[int, KeptRun]:
    """The runs that are kept, by number, oldest first; warns of a file that cannot be read."""
    runs = {}
    for number in _numbers(folder):
        path = folder / f"{number}.json"
        try:
            text = path.read_text("utf-8")
            if text:  # else a run is just ending, or was killed then
                runs[number] = KeptRun.model_validate_json(text)
        except (OSError, ValueError, ValidationError) as error:
            logger.warning("%s cannot be read: %s", path, type(error).__name__)
    return runs


def _numbers(folder: Path) -> list[int]:
    names = (path.stem for path in folder.glob("*.json"))
    return sorted(int(name) for name in names if name.isdecimal() and f"{int(name)}" == name)
