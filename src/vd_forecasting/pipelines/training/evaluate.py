"""Forecast test and validation with the trained models, and add up errors of the other splits."""

import numpy as np
import xarray as xr

from vd_forecasting.artefacts import FitErrors, Forecasts, WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.artefacts.records import key_of
from vd_forecasting.evaluation.metrics import by_feature
from vd_forecasting.parameters import Compute
from vd_forecasting.wording import shortened


def evaluate(
    best_model: Checkpoint,
    models: dict[str, Checkpoint],
    blocks: WindowBlocks,
    mape_min_truth: float,
    compute: Compute,
) -> tuple[Forecasts, FitErrors, Forecasts]:
    """The forecasts of test, the errors on train and validation, and the forecasts of validation.

    All are of every seed's models for every test block; errors are means over both.
    """
    from vd_forecasting.pipelines.training.forecast_windows import (  # noqa: PLC0415  (torch)
        fit_errors,
        forecast_split,
    )
    from vd_forecasting.pipelines.training.train import torch_threads  # noqa: PLC0415

    check_same_windows(best_model, blocks.last)
    seeds = dict.fromkeys(checkpoint["seed"] for checkpoint in models.values())
    forecasts: dict[str, dict[int, Forecasts]] = {"test": {}, "val": {}}
    errors: dict[str, list[xr.Dataset]] = {"train": [], "val": []}
    for number, windows in blocks.blocks.items():
        keys = [key_of(seed, None if number == blocks.count else number) for seed in seeds]
        of_block = {key: models[key] for key in keys if key in models}
        if not of_block:
            continue  # its training failed
        for checkpoint in of_block.values():
            check_same_windows(checkpoint, windows)
        with torch_threads(compute.threads):
            for split in errors:
                errors[split] += fit_errors(of_block, windows, split, mape_min_truth)
        for split, by_block in forecasts.items():
            own = forecast_split(of_block, windows, split, compute, best_model["seed"])
            by_block[number] = own
    means = {
        split: by_feature(xr.concat(of_split, "seed").mean("seed", skipna=False))
        for split, of_split in errors.items()
    }
    test, validation = (Forecasts.of_blocks(by_block) for by_block in forecasts.values())
    return test, FitErrors.model_validate(means), validation


def check_same_windows(checkpoint: Checkpoint, windows: WindowSet) -> None:
    """Raise a ValueError, in one line, unless a checkpoint was trained on these windows."""
    described = {
        "vdids": windows.vdids,
        "input_features": windows.features,
        "target_features": windows.targets,
        "interval_minutes": windows.interval_minutes,
        "units": windows.units,
        "holidays": windows.holidays,
        "utc_offset": windows.utc_offset,
        **windows.lengths,
    }
    tensors = {"scaler": windows.scaler, "range": windows.range, "static": windows.static_values}
    differing = [
        f"its {name} {shortened(str(checkpoint[name]))}, theirs {shortened(str(own))}"
        for name, own in described.items()
        if checkpoint[name] != own
    ] or [
        f"its {key} has another {name}"
        for key, own in tensors.items()
        for stored in [checkpoint[key]]
        for name in own | stored
        if own.keys() != stored.keys()
        or not np.array_equal(stored[name].numpy(), own[name], equal_nan=True)
    ]
    if differing:
        raise ValueError(
            f"the checkpoint was not trained on these windows: {differing[0]}; train again with "
            f"kedro run --namespace {windows.mode}_{checkpoint['model']}"
        )
