"""Errors of several models on the same truths, however they came to be known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.evaluation.aligned import (
    AlignedForecasts,
    deviation_over_seeds,
    mean_over_seeds,
)
from vd_forecasting.evaluation.metrics import METRICS, score
from vd_forecasting.vocabulary import MODELS
from vd_forecasting.wording import plural, unit_per_interval, with_unit

Json = dict[str, Any]
ERRORS = (*METRICS, "mase")


@dataclass(frozen=True)
class Errors:
    """Scores of networks and baselines, pooled over VDs; of a network the mean over its seeds."""

    by_horizon: xr.Dataset
    """Metrics over (model, horizon, feature)."""
    average: xr.Dataset
    """Metrics over (model, feature), pooled over horizons."""
    by_horizon_sd: xr.Dataset
    """Standard deviations over the seeds; NaN where there is one."""
    average_sd: xr.Dataset
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


def errors_of(forecasts: AlignedForecasts, mape_min_truth: float) -> Errors:
    """Score every model."""
    by_horizon = score_members(forecasts, mape_min_truth, pool=["vd"])
    average = score_members(forecasts, mape_min_truth, pool=["horizon", "vd"])
    return Errors(
        by_horizon=mean_over_seeds(by_horizon),
        average=mean_over_seeds(average),
        by_horizon_sd=deviation_over_seeds(by_horizon),
        average_sd=deviation_over_seeds(average),
        units=forecasts.units,
        interval_minutes=forecasts.interval_minutes,
    )


def score_members(
    forecasts: AlignedForecasts, mape_min_truth: float, *, pool: Sequence[str]
) -> xr.Dataset:
    """:func:`vd_forecasting.evaluation.metrics.score` of every member, along a dim ``member``."""
    scores = score(
        forecasts.truth,
        forecasts.forecast,
        mape_min_truth,
        pool=pool,
        mase_scale=forecasts.mase_scale,
    )
    return scores.map(lambda of_all: of_all.broadcast_like(scores["mae"]))  # as n, of all members


def mae(truth: xr.DataArray, forecast: xr.DataArray, *, pool: Sequence[str]) -> xr.DataArray:
    """The MAE of :func:`vd_forecasting.evaluation.metrics.score`."""
    return score(truth, forecast, 0, pool=pool)["mae"]  # what is left out of MAPE does not matter


def mae_of_models(forecasts: AlignedForecasts, *, pool: Sequence[str]) -> xr.DataArray:
    """MAE of every model, the mean over its seeds, along a dim ``model``."""
    return mean_over_seeds(score_members(forecasts, 0, pool=pool)["mae"])  # as in mae


def from_metrics(metrics: Json, config: Json) -> Errors:
    """The errors that an experiment's ``metrics`` hold."""
    model = config["model"]
    features = list(metrics["test"])
    names = xr.IndexVariable("model", [model, "persistence"])
    undefined = {feature: dict.fromkeys(ERRORS, np.nan) for feature in features}

    def both(own: Json, reference: Json, dims: tuple[str, ...], columns: Sequence[str]) -> Any:
        return xr.concat([_dataset(of, features, dims, columns) for of in (own, reference)], names)

    by_horizon, pooled = ("feature", "horizon"), ("feature",)
    columns = (*ERRORS, "n", "mape_left_out")
    horizons = len(metrics["by_horizon"][features[0]]["mae"])
    undefined_by_horizon = {
        feature: {name: [np.nan] * horizons for name in ERRORS} for feature in features
    }
    return Errors(
        by_horizon=both(
            metrics["by_horizon"], metrics["persistence_by_horizon"], by_horizon, columns
        ),
        average=both(metrics["test"], metrics["persistence"], pooled, columns),
        by_horizon_sd=both(metrics["by_horizon_sd"], undefined_by_horizon, by_horizon, ERRORS),
        average_sd=both(metrics["test_sd"], undefined, pooled, ERRORS),
        units=_units(config["units"].items(), config["interval_minutes"]),
        interval_minutes=config["interval_minutes"],
    )


def _units(named: Any, interval_minutes: float) -> dict[str, str]:
    return {str(name): unit_per_interval(str(unit), interval_minutes) for name, unit in named}


def _dataset(
    values: Json, features: Sequence[str], dims: tuple[str, ...], columns: Sequence[str]
) -> xr.Dataset:
    arrays = {
        name: (dims, np.array([values[feature][name] for feature in features], dtype="float64"))
        for name in columns
    }
    dataset = xr.Dataset(arrays, coords={"feature": list(features)})
    if "horizon" in dims:
        dataset = dataset.assign_coords(horizon=np.arange(1, dataset.sizes["horizon"] + 1))
    return dataset
