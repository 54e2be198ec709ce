"""Forecast from the windows of a recent file, with a trained network and beside it baselines."""

import numpy as np
import xarray as xr

from vd_forecasting.artefacts import RecentForecasts, RecentWindows
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.models.checkpoint import Checkpoint
from vd_forecasting.parameters import Baselines, Compute
from vd_forecasting.pipelines.baselines.forecast import forecast_by, quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.flags import flags_of
from vd_forecasting.pipelines.training.evaluate import forecast_split

DIMS = ("model", "origin", "horizon", "vd", "feature")


def forecast_recent(
    recent: RecentWindows, best_model: Checkpoint, baselines: Baselines, compute: Compute
) -> RecentForecasts:
    """The forecasts of a network, persistence, and the baselines that are learnt within seconds.

    They are made as ``evaluate`` makes those of the test split, from detectors that the file has.
    """
    of_network = forecast_split({"": best_model}, recent, "test", compute, best_model["seed"]).data
    of_baselines = forecast_by(quick_baselines(baselines), recent, ["test"], compute)["test"]
    persistence = of_network["persistence"].expand_dims(horizon=of_network["horizon"])
    by_model = {
        best_model["model"]: of_network["prediction"].isel(seed=0),
        **{name: of_baselines.prediction.sel(model=name) for name in of_baselines.models[::-1]},
        "persistence": persistence.transpose(*DIMS[1:]),
    }
    prediction = np.stack([one.transpose(*DIMS[1:]).to_numpy() for one in by_model.values()])
    masks = [2**bit for bit in range(len(FLAGS))]
    meaning = {"flag_masks": masks, "flag_meanings": " ".join(FLAGS)}  # as CF has it
    arrays = {
        "prediction": (DIMS, prediction),
        "flag": (DIMS, flags_of([*by_model], recent), meaning),
        "truth": (DIMS[1:], of_network["truth"].transpose(*DIMS[1:]).to_numpy()),
    }
    labels = {"model": [*by_model], **recent.forecast_coordinates("test")}
    origins = recent.time[recent.origins("test")]
    labels["origin"] = origins + shift(recent.utc_offset, recent.file_utc_offset)
    attributes = recent.forecast_attributes(best_model["model"])
    attributes["utc_offset"] = recent.file_utc_offset
    data = xr.Dataset(arrays, labels, attributes)
    return RecentForecasts(data.sel(vd=recent.vdids_there))
