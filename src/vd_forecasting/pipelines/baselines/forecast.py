"""Forecast the windows of a mode without a network, or by the clock alone."""

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import BaselineForecasts, WindowBlocks, WindowSet
from vd_forecasting.datasets import TrainingState
from vd_forecasting.datasets.scratch import Scratch
from vd_forecasting.parameters import Baselines, Compute
from vd_forecasting.pipelines.baselines.baseline import Baseline, Learner, all_vds, blocks_of_vds
from vd_forecasting.pipelines.baselines.gradient_boosting import (
    learn_gradient_boosting,
    shares_models,
)
from vd_forecasting.pipelines.baselines.neighbours import Neighbours
from vd_forecasting.pipelines.baselines.ridge import learn_ridge
from vd_forecasting.pipelines.training.data_digest import data_digest
from vd_forecasting.provenance import code_digest, version_of
from vd_forecasting.running.shares import Share, in_parts
from vd_forecasting.running.staleness.plan import short_path
from vd_forecasting.vd_array import MINUTES_PER_DAY, MINUTES_PER_WEEK, minute_of_week
from vd_forecasting.wording import count, plural

logger = logging.getLogger(__name__)

DAYS_BACK = 7
SPLITS = ("val", "test")
"""Whose windows are forecast."""
DIMS = ("model", "origin", "horizon", "vd", "feature")
KEPT = ("prediction", "fit_seconds")
"""Arrays of the forecasts."""
PACKAGES = ("vd_forecasting", "numpy", "scipy", "scikit-learn")


def begin_baselines(blocks: WindowBlocks) -> list[str]:
    """Name the forecasts that :func:`forecast_baselines` keeps; others are of no use."""
    return [
        state_name(number, of_block, vds)
        for number, of_block in blocks.blocks.items()
        if are_kept(of_block)
        for vds in blocks_of_vds(of_block)
    ]


def are_kept(windows: WindowSet) -> bool:
    """Whether forecasts of a mode are kept: those of VDs with a model each."""
    return len(windows.models) == len(windows.vdids)


def state_name(number: int, windows: WindowSet, vds: slice) -> str:
    """Name of what is kept of a test block and some VDs.

    A VD alone is named by itself in all modes, whose forecasts may be the same.
    """
    alone = vds.stop - vds.start == 1
    return f"block{number}-{windows.vdids[vds.start] if alone else f'{vds.start}-{vds.stop}'}"


def forecast_baselines_part(
    blocks: WindowBlocks,
    baselines: Baselines,
    compute: Compute,
    state: TrainingState,
    *,
    share: Share,
) -> None:
    """Make a share of the forecasts ahead, some VDs at a time, and leave them in the state."""
    of_vds = (
        (of_block, vds) for of_block in blocks.blocks.items() for vds in blocks_of_vds(of_block[1])
    )
    for (number, windows), vds in share.of(of_vds):
        forecast = partial(forecast_kept, state=state, number=number, baselines=baselines)
        forecast(all_baselines(baselines, compute), windows, vds, SPLITS, compute)


@in_parts(forecast_baselines_part)
def forecast_baselines(
    blocks: WindowBlocks,
    baselines: Baselines,
    compute: Compute,
    state: TrainingState | None = None,
) -> tuple[BaselineForecasts, BaselineForecasts]:
    """The forecasts of every window of test and of validation, in physical units and possible, by
    every baseline, which learns anew for every test block.

    Those of VDs with models of their own are kept in the state as they are made, so that a run that
    is killed can resume, and another mode that forecasts the same VD takes them over.
    """
    parts = {}
    for number, of_block in blocks.blocks.items():
        if blocks.label(number):
            logger.info("%s_baselines: test block %d", of_block.mode, number)
        forecast: ForecastVDs = forecast_vds
        if state is not None and are_kept(of_block):
            forecast = partial(forecast_kept, state=state, number=number, baselines=baselines)
        parts[number] = forecast_by(
            all_baselines(baselines, compute), of_block, SPLITS, compute, forecast=forecast
        )
    validation, test = (
        BaselineForecasts.of_blocks({number: of[split] for number, of in parts.items()})
        for split in SPLITS
    )
    return test, validation


def all_baselines(baselines: Baselines, compute: Compute) -> dict[str, Learner]:
    """By name, what the networks have to beat, beside persistence."""
    boosting = partial(
        learn_gradient_boosting,
        iterations=baselines.boosting_iterations,
        max_windows=baselines.boosting_windows,
        at_once=compute.cores,
    )
    return {**quick_baselines(baselines), "gradient_boosting": Learner(boosting, shares_models)}


