"""Errors of several models for the same truths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.evaluation.aligned import deviation_over_seeds, mean_over_seeds
from vd_forecasting.evaluation.metrics import ERRORS, from_sums
from vd_forecasting.evaluation.summed import SummedErrors
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import MODELS
from vd_forecasting.wording import plural, with_unit

Json = dict[str, Any]


@dataclass(frozen=True)
class Errors:
    """Scores of networks and baselines, most pooled over VDs; a network's are means over seeds."""

    by_horizon: xr.Dataset
    """Metrics over (model, horizon, feature)."""
    average: xr.Dataset
    """Metrics over (model, feature), pooled over horizons."""
    by_horizon_sd: xr.Dataset
    """Standard deviations over the seeds; NaN where there is one."""
    average_sd: xr.Dataset
    by_vd: xr.Dataset
    """Metrics over (model, vd, feature), pooled over horizons."""
    by_hour: xr.DataArray
    """MAE over (model, hour, feature), by the hour of day that was forecast."""
    units: Mapping[str, str]
    interval_minutes: float

    @property
    def networks(self) -> list[str]:
        """LSTM, xLSTM or both."""
        return [name for name in self._names if name in MODELS]

    @property
    def baselines(self) -> list[str]:
        """Persistence and the others."""
        return [name for name in self._names if name not in MODELS]

    @property
    def _names(self) -> list[str]:
        return [str(name) for name in self.average["model"].values]

    @property
    def features(self) -> list[str]:
        """Target features."""
        return [str(name) for name in self.average["feature"].values]

    @property
    def horizons(self) -> list[int]:
        """Steps ahead, from 1."""
        return [int(step) for step in self.by_horizon["horizon"].values]

    @cached_property
    def _values(self) -> dict[tuple[str, ...], npt.NDArray[np.float64]]:
        return self._columns(self.by_horizon, self.average, (*ERRORS, "n", "mape_left_out"))

    @cached_property
    def _deviations(self) -> dict[tuple[str, ...], npt.NDArray[np.float64]]:
        return self._columns(self.by_horizon_sd, self.average_sd, ERRORS)

    def _columns(
        self, by_horizon: xr.Dataset, average: xr.Dataset, metrics: Sequence[str]
    ) -> dict[tuple[str, ...], npt.NDArray[np.float64]]:
        """Per metric, model and feature its values by horizon and, last, the average."""
        both = {
            metric: np.concatenate(
                [
                    by_horizon[metric].transpose("model", "feature", "horizon").values,
                    average[metric].transpose("model", "feature").values[..., None],
                ],
                axis=-1,
            )
            for metric in metrics
        }
        return {
            (metric, model, feature): values[m, f]
            for metric, values in both.items()
            for m, model in enumerate(self._names)
            for f, feature in enumerate(self.features)
        }

    def at(self, metric: str, model: str, feature: str, horizon: int | None = None) -> float:
        """One value: of a horizon, or of all horizons together."""
        return float(self._values[metric, model, feature][self._position(horizon)])

    def sd(self, metric: str, model: str, feature: str, horizon: int | None = None) -> float:
        """The standard deviation of a value over the seeds; NaN where there is one."""
        return float(self._deviations[metric, model, feature][self._position(horizon)])

    def _position(self, horizon: int | None) -> int:
        return -1 if horizon is None else self.horizons.index(horizon)

    def count(self, feature: str) -> int:
        """How many observed values of a feature are scored, all horizons together."""
        return int(self.at("n", "persistence", feature))

    def label(self, feature: str) -> str:
        """A feature with its unit."""
        return with_unit(feature, self.units.get(feature, ""))

    @property
    def scored_in_words(self) -> str:
        """``1,200 to 1,234 observed values per feature``."""
        counts = [self.count(feature) for feature in self.features]
        low, high = min(counts), max(counts)
        if low == high:
            return f"{plural(low, 'observed value')} per feature"
        return f"{low:,} to {high:,} observed values per feature"


def errors_of(summed: SummedErrors) -> Errors:
    """The errors that sums amount to."""

    def pooled(*dims: str) -> xr.Dataset:
        return from_sums(summed.by_vd.sum(dims, skipna=False))

    by_horizon, average = pooled("vd"), pooled("horizon", "vd")
    return Errors(
        by_horizon=mean_over_seeds(by_horizon),
        average=mean_over_seeds(average),
        by_horizon_sd=deviation_over_seeds(by_horizon),
        average_sd=deviation_over_seeds(average),
        by_vd=mean_over_seeds(pooled("horizon")),
        by_hour=_by_hour(summed),
        units=summed.units,
        interval_minutes=summed.interval_minutes,
    )


def _by_hour(summed: SummedErrors) -> xr.DataArray:
    total = summed.by_origin
    ahead = total["horizon"] * as_interval(summed.interval_minutes)
    hours = (total["origin"] + ahead).dt.hour.rename("hour")
    of_hour = total.groupby(hours).sum(skipna=False)
    return mean_over_seeds(of_hour["absolute"] / of_hour["n"].where(of_hour["n"] > 0)).reindex(
        hour=range(24)
    )
