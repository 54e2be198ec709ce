"""Artefacts of experiments that were never trained, in the shapes the training pipeline gives them.

The traffic is made up: a daily profile with a morning and an evening peak, some days with a
breakdown. A forecast is the truth plus an error that grows with the horizon, so which model is
better is known beforehand.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.artefacts import Config, Cost, FitErrors, Forecasts, History, Outcome
from vd_forecasting.artefacts.records import Metrics

UNITS = {"avg_speed": "km/h", "total_volume": "veh/interval", "avg_occupancy": "%"}
FEATURES = tuple(UNITS)
START = "2026-03-23"
MAPE_MIN_TRUTH = 1.0
MAX_STEPS = 3000


@cache
def traffic(vdid: str, interval_minutes: float) -> tuple[np.ndarray, np.ndarray]:
    """A detector's speed, volume and occupancy, the same whoever asks, and what may go missing.

    Returns:
        Values, and numbers from 0 to 1 to choose the missing ones by; both [MAX_STEPS, 3].
    """
    rng = np.random.default_rng(list(map(ord, vdid)))
    hours = np.arange(MAX_STEPS) * interval_minutes / 60
    hour, day = hours % 24, (hours // 24).astype(int)
    peaks = np.exp(-((hour - 7.8) ** 2) / 3) + 0.9 * np.exp(-((hour - 17.5) ** 2) / 5)
    demand = 0.15 + 0.5 * np.exp(-((hour - 13) ** 2) / 40) + 0.6 * peaks
    demand = np.where(day % 7 >= 5, 0.6 * demand, demand) * rng.uniform(0.8, 1.1)
    severity = rng.uniform(0, 1, MAX_STEPS)[day]
    jam = np.clip(demand - 0.75, 0, None) * 3 * severity
    noise = rng.normal(0, 1, (3, MAX_STEPS))
    speed = 95 - 12 * demand - 70 * np.clip(jam, 0, 0.9) + 1.5 * noise[0]
    volume = 220 * demand * (1 - 0.3 * np.clip(jam, 0, 1)) + 6 * noise[1]
    occupancy = 4 + 12 * demand + 35 * np.clip(jam, 0, 1) + 0.6 * noise[2]
    values = np.clip(np.stack([speed, volume, occupancy], axis=-1), 0.5, None)
    return values.astype("float32"), rng.random((MAX_STEPS, 3))


def make_predictions(
    mode: str = "single_vd",
    model: str = "lstm",
    *,
    vdids: Sequence[str] = ("VD-11-0020-002-001",),
    features: Sequence[str] = FEATURES,
    horizons: int = 12,
    origins: int = 1200,
    interval_minutes: float = 5.0,
    error: float = 0.6,
    missing: float = 0.03,
    start: str = START,
    source: str = "vd_sample.h5",
    seeds: Sequence[int] = (42,),
) -> xr.Dataset:
    """Predictions whose error is about ``error`` times persistence's at the last horizon.

    Each seed brings other errors of the same size; the last did best in validation.
    """
    rng = np.random.default_rng([len(vdids), horizons, *map(ord, mode + model)])
    steps, columns = origins + horizons, [FEATURES.index(name) for name in features]
    series = [traffic(vdid, interval_minutes) for vdid in vdids]
    values = np.stack([of_vd[:steps] for of_vd, _ in series], axis=1)[:, :, columns]
    gone = np.stack([of_vd[:steps] for _, of_vd in series], axis=1)[:, :, columns] < missing
    rows = np.arange(origins)[:, None] + np.arange(1, horizons + 1)  # [origin, horizon]
    truth = values[rows]
    last = values[:origins]
    drift = truth - last[:, None]
    size = drift.std(axis=0, keepdims=True) * 0.4 * error
    prediction = np.stack(
        [truth - error * drift + rng.normal(0, 1, truth.shape) * size for _ in seeds]
    )
    scale = abs(values[1:] - values[:-1]).mean(axis=0)
    speeds = values[:, :, features.index("avg_speed")] if "avg_speed" in features else None
    free_flow = np.full(len(vdids), np.nan) if speeds is None else np.percentile(speeds, 85, axis=0)
    step = pd.Timedelta(minutes=interval_minutes)
    return xr.Dataset(
        {
            "prediction": (
                ("seed", "origin", "horizon", "vd", "feature"),
                prediction.astype("float32"),
            ),
            "truth": (
                ("origin", "horizon", "vd", "feature"),
                np.where(gone[rows], np.nan, truth).astype("float32"),
            ),
            "persistence": (("origin", "vd", "feature"), last),
            "mase_scale": (("vd", "feature"), scale.astype("float64")),
            "free_flow_speed": (("vd",), free_flow.astype("float64")),
            "low": (("vd", "feature"), np.full(scale.shape, -np.inf, "float32")),
            "high": (("vd", "feature"), np.full(scale.shape, np.inf, "float32")),
        },
        coords={
            "seed": list(seeds),
            "origin": pd.date_range(start, periods=origins, freq=step),
            "horizon": np.arange(1, horizons + 1),
            "vd": list(vdids),
            "feature": list(features),
            "unit": ("feature", [UNITS[name] for name in features]),
        },
        attrs={
            "interval_minutes": interval_minutes,
            "source": source,
            "mode": mode,
            "model": model,
            "best_seed": seeds[-1],
        },
    )


BASELINES = ("seasonal_naive", "historical_average", "ridge", "gradient_boosting")


def make_baselines(
    predictions: xr.Dataset, *, errors: Sequence[float] = (1.4, 1.6, 0.8, 0.7)
) -> xr.Dataset:
    """Baselines whose errors are about so many times persistence's at the last horizon."""
    rng = np.random.default_rng(0)
    dims = ("origin", "horizon", "vd", "feature")
    truth = predictions["truth"].fillna(predictions["persistence"]).transpose(*dims)
    drift = (truth - predictions["persistence"]).transpose(*dims)
    forecasts = [
        truth
        - error * drift
        + truth.copy(data=rng.normal(0, 0.2, truth.shape)) * drift.std("origin")
        for error in errors
    ]
    prediction = xr.concat(forecasts, pd.Index(BASELINES, name="model")).astype("float32")
    return xr.Dataset(
        {"prediction": prediction, "fit_seconds": ("model", [0.01, 0.02, 0.5, 20.0])},
        attrs={key: predictions.attrs[key] for key in ("interval_minutes", "source", "mode")},
    )


