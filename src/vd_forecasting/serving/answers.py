"""Forecasts and models as JSON."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vd_forecasting.artefacts import RecentForecasts, RecentWindows
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.pipelines.forecast.clean_recent import shift
from vd_forecasting.pipelines.forecast.table import flags_in_words, stamps
from vd_forecasting.serving.models_in_memory import ServedModel
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.vd_array import as_interval

DIGITS = 7
"""As many as a float32 has."""
PAST_PER_AHEAD = 3
"""What is measured is shown so many times as long as what is forecast, or as long as a window."""


def encode(content: Any) -> bytes:
    """JSON in ASCII, so that names from a request cannot break it."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def answer(model: str, forecasts: RecentForecasts, recent: RecentWindows, notes: list[str]) -> Any:
    """The forecasts from the last origin, one entry per model, detector and feature."""
    data = forecasts.data.isel(origin=-1)
    origin, step = forecasts.origins[-1], as_interval(forecasts.interval_minutes)
    ends = [f"{end}_{level}" for level in forecasts.levels for end in ("lower", "upper")]
    order = ("model", "vd", "feature", "horizon")
    names = {"prediction": "forecast"} | {name: name for name in ends}
    arrays = {shown: rounded(data[name].transpose(*order).values) for name, shown in names.items()}
    masks = data["flag"].transpose(*order).values
    flags = {mask: flags_in_words(mask).split() for mask in np.unique(masks).tolist()}
    models, vdids, units = forecasts.models, forecasts.vdids, [*forecasts.units.items()]
    return {
        "model": model,
        "interval_minutes": forecasts.interval_minutes,
        "origin": stamps(forecasts.origins[-1:], forecasts.utc_offset)[0],
        "horizons": forecasts.horizons,
        "times": [*stamps(origin + step * np.array(forecasts.horizons), forecasts.utc_offset)],
        "levels": [float(level) for level in forecasts.levels],
        "forecasts": [
            {
                "model": models[m],
                "vdid": vdids[n],
                "feature": units[f][0],
                "unit": units[f][1],
                **{name: values[m][n][f] for name, values in arrays.items()},
                "flags": [flags[mask] for mask in masks[m, n, f].tolist()],
            }
            for m, n, f in np.ndindex(masks.shape[:3])
        ],
        "measured": measured(forecasts, recent),
        "flags": {name: FLAGS[name] for name in FLAGS if any(name in of for of in flags.values())},
        "notes": notes,
    }


def measured(forecasts: RecentForecasts, recent: RecentWindows) -> Any:
    """What was measured before the origin, as it was cleaned; null where nothing was."""
    last = recent.origins("test")[-1]
    shown = max(PAST_PER_AHEAD * recent.prediction_length, recent.sequence_length)
    steps = slice(max(recent.file.start, last + 1 - shown), last + 1)
    times = recent.time[steps] + shift(recent.utc_offset, recent.file_utc_offset)
    values, observed = recent.target_series
    physical = np.where(observed[steps], recent.to_physical(values[steps]), np.nan)  # [T, N, F]
    of_vds = dict(zip(recent.vdids, rounded(physical.transpose(1, 2, 0)), strict=True))
    return {
        "times": [*stamps(times, forecasts.utc_offset)],
        "series": [
            {"vdid": vdid, "feature": name, "value": of_feature}
            for vdid in forecasts.vdids
            for name, of_feature in zip(recent.targets, of_vds[vdid], strict=True)
        ],
    }


def rounded(values: npt.NDArray[np.floating]) -> Any:
    """Nested lists of an array with :data:`DIGITS` significant digits, None for what is no
    number or infinite."""
    values = np.where(np.isfinite(values), values, np.nan).astype("float64")
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(abs(values)))
    scale = 10.0 ** (DIGITS - 1 - np.where(np.isfinite(size), size, 0))
    whole = np.round(values * scale) / scale
    found = whole.astype(object)
    found[np.isnan(whole)] = None
    return found.tolist()


def describe(model: ServedModel) -> Any:
    """What a client has to know of a model to send rows, and what it may expect."""
    trained, checkpoint = model.trained, model.checkpoint
    ends = {f"{split}_until": trained.ends[split] - 1 for split in ("train", "val")}
    return {
        "name": model.name,
        "mode": trained.mode,
        "network": model.learnt.models.network,
        "models": model.learnt.models.names,
        "vdids": trained.vdids,
        "features": [
            {
                "name": name,
                "unit": checkpoint["units"][name],
                "forecast": name in trained.targets,
            }
            for name in trained.features
        ],
        "window_steps": trained.sequence_length,
        "interval_minutes": trained.interval_minutes,
        "horizon_steps": trained.prediction_length,
        "levels": [float(f"{100 * level:g}") for level in model.intervals.levels],
        "utc_offset": trained.utc_offset,
        "source": trained.source,
        **{
            name: stamps(trained.time[at : at + 1], trained.utc_offset)[0]
            for name, at in ends.items()
        },
        "promised_mae": promised(model, trained.targets),
        "relative_error": rounded(np.array([model.relative_error]))[0],
    }


def promised(model: ServedModel, targets: Sequence[str]) -> Any:
    """Mean absolute errors on the test split of the comparison by feature, model and horizon."""
    keys = {model.learnt.models.network: "by_horizon", "persistence": "persistence_by_horizon"}
    return {
        feature: {
            name: rounded(np.array(model.metrics[key][feature]["mae"], "float64"))
            for name, key in keys.items()
        }
        for feature in targets
    }


def problem(refused: RefusedError) -> Any:
    """The line of a refusal."""
    return {"detail": str(refused)}
