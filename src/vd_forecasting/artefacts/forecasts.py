"""Forecasts of a split, in physical units, and the truths they are scored against.

An origin is the time stamp of the last input step; a forecast is for ``horizon`` steps after it.
The arrays may be lazy: they then stay in their file until they are asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from typing_extensions import Self

from vd_forecasting.artefacts.windows import LABELS, Labelled, OfDetectors

_DIMS = "origin horizon vd feature"
_NEEDS = {"origin": "M origin", "horizon": "i horizon", **LABELS}

BLOCK = "test_block"
"""Coordinate of the origins: the number of the test block each is of; files of format 1 have one
block. Along the dim ``block`` lies what each block has of its own."""

RANGE = ("low", "high")
"""Names of the lowest and the highest possible value of a detector's feature."""
_OWN = ("mase_scale", "free_flow_speed", "fit_seconds", *RANGE)

FORMAT = 3
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

    LAZY: ClassVar = ("prediction", "truth", "persistence")
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
        if "block" not in data.dims:
            data = _of_block(data, 1)
        return super().from_xarray(data)

    @classmethod
    def of_blocks(cls, parts: Mapping[int, Self]) -> Self:
        """The forecasts of several test blocks, by number, as one.

        A detector that a block has not chosen has no forecast and no truth in it.
        """
        *_, last = parts.values()
        vdids = dict.fromkeys(vdid for one in (last, *parts.values()) for vdid in one.vdids)
        numbered = [_of_block(one.data, number) for number, one in parts.items()]
        if len(numbered) == 1:
            return cls(numbered[0])
        numbered = [data.reindex(vd=[*vdids]) for data in numbered]
        joined = {
            dim: xr.concat([_along(dim, data) for data in numbered], dim, join="exact")
            for dim in ("origin", "block")
            if dim in numbered[0].dims
        }
        merged = xr.merge([*joined.values()], compat="no_conflicts")
        return cls(merged.assign_attrs(last.data.attrs))

    def to_xarray(self) -> xr.Dataset:
        """Return what a file holds."""
        return self.data.assign_attrs(format=FORMAT)

    @property
    def prediction(self) -> xr.DataArray:
        """float32 ``(seed or model, origin, horizon, vd, feature)``."""
        return self.data["prediction"]

    @property
    def block_numbers(self) -> list[int]:
        """The test blocks there are."""
        return [int(number) for number in np.unique(self.data[BLOCK].values)]

    def of_block(self, number: int) -> Self:
        """Those of a test block."""
        return replace(self, data=self.data.isel(origin=self.data[BLOCK].values == number))

    def sel(self, **labels: Any) -> Self:
        """Those at some labels of a dim, given as a list."""
        return replace(self, data=self.data.sel(labels))


def _of_block(data: xr.Dataset, number: int) -> xr.Dataset:
    """Forecasts with the number of their test block."""
    own = [name for name in _OWN if name in data]
    data = data.assign({name: data[name].expand_dims(block=[number]) for name in own})
    return data.assign_coords({BLOCK: ("origin", np.full(data.sizes["origin"], number))})


def _along(dim: str, data: xr.Dataset) -> xr.Dataset:
    """The variables that have a dim."""
    return data[[name for name, values in data.data_vars.items() if dim in values.dims]]


@dataclass(frozen=True)
class Forecasts(_OnWindows):
    """Forecasts of an experiment's networks, every seed's.

    ``data`` holds ``prediction`` (seed, origin, horizon, vd, feature); ``truth`` (origin, horizon,
    vd, feature), NaN where not observed; ``persistence`` (origin, vd, feature), the last value
    known at the origin; ``mase_scale`` (block, vd, feature) and ``free_flow_speed`` (block, vd) of
    :mod:`vd_forecasting.pipelines.training.evaluate`; ``low`` and ``high`` (block, vd, feature),
    between which values can lie, infinite where a file of format 2 or older does not say.
    """

    NEEDS: ClassVar = {
        **{"prediction": f"f seed {_DIMS}", "truth": f"f {_DIMS}", "seed": "i seed"},
        **{"persistence": "f origin vd feature", "mase_scale": "f [block] vd feature"},
        **{"free_flow_speed": "f [block] vd", "model": str, "best_seed": Integral},
        **_NEEDS,
    }
    """As of :class:`.windows.WindowSet`."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held; a ValueError says what of it does not fit together."""
        found = super().from_xarray(data)
        scale = found.data["mase_scale"]
        unknown = zip(RANGE, (-np.inf, np.inf), strict=True)
        missing = {name: xr.full_like(scale, of) for name, of in unknown if name not in data}
        found = cls(found.data.assign(missing))
        for name in RANGE:
            if set(found.data[name].dims) != set(scale.dims):
                raise ValueError(f"{name} has the dims {found.data[name].dims}")
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

    ``data`` holds ``prediction`` (model, origin, horizon, vd, feature) and ``fit_seconds`` (block,
    model), the time it took to learn and to forecast.
    """

    NEEDS: ClassVar = {
        **{"prediction": f"f model {_DIMS}", "fit_seconds": "f [block] model"},
        "model": "T model",
        **_NEEDS,
    }
    """As of :class:`.windows.WindowSet`."""

    @classmethod
    def of_parts(cls, parts: Sequence[Self]) -> Self:
        """Forecasts of some detectors, then of others, as one; the times to learn add up."""
        arrays = [one.data[["prediction"]] for one in parts]
        joined = xr.concat(arrays, "vd", coords="minimal", compat="override", join="override")
        seconds = sum(one.data["fit_seconds"] for one in parts)
        return cls(joined.assign(fit_seconds=seconds))

    def kept_by(self, keep: Callable[[npt.NDArray[np.float32]], Any]) -> Self:
        """The same with what ``keep`` makes of the forecasts, such as a lazy array of them."""
        lazy = self.prediction.copy(data=keep(self.prediction.values))
        return replace(self, data=self.data.assign(prediction=lazy))

    @property
    def models(self) -> list[str]:
        return [str(name) for name in self.data["model"].values]

    @property
    def fit_seconds(self) -> dict[str, float]:
        """By model, of all test blocks together."""
        seconds = self.data["fit_seconds"].sum("block").values
        return dict(zip(self.models, map(float, seconds), strict=True))
