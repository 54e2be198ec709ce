"""A comparison with all its records, and files for its networks to be trained on again."""

from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

from tests.make.arrays import make_clean
from tests.make.recent_files import MAKE, STEPS
from tests.make.trainings import COMPUTE, LSTM, MAPE_MIN_TRUTH, TRAINING, XLSTM
from vd_forecasting.artefacts import Config, History, RecentWindows, WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets import TrainingState
from vd_forecasting.parameters import Forecast
from vd_forecasting.pipelines.forecast.clean_recent import clean_recent
from vd_forecasting.pipelines.forecast.recent_windows import make_recent_windows
from vd_forecasting.pipelines.forecast.refit import Refitted, refit
from vd_forecasting.pipelines.training.train_nodes import train_lstm, train_xlstm

UNEVEN = TRAINING.model_copy(
    update={"seeds": (7,), "learning_rate": 0.1, "decay_epochs": 8, "epochs": 8, "patience": 99}
)
"""The learning rate falls early."""
Compared = tuple[Checkpoint, WindowSet, Config, History]


@cache
def compared(kind: str = "joint", model: str = "lstm") -> Compared:
    """Checkpoint, windows, configuration and history."""
    windows = MAKE[kind](make_clean(STEPS))
    blocks, settings = WindowBlocks.of_one(windows), (UNEVEN, MAPE_MIN_TRUTH, COMPUTE)
    if model == "lstm":
        best, _, config, history = train_lstm(blocks, LSTM, *settings)
    else:
        best, _, config, history = train_xlstm(blocks, XLSTM, *settings)
    return best, windows, config, history


def ended_with(of: Compared, *epochs: int) -> Compared:
    """As if the comparison had kept the weights of these epochs, one for each network."""
    best, windows, config, history = of
    records = history.model_dump(mode="json")
    for fit, epoch in zip(records["7"].values(), epochs, strict=True):
        fit["best_epoch"] = epoch
    return best, windows, config, History.model_validate(records)


def later_file(first: int, last: int) -> xr.DataArray:
    """Steps on the grid of the comparison, which has the steps 0 to 499."""
    file = make_clean(800, seed=1).isel(time=slice(first, last))
    return file.assign_attrs(source_file="today.h5")


def older_file() -> xr.DataArray:
    """A hundred steps from long before the comparison."""
    file = later_file(0, 100)
    return file.assign_coords(time=file["time"] - np.timedelta64(30, "D"))


def windows_of(raw: xr.DataArray, of: Compared, origins: str = "last") -> RecentWindows:
    """What is forecast from a file."""
    best, windows, *_ = of
    asked = Forecast.model_validate({"origins": origins})
    return make_recent_windows(clean_recent(raw, best), best, WindowBlocks.of_one(windows), asked)


def refitted(
    raw: xr.DataArray, of: Compared, folder: TrainingState | Path | None = None
) -> list[Refitted]:
    """The networks of a comparison, trained again on all data."""
    best, windows, config, history = of
    state = TrainingState(folder) if isinstance(folder, Path) else folder
    asked = Forecast(origins="last", refit=True)
    blocks = WindowBlocks.of_one(windows)
    return refit(windows_of(raw, of), best, blocks, config, history, asked, COMPUTE, state)
