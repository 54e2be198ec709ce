"""Forecast from the windows of a recent file, with a trained network and beside it baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import RecentForecasts, RecentWindows, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.evaluation.intervals import Calibration, Forecasted, around, half_widths
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import load_forecasters
from vd_forecasting.parameters import Baselines, Forecast, Intervals
from vd_forecasting.pipelines.baselines.baseline import Baseline, all_vds
from vd_forecasting.pipelines.baselines.forecast import quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.flags import flags_of
from vd_forecasting.pipelines.forecast.refit import Refitted
from vd_forecasting.pipelines.training.forecast_windows import forecast_at_once
from vd_forecasting.vocabulary import REFITTED

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


def learn_baselines(windows: WindowSet, baselines: Baselines) -> dict[str, Baseline]:
    """Those that are learnt within seconds, from windows that hold training and validation."""
    learners = quick_baselines(baselines)
    return {name: learner.learn(windows, all_vds(windows)) for name, learner in learners.items()}


def learn(windows: WindowSet, best_model: Checkpoint, baselines: Mapping[str, Baseline]) -> Learnt:
    """Learn the intervals of a network and of baselines from windows that hold validation."""
    models = Models(best_model["model"], load_forecasters(best_model), baselines)
    past = by_model(models, windows, "val")
    return Learnt(models, Calibration.learn([side_by_side(past)]))


def apply(
    learnt: Learnt,
    recent: RecentWindows,
    forecast: Forecast,
    intervals: Intervals,
    refitted: Sequence[Refitted] = (),
) -> RecentForecasts:
    """The forecasts of the windows of a recent file, with flags and intervals."""
    judged = by_model(learnt.models, recent, "test")
    one = judged[learnt.models.network]
    again = {REFITTED[of.checkpoint["model"]]: of for of in refitted}
    now = {
        name: replace(
            one, forecast=forecast_at_once(load_forecasters(of.checkpoint), recent, "test")
        )
        for name, of in again.items()
    } | judged
    seen = {name: of.windows for name, of in again.items()}
    masks = [2**bit for bit in range(len(FLAGS))]
    meaning = {"flag_masks": masks, "flag_meanings": " ".join(FLAGS)}  # as CF has it
    arrays = {
        "prediction": (DIMS, np.stack([of_model.forecast for of_model in now.values()])),
        **interval_arrays(learnt.calibration, judged, now, recent, intervals),
        "flag": (DIMS, flags_of([*now], recent, seen), meaning),
        "truth": (DIMS[1:], one.truth),
    }
    labels = {"model": [*now], **recent.forecast_coordinates("test")}
    labels["origin"] = one.origins + shift(recent.utc_offset, recent.file_utc_offset)
    attributes = recent.forecast_attributes(learnt.models.network)
    attributes["utc_offset"] = recent.file_utc_offset
    for of in refitted:
        until = of.windows.time[-1] + shift(recent.utc_offset, recent.file_utc_offset)
        attributes["refit_windows"] = [*of.windows.of_comparison_and_file]
        attributes["refit_until"] = pd.Timestamp(until).isoformat()
        attributes["refit_epochs"] = of.epochs
    data = xr.Dataset(arrays, labels, attributes).sel(vd=recent.vdids_there)
    return RecentForecasts(data if forecast.origins == "all" else data.isel(origin=[-1]))


def by_model(models: Models, windows: WindowSet, split: str) -> dict[str, Forecasted]:
    """What the network, the baselines and persistence forecast, the network first."""
    origins = windows.origins(split)
    forecasts = {
        models.network: forecast_at_once(models.forecasters, windows, split),
        **{
            name: windows.to_possible(models.baselines[name](windows, origins, all_vds(windows)))
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
    judged: Mapping[str, Forecasted],
    now: Mapping[str, Forecasted],
    recent: RecentWindows,
    intervals: Intervals,
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[np.float32]]]:
    """Lower and upper ends by level, as :class:`.recent.RecentForecasts` has them.

    A model that is not judged, as it has no past, has the widths of the first one that is.
    """
    settings = (intervals.levels, intervals.adaptive_step)
    widths = np.array([*half_widths(past, side_by_side(judged), *settings)])  # [H, L, W, M*N, F]
    widths = widths.reshape(*widths.shape[:3], len(judged), -1, widths.shape[-1])
    of_first = [widths[:, :, :, :1]] * (len(now) - len(judged))
    widths = np.concatenate([*of_first, widths], axis=3)
    points = np.stack([of_model.forecast for of_model in now.values()], axis=2)  # [W, H, M, N, F]
    ends = [
        around(point, width, recent.target_range)
        for point, width in zip(np.moveaxis(points, 1, 0), widths, strict=True)
    ]
    # [H, 2, L, W, M, N, F] becomes [L, 2, M, W, H, N, F].
    by_level = np.moveaxis(np.array(ends, dtype="float32"), (2, 1, 4, 3, 0), range(5))
    return {
        f"{end}_{100 * level:g}": (DIMS, values)
        for level, of_level in zip(intervals.levels, by_level, strict=True)
        for end, values in zip(("lower", "upper"), of_level, strict=True)
    }
