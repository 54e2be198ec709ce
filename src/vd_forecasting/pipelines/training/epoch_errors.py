"""Errors while training: the loss of a batch and the metrics of an epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from vd_forecasting.evaluation.metrics import METRICS, from_sums

EpochErrors = dict[str, Any]
"""``loss``, and per feature its metrics in physical units; undefined ones are None."""


def masked_mae(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the observed targets, zero where there is none.

    Args:
        forecast: ``[B, H, N, F]``.
        target: the same shape, NaN where not observed.
    """
    observed = target.isfinite()
    # NaN must be replaced before the subtraction: its gradient would be NaN even where masked.
    error = (forecast - target.nan_to_num()).abs() * observed
    return error.sum() / observed.sum().clamp(min=1)


@dataclass
class ErrorSums:
    """Adds up one epoch's errors per horizon, VD and feature, so that batches of any size weigh
    by their observed points."""

    std: Tensor  # [N, F], from scaled to physical
    mean: Tensor  # [N, F]
    features: Sequence[str]
    mape_min_truth: float
    totals: dict[str, Tensor] = field(default_factory=dict)  # [H, N, F], on the CPU

    def add(self, forecast: Tensor, target: Tensor) -> None:
        """Add a batch: forecast and target ``[B, H, N, F]``, scaled, NaN where not observed."""
        observed = target.isfinite()
        target = target.nan_to_num()
        scaled = (forecast.detach() - target).abs() * observed  # what the loss sees
        error = scaled * self.std
        deviation = target * observed * self.std  # from the training mean
        truth = (deviation + self.mean).abs()
        in_mape = observed & (truth >= max(self.mape_min_truth, 1e-30))
        batch = {
            "n": observed,
            "absolute": error,
            "squared": error**2,
            "percentage": (error / truth.clamp(min=1e-30)) * in_mape,
            "n_percentage": in_mape,
            "deviation": deviation,
            "deviation_squared": deviation**2,
            "scaled": scaled,
        }
        # One copy from a GPU, not eight: each waits for it.
        sums = torch.stack([values.sum(dim=0) for values in batch.values()]).cpu().double()
        for name, total in zip(batch, sums, strict=True):
            self.totals[name] = self.totals.get(name, 0) + total

    def are_finite(self) -> bool:
        """True if the loss so far is a number; judged on the CPU, where the sums are anyway."""
        return bool(self.totals["scaled"].sum().isfinite())

    def result(self) -> EpochErrors:
        """The epoch's loss and metrics."""
        totals = dict(self.totals)
        n = totals["n"]
        totals["variation"] = totals["deviation_squared"] - totals["deviation"] ** 2 / n.clamp(1)
        metrics = from_sums(
            xr.Dataset(
                {
                    name: (("horizon", "vd", "feature"), total.numpy())
                    for name, total in totals.items()
                }
            ).sum(("horizon", "vd"))
        )
        errors: EpochErrors = {"loss": float(totals["scaled"].sum() / n.sum().clamp(1))}
        for f, feature in enumerate(self.features):
            values = {name: float(metrics[name][f]) for name in METRICS}
            errors[feature] = {
                name: value if math.isfinite(value) else None for name, value in values.items()
            }
        return errors
