"""Forecasts of several models side by side, on the origins, horizons and detectors of all."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from typing_extensions import Self

from vd_forecasting import wording
from vd_forecasting.artefacts import BaselineForecasts, Forecasts
from vd_forecasting.artefacts.forecasts import BLOCK, RANGE, OfForecasts
from vd_forecasting.language import say
from vd_forecasting.vd_array import VDS_PER_CHUNK, Labelled, as_interval, in_memory
from vd_forecasting.vocabulary import SPEED

BLOCK_BYTES = 32 * 2**20
"""What the forecasts and truths of a block take, unless a single detector takes more."""

_VDS_OF_DAYS = 128
"""Whose days are looked at together."""

NO_SEED = -1
JOINED: Final = "joined"
"""In the place of a seed: the mean of the forecasts of all seeds."""
_NOUNS = {
    "origin": wording.noun("forecast origin"),
    "horizon": wording.noun("horizon"),
    "vd": wording.noun("VD"),
    "feature": wording.noun("target feature"),
}
DIMS = tuple(_NOUNS)


@dataclass(frozen=True)
class Member:
    """A network trained from one seed or with its seeds joined, or a baseline."""

    model: str
    seed: int | Literal["joined"] | None
    """None for baselines."""
    best: bool
    """True for baselines and for the seed of a network that did best in validation."""


@dataclass(frozen=True)
class AlignedForecasts(OfForecasts):
    """Forecasts of several members for the very same truths; they may still lie in their files.

    Beside the arrays below ``data`` has ``mase_scale``, ``low`` and ``high`` (block, vd, feature)
    and ``free_flow_speed`` (block, vd); the coordinates :data:`~.forecasts.BLOCK` on origin,
    ``model``, ``seed`` (:data:`NO_SEED` for baselines) and ``best`` on member, and ``unit`` on
    feature.
    """

    mode: str
    """The first one's where experiments are of several modes."""
    source: str
    interval_minutes: float
    unlike: tuple[Callable[[], str], ...] = ()
    """Each says where the models did not forecast the same, in the language spoken."""
    fit_seconds: Mapping[str, float] = field(default_factory=dict)
    """Time it took to learn and to forecast, by baseline."""

    @property
    def members(self) -> list[Member]:
        """In the order of the forecasts; persistence comes first among the baselines."""
        labels = (self.data[name].values for name in ("model", "seed", "best"))
        return [
            Member(str(model), None if seed == NO_SEED else int(seed), bool(best))
            for model, seed, best in zip(*labels, strict=True)
        ]

    @property
    def left_out(self) -> list[str]:
        """Sentences that say where the models did not forecast the same."""
        return [in_words() for in_words in self.unlike]

    @property
    def models(self) -> list[str]:
        """Networks and baselines, in order."""
        return list(dict.fromkeys(map(str, self.data["model"].values)))

    @property
    def units(self) -> dict[str, str]:
        """In words, by target feature: ``veh/5 min``."""
        return {
            feature: wording.unit_per_interval(str(unit), self.interval_minutes)
            for feature, unit in zip(self.features, self.data["unit"].values, strict=True)
        }

    @property
    def truth(self) -> xr.DataArray:
        """``(origin, horizon, vd, feature)``, NaN where not scored."""
        return self.data["truth"]

    @property
    def forecast(self) -> xr.DataArray:
        """``(member, origin, horizon, vd, feature)``."""
        return self.data["forecast"]

    @property
    def shown(self) -> xr.DataArray:
        """One forecast per model ``(model, origin, horizon, vd, feature)``, a network's best."""
        best = self.forecast.isel(member=self.data["best"].values)
        return best.swap_dims(member="model").drop_vars(["seed", "best"])

    @property
    def of_several_seeds(self) -> list[str]:
        """The networks whose seeds can be joined."""
        seeds = Counter(member.model for member in self.members if member.seed is not None)
        return [model for model, count in seeds.items() if count > 1]

    def joined(self, model: str) -> xr.DataArray:
        """The mean of the forecasts of all seeds of a network: (origin, horizon, vd, feature)."""
        of_seeds = self.forecast.isel(member=self.data["model"].values == model)
        return of_seeds.mean("member", skipna=False, dtype="float64")

    def sel(self, **labels: Any) -> Self:
        """Those at some labels of a dim, given as a list; in memory."""
        return replace(self, data=in_memory(self.data.sel(labels)))

    def blocks(self) -> Iterator[Self]:
        """Some detectors at a time, in memory."""
        of_one = 4 * (self.forecast.size + self.truth.size) // max(len(self.vdids), 1)
        fitting = BLOCK_BYTES // max(of_one, 1)
        width = fitting // VDS_PER_CHUNK * VDS_PER_CHUNK or max(fitting, 1)
        for start in range(0, len(self.vdids), width):
            block = self.data.isel(vd=slice(start, start + width))
            yield replace(self, data=in_memory(block))

    def by_test_block(self) -> dict[int, Self]:
        """Those of each test block, by its number."""
        numbers = self.data[BLOCK].values  # in order
        spans = {int(one): np.searchsorted(numbers, [one, one + 1]) for one in np.unique(numbers)}
        return {
            number: replace(self, data=self.data.isel(origin=slice(*ends)))
            for number, ends in spans.items()
        }

    def of_mode(self, mode: str) -> "AlignedForecasts":
        """The members of one mode, without its name before theirs, and persistence."""
        own = [m.model == "persistence" or m.model.startswith(f"{mode}_") for m in self.members]
        data = self.data.isel(member=own)
        names = [str(name).removeprefix(f"{mode}_") for name in data["model"].values]
        data = data.assign_coords(model=("member", np.array(names, dtype=object)))
        fit_seconds = {
            name.removeprefix(f"{mode}_"): seconds
            for name, seconds in self.fit_seconds.items()
            if name.startswith(f"{mode}_")
        }
        return replace(self, data=data, mode=mode, fit_seconds=fit_seconds)

    def slow_below(self, share: float) -> xr.DataArray:
        """The speed below which a detector is congested, a share of free flow: ``(origin, vd)``."""
        of_origin = self.data["free_flow_speed"].sel(block=self.data[BLOCK])
        return share * of_origin.drop_vars("block")

    def congested(self, share: float) -> "AlignedForecasts":
        """Keep the truths of steps at which their VD is slower than a share of free flow.

        Without speeds among the targets nothing is kept, nor where the speed is not observed.
        """
        if SPEED not in self.features:
            kept = xr.full_like(self.truth, np.nan)
        else:
            speed = self.truth.sel(feature=SPEED, drop=True)
            kept = self.truth.where(speed < self.slow_below(share)).transpose(*self.truth.dims)
        return replace(self, data=self.data.assign(truth=kept))