def quick_baselines(baselines: Baselines) -> dict[str, Learner]:
    """Those that are learnt within seconds."""
    neighbours = Neighbours(baselines.ridge_neighbours)
    ridge = partial(learn_ridge, alphas=baselines.ridge_alphas, neighbours=neighbours)
    return {
        "seasonal_naive": Learner(lambda _, __: forecast_seasonal_naive),
        "historical_average": Learner(learn_historical_average),
        "ridge": Learner(ridge, lambda windows: windows.one_by_one),
    }


def forecast_by(
    learners: Mapping[str, Learner],
    windows: WindowSet,
    splits: Sequence[str],
    compute: Compute,
    *,
    forecast: "ForecastVDs | None" = None,
) -> dict[str, BaselineForecasts]:
    """The forecasts of the windows of some splits by some baselines, in physical units and
    possible; all splits take one learning.

    Those of many VDs are made some VDs at a time, by ``forecast``, and wait in a temporary file:
    dask arrays.
    """
    forecast = forecast or forecast_vds
    learners = {name: learn_once(learner, windows) for name, learner in learners.items()}
    blocks, parts = blocks_of_vds(windows), []
    if len(blocks) == 1:
        made = forecast(learners, windows, blocks[0], splits, compute)
    else:
        scratch = Scratch()
        for vds in blocks:
            part = forecast(learners, windows, vds, splits, compute)
            parts.append({split: of.kept_by(scratch.keep) for split, of in part.items()})
            done = f"{count(vds.stop)} of {plural(len(windows.vdids), 'detector')}"
            logger.info("%s_baselines: %s", windows.mode, done)
        made = {split: BaselineForecasts.of_parts([of[split] for of in parts]) for split in splits}
    return made


def learn_once(learner: Learner, windows: WindowSet) -> Learner:
    """The same for these windows; what any of their VDs share is learnt at the first call."""
    if not learner.is_shared(windows):
        return learner
    learnt = cache(lambda: learner.learn(windows, all_vds(windows)))
    return Learner(lambda _, __: learnt())


def forecast_vds(
    learners: Mapping[str, Learner],
    windows: WindowSet,
    vds: slice,
    splits: Sequence[str],
    compute: Compute,
) -> dict[str, BaselineForecasts]:
    """:func:`forecast_by` for some VDs, by position, whatever becomes of the others."""
    few = windows.of(vds)
    of_split = {split: windows.origins(split) for split in splits}
    origins = np.concatenate([*of_split.values()])
    shape = (len(learners), *windows.target_steps(origins).shape, *few.target_scaler[0].shape)
    prediction, seconds = np.empty(shape, "float32"), np.empty(len(learners))
    for row, (name, learner) in enumerate(learners.items()):
        started = time.perf_counter()
        with threadpool_limits(compute.threads):
            forecast = learner.learn(windows, vds)
            prediction[row] = few.to_possible(forecast(windows, origins, vds))
        seconds[row] = time.perf_counter() - started
        if vds == all_vds(windows):
            logger.info("%s_baselines: %s  %.1f s", windows.mode, name, seconds[row])
    forecasts, first = {}, 0
    for split, own in of_split.items():
        rows = slice(first, first := first + len(own))
        arrays = {"prediction": prediction[:, rows], "fit_seconds": seconds}
        forecasts[split] = _labelled(few, split, [*learners], arrays)
    return forecasts


def _labelled(
    few: WindowSet, split: str, names: list[str], arrays: Mapping[str, np.ndarray]
) -> BaselineForecasts:
    dims = {"prediction": DIMS, "fit_seconds": DIMS[:1]}
    labels = {"model": names, **few.forecast_coordinates(split)}
    data = {name: (dims[name], array) for name, array in arrays.items()}
    return BaselineForecasts(xr.Dataset(data, labels, few.forecast_attributes("baselines")))


ForecastVDs = Callable[
    [Mapping[str, Learner], WindowSet, slice, Sequence[str], Compute], dict[str, BaselineForecasts]
]
"""Such as :func:`forecast_vds`."""


