"""Forecast from the windows of a recent file, with a trained network and beside it baselines."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.artefacts import BaselineForecasts, Forecasts, RecentForecasts, RecentWindows
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.evaluation.intervals import Forecasted, interval_bounds
from vd_forecasting.models.checkpoint import Checkpoint
from vd_forecasting.parameters import Baselines, Compute, Forecast, Intervals
from vd_forecasting.pipelines.baselines.forecast import SPLITS, forecast_by, quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.flags import flags_of
from vd_forecasting.pipelines.training.evaluate import forecast_split

DIMS = ("model", "origin", "horizon", "vd", "feature")


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
    of_baselines = forecast_by(quick_baselines(baselines), recent, SPLITS, compute)
    past, now = (
        by_model(
            forecast_split({"": best_model}, recent, split, compute, best_model["seed"]),
            of_baselines[split],
        )
        for split in SPLITS
    )
    one = now[best_model["model"]]
    masks = [2**bit for bit in range(len(FLAGS))]
    meaning = {"flag_masks": masks, "flag_meanings": " ".join(FLAGS)}  # as CF has it
    arrays = {
        "prediction": (DIMS, np.stack([of_model.forecast for of_model in now.values()])),
        **interval_arrays(past, now, recent, intervals),
        "flag": (DIMS, flags_of([*now], recent), meaning),
        "truth": (DIMS[1:], one.truth),
    }
    labels = {"model": [*now], **recent.forecast_coordinates("test")}
    labels["origin"] = one.origins + shift(recent.utc_offset, recent.file_utc_offset)
    attributes = recent.forecast_attributes(best_model["model"])
    attributes["utc_offset"] = recent.file_utc_offset
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
    """Lower and upper ends by level, as :class:`.recent.RecentForecasts` has them."""
    settings = (recent.target_range, intervals.levels, intervals.adaptive_step)
    ends = np.stack(
        [
            # [H, 2, L, W, N, F] of a model
            np.array([*interval_bounds([past[name]], now[name], *settings)], dtype="float32")
            for name in now
        ]
    )
    ends = np.moveaxis(ends, (3, 2, 1), (0, 1, 4))  # [L, 2, M, W, H, N, F]
    return {
        f"{end}_{100 * level:g}": (DIMS, values)
        for level, of_level in zip(intervals.levels, ends, strict=True)
        for end, values in zip(("lower", "upper"), of_level, strict=True)
    }