def make_validation(forecasts: xr.Dataset) -> xr.Dataset:
    """Forecasts of half as many origins, all before those given, with errors of the same kind."""
    interval = pd.Timedelta(minutes=forecasts.attrs["interval_minutes"])
    origins = forecasts.sizes["origin"]
    earlier = forecasts.isel(origin=slice(origins // 2, None))
    shift = (origins + forecasts.sizes["horizon"]) * interval
    return earlier.assign_coords(origin=earlier["origin"] - shift.to_numpy())


def make_fit_errors(predictions: xr.Dataset) -> FitErrors:
    """Errors on train that are 0.8 of those on test, and on val 0.9."""
    dims = [dim for dim in predictions["prediction"].dims if dim != "feature"]
    mae = abs(predictions["prediction"] - predictions["truth"]).mean(dims)
    known = {str(f): float(value) for f, value in zip(mae["feature"].values, mae, strict=True)}

    def of(factor: float) -> dict[str, Metrics]:
        return {f: {"mae": factor * v if np.isfinite(v) else None} for f, v in known.items()}

    return FitErrors(train=of(0.8), val=of(0.9))


def make_history(predictions: xr.Dataset, *, epochs: int = 25, seconds: float = 4.0) -> History:
    """A training history that over-fits after two thirds of the epochs."""
    mode, model = predictions.attrs["mode"], predictions.attrs["model"]
    vdids = [str(vdid) for vdid in predictions["vd"].values]
    names = vdids if mode == "independent_multi_vd" else ["joint"]
    features = list(map(str, predictions["feature"].values))
    return History.model_validate(
        {
            str(seed): {name: _fit(f"{name}{model}", features, epochs, seconds) for name in names}
            for seed in predictions["seed"].values
        }
    )


def make_cost(predictions: xr.Dataset) -> Cost:
    """What forecasts and training steps of the two models are made to cost."""
    factor = 2 if predictions.attrs["model"] == "xlstm" else 1
    return Cost(
        latency_seconds={1: 0.0021 * factor, 256: 0.12 * factor},
        training_step_bytes=32_600_000 * factor,
    )


def _fit(label: str, features: list[str], epochs: int, seconds: float) -> dict[str, Any]:
    rng = np.random.default_rng(list(map(ord, label)))
    at = np.arange(epochs)
    train = 0.25 + 0.35 * np.exp(-at / (epochs / 5)) + rng.normal(0, 0.004, epochs)
    val = train + 0.03 + 0.12 * (at / epochs) ** 2 + rng.normal(0, 0.008, epochs)
    scale = {"avg_speed": 8.0, "total_volume": 60.0, "avg_occupancy": 7.0}

    def errors(loss: float) -> dict[str, Any]:
        found: dict[str, Any] = {"loss": float(loss)}
        for feature in features:
            mae = float(loss * scale[feature])
            found[feature] = {
                "mae": mae,
                "mse": (1.4 * mae) ** 2,
                "rmse": 1.4 * mae,
                "mape": 40 * float(loss),
                "r2": 1 - float(loss),
            }
        return found

    best = int(np.argmin(val))
    return {
        "best_epoch": best + 1,
        "stopped_early": best + 1 < epochs,
        "diverged": None,
        "seconds": seconds * epochs + 1.5,
        "epochs": [
            {
                "epoch": epoch + 1,
                "seconds": seconds,
                "learning_rate": 0.001,
                "train": errors(train[epoch]),
                "val": errors(val[epoch]),
            }
            for epoch in range(epochs)
        ],
    }


def make_config(predictions: xr.Dataset) -> Config:
    """The configuration of an experiment with the base parameters."""
    mode, model = predictions.attrs["mode"], predictions.attrs["model"]
    vdids = [str(vdid) for vdid in predictions["vd"].values]
    features = [str(name) for name in predictions["feature"].values]
    lstm = {"hidden_size": 256, "num_layers": 3, "dropout": 0.3}
    xlstm = {
        "embedding_dim": 128,
        "num_blocks": 6,
        "slstm_at": [1, 3],
        "slstm_backend": "fused",
        "mlstm_backend": "fused",
        "dropout": 0.1,
        "context_length": 256,
    }
    return Config.model_validate(
        {
            "experiment": f"{mode}_{model}",
            "mode": mode,
            "model": model,
            "source": predictions.attrs["source"],
            "vdids": vdids,
            "input_features": [*features, "speed_std"],
            "target_features": features,
            "units": {name: UNITS[name] for name in features} | {"speed_std": "km/h"},
            "interval_minutes": predictions.attrs["interval_minutes"],
            "windows": {"sequence_length": 20, "prediction_length": predictions.sizes["horizon"]},
            "model_parameters": lstm if model == "lstm" else xlstm,
            "network": {},
            "training": {
                "seeds": [int(seed) for seed in predictions["seed"].values],
                "epochs": 100,
                "batch_size": 32 if model == "lstm" or mode == "single_vd" else 16,
                "learning_rate": 0.001,
                "weight_decay": 0.01,
                "gradient_clip": 1.0,
                "decay_epochs": 8,
                "decay_steps": 1400,
                "patience": 5,
            },
            "compute": {"threads": 1, "accelerator": "cpu"},
            "holidays": "",
            "best_seed": predictions.attrs["best_seed"],
            "num_parameters": 1_385_252 if model == "lstm" else 742_901,
            "num_models": len(vdids) if mode == "independent_multi_vd" else 1,
            "versions": {"vd_forecasting": "0.1.0", "torch": "2.13.0"},
            "split": {
                "train": {
                    "start": "2026-03-02T00:00:00",
                    "end": "2026-03-21T14:20:00",
                    "windows": 5611,
                },
                "val": {
                    "start": "2026-03-21T14:25:00",
                    "end": "2026-03-24T09:30:00",
                    "windows": 775,
                },
                "test": {
                    "start": "2026-03-24T09:35:00",
                    "end": "2026-03-29T23:55:00",
                    "windows": predictions.sizes["origin"],
                },
            },
        }
    )


def make_outcome(predictions: xr.Dataset, *, epochs: int = 25, seconds: float = 4.0) -> Outcome:
    """The outcome of an experiment with these predictions."""
    return Outcome(
        make_config(predictions),
        make_history(predictions, epochs=epochs, seconds=seconds),
        make_cost(predictions),
        make_fit_errors(predictions),
        Forecasts.from_xarray(predictions),
        Forecasts.from_xarray(make_validation(predictions)),
    )
