"""Every parameter, its type and its limits.

Kedro builds these models from ``conf/*/parameters*.yml`` before any node runs, because the nodes'
arguments are annotated with them. All forbid unknown keys, so a misspelt one fails at once.
"""

import json
import math
import os
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.types import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from typing_extensions import Self

from vd_forecasting.days_off import holidays_of
from vd_forecasting.language import languages
from vd_forecasting.wording import listed, nearest

Dropout = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _positive_duration(text: str) -> str:
    if pd.Timedelta(text) <= pd.Timedelta(0):
        raise ValueError(f"{text!r} is not a positive duration such as '5min' or '3h'")
    return text


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{list(seeds)} names a seed twice, which trains the same model twice")
    return seeds


def _as_text(value: object) -> object:
    return str(value) if type(value) in (int, float) else value


VDID = Annotated[str, BeforeValidator(_as_text)]
"""May be digits alone; whoever reads them keeps leading zeros (:mod:`.running.options`)."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""As large as the forecasts' file can hold."""

Duration = Annotated[str, AfterValidator(_positive_duration)]
"""A positive time span as pandas reads it: ``5min``, ``3h``, ``24h``."""


class Parameters(BaseModel):
    """Base of all parameter blocks: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Compute(Parameters):
    """Threads and device of a training."""

    threads: PositiveInt | None
    accelerator: str

    @property
    def cores(self) -> int:
        """How many a node may use at once."""
        return self.threads or os.cpu_count() or 1


class Split(Parameters):
    """Chronological shares of the time span; they add up to one."""

    train: Share
    val: Share
    test: Share
    folds: PositiveInt = 1
    """Consecutive test blocks, each of share ``test``, the last one at the end of the file."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + val + test is {total:g}, must be 1")
        if self.folds * self.test >= 1:
            raise ValueError(
                f"folds {self.folds} × test {self.test:g} leaves nothing to train on; lower one"
            )
        return self


_DATES = TypeAdapter(tuple[date, ...])


def _dates_or_country(given: object) -> object:
    """Checked before the union, whose errors name its members as if they were keys."""
    if isinstance(given, str):
        holidays_of(given)
        return given
    return _DATES.validate_python(given)


def _index_list_or_all(given: object, inner: ValidatorFunctionWrapHandler) -> object:
    """One sentence in place of an error for each member of the union."""
    try:
        return inner(given)
    except ValidationError as error:
        raise ValueError("must be an index from 0, a list of these, or all") from error


class Calendar(Parameters):
    """Days without the traffic of a working day, beside weekends."""

    holidays: Annotated[tuple[date, ...] | str, BeforeValidator(_dates_or_country)]
    """Dates, or a country that the package ``holidays`` knows, by its code or English name."""

    @property
    def text(self) -> str:
        """The country, or the dates with spaces between, as :mod:`.days_off` reads them."""
        given = self.holidays
        return given if isinstance(given, str) else " ".join(map(str, given))


class Evaluation(Parameters):
    """How forecasts are scored."""

    mape_min_truth: NonNegativeFloat  # truths below it, in the feature's unit, are not in MAPE
    congestion_speed: Share  # congested is slower than this share of the VD's free-flow speed
    bootstrap_repetitions: Annotated[int, Field(ge=100)]  # of the model confidence set
    confidence: Annotated[float, Field(gt=0.5, lt=1)]  # of intervals, tests, model confidence sets


def _increasing(levels: tuple[float, ...]) -> tuple[float, ...]:
    if sorted(set(levels)) != [*levels]:
        raise ValueError(f"{list(levels)} must increase, such as [0.5, 0.9]")
    return levels


class Intervals(Parameters):
    """Prediction intervals, as :mod:`.evaluation.intervals` makes them."""

    levels: Annotated[
        tuple[Share, ...], Field(min_length=1, max_length=4), AfterValidator(_increasing)
    ]
    """Shares of the truths that shall lie within, which pages and files show."""
    adaptive_step: Annotated[float, Field(ge=0, le=0.1)]
    """How far a truth within or outside moves the chance that later ones are; 0: not at all."""


class FeatureCleaning(Parameters):
    """Limits of the physically possible for one feature."""

    unit: str
    range: tuple[float, float] | None = None  # lowest and highest possible value
    max_rate: PositiveFloat | None = None  # highest possible number an hour, whatever the interval
    stuck_after: Duration | None = None  # a non-zero value repeated so long: a stuck sensor
    error_codes: tuple[float, ...] | None = None  # replaces the list all features share
    aggregate: Literal["sum", "mean"] = "mean"  # by ``resample``; counts add up

    @model_validator(mode="before")
    @classmethod
    def _range_replaces_max_rate(cls, given: Any) -> Any:
        """A range that is given, even as null, holds in place of the ``max_rate`` in base."""
        explicit = isinstance(given, dict) and "range" in given
        return {**given, "max_rate": None} if explicit else given