@dataclass(frozen=True)
class AlignedModes:
    """Aligned forecasts of every mode."""

    by_mode: Mapping[str, AlignedForecasts]
    comparable: bool
    """Whether all modes are on the same detectors and truths."""

    @property
    def first(self) -> AlignedForecasts:
        """Those of the first mode, which stand for all where these are comparable."""
        return next(iter(self.by_mode.values()))


def align(
    forecasts: Mapping[str, Forecasts], baselines: Mapping[str, BaselineForecasts] | None = None
) -> AlignedForecasts:
    """Keep the origins, horizons, detectors, features and observed truths that all have.

    Networks stand by what they are to be called: ``lstm`` or ``single_vd_lstm``. A key of baselines
    is put before the names of its models, as ``single_vd`` makes ``single_vd_ridge``; an empty one
    is not. It is a ValueError if they have nothing in common or the truths differ.
    """
    baselines = dict(baselines or {})
    networks = [of_network.data for of_network in forecasts.values()]
    names = [of_network.experiment for of_network in forecasts.values()]
    together = xr.align(
        *networks,
        *(of_mode.data for of_mode in baselines.values()),
        join="inner",
        copy=False,
        exclude=["seed", "model"],
    )
    aligned = together[: len(networks)]
    shared, first = aligned[0], next(iter(forecasts.values()))
    for dim in DIMS:
        if shared.sizes[dim] == 0:
            raise ValueError(
                f"{wording.listed(names)} have no {_NOUNS[dim]} in common "
                f"({_describe(names, networks, dim)}); give them the same windows and train again"
            )
    sizes = {dim: [data.sizes[dim] for data in networks] for dim in DIMS}
    unlike: list[Callable[[], str]] = [
        partial(_difference, names, sizes[dim], shared.sizes[dim], dim)
        for dim in DIMS
        if {*sizes[dim]} != {shared.sizes[dim]}
    ]
    observed_by_all = observed_by_any = shared["truth"].notnull()
    for other, data in zip(list(forecasts.values())[1:], aligned[1:], strict=True):
        one, two = shared["truth"], data["truth"]
        differing = int((abs(one - two) > 1e-3 + 1e-3 * abs(two)).sum())  # not where one is NaN
        if differing:
            raise ValueError(
                f"{first.experiment} and {other.experiment} were tested on different data "
                f"({first.source} and {other.source}): {differing:,} "
                "truths differ; train both again on the same file"
            )
        observed_by_all = observed_by_all & data["truth"].notnull()
        observed_by_any = observed_by_any | data["truth"].notnull()
    lost = int(observed_by_any.sum() - observed_by_all.sum())
    if lost:
        unlike.append(partial(_observed_for_some, lost))
    truth = shared["truth"].where(observed_by_all)
    members = []
    for (name, of_network), data in zip(forecasts.items(), aligned, strict=True):
        seeds = of_network.seeds
        best = [seed == of_network.best_seed for seed in seeds]
        members.append(_members(data["prediction"], "seed", [name] * len(seeds), seeds, best))
    persistence = shared["persistence"].broadcast_like(truth).expand_dims("model")
    members.append(_members(persistence, "model", ["persistence"]))
    fit_seconds: dict[str, float] = {}
    for (prefix, of_mode), data in zip(baselines.items(), together[len(networks) :], strict=True):
        called = {model: f"{prefix}_{model}" if prefix else model for model in of_mode.models}
        members.append(_members(data["prediction"], "model", list(called.values())))
        fit_seconds |= {called[model]: time for model, time in of_mode.fit_seconds.items()}
    forecast = xr.concat(members, "member").transpose("member", *DIMS)
    references = {name: shared[name] for name in ("mase_scale", "free_flow_speed", *RANGE)}
    return AlignedForecasts(
        xr.Dataset({"truth": truth, "forecast": forecast, **references}),
        mode=first.mode,
        source=first.source,
        interval_minutes=first.interval_minutes,
        unlike=tuple(unlike),
        fit_seconds=fit_seconds,
    )


