"""What a search has found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vd_forecasting.parameters import Budget, Space
from vd_forecasting.pipelines.tune.settings import Settings

COMPLETE: Final = "complete"
PRUNED: Final = "pruned"
FAILED: Final = "failed"


@dataclass(frozen=True)
class Trial:
    """A training with settings of its own, of each model of an experiment from one seed."""

    number: int
    """Counted from 0."""
    state: str
    """Complete, pruned or failed."""
    settings: Settings
    losses: tuple[float, ...]
    """After each epoch, the lowest validation loss so far, mean of the models."""
    seconds: float
    reason: str
    """Why it was not trained to its end; "" if it was."""

    @property
    def loss(self) -> float | None:
        """The lowest; None if no epoch was finished."""
        return self.losses[-1] if self.losses else None

    @property
    def best_epoch(self) -> int | None:
        """In which it came about, counted from 1."""
        return 1 + self.losses.index(self.losses[-1]) if self.losses else None


@dataclass(frozen=True)
class SearchedData:
    """What a search trains and validates with."""

    experiment: str
    source: str
    """Name of the detector file."""
    until: str
    """Time of the last step of validation, ISO 8601: the search has seen nothing behind it."""


@dataclass(frozen=True)
class Found:
    """All trials of a study."""

    data: SearchedData
    study: str
    """A digest of what the trials have in common."""
    space: Space
    budget: Budget
    given: Settings
    trials: tuple[Trial, ...]
    importance: Mapping[str, float] | None
    """Shares, by setting, of how much each one decides about the loss; None if the complete trials
    are too few to say."""

    def those(self, state: str) -> list[Trial]:
        """The trials of a state."""
        return [trial for trial in self.trials if trial.state == state]

    @property
    def experiment(self) -> str:
        return self.data.experiment

    @property
    def ranked(self) -> list[Trial]:
        """The complete ones, the lowest loss first."""
        return sorted(self.those(COMPLETE), key=lambda trial: trial.losses[-1])

    @property
    def best(self) -> Trial:
        return self.ranked[0]

    @property
    def of_given(self) -> Trial | None:
        """The complete trial of the settings given; None if it failed."""
        return next((trial for trial in self.ranked if trial.settings == self.given), None)

    @property
    def seconds(self) -> float:
        """Of training, of all trials."""
        return sum(trial.seconds for trial in self.trials)
