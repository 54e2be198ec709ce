"""Errors of point forecasts in physical units, over observed truths only.

Everything is built from :func:`sums`, which adds up errors and counts. Sums of parts can be added,
so an average over horizons, VDs or batches weighs every observed point the same.
"""

from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

METRICS: Final = ("mae", "mse", "rmse", "mape", "r2")
ERRORS: Final = (*METRICS, "mase")

Array = npt.NDArray[Any]


def sums(
    truth: xr.DataArray,
    forecast: xr.DataArray,
    over: Iterable[Hashable],
    mape_min_truth: float,
    mase_scale: xr.DataArray | None = None,
) -> xr.Dataset:
    """Sums of errors over some dims of the observed points.

    They are ``n`` points, ``absolute`` and ``squared`` errors, ``percentage`` errors (share, not %)
    over ``n_percentage`` points, ``variation``: the truth's squared distance from its mean over
    these dims, and, with a scale, ``scaled`` errors.

    Args:
        truth: ``[..., origin]`` in physical units, NaN where not observed; the forecast is read
            only where it is.
        mape_min_truth: truths below this are left out of the percentage error.
        mase_scale: ``(vd, feature)``, the errors that absolute errors are divided by for MASE.
    """
    core = list(over)
    of_truth = truth_sums(truth, core, mape_min_truth)
    return joined_sums(of_truth, error_sums(truth, forecast, core, mape_min_truth), mase_scale)


def truth_sums(truth: xr.DataArray, over: Sequence[Hashable], mape_min_truth: float) -> xr.Dataset:
    """Those of :func:`sums` that no forecast changes: ``n``, ``n_percentage`` and ``variation``."""
    # In numpy, since labels are the same throughout, and xarray would align them at every step.
    found = xr.apply_ufunc(
        partial(_sums_of_truth, least=_least(mape_min_truth), axes=len(over)),
        truth,
        input_core_dims=[over],
        output_core_dims=[[]] * 3,
    )
    return xr.Dataset(dict(zip(("n", "n_percentage", "variation"), found, strict=True)))


def error_sums(
    truth: xr.DataArray, forecast: xr.DataArray, over: Sequence[Hashable], mape_min_truth: float
) -> xr.Dataset:
    """Those of :func:`sums` of a forecast: ``absolute``, ``squared`` and ``percentage`` errors."""
    found = xr.apply_ufunc(
        partial(_sums_of_both, least=_least(mape_min_truth), axes=len(over)),
        forecast,
        truth,
        input_core_dims=[over, over],
        output_core_dims=[[]] * 3,
    )
    return xr.Dataset(dict(zip(("absolute", "squared", "percentage"), found, strict=True)))


def joined_sums(
    of_truth: xr.Dataset, of_errors: xr.Dataset, mase_scale: xr.DataArray | None
) -> xr.Dataset:
    """All of :func:`sums`; errors may be of several forecasts, along a dim of their own."""
    total = of_truth.assign(of_errors.data_vars)
    if mase_scale is None:
        return total
    return total.assign(scaled=(total["absolute"] / mase_scale).where(total["n"] > 0, 0))


def _least(mape_min_truth: float) -> float:
    return max(mape_min_truth, float(np.finfo("float64").tiny))


def _sums_of_truth(truth: Array, least: float, axes: int) -> tuple[Array, Array, Array]:
    """Number of points, number of those from ``least`` on, and squared distance from the mean."""
    last = tuple(range(-axes, 0))
    truth = truth.astype("float64")
    scored = ~np.isnan(truth)
    n = scored.sum(last)
    total = np.where(scored, truth, 0).sum(last)
    mean = np.divide(total, n, out=np.zeros_like(total), where=n > 0)
    distance = truth - np.expand_dims(mean, last)
    variation = np.where(scored, distance**2, 0).sum(last)
    return n, (scored & (abs(truth) >= least)).sum(last), variation


def _sums_of_both(
    forecast: Array, truth: Array, least: float, axes: int
) -> tuple[Array, Array, Array]:
    """Absolute, squared and percentage errors."""
    last = tuple(range(-axes, 0))
    truth = truth.astype("float64")
    error = np.where(np.isnan(truth), 0, forecast.astype("float64") - truth)
    absolute, size = abs(error), abs(truth)
    share = np.divide(absolute, size, out=np.zeros_like(absolute), where=size >= least)
    return absolute.sum(last), (error**2).sum(last), share.sum(last)


def from_sums(total: xr.Dataset) -> xr.Dataset:
    """MAE, MSE, RMSE, MAPE (%), R², ``n`` and the share of points left out of MAPE.

    A metric without any point is NaN; so is R² where the truth does not vary. With ``scaled``
    errors among the sums also MASE (Hyndman and Koehler 2006).
    """
    of = total.variables  # without labels, which are the same throughout
    n, n_percentage = (of[name].where(of[name] > 0) for name in ("n", "n_percentage"))
    # A truth that is constant but for rounding has no variation worth explaining.
    variation = of["variation"].where(of["variation"] > 1e-9 * n)
    mse = of["squared"] / n
    mase = {"mase": of["scaled"] / n} if "scaled" in of else {}
    return xr.Dataset(
        {
            "mae": of["absolute"] / n,
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mape": 100 * of["percentage"] / n_percentage,
            "r2": 1 - of["squared"] / variation,
            **mase,
            "n": of["n"],
            "mape_left_out": 1 - of["n_percentage"] / n,
        },
        total.coords,
    )


def score(
    truth: xr.DataArray,
    forecast: xr.DataArray,
    mape_min_truth: float,
    *,
    pool: Iterable[str] = (),
    mase_scale: xr.DataArray | None = None,
) -> xr.Dataset:
    """Metrics as of :func:`from_sums` per VD, feature and horizon, or pooled over some of these.

    Args:
        truth: ``(origin, horizon, vd, feature)``, NaN where not observed.
        forecast: the same dims, fewer where a forecast does not depend on one (persistence), or
            more: several forecasts are scored at once.
        pool: dims over which observed points are averaged. R² then compares with the mean of each
            VD, feature and horizon, not with one mean of all, which would credit a forecast for
            telling detectors apart.
    """
    forecast = forecast.broadcast_like(truth).transpose(..., *truth.dims)
    total = sums(truth, forecast, ["origin"], mape_min_truth, mase_scale)
    return from_sums(total.sum(list(pool), skipna=False))


def by_feature(scores: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Scores over (feature) or (feature, horizon) as nested dicts for JSON; undefined ones None."""
    columns = {str(name): _plain(scores[name].transpose("feature", ...)) for name in scores}
    return {
        str(feature): {name: column[at] for name, column in columns.items()}
        for at, feature in enumerate(scores["feature"].values)
    }


def _plain(values: xr.DataArray) -> Any:
    if values.name == "n":
        return values.astype("int64").values.tolist()
    found = values.values.astype(object)
    found[~np.isfinite(values.values)] = None
    return found.tolist()


def tidy(scores: xr.Dataset) -> pd.DataFrame:
    """Scores over some of ``member``, ``vd``, ``feature`` and ``horizon``: a row for each and
    metric, with a column for each of these; that of ``vd`` is ``vdid``.

    The metric ``n`` counts the scored points, and undefined values are NaN.
    """
    plain = scores.drop_vars("mape_left_out", errors="ignore").reset_coords(drop=True)
    order = ("member", "metric", "vd", "feature", "horizon")
    rows = plain.to_array("metric").transpose(*order, missing_dims="ignore")
    return rows.to_dataframe("value").reset_index().rename(columns={"vd": "vdid"})
