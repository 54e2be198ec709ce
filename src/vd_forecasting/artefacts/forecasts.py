"""Forecasts of the test split, in physical units, and the truths they are scored against.

An origin is the time stamp of the last input step; a forecast is for ``horizon`` steps after it.
The arrays may be lazy: they then stay in their file until they are asked for.
"""

from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.artefacts.windows import LABELS, Labelled, OfDetectors

_DIMS = "origin horizon vd feature"
_NEEDS = {"origin": "M origin", "horizon": "i horizon", **LABELS}

FORMAT = 1
"""Number of the form that files have; a file of a newer form is refused."""


@dataclass(frozen=True)
class OfForecasts(OfDetectors):
    """Arrays with the dims ``origin`` and ``horizon`` too."""

    @property
    def origins(self) -> npt.NDArray[np.datetime64]:
        return self.data["origin"].values

    @property
    def horizons(self) -> list[int]:
        """From 1."""
        return [int(step) for step in self.data["horizon"].values]


@dataclass(frozen=True)
class _OnWindows(Labelled, OfForecasts):
    """What forecasts of networks and of baselines share."""

    LAZY: ClassVar = ("prediction", "truth")
    """What a loaded file is not read for until it is asked for."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held; a ValueError says that a newer version wrote it."""
        found = int(data.attrs.get("format", 1))
        if found > FORMAT:
            raise ValueError(
                f"format {found} is newer than {FORMAT}, the one this version reads; update "
                "vd_forecasting or make the forecasts again with kedro run --namespace"
            )
        return super().from_xarray(data)

    def to_xarray(self) -> xr.Dataset:
        """Return what a file holds."""
        return self.data.assign_attrs(format=FORMAT)

    @property
    def prediction(self) -> xr.DataArray:
        """float32 ``(seed or model, origin, horizon, vd, feature)``."""
        return self.data["prediction"]

    def sel(self, **labels: Any) -> Self:
        """Those at some labels of a dim, given as a list."""
        return replace(self, data=self.data.sel(labels))


@dataclass(frozen=True)
class Forecasts(_OnWindows):
    """Forecasts of an experiment's networks, every seed's.

    ``data`` holds ``prediction`` (seed, origin, horizon, vd, feature); ``truth`` (origin, horizon,
    vd, feature), NaN where not observed; ``persistence`` (origin, vd, feature), the last value
    known at the origin; ``mase_scale`` (vd, feature) and ``free_flow_speed`` (vd) of
    :mod:`vd_forecasting.pipelines.training.evaluate`.
    """

    NEEDS: ClassVar = {
        **{"prediction": f"f seed {_DIMS}", "truth": f"f {_DIMS}", "seed": "i seed"},
        **{"persistence": "f origin vd feature", "mase_scale": "f vd feature"},
        **{"free_flow_speed": "f vd", "model": str, "best_seed": Integral},
        **_NEEDS,
    }
    """As of :class:`.windows.WindowSet`."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held; a ValueError says what of it does not fit together."""
        found = super().from_xarray(data)
        if found.best_seed not in found.seeds or len({*found.seeds}) < len(found.seeds):
            raise ValueError(f"its seeds are {found.seeds}, the best of them {found.best_seed}")
        return found

    @property
    def model(self) -> str:
        """``lstm`` or ``xlstm``."""
        return str(self.data.attrs["model"])

    @property
    def experiment(self) -> str:
        return f"{self.mode}_{self.model}"

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.data["seed"].values]

    @property
    def best_seed(self) -> int:
        """The seed that did best in validation."""
        return int(self.data.attrs["best_seed"])

    @property
    def truth(self) -> xr.DataArray:
        return self.data["truth"]


@dataclass(frozen=True)
class BaselineForecasts(_OnWindows):
    """Forecasts of a mode's baselines.

    ``data`` holds ``prediction`` (model, origin, horizon, vd, feature) and ``fit_seconds`` (model),
    the time it took to learn and to forecast.
    """

    NEEDS: ClassVar = {
        **{"prediction": f"f model {_DIMS}", "fit_seconds": "f model", "model": "T model"},
        **_NEEDS,
    }
    """As of :class:`.windows.WindowSet`."""

    @property
    def models(self) -> list[str]:
        return [str(name) for name in self.data["model"].values]

    @property
    def fit_seconds(self) -> dict[str, float]:
        """By model."""
        return dict(zip(self.models, map(float, self.data["fit_seconds"].values), strict=True))
