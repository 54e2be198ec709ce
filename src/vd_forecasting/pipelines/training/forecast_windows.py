"""Forecast the windows of a split with trained models, and add up their errors."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from secrets import token_hex
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr

from vd_forecasting.artefacts import Forecasts, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.evaluation.metrics import from_sums
from vd_forecasting.models import Forecaster
from vd_forecasting.models.checkpoint import load_forecasters
from vd_forecasting.parameters import Compute
from vd_forecasting.pipelines.training.batches import Batch, WindowBatches
from vd_forecasting.pipelines.training.epoch_errors import ErrorSums, scaling_of
from vd_forecasting.pipelines.training.train import torch_threads
from vd_forecasting.vd_array import DIMS, VDS_PER_CHUNK, in_memory
from vd_forecasting.vocabulary import SPEED

Floats = npt.NDArray[np.float32]
Part = tuple[str, slice]
"""The name of a model and detectors, by position, that it forecasts at once."""

WINDOWS_AT_ONCE = 128
"""More take more memory and no less time."""

FREE_FLOW_PERCENTILE = 85


def fit_errors(
    models: dict[str, Checkpoint], windows: WindowSet, split: str, mape_min_truth: float
) -> list[xr.Dataset]:
    """Metrics (feature) on a split of every seed's models, all horizons and VDs pooled.

    They are those of as many windows as validation has, at even distances; of neighbours in time
    all would say the same.
    """
    scale = mase_scale(windows).drop_vars(["vd", "unit"])
    of_seeds = []
    for checkpoint in models.values():
        of_models = []
        for parts in _blocks_of_parts(windows):
            forecasters = load_forecasters(checkpoint, _names(parts))
            for name, vds in parts:
                sums = ErrorSums(scaling_of(windows, vds), windows.targets, mape_min_truth)
                of_val = WindowBatches(windows, vds, "val", WINDOWS_AT_ONCE)
                batches = of_val.in_order(windows, split, WINDOWS_AT_ONCE)
                with torch.inference_mode():
                    for inputs, targets in batches.at_most(of_val.num_windows):
                        sums.add(forecasters[name](inputs), targets)
                of_models.append(sums.sums())
        total = xr.concat(of_models, "vd")
        total = total.assign(scaled=total["absolute"] / scale)
        of_seeds.append(from_sums(total.sum(("horizon", "vd"), skipna=False)))
    return of_seeds


def _blocks_of_parts(windows: WindowSet) -> list[list[Part]]:
    """Each model with the detectors that it forecasts at once, in the order of the detectors; of
    models of one detector some at a time, for no more are held in memory."""
    parts = [(name, vds) for name in windows.models for vds in windows.parts(name)]
    return [parts[n : n + VDS_PER_CHUNK] for n in range(0, len(parts), VDS_PER_CHUNK)]


def _names(parts: list[Part]) -> list[str]:
    return list(dict.fromkeys(name for name, _ in parts))


def forecast_split(
    models: dict[str, Checkpoint], windows: WindowSet, split: str, compute: Compute, best_seed: int
) -> Forecasts:
    """Forecast every window of a split.

    Forecasts and truths are dask arrays: a block of origins or of detectors is made when it is
    asked for, and not kept. Forecasts lie within the range of the windows.
    """
    checkpoints, blocks = list(models.values()), _blocks_of_parts(windows)
    parts_from = {parts[0][1].start: parts for parts in blocks}
    mean, std = windows.target_scaler
    low, high = windows.target_range
    origins = windows.origins(split)

    @lru_cache(maxsize=1)
    def forecasters_of(seed: int, first: int) -> dict[str, Forecaster]:
        return load_forecasters(checkpoints[seed], _names(parts_from[first]))

    def cut(vds: slice, rows: slice) -> Iterator[Batch]:
        batches = WindowBatches(windows, vds, split, WINDOWS_AT_ONCE)
        for start in range(rows.start, rows.stop, WINDOWS_AT_ONCE):
            yield batches.at(slice(start, min(start + WINDOWS_AT_ONCE, rows.stop)))

    def predict(seed: slice, rows: slice, _: slice, vds: slice, __: slice) -> Floats:
        forecasters, made = forecasters_of(seed.start, vds.start), []
        with torch_threads(compute.threads), torch.inference_mode():
            for name, own in parts_from[vds.start]:
                batches = [forecasters[name](inputs).numpy() for inputs, _ in cut(own, rows)]
                made.append(np.concatenate(batches))
        return np.clip(physical(made, vds), low[vds], high[vds])[None]

    def observe(rows: slice, _: slice, vds: slice, __: slice) -> Floats:
        found = [
            np.concatenate([targets.numpy() for _, targets in cut(own, rows)])
            for _, own in parts_from[vds.start]
        ]
        return physical(found, vds)

    def persist(rows: slice, vds: slice, _: slice) -> Floats:
        values = windows.series(vds)[0]
        last = values[origins[rows]][..., windows.target_positions]
        return np.clip(physical([last], vds), low[vds], high[vds])

    def physical(parts: list[Floats], vds: slice) -> Floats:
        values: Floats = np.concatenate(parts, axis=-2) * std[vds] + mean[vds]
        return values

    shape = (len(origins), windows.prediction_length, *mean.shape)
    # A joint model makes all detectors at once, and few origins; others all origins of few.
    sizes = (WINDOWS_AT_ONCE, -1, -1, -1) if len(blocks) == 1 else (-1, -1, VDS_PER_CHUNK, -1)
    dims = ("origin", "horizon", "vd", "feature")
    arrays = {
        "prediction": (("seed", *dims), _lazy(predict, (len(models), *shape), (1, *sizes))),
        "truth": (dims, _lazy(observe, shape, sizes)),
        "persistence": (
            ("origin", "vd", "feature"),
            _lazy(persist, (len(origins), *mean.shape), (sizes[0], *sizes[2:])),
        ),
        "mase_scale": mase_scale(windows).drop_vars("unit"),
        "free_flow_speed": free_flow_speed(windows),
    }
    arrays |= {"low": (("vd", "feature"), low), "high": (("vd", "feature"), high)}
    seeds, labels = [one["seed"] for one in checkpoints], windows.forecast_coordinates(split)
    attributes = windows.forecast_attributes(checkpoints[0]["model"])
    attributes["best_seed"] = best_seed
    return Forecasts(xr.Dataset(arrays, {"seed": seeds, **labels}, attributes))


def forecast_at_once(
    forecasters: Mapping[str, Forecaster], windows: WindowSet, split: str
) -> Floats:
    """Forecast every window of a split, ``[W, H, N, F]`` in physical units and possible, as
    :func:`forecast_split` does, with the forecasters of one checkpoint."""
    count = len(windows.starts(split))
    parts = []
    with torch.inference_mode():
        for name, vds in windows.models.items():
            batches = WindowBatches(windows, vds, split, WINDOWS_AT_ONCE)
            made = np.concatenate([forecasters[name](inputs).numpy() for inputs, _ in batches])
            if windows.one_by_one:  # [N*W, H, 1, F], VD by VD
                made = np.moveaxis(made[:, :, 0].reshape(-1, count, *made.shape[1::2]), 0, 2)
            parts.append(made)
    return windows.to_possible(np.concatenate(parts, axis=2))


def _lazy(values_at: Callable[..., Floats], shape: tuple[int, ...], sizes: tuple[int, ...]) -> Any:
    """A dask array whose chunks of these sizes, -1 for all, are made when they are asked for.

    ``values_at`` takes a slice per dim and returns the values there.
    """
    from dask.array.core import map_blocks, normalize_chunks  # noqa: PLC0415  (slow to import)

    def block(block_info: Any = None) -> Floats:
        return values_at(*(slice(*ends) for ends in block_info[None]["array-location"]))

    chunks, meta = normalize_chunks(sizes, shape), np.empty((0,) * len(shape), "float32")
    return map_blocks(block, name=f"lazy-{token_hex(8)}", chunks=chunks, meta=meta)


def mase_scale(windows: WindowSet) -> xr.DataArray:
    """MAE of the daily seasonal naive forecast within the training split, ``(vd, feature)``.

    The scale of MASE with a season of one day, Hyndman and Koehler (2006), section 3; in physical
    units, NaN where no value and the one a day before it are both observed, or never differ.
    """
    day = round(pd.Timedelta("24h") / pd.Timedelta(minutes=windows.interval_minutes))

    def of_some(values: xr.DataArray) -> xr.DataArray:
        difference = abs(values.shift(time=-day) - values)
        return difference.sum("time") / difference.count("time")

    scale = xr.concat(map(of_some, _training_values(windows)), "vd")
    return scale.where(scale > 0)


def free_flow_speed(windows: WindowSet) -> xr.DataArray:
    """The 85th percentile of the speeds observed in the training split, ``(vd,)``.

    NaN where none is observed or speed is not a target.
    """

    def of_some(values: xr.DataArray) -> xr.DataArray:
        if SPEED not in values["feature"].values:
            return xr.full_like(values.isel(time=0, feature=0, drop=True), np.nan)
        speeds = values.sel(feature=SPEED, drop=True)
        percentile = speeds.quantile(FREE_FLOW_PERCENTILE / 100, "time", skipna=True)
        return percentile.drop_vars("quantile")

    return xr.concat(map(of_some, _training_values(windows)), "vd")


def _training_values(windows: WindowSet) -> Iterator[xr.DataArray]:
    """Target features of the training split in physical units, float64, NaN where not observed; of
    some detectors at a time."""
    steps = slice(0, windows.ends["train"])
    training = windows.data.isel(time=steps, feature=windows.target_positions)
    for start in range(0, training.sizes["vd"], VDS_PER_CHUNK):
        few = in_memory(training.isel(vd=slice(start, start + VDS_PER_CHUNK)))
        physical = few["values"].astype("float64") * few["std"] + few["mean"]
        yield physical.where(few["observed"]).transpose(*DIMS)