def _members(
    predictions: xr.DataArray,
    dim: str,
    models: Sequence[str],
    seeds: Sequence[int] | None = None,
    best: Sequence[bool] | None = None,
) -> xr.DataArray:
    """The forecasts along a dim as members; baselines have no seeds, and all are best."""
    plain = predictions.drop_vars(dim, errors="ignore").reset_coords(drop=True)
    return plain.rename({dim: "member"}).assign_coords(
        model=("member", np.array(models, dtype=object)),
        seed=("member", list(seeds or [NO_SEED] * len(models))),
        best=("member", list(best or [True] * len(models))),
    )


def _describe(names: Sequence[str], networks: Sequence[xr.Dataset], dim: str) -> str:
    return ", ".join(
        f"{name}: {data[dim].values[0]} to {data[dim].values[-1]}"
        if dim in ("origin", "horizon")
        else f"{name}: {wording.listed(map(str, data[dim].values[:3]))}"
        for name, data in zip(names, networks, strict=True)
        if data.sizes[dim]
    )


def _difference(names: Sequence[str], sizes: Sequence[int], shared: int, dim: str) -> str:
    """A sentence about labels that not all forecasts have."""
    counts = (
        say("{name} has {number}", name=name, number=wording.plural(size, _NOUNS[dim]))
        for name, size in zip(names, sizes, strict=True)
    )
    return say(
        "{counts}; compared on the {number} in common.",
        counts=wording.listed(counts),
        number=wording.count(shared),
    )


def _observed_for_some(lost: int) -> str:
    values = wording.plural(lost, "value")
    return say("{values} observed for only some of the experiments: left out.", values=values)


def mean_over_seeds(values: Labelled) -> Labelled:
    """From ``(member, ...)`` to ``(model, ...)``; undefined in one seed is undefined."""
    return _over_seeds(values, lambda of_seeds: np.asarray(of_seeds.mean(axis=-1)))


