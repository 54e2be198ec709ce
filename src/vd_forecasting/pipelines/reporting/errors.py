"""Errors of several models on the same points, however they came to be known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.metrics import METRICS, score
from vd_forecasting.pipelines.reporting.wording import unit_per_interval, with_unit

Json = dict[str, Any]
_COLUMNS = (*METRICS, "n", "mape_left_out")


@dataclass(frozen=True)
class Errors:
    """Scores of models and of persistence, pooled over VDs."""

    by_horizon: xr.Dataset
    """Metrics over (model, horizon, feature)."""
    average: xr.Dataset
    """Metrics over (model, feature), pooled over horizons."""
    units: Mapping[str, str]
    interval_minutes: float

    @property
    def models(self) -> list[str]:
        """The networks, without persistence."""
        return [str(name) for name in self.average["model"].values if name != "persistence"]

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
        """Per metric, model and feature its values by horizon and, last, the average."""
        both = {
            metric: np.concatenate(
                [
                    self.by_horizon[metric].transpose("model", "feature", "horizon").values,
                    self.average[metric].transpose("model", "feature").values[..., None],
                ],
                axis=-1,
            )
            for metric in _COLUMNS
        }
        return {
            (metric, model, feature): values[m, f]
            for metric, values in both.items()
            for m, model in enumerate([*self.models, "persistence"])
            for f, feature in enumerate(self.features)
        }

    def at(self, metric: str, model: str, feature: str, horizon: int | None = None) -> float:
        """One value: of a horizon, or of all horizons together."""
        position = -1 if horizon is None else self.horizons.index(horizon)
        return float(self._values[metric, model, feature][position])

    def count(self, feature: str) -> int:
        """How many observed values of a feature are scored, all horizons together."""
        return int(self.at("n", "persistence", feature))

    def label(self, feature: str) -> str:
        """A feature with its unit."""
        return with_unit(feature, self.units.get(feature, ""))


def score_points(points: xr.Dataset, mape_min_truth: float) -> Errors:
    """Score everything in the dataset of :func:`.points.common_points`."""
    interval = points.attrs["interval_minutes"]
    units = zip(points["feature"].values, points["unit"].values, strict=True)
    return Errors(
        by_horizon=score_models(points, mape_min_truth, pool=["vd"]),
        average=score_models(points, mape_min_truth, pool=["horizon", "vd"]),
        units=_units(units, interval),
        interval_minutes=interval,
    )


def score_models(points: xr.Dataset, mape_min_truth: float, *, pool: Sequence[str]) -> xr.Dataset:
    """:func:`vd_forecasting.metrics.score` of every model, along a dim ``model``."""
    return xr.concat(
        [
            score(points["truth"], points["forecast"].sel(model=model), mape_min_truth, pool=pool)
            for model in points["model"].values
        ],
        points["model"],
    )


def mae(truth: xr.DataArray, forecast: xr.DataArray, *, pool: Sequence[str]) -> xr.DataArray:
    """The MAE of :func:`vd_forecasting.metrics.score`."""
    return score(truth, forecast, 0, pool=pool)["mae"]  # what is left out of MAPE does not matter


def mae_of_models(points: xr.Dataset, *, pool: Sequence[str]) -> xr.DataArray:
    """MAE of every model, along a dim ``model``."""
    return score_models(points, 0, pool=pool)["mae"]  # as in mae


def from_metrics(metrics: Json, config: Json) -> Errors:
    """The errors that an experiment's ``metrics`` hold."""
    model = config["model"]
    features = list(metrics["test"])
    return Errors(
        by_horizon=xr.concat(
            [
                _dataset(metrics["by_horizon"], features, ("feature", "horizon")),
                _dataset(metrics["persistence_by_horizon"], features, ("feature", "horizon")),
            ],
            xr.IndexVariable("model", [model, "persistence"]),
        ),
        average=xr.concat(
            [
                _dataset(metrics["test"], features, ("feature",)),
                _dataset(metrics["persistence"], features, ("feature",)),
            ],
            xr.IndexVariable("model", [model, "persistence"]),
        ),
        units=_units(config["units"].items(), config["interval_minutes"]),
        interval_minutes=config["interval_minutes"],
    )


def _units(named: Any, interval_minutes: float) -> dict[str, str]:
    return {str(name): unit_per_interval(str(unit), interval_minutes) for name, unit in named}


def _dataset(values: Json, features: Sequence[str], dims: tuple[str, ...]) -> xr.Dataset:
    arrays = {
        name: (dims, np.array([values[feature][name] for feature in features], dtype="float64"))
        for name in _COLUMNS
    }
    dataset = xr.Dataset(arrays, coords={"feature": list(features)})
    if "horizon" in dims:
        dataset = dataset.assign_coords(horizon=np.arange(1, dataset.sizes["horizon"] + 1))
    return dataset
