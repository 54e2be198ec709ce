"""Train the networks of a checkpoint again, on everything there is up to the end of a file."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vd_forecasting.artefacts import (
    AllWindows,
    Config,
    Experiment,
    History,
    RecentWindows,
    WindowBlocks,
    WindowSet,
)
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets import TrainingState
from vd_forecasting.parameters import Compute, Forecast, LSTMModel, XLSTMModel
from vd_forecasting.pipelines.training.train_nodes import state_name
from vd_forecasting.vd_array import as_interval
from vd_forecasting.wording import count, time_stamp

logger = logging.getLogger(__name__)

SETTINGS: Final[Mapping[str, type[LSTMModel] | type[XLSTMModel]]] = {
    "lstm": LSTMModel,
    "xlstm": XLSTMModel,
}


@dataclass(frozen=True)
class Refitted:
    """A checkpoint whose networks were trained again."""

    checkpoint: Checkpoint
    windows: AllWindows
    """What they were trained on."""
    epochs: list[int]
    """For how many epochs each of them."""


def refit(
    recent: RecentWindows,
    best_model: Checkpoint,
    blocks: WindowBlocks,
    config: Config,
    history: History,
    forecast: Forecast,
    compute: Compute,
    refit_state: TrainingState | None = None,
) -> list[Refitted]:
    """Train the networks of a checkpoint again on :func:`all_windows`, if ``forecast.refit`` asks
    for it; else there is none in the list.

    Seed, settings, scaler and, by epoch, learning rates are those of the training that made the
    checkpoint, and so is the number of epochs: that of the weights which were kept. There is no
    validation. The state keeps unfinished trainings and the result of the last one, which is not
    trained again on the same data. It is a ValueError if the records are not of the checkpoint, or
    as :func:`~vd_forecasting.pipelines.training.loop.fit_at` says.
    """
    if not forecast.refit:
        return []
    from vd_forecasting.pipelines.training.train import train_seeds  # noqa: PLC0415  (imports torch)

    windows, seed = all_windows(blocks.last, recent), best_model["seed"]
    experiment = Experiment(
        windows,
        best_model["model"],
        SETTINGS[best_model["model"]].model_validate(best_model["model_parameters"]),
        config.training.model_copy(update={"seeds": (seed,)}),
        compute,
        mape_min_truth=0.0,  # no MAPE of it is read
        rates=rates_of(best_model, config, history),
    )
    if refit_state is not None:
        refit_state.clear(besides=[state_name(windows, seed, name) for name in windows.models])
    line = "%s refit: %s windows of the comparison and %s of %s behind them, up to %s"
    numbers = map(count, windows.of_comparison_and_file)
    until = time_stamp(windows.time[-1], as_interval(windows.interval_minutes))
    logger.info(line, experiment.name, *numbers, recent.source, until)
    [(checkpoint, fits)] = train_seeds(experiment, refit_state, [], len(windows.models))
    return [Refitted(checkpoint, windows, [len(of["epochs"]) for of in fits.values()])]


def rates_of(
    best_model: Checkpoint, config: Config, history: History
) -> dict[str, tuple[float, ...]]:
    """The learning rates of each network, up to the epoch whose weights the checkpoint holds.

    A ValueError, in one line, if the records are of another training.
    """
    experiment, names = config.experiment, [*best_model["weights"]]
    fits = history.seeds.get(str(best_model["seed"]), {})
    kept = {name: fit.epochs[: fit.best_epoch] for name, fit in fits.items()}
    whole = all(len(kept[name]) == fit.best_epoch > 0 for name, fit in fits.items())
    if [*fits] != names or not whole or config.best_seed != best_model["seed"]:
        raise ValueError(
            f"{experiment}: config.json and training_history.json are not of its checkpoint, which "
            f"has seed {best_model['seed']} and {', '.join(names[:3])}; train again with kedro run "
            f"--namespace {experiment}"
        )
    return {name: tuple(epoch.learning_rate for epoch in epochs) for name, epochs in kept.items()}


def all_windows(trained: WindowSet, recent: RecentWindows) -> AllWindows:
    """The series of a comparison, and those of a file behind them up to its last value.

    What was never there in training has no scale: it stays unknown. What the file has behind them
    is left out if it holds no window.
    """
    steps = np.arange(recent.file.start, recent.last_known + 1)
    steps = steps[recent.time[steps] > trained.time[-1]]
    if len(steps) < sum(trained.lengths.values()):
        steps = steps[:0]
    known, added = trained.data, recent.data.isel(time=steps)
    arrays = {
        name: (known[name].dims, np.concatenate([known[name].values, added[name].values]))
        for name in ("values", "observed", "calendar")
    }
    unknown = ~trained.observed[: trained.ends["train"]].any(axis=0)  # [N, P]
    for name in ("values", "observed"):
        arrays[name][1][:, unknown] = 0
    end = len(trained.time)
    time = np.concatenate([trained.time, recent.time[steps]])
    data = known.drop_dims("time").assign_coords(time=time).assign(arrays)
    return AllWindows(data.assign_attrs(train_end=end, val_end=end))
