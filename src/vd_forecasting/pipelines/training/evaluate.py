"""Forecast the splits with the trained models and score the forecasts in physical units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.evaluation.metrics import METRICS, score
from vd_forecasting.evaluation.reference_scales import free_flow_speed, mase_scale
from vd_forecasting.models.checkpoint import Checkpoint, load_forecasters
from vd_forecasting.parameters import Compute
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.train import VALIDATION_BATCH_SIZE, torch_threads
from vd_forecasting.vocabulary import SPLITS


def evaluate(
    best_model: Checkpoint,
    models: dict[str, Checkpoint],
    windows: WindowSet,
    mape_min_truth: float,
    compute: Compute,
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Forecast every window of every split with every seed's models; keep the test forecasts.

    Args:
        best_model: those of the seed with the lowest validation loss.
        models: trained models by seed.
        windows: the dataset they were trained on.
        mape_min_truth: truths below this are left out of MAPE.
        compute: threads.

    Returns:
        The test forecasts of :func:`forecast_split`, with the attribute ``best_seed``, and metrics
        ready for JSON: on test pooled, by horizon and by VD, with persistence scored on the same
        points, and pooled on train and val. Each is the mean over the seeds; ``test_sd`` and
        ``by_horizon_sd`` are their standard deviations, undefined for one seed.
    """
    with torch_threads(compute.threads):
        forecasts = {split: forecast_split(models, windows, split) for split in SPLITS}
    predictions = forecasts["test"].assign_attrs(best_seed=best_model["seed"])
    units = dict(zip(predictions["feature"].values, predictions["unit"].values, strict=True))

    def scores(split: str, pool: list[str]) -> xr.Dataset:
        """Of every seed."""
        of_split = forecasts[split]
        return xr.concat(
            [
                score(
                    of_split["truth"],
                    forecast,
                    mape_min_truth,
                    pool=pool,
                    mase_scale=of_split["mase_scale"],
                )
                for forecast in of_split["prediction"].transpose("seed", ...)
            ],
            "seed",
        )

    def of_persistence(pool: list[str]) -> dict[str, Any]:
        return _by_feature(
            score(
                predictions["truth"],
                predictions["persistence"],
                mape_min_truth,
                pool=pool,
                mase_scale=predictions["mase_scale"],
            )
        )

    test, by_horizon = scores("test", ["horizon", "vd"]), scores("test", ["vd"])
    by_vd = _mean(scores("test", ["horizon"]))
    pooled = _by_feature(_mean(test))
    for feature, values in pooled.items():
        values["unit"] = str(units[feature])
    metrics = {
        "experiment": f"{predictions.attrs['mode']}_{predictions.attrs['model']}",
        "source": predictions.attrs["source"],
        "seeds": [int(seed) for seed in predictions["seed"].values],
        "test": pooled,
        "test_sd": _by_feature(_deviation(test), ERRORS),
        "persistence": of_persistence(["horizon", "vd"]),
        "by_horizon": _by_feature(_mean(by_horizon)),
        "by_horizon_sd": _by_feature(_deviation(by_horizon), ERRORS),
        "persistence_by_horizon": of_persistence(["vd"]),
        "by_vd": {str(vdid): _by_feature(by_vd.sel(vd=vdid)) for vdid in by_vd["vd"].values},
        "train": _by_feature(_mean(scores("train", ["horizon", "vd"]))),
        "val": _by_feature(_mean(scores("val", ["horizon", "vd"]))),
    }
    return predictions, metrics


def forecast_split(models: dict[str, Checkpoint], windows: WindowSet, split: str) -> xr.Dataset:
    """Forecast every window of a split.

    Returns:
        float32 ``prediction`` (seed, origin, horizon, vd, feature) and ``truth`` (origin, horizon,
        vd, feature) in physical units, the truth NaN where not observed; ``persistence`` (origin,
        vd, feature), the last value known at the origin; ``mase_scale`` (vd, feature) and
        ``free_flow_speed`` (vd) of :mod:`.reference_scales`. An origin is the time stamp of the
        last input step; what is forecast lies ``horizon`` steps after it.
    """
    positions = windows.target_positions
    mean, std = windows.mean[:, positions], windows.std[:, positions]
    starts = windows.starts(split)
    origins = starts + windows.sequence_length - 1
    horizons = windows.prediction_length
    shape = (len(starts), horizons, len(windows.vdids), len(positions))
    prediction, truth = np.empty((len(models), *shape), "float32"), np.empty(shape, "float32")
    forecasters = [load_forecasters(checkpoint) for checkpoint in models.values()]
    for name, vds in windows.models.items():
        batches = WindowBatches(windows, vds, split, batch_size=VALIDATION_BATCH_SIZE)
        row = 0
        with torch.inference_mode():
            for inputs, targets in batches:
                rows = slice(row, row + len(inputs))
                row += len(inputs)
                truth[rows, :, vds] = targets.numpy()
                for of_seed, by_name in zip(prediction, forecasters, strict=True):
                    of_seed[rows, :, vds] = by_name[name](inputs).numpy()
    last = windows.values[origins][:, :, positions]
    return xr.Dataset(
        {
            "prediction": (("seed", "origin", "horizon", "vd", "feature"), prediction * std + mean),
            "truth": (("origin", "horizon", "vd", "feature"), truth * std + mean),
            "persistence": (("origin", "vd", "feature"), last * std + mean),
            "mase_scale": mase_scale(windows).drop_vars("unit"),
            "free_flow_speed": free_flow_speed(windows),
        },
        coords={
            "seed": [checkpoint["seed"] for checkpoint in models.values()],
            **windows.forecast_coordinates(split),
        },
        attrs=windows.forecast_attributes(next(iter(models.values()))["model"]),
    )


def _mean(scores: xr.Dataset) -> xr.Dataset:
    return scores.mean("seed", skipna=False).assign(n=scores["n"].isel(seed=0))


def _deviation(scores: xr.Dataset) -> xr.Dataset:
    if scores.sizes["seed"] == 1:
        return scores.isel(seed=0) * np.nan
    return scores.std("seed", skipna=False, ddof=1)


ERRORS = (*METRICS, "mase")


def _by_feature(
    scores: xr.Dataset, names: Sequence[str] = (*ERRORS, "n", "mape_left_out")
) -> dict[str, dict[str, Any]]:
    """Scores over (feature) or (feature, horizon) as nested dicts; undefined values are None."""
    return {
        str(feature): {name: _plain(scores[name].sel(feature=feature)) for name in names}
        for feature in scores["feature"].values
    }


def _plain(values: xr.DataArray) -> Any:
    if values.ndim:
        return [_plain(value) for value in values]
    value = values.item()
    return value if np.isfinite(value) else None
