"""Records of an experiment, as JSON files hold them: history, configuration, cost."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, field_validator

from vd_forecasting.parameters import Budget, Compute, Training

Metrics = dict[str, int | float | None]
"""By metric; None where undefined."""


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class EpochErrors(BaseModel):
    """Errors of one split in one epoch: the loss and, by target feature, metrics."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Metrics]

    loss: float
    """Mean absolute error in scaled units."""

    @property
    def features(self) -> dict[str, Metrics]:
        """Metrics in physical units, by target feature."""
        return self.__pydantic_extra__


class Epoch(Record):
    """One epoch of a fit."""

    epoch: int  # from 1
    seconds: float
    learning_rate: float
    train: EpochErrors
    val: EpochErrors


class Divergence(Record):
    """Place and likely cause of a loss that is no longer a number."""

    loss: str  # training or validation
    epoch: int
    step: int
    cause: str


class Fit(Record):
    """How the training of one model from one seed went."""

    best_epoch: int  # from 1
    stopped_early: bool
    decayed: bool = False
    """Whether the learning rate had fallen to zero; it never did in records of older versions."""
    diverged: Divergence | None
    seconds: float
    epochs: tuple[Epoch, ...]

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.best_epoch - 1]

    @property
    def still_improving(self) -> bool:
        """True if the limit of epochs ended it while validation still improved."""
        over = self.stopped_early or self.decayed
        return not over and self.best_epoch == len(self.epochs)


_OF_BLOCK = re.compile(r"block (\d+), seed (\d+)")


def key_of(seed: int, block: int | None) -> str:
    """Key of all that belongs to a seed; ``block`` is that of a test block before the last."""
    return str(seed) if block is None else f"block {block}, seed {seed}"


class History(RootModel[dict[str, dict[str, Fit]]]):
    """All fits of an experiment, by :func:`key_of` and name of the model."""

    model_config = ConfigDict(frozen=True)

    @property
    def seeds(self) -> dict[str, dict[str, Fit]]:
        """Fits of the last test block by seed, then by name of the model."""
        return {key: fits for key, fits in self.root.items() if not _OF_BLOCK.fullmatch(key)}

    @property
    def earlier(self) -> dict[int, list[Fit]]:
        """Fits of each test block before the last."""
        found: dict[int, list[Fit]] = {}
        for key, fits in self.root.items():
            if of_block := _OF_BLOCK.fullmatch(key):
                found.setdefault(int(of_block[1]), []).extend(fits.values())
        return found

    def fits(self) -> Iterator[tuple[str, str, Fit]]:
        """Every fit of the last test block with its seed and the name of its model."""
        for seed, by_name in self.seeds.items():
            for name, fit in by_name.items():
                yield seed, name, fit


class SplitSpan(Record):
    """First and last time stamp of a split and its number of windows."""

    start: str  # ISO 8601
    end: str
    windows: int


class WindowLengths(Record):
    """In steps."""

    sequence_length: int
    prediction_length: int


class Config(Record):
    """Configuration of an experiment: data, network and settings."""

    experiment: str
    mode: str
    source: str  # name of the detector file
    best_seed: int
    model: str
    model_parameters: dict[str, Any]
    network: dict[str, Any]
    vdids: tuple[str, ...]
    input_features: tuple[str, ...]
    target_features: tuple[str, ...]
    interval_minutes: float
    windows: WindowLengths
    units: dict[str, str]  # by input feature
    holidays: str | None = None
    """As :mod:`vd_forecasting.days_off` reads them; None in the record of an earlier version."""
    num_parameters: int  # trainable, of one model
    num_models: int
    split: dict[str, SplitSpan]
    """That of the last test block."""
    earlier: dict[int, dict[str, SplitSpan]] = {}
    """Those of the test blocks before it, by number."""
    failed: dict[int, str] = {}
    """Why a test block before the last has no forecasts."""
    versions: dict[str, str]
    training: Training
    compute: Compute

    @field_validator("training", mode="before")
    @classmethod
    def _of_an_older_version(cls, training: Any) -> Any:
        """A rate that was halved when validation stalled fell as long as there were epochs."""
        if not isinstance(training, dict) or "lr_patience" not in training:
            return training
        kept = {key: value for key, value in training.items() if key != "lr_patience"}
        return {**kept, "decay_epochs": training["epochs"], "decay_steps": 1}

    @property
    def num_blocks(self) -> int:
        """Test blocks, those that failed among them."""
        return max([*self.earlier, *self.failed], default=0) + 1

    @property
    def test_periods(self) -> list[SplitSpan]:
        """The test splits of all test blocks, in order."""
        return [*(split["test"] for split in self.earlier.values()), self.split["test"]]


class Cost(Record):
    """Time of a forecast and memory of a training step, measured on the trained model."""

    latency_seconds: dict[int, float]
    """Median time of a forecast on one CPU thread, by windows in the batch."""
    training_step_bytes: int


class TunedSettings(Record):
    """Values of parameters of a network and its training, those that were searched."""

    model: dict[str, Any]
    training: dict[str, Any]


class Tuned(Record):
    """The best settings of a search, and what it took to find them."""

    experiment: str
    study: str
    source: str
    until: str
    """The search has seen this time of the source, and nothing behind it."""
    best: TunedSettings
    complete: int
    """Trials that were trained to their end."""
    pruned: int
    failed: int
    seconds: float
    """Of training, of all trials."""
    budget: Budget

    @classmethod
    def of(cls, tuned: object, config: Config) -> "Tuned | None":
        """What ``tuned`` of an experiment's block says of the network that was trained: the record
        of its search; None where there is none, or it was trained with other settings."""
        record = cls.model_validate(tuned) if isinstance(tuned, dict) else None
        return record if record and record.is_of(config) else None

    @property
    def trials(self) -> int:
        return self.complete + self.pruned + self.failed

    @property
    def is_as_budgeted(self) -> bool:
        """Whether the search took what its budget says, and not what an earlier one had said."""
        if self.budget.seconds is None:
            return self.trials == self.budget.trials
        return abs(self.seconds / self.budget.seconds - 1) < 0.1

    def has_seen_test_of(self, config: Config) -> bool:
        """Whether the search has seen a step that an experiment is tested on."""
        lookback = timedelta(minutes=config.windows.sequence_length * config.interval_minutes)
        tested = [of["test"].start for of in (config.split, *config.earlier.values())]
        first = min(datetime.fromisoformat(start) + lookback for start in tested)
        return self.source == config.source and datetime.fromisoformat(self.until) >= first

    def is_of(self, config: Config) -> bool:
        """Whether an experiment was trained with these settings."""
        training = config.training.model_dump(mode="json")
        trained = {"model": config.model_parameters, "training": training}
        return config.experiment == self.experiment and all(
            trained[block].get(key) == value
            for block, values in self.best.model_dump(mode="json").items()
            for key, value in values.items()
        )


class FitErrors(Record):
    """Errors at the chosen epoch on the splits that a training reads, mean over the seeds."""

    train: dict[str, Metrics]
    """By target feature, in physical units, all horizons and detectors pooled."""
    val: dict[str, Metrics]
