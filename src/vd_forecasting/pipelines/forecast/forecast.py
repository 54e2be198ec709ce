"""Forecast from the windows of a recent file, with a trained network and beside it baselines."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import BaselineForecasts, Forecasts, RecentForecasts, RecentWindows
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.evaluation.intervals import Forecasted, around, half_widths
from vd_forecasting.models.checkpoint import Checkpoint
from vd_forecasting.parameters import Baselines, Compute, Forecast, Intervals
from vd_forecasting.pipelines.baselines.forecast import SPLITS, forecast_by, quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.flags import flags_of
from vd_forecasting.pipelines.forecast.refit import Refitted
from vd_forecasting.pipelines.training.evaluate import forecast_split
from vd_forecasting.vocabulary import REFITTED

DIMS = ("model", "origin", "horizon", "vd", "feature")


def forecast_recent(
    recent: RecentWindows,
    best_model: Checkpoint,
    baselines: Baselines,
    forecast: Forecast,
    intervals: Intervals,
    compute: Compute,
    refitted: Sequence[Refitted] = (),
) -> RecentForecasts:
    """The forecasts of a network, persistence, and the baselines that are learnt within seconds.

    They are made as ``evaluate`` makes those of the test split, from detectors that the file has.
    Intervals are learnt from the validation split and follow what came true in the file. A refitted
    network comes first; it has no residual of its own on data that it has not seen, so around its
    forecasts stand intervals as wide as those of the network.
    """
    network = best_model["model"]
    of_baselines = forecast_by(quick_baselines(baselines), recent, SPLITS, compute)
    past, now = (
        by_model(
            forecast_split({"": best_model}, recent, split, compute, best_model["seed"]),
            of_baselines[split],
        )
        for split in SPLITS
    )
    one = now[network]
    known = {REFITTED[of.checkpoint["model"]]: of for of in refitted}
    for name, of in known.items():
        own = forecast_split({"": of.checkpoint}, recent, "test", compute, best_model["seed"])
        prediction = own.prediction.isel(seed=0).transpose(*DIMS[1:]).to_numpy()
        now = {name: replace(one, forecast=prediction), **now}
    windows = {name: of.windows for name, of in known.items()}
    masks = [2**bit for bit in range(len(FLAGS))]
    meaning = {"flag_masks": masks, "flag_meanings": " ".join(FLAGS)}  # as CF has it
    arrays = {
        "prediction": (DIMS, np.stack([of_model.forecast for of_model in now.values()])),
        **interval_arrays(past, now, recent, intervals),
        "flag": (DIMS, flags_of([*now], recent, windows), meaning),
        "truth": (DIMS[1:], one.truth),
    }
    labels = {"model": [*now], **recent.forecast_coordinates("test")}
    labels["origin"] = one.origins + shift(recent.utc_offset, recent.file_utc_offset)
    attributes = recent.forecast_attributes(network)
    attributes["utc_offset"] = recent.file_utc_offset
    for of in refitted:
        until = of.windows.time[-1] + shift(recent.utc_offset, recent.file_utc_offset)
        attributes["refit_windows"] = [*of.windows.of_comparison_and_file]
        attributes["refit_until"] = pd.Timestamp(until).isoformat()
        attributes["refit_epochs"] = of.epochs
    data = xr.Dataset(arrays, labels, attributes).sel(vd=recent.vdids_there)
    return RecentForecasts(data if forecast.origins == "all" else data.isel(origin=[-1]))


def by_model(of_network: Forecasts, of_baselines: BaselineForecasts) -> dict[str, Forecasted]:
    """What a network of one seed, the baselines and persistence forecast, the network first."""
    data = of_network.data
    persistence = data["persistence"].expand_dims(horizon=data["horizon"])
    forecasts = {
        str(data.attrs["model"]): data["prediction"].isel(seed=0),
        **{name: of_baselines.prediction.sel(model=name) for name in of_baselines.models[::-1]},
        "persistence": persistence,
    }
    truth = data["truth"].transpose(*DIMS[1:]).to_numpy()
    return {
        name: Forecasted(
            of_network.origins,
            forecast.transpose(*DIMS[1:]).to_numpy(),
            truth,
            of_network.interval_minutes,
        )
        for name, forecast in forecasts.items()
    }


def interval_arrays(
    past: dict[str, Forecasted],
    now: dict[str, Forecasted],
    recent: RecentWindows,
    intervals: Intervals,
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[np.float32]]]:
    """Lower and upper ends by level, as :class:`.recent.RecentForecasts` has them.

    A model without a past has the widths of the first one that has one.
    """
    settings, first = (intervals.levels, intervals.adaptive_step), next(iter(past))
    of_models = []
    for name, of_model in now.items():
        own = name if name in past else first
        widths = half_widths([past[own]], now[own], *settings)
        points = np.moveaxis(of_model.forecast, 1, 0)  # [H, W, N, F]
        ends = [around(*one, recent.target_range) for one in zip(points, widths, strict=True)]
        of_models.append(np.array(ends, dtype="float32"))  # [H, 2, L, W, N, F]
    # [M, H, 2, L, W, N, F] becomes [L, 2, M, W, H, N, F].
    by_level = np.moveaxis(np.stack(of_models), (3, 2, 1), (0, 1, 4))
    return {
        f"{end}_{100 * level:g}": (DIMS, values)
        for level, of_level in zip(intervals.levels, by_level, strict=True)
        for end, values in zip(("lower", "upper"), of_level, strict=True)
    }
