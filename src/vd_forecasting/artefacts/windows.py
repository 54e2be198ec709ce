"""The series of an experiment and the windows that are cut out of them.

Shapes: T time steps, N detectors, P input features, F target features, W windows of a split,
H horizons.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from typing_extensions import Self

from vd_forecasting.vd_array import BLOCK_BYTES, in_memory
from vd_forecasting.vocabulary import SPLITS

LABELS: Mapping[str, str | type] = {
    **{"vd": "T vd", "feature": "T feature", "unit": "T feature"},
    **{"mode": str, "source": str, "interval_minutes": Real},
}
"""What every file of arrays holds, as in ``NEEDS`` of a class of it."""

JOINT = "joint"
"""Name of the one model that forecasts all detectors together."""

GLOBAL = "global"
"""Name of the one model that forecasts every detector by itself."""


def small_in_memory(data: xr.Dataset) -> xr.Dataset:
    """The same, its series ``values`` read or computed if they take no more than a block."""
    return in_memory(data) if data["values"].nbytes <= BLOCK_BYTES else data


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
class Labelled(OfDetectors):
    """Arrays with attributes that say which experiment they are of."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held; a ValueError says what of it does not fit together."""
        found = cls(data)
        for dim, names in (("vd", found.vdids), ("feature", found.features)):
            if not 0 < len(set(names)) == len(names):
                raise ValueError(f"its {dim} names are {names}, must be different")
        if not 0 < found.interval_minutes < math.inf:
            raise ValueError(f"its interval is {found.interval_minutes} minutes, must be above 0")
        return found

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


