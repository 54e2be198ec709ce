"""Forecasts of several models side by side on the points all of them forecast."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.pipelines.reporting import wording

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)

DIMS = ("origin", "horizon", "vd", "feature")
_NOUNS = {
    "origin": "forecast origin",
    "horizon": "horizon",
    "vd": "VD",
    "feature": "target feature",
}


def common_points(predictions: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Align predictions on their common origins, horizons, VDs, features and observed truths.

    Args:
        predictions: per model its ``prediction`` and ``truth`` (origin, horizon, vd, feature) and
            ``persistence`` (origin, vd, feature). A key such as ``single_vd_lstm`` will do.

    Returns:
        ``truth`` (origin, horizon, vd, feature), NaN where not scored, and ``forecast``
        (model, origin, horizon, vd, feature) of the models and of ``persistence``; ``unit`` on
        feature; attrs ``interval_minutes``, ``source`` and ``left_out``, a list of sentences that
        say where the models' points differed.

    Raises:
        ValueError: if there is no common point, or if the truths differ.
    """
    first = next(iter(predictions.values()))
    aligned = xr.align(*predictions.values(), join="inner", copy=False)
    shared = aligned[0]
    for dim in DIMS:
        if shared.sizes[dim] == 0:
            raise ValueError(
                f"{wording.listed(map(_name, aligned))} have no {_NOUNS[dim]} in common "
                f"({_describe(predictions.values(), dim)}); give them the same windows and train "
                "again"
            )
    left_out = [_difference(predictions.values(), shared, dim) for dim in DIMS]
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
    persistence = shared["persistence"].broadcast_like(truth).transpose(*truth.dims)
    forecast = xr.concat(
        [*(dataset["prediction"] for dataset in aligned), persistence],
        pd.Index([*predictions, "persistence"], name="model"),
        coords="minimal",
    )
    return xr.Dataset(
        {"truth": truth, "forecast": forecast},
        attrs={
            "interval_minutes": float(first.attrs["interval_minutes"]),
            "source": first.attrs["source"],
            "left_out": [sentence for sentence in left_out if sentence],
        },
    )


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
        return self.feature == "avg_speed"

    @property
    def is_congestion(self) -> bool:
        """Whether the feature tells congestion from mere demand."""
        return self.feature in ("avg_speed", "avg_occupancy")


def most_congested_day(truth: xr.DataArray, interval_minutes: float) -> CongestedDay:
    """Find the day to look at, by hourly means, so that one odd reading does not choose it.

    Args:
        truth: ``(origin, horizon, vd, feature)``, NaN where not observed.
        interval_minutes: one step.
    """
    features = [str(name) for name in truth["feature"].values]
    known = [name for name in ("avg_speed", "avg_occupancy", "total_volume") if name in features]
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
    extreme = np.nanargmin(means) if feature == "avg_speed" else np.nanargmax(means)
    row, column = divmod(int(extreme), len(vdids))
    return CongestedDay(vdids[column], days[row], feature, float(means[row, column]))
