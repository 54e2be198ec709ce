"""Forecast the splits with the trained models and score the forecasts in physical units."""

from typing import Any

import numpy as np
import torch
import xarray as xr

from vd_forecasting.metrics import METRICS, score
from vd_forecasting.models.checkpoint import Checkpoint, load_forecasters
from vd_forecasting.parameters import Compute, Evaluation
from vd_forecasting.pipelines.training.batches import (
    WindowBatches,
    models_of,
    target_names,
    target_positions,
)
from vd_forecasting.pipelines.training.train import VALIDATION_BATCH_SIZE, torch_threads
from vd_forecasting.pipelines.training.windows import SPLITS, window_starts


def evaluate(
    checkpoint: Checkpoint, windows: xr.Dataset, evaluation: Evaluation, compute: Compute
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Forecast every window of every split; keep the test forecasts.

    Args:
        checkpoint: trained models.
        windows: the dataset they were trained on.
        evaluation: what MAPE leaves out.
        compute: threads.

    Returns:
        The test forecasts of :func:`forecast_split`, and metrics ready for JSON: on test pooled,
        by horizon and by VD, with persistence scored on the same points, and pooled on train and
        val.
    """
    with torch_threads(compute.threads):
        forecasts = {split: forecast_split(checkpoint, windows, split) for split in SPLITS}
    predictions = forecasts["test"]
    truth, minimum = predictions["truth"], evaluation.mape_min_truth
    model, persistence = predictions["prediction"], predictions["persistence"]
    by_vd = score(truth, model, minimum, pool=["horizon"])
    units = dict(zip(predictions["feature"].values, predictions["unit"].values, strict=True))

    def pooled(split: str, forecast: xr.DataArray) -> dict[str, Any]:
        return _by_feature(
            score(forecasts[split]["truth"], forecast, minimum, pool=["horizon", "vd"])
        )

    test = pooled("test", model)
    for feature, values in test.items():
        values["unit"] = str(units[feature])
    metrics = {
        "experiment": f"{predictions.attrs['mode']}_{predictions.attrs['model']}",
        "source": predictions.attrs["source"],
        "test": test,
        "persistence": pooled("test", persistence),
        "by_horizon": _by_feature(score(truth, model, minimum, pool=["vd"])),
        "persistence_by_horizon": _by_feature(score(truth, persistence, minimum, pool=["vd"])),
        "by_vd": {str(vdid): _by_feature(by_vd.sel(vd=vdid)) for vdid in by_vd["vd"].values},
        "train": pooled("train", forecasts["train"]["prediction"]),
        "val": pooled("val", forecasts["val"]["prediction"]),
    }
    return predictions, metrics


def forecast_split(checkpoint: Checkpoint, windows: xr.Dataset, split: str) -> xr.Dataset:
    """Forecast every window of a split.

    Returns:
        float32 ``prediction`` and ``truth`` (origin, horizon, vd, feature) in physical units, the
        truth NaN where not observed; ``persistence`` (origin, vd, feature), the last value known at
        the origin. An origin is the time stamp of the last input step; what is forecast lies
        ``horizon`` steps after it.
    """
    positions = target_positions(windows)
    mean, std = windows["mean"].values[:, positions], windows["std"].values[:, positions]
    starts = window_starts(windows, split)
    origins = starts + windows.attrs["sequence_length"] - 1
    horizons = int(windows.attrs["prediction_length"])
    shape = (len(starts), horizons, windows.sizes["vd"], len(positions))
    prediction, truth = np.empty(shape, "float32"), np.empty(shape, "float32")
    forecasters = load_forecasters(checkpoint)
    for name, vds in models_of(windows).items():
        batches = WindowBatches(windows, vds, split, batch_size=VALIDATION_BATCH_SIZE)
        row = 0
        with torch.inference_mode():
            for inputs, targets in batches:
                rows = slice(row, row + len(inputs))
                row += len(inputs)
                prediction[rows, :, vds] = forecasters[name](inputs).numpy()
                truth[rows, :, vds] = targets.numpy()
    last = windows["values"].values[origins][:, :, positions]
    return xr.Dataset(
        {
            "prediction": (("origin", "horizon", "vd", "feature"), prediction * std + mean),
            "truth": (("origin", "horizon", "vd", "feature"), truth * std + mean),
            "persistence": (("origin", "vd", "feature"), last * std + mean),
        },
        coords={
            "origin": windows["time"].values[origins],
            "horizon": np.arange(1, horizons + 1),
            "vd": windows["vd"].values,
            "feature": target_names(windows),
            "unit": ("feature", windows["unit"].values[positions]),
        },
        attrs={
            "mode": windows.attrs["mode"],
            "model": checkpoint["model"],
            "source": windows.attrs["source"],
            "interval_minutes": windows.attrs["interval_minutes"],
        },
    )


def _by_feature(scores: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Scores over (feature) or (feature, horizon) as nested dicts; undefined values are None."""
    names = [*METRICS, "n", "mape_left_out"]
    return {
        str(feature): {name: _plain(scores[name].sel(feature=feature)) for name in names}
        for feature in scores["feature"].values
    }


def _plain(values: xr.DataArray) -> Any:
    if values.ndim:
        return [_plain(value) for value in values]
    value = values.item()
    return value if np.isfinite(value) else None
