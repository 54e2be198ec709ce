"""Sums of losses by origin and by calendar day, which is the unit of evidence of all intervals."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.evaluation.aligned import mean_over_seeds
from vd_forecasting.evaluation.errors import LossesOverTime, days_that_count, origins_of_days

Floats = npt.NDArray[np.float64]

AVERAGE = 0
"""Stands for all horizons together where others are counted from 1."""


@dataclass(frozen=True)
class SumsOverTime:
    """Sums of losses over detectors, of K pairs of feature and horizon."""

    models: list[str]
    pairs: list[tuple[str, int]]
    """With :data:`AVERAGE`, the sum over all horizons, behind those of each feature."""
    dates: list[str]
    """[D] calendar days: ``2026-03-24``."""
    by_origin: Floats
    """[models, T, K], means over the seeds of a network; NaN where nothing is scored."""
    by_day: Floats
    """[models, D, K] by calendar day; NaN where a forecast is no number."""
    scored: Floats
    """[D, K] values that are scored."""
    origins: npt.NDArray[np.int64]
    """[D, K] origins with such a value."""
    truths: Floats
    """[D, K] sums of these values themselves; NaN where losses are no errors."""
    interval_minutes: float

    @property
    def days(self) -> list[int]:
        """[K] days that count: at least half of their origins are scored."""
        return days_that_count(self.origins, self.interval_minutes)


def sums_over_time(summed: LossesOverTime) -> SumsOverTime:
    """The sums of all pairs, those of a network as means over its seeds."""
    given = {str(name): values for name, values in summed.by_origin.data_vars.items()}
    total = xr.Dataset({**given, "loss": mean_over_seeds(given["loss"])})
    together = total.sum("horizon", skipna=False).expand_dims(horizon=[AVERAGE])
    total = xr.concat([total, together], "horizon").stack(pair=("feature", "horizon"))
    losses = total["loss"].transpose("model", "origin", "pair").values
    scored = total["n"].transpose("origin", "pair").values
    truths = total.get("truth", total["n"] * np.nan).transpose("origin", "pair").values
    origins = total["origin"].values
    of_day = pd.DatetimeIndex(origins).floor("D")
    starts = np.flatnonzero(~of_day.duplicated())
    return SumsOverTime(
        models=[str(name) for name in total["model"].values],
        pairs=[(str(feature), int(step)) for feature, step in total["pair"].values],
        dates=[f"{day:%Y-%m-%d}" for day in of_day[starts]],
        by_origin=np.where(scored > 0, losses, np.nan),
        by_day=np.add.reduceat(losses, starts, axis=1),
        scored=np.add.reduceat(scored, starts).astype("float64"),
        origins=origins_of_days(scored > 0, origins),
        truths=np.add.reduceat(truths, starts),
        interval_minutes=summed.interval_minutes,
    )