@dataclass(frozen=True)
class WindowSet(Labelled):
    """Scaled, imputed and split series.

    Beside the arrays below, of the dims time, vd, feature and phase, ``data`` has the coordinate
    ``unit`` on feature; its attributes hold the lengths, the target features and the first steps of
    val and test. Of a global model it may have ``static`` (vd, attribute): numbers that describe a
    detector, NaN where unknown. ``values`` and ``observed`` may be lazy.
    """

    LAZY: ClassVar = ("values", "observed")
    """What a loaded file is not read for until it is asked for, unless it is small."""

    NEEDS: ClassVar = {
        **{"values": "f time vd feature", "observed": "b time vd feature", "time": "M time"},
        **{"mean": "f vd feature", "std": "f vd feature", "calendar": "f time phase"},
        **{"low": "f vd feature", "high": "f vd feature"},
        **LABELS,
        **{"phase": "T phase", "holidays": str, "cleaning": str, "utc_offset": str},
        **dict.fromkeys(("sequence_length", "prediction_length", "train_end", "val_end"), Integral),
    }
    """Of a file: arrays, their kind of values and their dims; and attributes and their type."""

    @classmethod
    def from_xarray(cls, data: xr.Dataset) -> Self:
        """Take over what a file held; a ValueError says what of it does not fit together."""
        numbers = (
            "values",
            "mean",
            "std",
            "calendar",
        )  # a copy by others may be of double precision
        data = data.assign({name: data[name].astype("float32", copy=False) for name in numbers})
        found = super().from_xarray(small_in_memory(data))
        if min(found.lengths.values()) < 1:
            raise ValueError(f"its lengths are {found.lengths}, must be above 0")
        if [*found.ends.values()] != sorted(found.ends.values()) or found.ends["train"] < 1:
            raise ValueError(f"its splits end at {found.ends}, must be in order")
        if not (found.range["low"] <= found.range["high"]).all():
            raise ValueError("its lowest possible values, low, are above the highest, high")
        if not found.targets or not {*found.targets} <= {*found.features}:
            raise ValueError(f"its target features {found.targets} are not among its features")
        if (static := data.get("static")) is not None:
            if static.dims != ("vd", "attribute") or static.dtype.kind != "f":
                raise ValueError(f"static has the dims {static.dims} and type {static.dtype}")
            if np.isinf(static).any() or not (static.max("vd") > static.min("vd")).all():
                raise ValueError("its static values are infinite or do not differ between VDs")
        return found

    @property
    def sequence_length(self) -> int:
        """Lookback window, steps."""
        return int(self.data.attrs["sequence_length"])

    @property
    def prediction_length(self) -> int:
        """H, steps."""
        return int(self.data.attrs["prediction_length"])

    @property
    def lengths(self) -> dict[str, int]:
        """Both lengths by name."""
        names = ("sequence_length", "prediction_length")
        return {name: getattr(self, name) for name in names}

    @property
    def ends(self) -> dict[str, int]:
        """The step after the last one of each split."""
        train_end, val_end = int(self.data.attrs["train_end"]), int(self.data.attrs["val_end"])
        return dict(zip(SPLITS, (train_end, val_end, self.data.sizes["time"]), strict=True))

    @property
    def targets(self) -> list[str]:
        """Target features, in order."""
        return [str(name) for name in np.atleast_1d(self.data.attrs["target_features"])]

    @cached_property
    def target_positions(self) -> list[int]:
        """Indices of the target features among the input features."""
        return [self.features.index(name) for name in self.targets]

    @property
    def time(self) -> npt.NDArray[np.datetime64]:
        """``[T]``."""
        return self.data["time"].values

    @cached_property
    def values(self) -> npt.NDArray[np.float32]:
        """``[T, N, P]``, scaled, without NaN; all of them in memory, see :meth:`series`."""
        return in_memory(self.data["values"]).values

    @cached_property
    def observed(self) -> npt.NDArray[np.bool_]:
        """``[T, N, P]``, false where a value was imputed."""
        return in_memory(self.data["observed"]).values

    def series(self, vds: slice) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """``values`` and ``observed`` of some detectors, ``[T, n, P]`` each; others are not read.

        They are views where the series are in memory, as they are once all were asked for.
        """
        if vds == slice(0, self.data.sizes["vd"]) or "values" in self.__dict__:
            return self.values[:, vds], self.observed[:, vds]
        few = in_memory(self.data[["values", "observed"]].isel(vd=vds))
        return few["values"].values, few["observed"].values

    @property
    def calendar(self) -> npt.NDArray[np.float32]:
        """``[T, 9]``: 1 on a day off, else 0; the time of day as four harmonics."""
        return self.data["calendar"].values

    @property
    def day_off(self) -> npt.NDArray[np.float32]:
        """``[T]``, 1 on weekends and holidays, else 0."""
        return self.data["calendar"].sel(phase="day_off").values

    @property
    def holidays(self) -> str:
        """Dates with spaces between, or a country."""
        return str(self.data.attrs["holidays"])

    @property
    def static_values(self) -> dict[str, npt.NDArray[np.float32]]:
        """Numbers that describe the detectors, by name: each ``[N]``, NaN where unknown."""
        if "static" not in self.data:
            return {}
        names = map(str, self.data["attribute"].values)
        return dict(zip(names, self.data["static"].values.T.astype("float32"), strict=True))

    @cached_property
    def static(self) -> npt.NDArray[np.float32]:
        """The same as inputs, ``[N, Q]``: scaled over the detectors, 0 where unknown."""
        values = np.array([*self.static_values.values()], "float64").reshape(-1, len(self.vdids)).T
        scaled = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
        return np.where(np.isnan(scaled), 0, scaled).astype("float32")

    @property
    def cleaning(self) -> str:
        """The rules by which the series were cleaned, as JSON."""
        return str(self.data.attrs["cleaning"])

    @property
    def utc_offset(self) -> str:
        """That of the clock, such as ``+08:00``; "" where it is not known."""
        return str(self.data.attrs["utc_offset"])

    @property
    def scaler(self) -> dict[str, npt.NDArray[np.float32]]:
        """``mean`` and ``std`` ``[N, P]`` in physical units."""
        return {name: self.data[name].values for name in ("mean", "std")}

    @property
    def target_scaler(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Mean and standard deviation of the targets ``[N, F]`` in physical units."""
        mean, std = (of[:, self.target_positions] for of in self.scaler.values())
        return mean, std

    @property
    def range(self) -> dict[str, npt.NDArray[np.float32]]:
        """``low`` and ``high``, between which values can lie, ``[N, P]`` in physical units."""
        return {name: self.data[name].values for name in ("low", "high")}

    @property
    def target_range(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Lowest and highest possible value of the targets ``[N, F]`` in physical units."""
        low, high = (of[:, self.target_positions] for of in self.range.values())
        return low, high

    @property
    def target_series(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Values of the targets, scaled, and which are observed: both ``[T, N, F]``."""
        return self.values[..., self.target_positions], self.observed[..., self.target_positions]

    @property
    def one_by_one(self) -> bool:
        """Whether a single model forecasts every detector by itself: a global model."""
        return self.mode == "global_vd"

    @property
    def models(self) -> dict[str, slice]:
        """The detectors, by position, that each model forecasts.

        One model named ``joint``, or ``global`` where it takes them one by one, has all of them; in
        independent_multi_vd every detector has a model of its own, named by its VDID.
        """
        if self.mode == "independent_multi_vd":
            return {vdid: slice(n, n + 1) for n, vdid in enumerate(self.vdids)}
        return {GLOBAL if self.one_by_one else JOINT: slice(0, len(self.vdids))}

    def parts(self, model: str) -> list[slice]:
        """The detectors, by position, that a model forecasts at once: all of its, or one by one."""
        vds = self.models[model]
        if not self.one_by_one:
            return [vds]
        return [slice(n, n + 1) for n in range(vds.start, vds.stop)]

    def of(self, vds: slice | npt.NDArray[np.intp]) -> Self:
        """The same of some detectors, by position; what describes these is scaled over them."""
        return replace(self, data=self.data.isel(vd=vds))

    def starts(self, split: str) -> npt.NDArray[np.int64]:
        """First input step of every window that lies wholly inside a split, in order of time."""
        first = {"train": 0, "val": self.ends["train"], "test": self.ends["val"]}[split]
        length = self.sequence_length + self.prediction_length
        return np.arange(first, self.ends[split] - length + 1)

    def origins(self, split: str) -> npt.NDArray[np.int64]:
        """The last input step of every window of a split, int ``[W]``."""
        return self.starts(split) + self.sequence_length - 1

    def target_steps(self, origins: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The steps that windows with these origins ``[W]`` forecast, int ``[W, H]``."""
        return origins[:, None] + np.arange(1, self.prediction_length + 1)

    def last_values(self, origins: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The last values known at these origins, for every horizon: ``[W, H, N, F]``, scaled."""
        last = self.values[origins][..., self.target_positions]
        return np.repeat(last[:, None], self.prediction_length, axis=1)

    def to_physical(self, scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Target values ``[..., N, F]`` in physical units."""
        mean, std = self.target_scaler
        return scaled * std + mean

    def to_possible(self, scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Forecasts ``[..., N, F]`` in physical units, moved to the nearest possible value."""
        return np.clip(self.to_physical(scaled), *self.target_range)

    def forecast_coordinates(self, split: str) -> dict[str, object]:
        """Labels of the forecasts of a split: origin, horizon, vd, feature and its unit."""
        return {
            "origin": self.time[self.origins(split)],
            "horizon": np.arange(1, self.prediction_length + 1),
            "vd": self.data["vd"].values,
            "feature": self.targets,
            "unit": ("feature", self.data["unit"].values[self.target_positions]),
        }

    def forecast_attributes(self, model: str) -> dict[str, object]:
        """Attributes of forecasts of these windows by a model."""
        shared = ("mode", "source", "interval_minutes")
        return {"model": model, **{name: getattr(self, name) for name in shared}}