class Cleaning(Parameters):
    """How a raw VD file is cleaned."""

    interval: Duration | None
    error_codes: tuple[float, ...]
    min_observed: Share
    resample: Duration | None = None  # interval of the data to train on; None: that of the file
    resample_min_observed: Annotated[float, Field(gt=0, le=1)] = 0.6
    """A coarser step with a smaller share of its steps observed is missing."""
    features: dict[str, FeatureCleaning]

    @property
    def text(self) -> str:
        """JSON, of which ``model_validate_json`` makes the same again."""
        rules = self.model_dump(mode="json")
        for limits in rules["features"].values():
            if limits["range"] is None:
                del limits["range"]  # given, it would replace the max_rate
        return json.dumps(rules)


class Windows(Parameters):
    """Inputs and outputs of a forecast, shared by all modes."""

    sequence_length: PositiveInt
    prediction_length: PositiveInt
    input_features: tuple[str, ...] | None
    target_features: tuple[str, ...] | None


class SingleVDWindows(Windows):
    """One VD in, the same VD out."""

    select_vd_id: VDID | None


class MultiVDWindows(Windows):
    """The first ``num_vds`` usable VDs jointly in and jointly out."""

    num_vds: PositiveInt


class IndependentMultiVDWindows(Windows):
    """The first ``num_vds`` usable VDs, one model each for those named by ``target_vd_index``."""

    num_vds: PositiveInt
    target_vd_index: Annotated[
        NonNegativeInt | tuple[NonNegativeInt, ...] | Literal["all"],
        WrapValidator(_index_list_or_all),
    ]


class GlobalVDWindows(Windows):
    """The first ``num_vds`` usable VDs, each by itself, forecast by one model; None takes all."""

    num_vds: PositiveInt | None


class LSTMModel(Parameters):
    """Size of the LSTM."""

    hidden_size: PositiveInt
    num_layers: PositiveInt
    dropout: Dropout  # between layers, so without effect on a single one


class XLSTMModel(Parameters):
    """Size and backends of the xLSTM."""

    embedding_dim: Annotated[int, Field(ge=8, multiple_of=4)]
    """Four heads share it, with at least two values each."""
    num_blocks: PositiveInt
    slstm_at: tuple[NonNegativeInt, ...]
    slstm_backend: Literal["fused", "vanilla", "cuda"]
    mlstm_backend: Literal["fused", "vanilla"]
    dropout: Dropout
    context_length: PositiveInt

    @property
    def is_fused(self) -> bool:
        """Whether any of its blocks is this project's own."""
        return "fused" in (self.slstm_backend, self.mlstm_backend)

    @model_validator(mode="after")
    def _blocks_exist(self) -> Self:
        if beyond := [index for index in self.slstm_at if index >= self.num_blocks]:
            raise ValueError(
                f"slstm_at names block {beyond[0]}, but with num_blocks {self.num_blocks} "
                f"the blocks are 0 to {self.num_blocks - 1}"
            )
        return self