def deviation_over_seeds(values: Labelled) -> Labelled:
    """Standard deviation from ``(member, ...)`` to ``(model, ...)``; NaN for a single seed."""

    def deviation(of_seeds: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if of_seeds.shape[-1] == 1:
            return np.full(of_seeds.shape[:-1], np.nan)
        return np.asarray(of_seeds.std(axis=-1, ddof=1))

    return _over_seeds(values, deviation)


def _over_seeds(
    values: Labelled, statistic: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Labelled:
    """A statistic of the last axis, over the members of each model."""
    names = values["model"].values.astype(str)
    models = list(dict.fromkeys(names.tolist()))
    of_model = [np.flatnonzero(names == model) for model in models]
    found: Labelled = xr.apply_ufunc(
        lambda array: np.stack([statistic(array[..., at]) for at in of_model], axis=-1),
        values.drop_vars(["model", "seed", "best"], errors="ignore"),
        input_core_dims=[["member"]],
        output_core_dims=[["model"]],
    )
    return found.assign_coords(model=models).transpose("model", ...)


def by_target_time(values: Labelled, interval_minutes: float) -> Labelled:
    """Relabel ``(origin, horizon, ...)`` by the time forecasts are for: ``(time, horizon, ...)``.

    The result is over all target times; NaN where a horizon has none.
    """
    step = as_interval(interval_minutes)
    parts = [
        part.drop_vars(["horizon", BLOCK], errors="ignore")
        .rename(origin="time")
        .assign_coords(time=part["origin"].values + int(horizon) * step)
        for horizon in values["horizon"].values
        for part in [values.sel(horizon=horizon)]
    ]
    return xr.concat(parts, pd.Index(values["horizon"].values, name="horizon"), join="outer")


@dataclass(frozen=True)
class CongestedDay:
    """The VD and day with the lowest speed, or the extreme of another feature without speeds."""

    vdid: str
    day: pd.Timestamp
    feature: str
    value: float
    """The hourly mean that made it the most congested; NaN if nothing is observed."""

    @property
    def is_lowest(self) -> bool:
        """Whether the lowest value was looked for, not the highest."""
        return self.feature == SPEED

    @property
    def is_congestion(self) -> bool:
        """Whether the feature separates congestion from mere demand."""
        return self.feature in (SPEED, "avg_occupancy")

    @property
    def event(self) -> str:
        """What it shows, in words."""
        return say("congestion") if self.is_congestion else say("the peak")


def most_congested_day(forecasts: AlignedForecasts) -> CongestedDay:
    """Find the day to look at, by hourly means, so that one odd reading does not choose it."""
    features, vdids, interval = forecasts.features, forecasts.vdids, forecasts.interval_minutes
    known = [name for name in (SPEED, "avg_occupancy", "total_volume") if name in features]
    feature = known[0] if known else features[0]
    first_horizon = forecasts.truth.sel(feature=feature).isel(horizon=[0])
    means_of, counts_of = [], []
    for start in range(0, len(vdids), _VDS_OF_DAYS):
        block = in_memory(first_horizon.isel(vd=slice(start, start + _VDS_OF_DAYS)))
        series = by_target_time(block, interval).isel(horizon=0).transpose("time", "vd")
        wide = pd.DataFrame(series.values, series["time"].to_index())
        hourly = wide.resample(pd.Timedelta(minutes=max(60.0, interval)))
        means_of.append(hourly.mean())
        counts_of.append(hourly.count().to_numpy())
    days = pd.DatetimeIndex(means_of[0].index).normalize()
    observed = np.concatenate(counts_of, axis=1)
    # An hour that is half missing does not choose the day.
    enough = observed >= max(1, observed.max() / 2)
    means = np.where(enough, np.concatenate(means_of, axis=1), np.nan)
    if not np.isfinite(means).any():
        return CongestedDay(vdids[0], days[0], feature, float("nan"))
    extreme = np.nanargmin(means) if feature == SPEED else np.nanargmax(means)
    row, column = divmod(int(extreme), len(vdids))
    return CongestedDay(vdids[column], days[row], feature, float(means[row, column]))
