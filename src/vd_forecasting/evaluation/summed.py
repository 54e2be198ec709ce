"""Errors added up: all that scores, tests and intervals rest on.

Forecasts are read once, some detectors at a time, so memory does not grow with their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import xarray as xr

from vd_forecasting.evaluation.aligned import AlignedForecasts, Member, mean_over_seeds
from vd_forecasting.evaluation.metrics import sums


@dataclass(frozen=True)
class SummedErrors:
    """Sums of the errors of every member over the observed truths.

    Args:
        by_vd: the sums of :func:`.metrics.sums` over all origins: (member, horizon, vd, feature).
        by_origin: sums over all detectors: ``absolute`` errors (member, origin, horizon, feature)
            and their number ``n`` (origin, horizon, feature).
        members: what made the forecasts.
        mode: of the experiments.
        units: in words, by target feature.
        interval_minutes: one step.
    """

    by_vd: xr.Dataset
    by_origin: xr.Dataset
    members: list[Member]
    mode: str
    units: Mapping[str, str]
    interval_minutes: float

    @property
    def losses(self) -> xr.DataArray:
        """Absolute errors averaged over the detectors observed, and over seeds.

        float64 ``(model, origin, horizon, feature)`` on a regular grid of origins, NaN where no
        truth is observed.
        """
        n = self.by_origin["n"]
        series = mean_over_seeds(self.by_origin["absolute"] / n.where(n > 0))
        origins = series["origin"].values
        step = pd.Timedelta(minutes=self.interval_minutes)
        return series.reindex(origin=pd.date_range(origins[0], origins[-1], freq=step)).transpose(
            "model", "origin", "horizon", "feature"
        )


def sum_errors(forecasts: AlignedForecasts, mape_min_truth: float) -> SummedErrors:
    """Add up the errors of all members, a block of detectors at a time."""
    by_vd, total = [], xr.Dataset()
    for block in forecasts.blocks():
        of_vds, of_origins = _sums_of_block(block, mape_min_truth)
        by_vd.append(of_vds)
        total = total + of_origins if total else of_origins
    labels = forecasts.data[["model", "seed", "best"]].coords
    return SummedErrors(
        by_vd=xr.concat(by_vd, "vd").assign_coords(labels),
        by_origin=total.assign_coords(labels),
        members=forecasts.members,
        mode=forecasts.mode,
        units=forecasts.units,
        interval_minutes=forecasts.interval_minutes,
    )


def _sums_of_block(block: AlignedForecasts, mape_min_truth: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Sums over the origins and sums over the detectors."""
    observed = block.truth.notnull()
    of_vds, absolute = [], []
    for labelled in block.forecast:  # one by one, for their errors take room
        forecast = labelled.drop_vars(["model", "seed", "best"])
        of_vds.append(sums(block.truth, forecast, ["origin"], mape_min_truth, block.mase_scale))
        error = abs(forecast.astype("float64") - block.truth).where(observed, 0)
        absolute.append(error.sum("vd", skipna=False))
    of_origins = {"absolute": xr.concat(absolute, "member"), "n": observed.sum("vd")}
    return xr.concat(of_vds, "member", data_vars="all"), xr.Dataset(of_origins)