def forecast_kept(
    learners: Mapping[str, Learner],
    windows: WindowSet,
    vds: slice,
    splits: Sequence[str],
    compute: Compute,
    *,
    state: TrainingState,
    number: int,
    baselines: Baselines,
) -> dict[str, BaselineForecasts]:
    """:func:`forecast_vds` for a test block, whose results are kept in a state and found there, or
    in that of another mode."""
    import torch  # noqa: PLC0415  (seconds to import)

    name, few = state_name(number, windows, vds), windows.of(vds)
    made_with = {
        "baselines": baselines.model_dump_json(),
        "compute.threads": str(compute.threads),
        "processor": platform.machine(),
        **{name: str(length) for name, length in windows.lengths.items()},
        "interval": str(windows.interval_minutes),
        "data": data_digest(windows, vds),
        "code": code_digest(__name__),
        **{f"version of {package}": version_of(package) for package in PACKAGES},
    }
    for kept in (state, *state.beside(name)):
        found = kept.load(name) or {}
        if found.get("made_with") == made_with:
            if kept is not state:
                state.save(name, found)
                place = short_path(kept.folder)
                logger.info("%s_baselines: takes over the same from %s", windows.mode, place)
            break
    else:
        made = forecast_vds(learners, windows, vds, splits, compute)
        found = {"made_with": made_with} | {
            split: {key: torch.from_numpy(of.data[key].values.copy()) for key in KEPT}
            for split, of in made.items()
        }
        state.save(name, found)
    arrays = {split: {key: found[split][key].numpy() for key in KEPT} for split in splits}
    return {split: _labelled(few, split, [*learners], arrays[split]) for split in splits}


def forecast_seasonal_naive(windows: WindowSet, origins: np.ndarray, vds: slice) -> np.ndarray:
    """Forecast the value observed at the same time of day, on the latest earlier day that has one.

    The days searched are one to seven days before the target. Whatever lies at or before the origin
    may be used, values before the window included. Without any observation the forecast is the
    last value known at the origin. At origins ``[W]`` float32 ``[W, H, n, F]`` in scaled units.
    """
    few = windows.of(vds)
    values, _ = few.target_series  # [T, n, F]
    forecast = few.last_values(origins)
    for past, usable in earlier_days(few, origins):  # the later day overwrites the earlier one
        np.copyto(forecast, values[past], where=usable)
    return forecast


def earlier_days(
    windows: WindowSet, origins: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The steps at the same time of day as the targets, int ``[W, H]``, and what of them may be
    used, bool ``[W, H, N, F]``: seven days before, six days before, and so on."""
    _, observed = windows.target_series  # [T, N, F]
    day = round(MINUTES_PER_DAY / windows.interval_minutes)
    for days in range(DAYS_BACK, 0, -1):
        past = windows.target_steps(origins) - days * day
        known = (past >= 0) & (past <= origins[:, None])
        past = np.where(known, past, 0)
        yield past, known[..., None, None] & observed[past]


def learn_historical_average(windows: WindowSet, vds: slice) -> Baseline:
    """:func:`forecast_historical_average` with the means of the training split."""
    train = slice(0, windows.ends["train"])
    values, observed = (series[train] for series in windows.of(vds).target_series)  # [T, n, F]
    means = {}
    for period in (MINUTES_PER_WEEK, MINUTES_PER_DAY):
        bins = bins_of(windows, train, period)
        number = int(period // windows.interval_minutes) + 1
        means[period] = bin_means(values, observed, bins, number)
    return partial(forecast_historical_average, learnt=vds, means=means)


def forecast_historical_average(
    windows: WindowSet,
    origins: np.ndarray,
    vds: slice,
    learnt: slice,
    means: Mapping[int, np.ndarray],
) -> np.ndarray:
    """The mean of the training split at the same time of day and day of week.

    A bin is as long as the interval of the data. One without an observed training value takes the
    mean of its time of day over all days, and where there is none either, the training mean.
    At origins ``[W]`` float32 ``[W, H, n, F]`` in scaled units; the means of the ``learnt`` VDs are
    those of :func:`bin_means` by period in minutes, the longest first.
    """
    few = slice(vds.start - learnt.start, vds.stop - learnt.start)
    steps = windows.target_steps(origins)  # [W, H]
    forecast = np.array(np.nan)
    for period, of_bins in means.items():
        forecast = np.where(
            np.isfinite(forecast), forecast, of_bins[:, few][bins_of(windows, steps, period)]
        )
    # Scaled values have the training mean at zero.
    return np.where(np.isfinite(forecast), forecast, 0).astype("float32")


def bins_of(windows: WindowSet, steps: slice | np.ndarray, period: int) -> np.ndarray:
    """Which part of a period of so many minutes some steps fall into, int of their shape."""
    minutes = minute_of_week(windows.time[steps]) % period
    return (minutes // windows.interval_minutes).astype("int64")


def bin_means(
    values: np.ndarray, observed: np.ndarray, bins: np.ndarray, num_bins: int
) -> np.ndarray:
    """Mean of the observed ``values`` [T, N, F] of every bin; step t falls into ``bins[t]``.

    float64 ``[num_bins, N, F]``, NaN for a bin without an observed value.
    """
    sums = np.zeros((num_bins, *values.shape[1:]))
    counts = np.zeros_like(sums)
    np.add.at(sums, bins, np.where(observed, values, 0))
    np.add.at(counts, bins, observed)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
