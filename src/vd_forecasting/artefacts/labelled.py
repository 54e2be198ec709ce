"""Labels that the series of an experiment share with the forecasts made from them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import xarray as xr


@dataclass(frozen=True)
class OfDetectors:
    """Arrays with the dims ``vd`` and ``feature``."""

    data: xr.Dataset

    @property
    def vdids(self) -> list[str]:
        return [str(vdid) for vdid in self.data["vd"].values]

    @property
    def features(self) -> list[str]:
        """Input features of windows, target features of forecasts."""
        return [str(name) for name in self.data["feature"].values]


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
class Labelled(OfDetectors):
    """Arrays with attributes."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held."""
        return cls(data)

    def to_xarray(self) -> xr.Dataset:
        """Return what a file holds."""
        return self.data

    @property
    def mode(self) -> str:
        return str(self.data.attrs["mode"])

    @property
    def source(self) -> str:
        """Name of the detector file."""
        return str(self.data.attrs["source"])

    @property
    def interval_minutes(self) -> float:
        return float(self.data.attrs["interval_minutes"])

    @property
    def units(self) -> dict[str, str]:
        """By feature."""
        return dict(zip(self.features, map(str, self.data["unit"].values), strict=True))
