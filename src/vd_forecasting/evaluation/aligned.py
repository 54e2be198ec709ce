"""Forecasts of several models side by side on the points all of them forecast."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting import wording
from vd_forecasting.vocabulary import SPEED

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)

NO_SEED = -1
DIMS = ("origin", "horizon", "vd", "feature")
_NOUNS = {
    "origin": "forecast origin",
    "horizon": "horizon",
    "vd": "VD",
    "feature": "target feature",
}


def common_points(
    predictions: Mapping[str, xr.Dataset], baselines: Mapping[str, xr.Dataset] | None = None
) -> xr.Dataset:
    """Align predictions on their common origins, horizons, VDs, features and observed truths.

    Args:
        predictions: per network, as of :func:`..training.evaluate.forecast_split`. A key such as
            ``single_vd_lstm`` will do.
        baselines: ``prediction`` (model, origin, horizon, vd, feature) and ``fit_seconds`` (model);
            a key is put before the
            names of its models, as ``single_vd`` makes ``single_vd_ridge``; an empty one is not.

    Returns:
        ``truth`` (origin, horizon, vd, feature), NaN where not scored, and ``forecast``
        (run, origin, horizon, vd, feature). A run is one seed of a network or a baseline, the first
        of which is persistence; coordinates on it are ``model``, ``seed`` (−1 for baselines) and
        ``best``, true for baselines and for the seed of each network that did best in validation.
        ``mase_scale`` (vd, feature) and ``free_flow_speed`` (vd); ``unit`` on feature; attrs
        ``interval_minutes``, ``source``, ``fit_seconds`` of the baselines and ``left_out``, a list
        of sentences that say where the models' points differed.

    Raises:
        ValueError: if there is no common point, or if the truths differ.
    """
    networks, baselines = list(predictions.values()), dict(baselines or {})
    together = xr.align(
        *networks, *baselines.values(), join="inner", copy=False, exclude=["seed", "model"]
    )
    aligned = together[: len(networks)]
    shared = aligned[0]
    for dim in DIMS:
        if shared.sizes[dim] == 0:
            raise ValueError(
                f"{wording.listed(map(_name, aligned))} have no {_NOUNS[dim]} in common "
                f"({_describe(networks, dim)}); give them the same windows and train again"
            )
    left_out = [_difference(networks, shared, dim) for dim in DIMS]
    observed_by_all = observed_by_any = shared["truth"].notnull()
    for dataset in aligned[1:]:
        _check_same_truth(shared, dataset)
        observed_by_all = observed_by_all & dataset["truth"].notnull()
        observed_by_any = observed_by_any | dataset["truth"].notnull()
    lost = int(observed_by_any.sum() - observed_by_all.sum())
    if lost:
        left_out.append(
            f"{wording.plural(lost, 'value')} observed for only some of the experiments: left out."
        )
    truth = shared["truth"].where(observed_by_all)
    runs = [
        *map(_runs_of_network, predictions, aligned),
        _as_runs(shared["persistence"].broadcast_like(truth).expand_dims("run"), ["persistence"]),
        *map(_runs_of_baselines, baselines, together[len(networks) :]),
    ]
    return xr.Dataset(
        {
            "truth": truth,
            "forecast": xr.concat(runs, "run").transpose("run", *DIMS),
            "mase_scale": shared["mase_scale"],
            "free_flow_speed": shared["free_flow_speed"],
        },
        attrs={
            "interval_minutes": float(shared.attrs["interval_minutes"]),
            "source": shared.attrs["source"],
            "left_out": [sentence for sentence in left_out if sentence],
            "fit_seconds": {
                _prefixed(prefix, model): float(dataset["fit_seconds"].sel(model=model))
                for prefix, dataset in baselines.items()
                for model in dataset["model"].values
            },
        },
    )


def _runs_of_network(name: str, dataset: xr.Dataset) -> xr.DataArray:
    seeds = [int(seed) for seed in dataset["seed"].values]
    forecasts = dataset["prediction"].rename(seed="run").drop_vars("run")
    best = [seed == dataset.attrs["best_seed"] for seed in seeds]
    return _as_runs(forecasts, [name] * len(seeds), seeds, best)


def _runs_of_baselines(prefix: str, dataset: xr.Dataset) -> xr.DataArray:
    models = [_prefixed(prefix, model) for model in dataset["model"].values]
    return _as_runs(dataset["prediction"].rename(model="run").drop_vars("run"), models)


def _prefixed(prefix: str, model: str) -> str:
    return f"{prefix}_{model}" if prefix else str(model)


def _as_runs(
    forecasts: xr.DataArray,
    models: Sequence[str],
    seeds: Sequence[int] | None = None,
    best: Sequence[bool] | None = None,
) -> xr.DataArray:
    return forecasts.reset_coords(drop=True).assign_coords(
        model=("run", np.array(models, dtype=object)),
        seed=("run", list(seeds or [NO_SEED] * len(models))),
        best=("run", list(best or [True] * len(models))),
    )


def models_in(points: xr.Dataset) -> list[str]:
    """Networks and baselines, in order."""
    return list(dict.fromkeys(map(str, points["model"].values)))


def shown_forecasts(points: xr.Dataset) -> xr.DataArray:
    """One forecast per model: of a network that of its best seed.

    Returns:
        ``(model, origin, horizon, vd, feature)``.
    """
    best = points["forecast"].isel(run=points["best"].values)
    return best.swap_dims(run="model").drop_vars(["seed", "best"])


def mean_over_seeds(values: Labelled) -> Labelled:
    """From ``(run, ...)`` to ``(model, ...)``; undefined in one seed is undefined."""
    return _over_seeds(values, lambda of_model: of_model.mean("run", skipna=False))


def deviation_over_seeds(values: Labelled) -> Labelled:
    """Standard deviation from ``(run, ...)`` to ``(model, ...)``; NaN where there is one seed."""
    return _over_seeds(
        values,
        lambda of_model: (
            of_model.std("run", skipna=False, ddof=1)
            if of_model.sizes["run"] > 1
            else of_model.isel(run=0, drop=True) * np.nan
        ),
    )


def _over_seeds(values: Labelled, statistic: Callable[[Labelled], Labelled]) -> Labelled:
    names = values["model"].values
    models = list(dict.fromkeys(map(str, names)))
    parts = [statistic(values.isel(run=names == model)) for model in models]
    return xr.concat(
        [part.drop_vars(["model", "seed", "best"], errors="ignore") for part in parts],
        pd.Index(models, name="model"),
    )


def congested_only(points: xr.Dataset, share: float) -> xr.Dataset:
    """Keep the truths of steps at which their VD is slower than a share of its free-flow speed.

    Without speeds among the targets nothing is kept, nor where the speed is not observed.
    """
    if SPEED not in points["feature"].values:
        return points.assign(truth=xr.full_like(points["truth"], np.nan))
    speed = points["truth"].sel(feature=SPEED, drop=True)
    return points.assign(truth=points["truth"].where(speed < share * points["free_flow_speed"]))


def _name(predictions: xr.Dataset) -> str:
    return f"{predictions.attrs['mode']}_{predictions.attrs['model']}"


def _describe(predictions: Iterable[xr.Dataset], dim: str) -> str:
    return ", ".join(
        f"{_name(dataset)}: {dataset[dim].values[0]} to {dataset[dim].values[-1]}"
        if dim in ("origin", "horizon")
        else f"{_name(dataset)}: {wording.listed(map(str, dataset[dim].values[:3]))}"
        for dataset in predictions
        if dataset.sizes[dim]
    )


def _difference(predictions: Iterable[xr.Dataset], shared: xr.Dataset, dim: str) -> str:
    """A sentence about labels that not all predictions have; empty if all have the same."""
    sizes = {_name(dataset): dataset.sizes[dim] for dataset in predictions}
    if set(sizes.values()) == {shared.sizes[dim]}:
        return ""
    counts = (f"{name} has {wording.plural(size, _NOUNS[dim])}" for name, size in sizes.items())
    return f"{wording.listed(counts)}; compared on the {shared.sizes[dim]:,} in common."


def _check_same_truth(first: xr.Dataset, second: xr.Dataset) -> None:
    one, other = first["truth"], second["truth"]
    equal = np.isclose(one, other, rtol=1e-3, atol=1e-3) | one.isnull() | other.isnull()
    if not equal.all():
        raise ValueError(
            f"{_name(first)} and {_name(second)} were tested on different data "
            f"({first.attrs['source']} and {second.attrs['source']}): {int((~equal).sum()):,} "
            "truths differ; train both again on the same file"
        )


def by_target_time(values: Labelled, interval_minutes: float) -> Labelled:
    """Relabel forecasts by the time they are for instead of the time they were made at.

    Args:
        values: ``(origin, horizon, ...)``.
        interval_minutes: one step.

    Returns:
        ``(time, horizon, ...)`` over all target times; NaN where a horizon has none.
    """
    step = np.timedelta64(round(interval_minutes * 60e9), "ns")
    parts = [
        part.drop_vars("horizon")
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
        """Whether the feature tells congestion from mere demand."""
        return self.feature in (SPEED, "avg_occupancy")


def most_congested_day(truth: xr.DataArray, interval_minutes: float) -> CongestedDay:
    """Find the day to look at, by hourly means, so that one odd reading does not choose it.

    Args:
        truth: ``(origin, horizon, vd, feature)``, NaN where not observed.
        interval_minutes: one step.
    """
    features = [str(name) for name in truth["feature"].values]
    known = [name for name in (SPEED, "avg_occupancy", "total_volume") if name in features]
    feature = known[0] if known else features[0]
    first_horizon = truth.sel(feature=feature).isel(horizon=[0])
    series = by_target_time(first_horizon, interval_minutes).isel(horizon=0)
    vdids = [str(vdid) for vdid in series["vd"].values]
    wide = pd.DataFrame(
        series.transpose("time", "vd").values,
        index=pd.DatetimeIndex(series["time"].values),
        columns=pd.RangeIndex(len(vdids)),
    )
    hourly = wide.resample(pd.Timedelta(minutes=max(60.0, interval_minutes)))
    observed = hourly.count().to_numpy()
    means = hourly.mean().to_numpy()
    # An hour that is half missing does not choose the day.
    means = np.where(observed >= max(1, observed.max() / 2), means, np.nan)
    days = pd.DatetimeIndex(hourly.mean().index).normalize()
    if not np.isfinite(means).any():
        return CongestedDay(vdids[0], days[0], feature, float("nan"))
    extreme = np.nanargmin(means) if feature == SPEED else np.nanargmax(means)
    row, column = divmod(int(extreme), len(vdids))
    return CongestedDay(vdids[column], days[row], feature, float(means[row, column]))
