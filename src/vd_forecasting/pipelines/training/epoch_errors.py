"""Errors while training: the loss of a batch and the metrics of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import xarray as xr
from torch import Tensor

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.evaluation.metrics import METRICS, by_feature, from_sums


def masked_mae(forecast: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the observed targets ``[B, H, N, F]``, zero where all are NaN."""
    observed = target.isfinite()
    # NaN must be replaced before the subtraction: its gradient would be NaN even where masked.
    error = (forecast - target.nan_to_num()).abs() * observed
    return error.sum() / observed.sum().clamp(min=1)


class Scaling(NamedTuple):
    """From scaled to physical targets, ``[N, F]`` each."""

    mean: Tensor
    std: Tensor
    low: Tensor
    """The lowest and the highest possible value, both scaled."""
    high: Tensor


def scaling_of(windows: WindowSet, vds: slice = slice(None)) -> Scaling:
    """That of some detectors' targets."""
    mean, std, low, high = (of[vds] for of in (*windows.target_scaler, *windows.target_range))
    ends = ((end - mean) / std for end in (low, high))
    return Scaling(*map(torch.from_numpy, (mean, std, *ends)))


@dataclass
class ErrorSums:
    """Adds up one epoch's errors per horizon, VD and feature, so that batches of any size weigh
    by their observed points.

    The loss is that of the forecasts as the network makes them, the metrics are those of forecasts
    moved to the nearest possible value, as they are handed out.
    """

    scaling: Scaling
    features: Sequence[str]
    mape_min_truth: float
    totals: dict[str, Tensor] = field(default_factory=dict)  # [H, N, F], on the CPU

    def add(self, forecast: Tensor, target: Tensor, number: Tensor | None = None) -> None:
        """Add a batch: forecast and target ``[B, H, N, F]``, scaled, NaN where not observed.

        Where each window is of one VD, so that N is 1, ``number`` [B] says which, counted from 1.
        """
        scaling = self.scaling
        if number is not None:
            scaling = Scaling(*(of[number - 1][:, None, None] for of in scaling))  # [B, 1, 1, F]
        observed = target.isfinite()
        target = target.nan_to_num()
        scaled = (forecast.detach() - target).abs() * observed  # what the loss sees
        mean, std, low, high = scaling
        error = (forecast.detach().clamp(low, high) - target).abs() * observed * std
        deviation = target * observed * std  # from the training mean
        truth = (deviation + mean).abs()
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
        if number is None:
            of_vds = [values.sum(dim=0) for values in batch.values()]
        else:
            of_vds = [self._by_vd(values[:, :, 0], number - 1) for values in batch.values()]
        # One copy from a GPU, not eight: each waits for it.
        sums = torch.stack(of_vds).cpu().double()
        for name, total in zip(batch, sums, strict=True):
            self.totals[name] = self.totals.get(name, 0) + total

    def _by_vd(self, values: Tensor, vd: Tensor) -> Tensor:
        """Sums ``[H, N, F]`` of values ``[B, H, F]`` of the VDs at some positions [B]."""
        of_vds = self.scaling.mean.new_zeros(len(self.scaling.mean), *values.shape[1:])
        return of_vds.index_add_(0, vd, values.to(of_vds.dtype)).transpose(0, 1)

    def are_finite(self) -> bool:
        """True if the loss so far is a number; judged on the CPU, where the sums are anyway."""
        return bool(self.totals["scaled"].sum().isfinite())

    def sums(self) -> xr.Dataset:
        """The sums that :func:`~.metrics.from_sums` takes, over (horizon, vd, feature)."""
        n, deviation = self.totals["n"], self.totals["deviation"]
        variation = self.totals["deviation_squared"] - deviation**2 / n.clamp(1)
        names = ("n", "absolute", "squared", "percentage", "n_percentage")
        totals = {name: self.totals[name] for name in names} | {"variation": variation}
        dims = ("horizon", "vd", "feature")
        arrays = {name: (dims, total.numpy()) for name, total in totals.items()}
        return xr.Dataset(arrays, {"feature": list(self.features)})

    def result(self) -> dict[str, Any]:
        """``loss``, and by feature metrics in physical units; undefined ones are None."""
        metrics = from_sums(self.sums().sum(("horizon", "vd")))[[*METRICS]]
        loss = self.totals["scaled"].sum() / self.totals["n"].sum().clamp(1)
        return {"loss": float(loss), **by_feature(metrics)}