class Training(Parameters):
    """The training loop, the same for both models."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]
    """One training each; several show how much of a difference is luck."""
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    gradient_clip: PositiveFloat
    decay_epochs: PositiveInt  # in so many the learning rate falls to zero, where training ends
    decay_steps: PositiveInt  # but in no fewer steps than these
    patience: PositiveInt  # epochs without a better validation error before training stops
    windows_per_epoch: PositiveInt | None = None
    """At most so many training windows in an epoch, drawn anew for each, and at most so many of
    validation, always the same; None for all. Records of older versions do not say."""

    def decays_in(self, steps: int) -> int:
        """In how many epochs of so many steps the learning rate falls to zero.

        Little data is soon gone through, hence the ``decay_steps``.
        """
        return max(self.decay_epochs, math.ceil(self.decay_steps / max(steps, 1)))

    def rate_of(self, epoch: int, decays_in: int) -> float:
        """The learning rate of an epoch, counted from 1, where it falls to zero in so many.

        It falls linearly (Defazio et al. 2023, arXiv:2310.07831), which needs fewer epochs than to
        lower it when validation stalls.
        """
        return self.learning_rate * (1 - (epoch - 1) / decays_in)


class Range(Parameters):
    """Numbers from ``low`` to ``high``, both included; whole ones where the parameter is."""

    low: FiniteFloat
    high: FiniteFloat
    log: bool = False  # as likely from 1 to 10 as from 10 to 100

    @model_validator(mode="after")
    def _has_extent(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} must be above 0 where log is true")
        return self


Searched = tuple[Any, ...] | Range
"""The choices for a parameter, or its range."""


def _choices_or_range(given: object) -> object:
    """Checked before the union, whose errors name its members as if they were keys."""
    if given is None or isinstance(given, Range):
        return given
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError("has no choice; write null if it is not to be searched")
        return tuple(given)
    if not isinstance(given, dict):
        raise ValueError("must be a list of choices, or a block with low, high and perhaps log")
    try:
        return Range.model_validate(given)
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    problem = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {problem}" if where else problem


Searches = dict[str, Annotated[Searched | None, BeforeValidator(_choices_or_range)]]
"""By parameter; one that is null is not searched."""


class Space(Parameters):
    """What settings are searched of a network and its training; all others are as given."""

    OF_MODEL: ClassVar[type[Parameters]]
    EXCLUDED: ClassVar = {
        **dict.fromkeys(("slstm_backend", "mlstm_backend"), "a backend changes no error"),
        "seeds": "the luckiest seed is no better setting",
        "epochs": "validation chooses the epoch",
        "windows_per_epoch": "it changes which windows validation scores",
    }

    model: Searches = {}
    training: Searches = {}

    @property
    def searched(self) -> dict[str, Searched]:
        """By dotted name, such as ``model.dropout``; choices as JSON has them."""
        return {
            name: values
            if isinstance(values, Range)
            else tuple(self._checked(name, value) for value in values)
            for block in ("model", "training")
            for key, values in getattr(self, block).items()
            for name in [f"{block}.{key}"]
            if values is not None
        }

    @classmethod
    def is_whole(cls, name: str) -> bool:
        """Whether the parameter with a dotted name is a whole number."""
        return cls._field(name).annotation is int

    @classmethod
    def _field(cls, name: str) -> FieldInfo:
        block, _, key = name.partition(".")
        fields = cls.OF_MODEL.model_fields if block == "model" else Training.model_fields
        return fields[key]

    @classmethod
    def _checked(cls, name: str, value: object) -> Any:
        """A value of a parameter as JSON has it; a ValueError, in one line, if it cannot be one."""
        field = cls._field(name)
        kind: Any = Annotated[(field.annotation, *field.metadata, Field())]
        adapter = TypeAdapter[Any](kind)
        try:
            return adapter.dump_python(adapter.validate_python(value), mode="json")
        except ValidationError as error:
            raise ValueError(f"{name} {value}: {_first_problem(error)}") from error

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        for block, known in (("model", self.OF_MODEL), ("training", Training)):
            for key in getattr(self, block):
                if why := self.EXCLUDED.get(key):
                    raise ValueError(f"{block}.{key} cannot be searched, {why}; delete it")
                if key not in known.model_fields:
                    near = nearest(key, known.model_fields)
                    raise ValueError(f"{block} has no {key}; did you mean {near}?")
        for name, values in self.searched.items():
            if isinstance(values, Range):
                between = [values.low + 1] if self.is_whole(name) else []
                for value in (values.low, values.high, *between):
                    self._checked(name, value)
        if not self.searched:
            raise ValueError("is empty; name at least one parameter to search")
        return self


class LSTMSpace(Space):
    """Settings of an LSTM to search."""

    OF_MODEL = LSTMModel


class XLSTMSpace(Space):
    """Settings of an xLSTM to search."""

    OF_MODEL = XLSTMModel


class Budget(Parameters):
    """What a search may take; ``trials``, if given, take the place of ``seconds``."""

    seconds: PositiveFloat | None = None  # of training
    trials: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _trials_replace_seconds(cls, given: Any) -> Any:
        """Trials that are given hold in place of the ``seconds`` in base."""
        explicit = isinstance(given, dict) and given.get("trials") is not None
        return {**given, "seconds": None} if explicit else given

    @model_validator(mode="after")
    def _is_given(self) -> Self:
        if self.seconds is None and self.trials is None:
            raise ValueError("give seconds of training, or trials")
        return self


class Tuning(Parameters):
    """The search for settings, the same for both models."""

    budget: Budget


class Baselines(Parameters):
    """The forecasts without a network; those that only look at the clock have no settings."""

    ridge_alphas: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Penalties of the ridge regression; the validation split chooses."""
    ridge_neighbours: NonNegativeInt
    """A ridge regression of a joint mode with more VDs sees, for each VD, itself and so many."""
    boosting_iterations: PositiveInt  # trees per model of the gradient boosting
    boosting_windows: PositiveInt
    """Maximum training windows per model of the gradient boosting; larger sets are subsampled."""


class Forecast(Parameters):
    """What is forecast of a recent file."""

    origins: Literal["last", "all"]
    """From its last window, or from all of them, which are scored where the truth is there."""
    refit: bool = False
    """Train the network again, on the comparison's data and the file, to forecast with it."""


def _spoken(language: str) -> str:
    if language not in languages():
        raise ValueError(f"no language of pages; these are {listed(languages())}")
    return language


class Report(Parameters):
    """How pages and plots are written."""

    language: Annotated[str, AfterValidator(_spoken)]


class Tracking(Parameters):
    """What is remembered of runs. No node reads it, so it makes nothing stale."""

    history: NonNegativeInt = 0
    """How many past runs are kept for ``kedro runs``; 0 keeps none."""

    mlflow_uri: str | None = None
    """Where MLflow logs them, such as ``sqlite:///mlflow.db``; None: nowhere."""


class Simulate(Parameters):
    """The simulated freeway corridor behind the sample file."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]  # uxsim takes no larger one
    start: date
    days: PositiveInt
    demand: PositiveFloat  # scales every entry; at 1 both peaks of most weekdays end in queues
    incidents_per_day: NonNegativeFloat  # expected; each narrows the road for 20 to 60 minutes
    missing: Share  # share of a healthy detector's records lost, apart from the planned outages
    errors: Share  # share of a detector's records with an error code or an impossible value
    creation_date: str  # written into the file, so that the same seed gives the same file
