"""Forecast from the windows of a recent file, with a trained network and beside it baselines."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import RecentForecasts, RecentWindows, WindowSet
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.evaluation.intervals import Calibration, Forecasted, interval_bounds
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import Checkpoint, load_forecasters
from vd_forecasting.parameters import Baselines, Compute, Forecast, Intervals
from vd_forecasting.pipelines.baselines.forecast import Baseline, quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.flags import flags_of
from vd_forecasting.pipelines.training.evaluate import forecast_at_once
from vd_forecasting.pipelines.training.train import torch_threads

DIMS = ("model", "origin", "horizon", "vd", "feature")


@dataclass(frozen=True)
class Models:
    """What forecasts a recent file, beside persistence."""

    network: str
    """``lstm`` or ``xlstm``."""
    forecasters: Mapping[str, Forecaster]
    baselines: Mapping[str, Baseline]

    @property
    def names(self) -> list[str]:
        """The network, the baselines and persistence."""
        return [self.network, *[*self.baselines][::-1], "persistence"]


@dataclass(frozen=True)
class Learnt:
    """Models, and what validation says of their errors."""

    models: Models
    calibration: Calibration
    """Of the intervals of all models, :func:`side_by_side`."""


def forecast_recent(
    recent: RecentWindows,
    best_model: Checkpoint,
    baselines: Baselines,
    forecast: Forecast,
    intervals: Intervals,
    compute: Compute,
) -> RecentForecasts:
    """The forecasts of a network, persistence, and the baselines that are learnt within seconds.

    They are made as ``evaluate`` makes those of the test split, from detectors that the file has.
    Intervals are learnt from the validation split and follow what came true in the file.
    """
    with torch_threads(compute.threads), threadpool_limits(compute.threads):
        learnt = learn(recent, best_model, learn_baselines(recent, baselines))
        return apply(learnt, recent, forecast, intervals)


def learn_baselines(windows: WindowSet, baselines: Baselines) -> dict[str, Baseline]:
    """Those that are learnt within seconds, from windows that hold training and validation."""
    return {name: learner(windows) for name, learner in quick_baselines(baselines).items()}


def learn(windows: WindowSet, best_model: Checkpoint, baselines: Mapping[str, Baseline]) -> Learnt:
    """Learn the intervals of a network and of baselines from windows that hold validation."""
    models = Models(best_model["model"], load_forecasters(best_model), baselines)
    past = by_model(models, windows, "val")
    return Learnt(models, Calibration.learn([side_by_side(past)]))


def apply(
    learnt: Learnt, recent: RecentWindows, forecast: Forecast, intervals: Intervals
) -> RecentForecasts:
    """The forecasts of the windows of a recent file, with flags and intervals."""
    now = by_model(learnt.models, recent, "test")
    one = now[learnt.models.network]
    masks = [2**bit for bit in range(len(FLAGS))]
    meaning = {"flag_masks": masks, "flag_meanings": " ".join(FLAGS)}  # as CF has it
    arrays = {
        "prediction": (DIMS, np.stack([of_model.forecast for of_model in now.values()])),
        **interval_arrays(learnt.calibration, now, recent, intervals),
        "flag": (DIMS, flags_of([*now], recent), meaning),
        "truth": (DIMS[1:], one.truth),
    }
    labels = {"model": [*now], **recent.forecast_coordinates("test")}
    labels["origin"] = one.origins + shift(recent.utc_offset, recent.file_utc_offset)
    attributes = recent.forecast_attributes(learnt.models.network)
    attributes["utc_offset"] = recent.file_utc_offset
    data = xr.Dataset(arrays, labels, attributes).sel(vd=recent.vdids_there)
    return RecentForecasts(data if forecast.origins == "all" else data.isel(origin=[-1]))


def by_model(models: Models, windows: WindowSet, split: str) -> dict[str, Forecasted]:
    """What the network, the baselines and persistence forecast, the network first."""
    origins = windows.origins(split)
    forecasts = {
        models.network: forecast_at_once(models.forecasters, windows, split),
        **{
            name: windows.to_possible(models.baselines[name](windows, origins))
            for name in models.names[1:-1]
        },
        "persistence": windows.to_possible(windows.last_values(origins)),
    }
    values, observed = windows.target_series
    steps = windows.target_steps(origins)
    truth = np.where(observed[steps], windows.to_physical(values[steps]), np.float32(np.nan))
    times, interval = windows.time[origins], windows.interval_minutes
    return {
        name: Forecasted(times, of_model, truth, interval) for name, of_model in forecasts.items()
    }


def side_by_side(forecasts: Mapping[str, Forecasted]) -> Forecasted:
    """The forecasts of all models as if of one, with the detectors of each model after those of the
    one before: ``[T, H, M*N, F]``."""
    one = next(iter(forecasts.values()))
    values = np.concatenate([of_model.forecast for of_model in forecasts.values()], axis=2)
    return replace(one, forecast=values, truth=np.tile(one.truth, (1, 1, len(forecasts), 1)))


def interval_arrays(
    past: Calibration,
    now: Mapping[str, Forecasted],
    recent: RecentWindows,
    intervals: Intervals,
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[np.float32]]]:
    """Lower and upper ends by level, as :class:`.recent.RecentForecasts` has them."""
    low, high = (np.tile(end, (len(now), 1)) for end in recent.target_range)
    settings = ((low, high), intervals.levels, intervals.adaptive_step)
    ends = np.array([*interval_bounds(past, side_by_side(now), *settings)], dtype="float32")
    # [H, 2, L, W, M*N, F]
    ends = ends.reshape(*ends.shape[:4], len(now), -1, ends.shape[-1])
    ends = np.moveaxis(ends, (2, 1, 4, 3, 0), range(5))  # [L, 2, M, W, H, N, F]
    return {
        f"{end}_{100 * level:g}": (DIMS, values)
        for level, of_level in zip(intervals.levels, ends, strict=True)
        for end, values in zip(("lower", "upper"), of_level, strict=True)
    }
