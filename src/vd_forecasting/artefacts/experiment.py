"""An experiment: which network is trained on which windows, and how; and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass

from vd_forecasting.artefacts.forecasts import Forecasts
from vd_forecasting.artefacts.records import Config, Cost, FitErrors, History, Tuned
from vd_forecasting.artefacts.windows import GLOBAL, JOINT, WindowSet
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel


@dataclass(frozen=True)
class Experiment:
    """All that a training reads."""

    windows: WindowSet
    model: str
    """``lstm`` or ``xlstm``."""
    model_parameters: LSTMModel | XLSTMModel
    training: Training
    compute: Compute
    mape_min_truth: float
    """Truths below this are left out of MAPE."""
    block: int | None = None
    """Number of the test block that its windows end with; None where there is one only."""
    rates: Mapping[str, tuple[float, ...]] | None = None
    """Of a refit, which has no validation: by model, the learning rate of each epoch."""

    @property
    def name(self) -> str:
        """Its namespace, such as ``single_vd_lstm``."""
        return f"{self.windows.mode}_{self.model}"

    def label(self, model_name: str, seed: int) -> str:
        """How log lines call one of its models: by detector and seed where there are several."""
        of_model = [] if model_name in (JOINT, GLOBAL) else [model_name]
        of_seed = [f"seed {seed}"] if len(self.training.seeds) > 1 else []
        of_block = [] if self.block is None else [f"block {self.block}"]
        refit = [] if self.rates is None else ["refit"]
        return " ".join([self.name, *of_model, *of_block, *of_seed, *refit])


@dataclass(frozen=True)
class Outcome:
    """All that a report reads of an experiment."""

    config: Config
    history: History
    cost: Cost
    fit_errors: FitErrors
    forecasts: Forecasts
    """Of test."""
    validation: Forecasts
    tuned: Tuned | None = None
    """The search that its settings are from; None if they were given."""
