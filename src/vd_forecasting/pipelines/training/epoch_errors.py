"""Errors while training: the loss of a batch and the metrics of an epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import torch
import xarray as xr
from torch import Tensor

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.evaluation.metrics import METRICS, by_feature, from_sums

NAMES: Final = (
    *("n", "absolute", "squared", "percentage", "n_percentage"),
    *("deviation", "deviation_squared", "scaled"),
)
LOSS = NAMES.index("scaled")


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
    added: Tensor | None = None
    """The sums ``[8, H, N, F]``, by :data:`NAMES`, float64."""
    finite: Tensor = field(default_factory=partial(torch.zeros, (), dtype=torch.int64))
    """How many batches, from the first on, kept the loss finite."""

    def __post_init__(self) -> None:
        # On the device, for which nothing then waits; MPS has no float64.
        device = self.scaling.mean.device
        self.place = torch.device("cpu") if device.type == "mps" else device
        self.finite = self.finite.to(self.place)

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
        percentage = (error / truth.clamp(min=1e-30)) * in_mape
        parts = (observed, error, error**2, percentage, in_mape, deviation, deviation**2, scaled)
        if number is None:
            of_vds = [values.sum(dim=0) for values in parts]
        else:
            of_vds = [self._by_vd(values[:, :, 0], number - 1) for values in parts]
        sums = torch.stack(of_vds).to(self.place).double()
        if self.added is None:
            self.added = torch.zeros_like(sums)
        self.added += sums
        self.finite += self.added[LOSS].sum().isfinite()

    def _by_vd(self, values: Tensor, vd: Tensor) -> Tensor:
        """Sums ``[H, N, F]`` of values ``[B, H, F]`` of the VDs at some positions [B]."""
        count, values = len(self.scaling.mean), values.to(self.scaling.mean.dtype)
        of_vds = values.new_zeros(count, *values.shape[1:])
        if values.is_cuda:  # where index_add_ adds in another order every time
            of_vd = vd == torch.arange(count, device=vd.device)[:, None]  # [N, B]
            torch.mm(of_vd.to(values.dtype), values.flatten(1), out=of_vds.view(count, -1))
        else:
            of_vds.index_add_(0, vd, values)
        return of_vds.transpose(0, 1)

    def clear(self) -> None:
        """Begin anew, in the same memory."""
        self.finite.zero_()
        if self.added is not None:
            self.added.zero_()

    def first_not_finite(self, batches: int) -> int | None:
        """The number, from 1, of the first of the batches added whose loss was not finite.

        It waits for a GPU, unless the sums are on the CPU.
        """
        finite = int(self.finite)
        return finite + 1 if finite < batches else None

    @property
    def totals(self) -> dict[str, Tensor]:
        """The sums ``[H, N, F]`` by name, on the CPU."""
        assert self.added is not None
        return dict(zip(NAMES, self.added.cpu(), strict=True))

    def sums(self) -> xr.Dataset:
        """The sums that :func:`~.metrics.from_sums` takes, over (horizon, vd, feature)."""
        totals = self.totals
        n, deviation = totals["n"], totals["deviation"]
        variation = totals["deviation_squared"] - deviation**2 / n.clamp(1)
        names = ("n", "absolute", "squared", "percentage", "n_percentage")
        totals = {name: totals[name] for name in names} | {"variation": variation}
        dims = ("horizon", "vd", "feature")
        arrays = {name: (dims, total.numpy()) for name, total in totals.items()}
        return xr.Dataset(arrays, {"feature": list(self.features)})

    def result(self) -> dict[str, Any]:
        """``loss``, and by feature metrics in physical units; undefined ones are None."""
        metrics = from_sums(self.sums().sum(("horizon", "vd")))[[*METRICS]]
        totals = self.totals
        loss = totals["scaled"].sum() / totals["n"].sum().clamp(1)
        return {"loss": float(loss), **by_feature(metrics)}
