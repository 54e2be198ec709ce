"""Gradient-boosted regression trees (Friedman 2001) in scikit-learn's histogram form.

A model forecasts one target feature at a few neighbouring horizons. It sees lags of all features of
the VD it forecasts and, if it knows several, which VD that is. It does not see other VDs' lags, as
the networks and the ridge of the joint mode do: the time to learn grows with the number of inputs.

Each VD has models of its own, but in the joint mode with more than :data:`OWN_MODELS` VDs, and
where the network is global, one is learnt from the windows of all, a global model (Montero-Manso
and Hyndman 2021), whose cost does not grow with their number. On validation data it was 5 % better
than models of their own for ten simulated VDs, but 2.6 % worse for two real ones and, at a
twentieth of the cost, 4 % worse for a week of 207.

One model per horizon is the usual way. Here horizon 1 has its own model; later horizons share one
per group of three, with the horizon as a feature, and each training window contributes :data:`USES`
of the three in turn. On parts of the training and validation data of two detectors this is as
accurate at half the cost.

Each model is learnt on one thread, several at the same time in processes. OpenMP's threads wait for
each other when another process needs the core too: on two busy cores two threads took 25 times as
long as one. And growing a tree is mostly Python, so threads that learn a model each gain nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby, pairwise, product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.pipelines.baselines.baseline import Baseline, all_vds, blocks_of_vds
from vd_forecasting.running.processes import in_order
from vd_forecasting.vd_array import MINUTES_PER_DAY, minute_of_week

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

SEED = 0
USES = 2
"""At how many horizons of a group a training window is used."""
OWN_MODELS = 20
"""Up to so many VDs each has models of its own."""
MAX_BINS = 63
"""Bins of an input's histogram: a quarter of scikit-learn's default, in half the time."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let scikit-learn's OpenMP, loaded by now at the latest, use one thread."""
    import sklearn.ensemble  # noqa: F401, PLC0415  (slow to import)

    with threadpool_limits(1, user_api="openmp"):
        yield


class Model(NamedTuple):
    """Forecasts the change of a target feature, by position, at some horizons."""

    horizons: range
    feature: int
    trees: "HistGradientBoostingRegressor"


def shares_models(windows: WindowSet) -> bool:
    """Whether all VDs have the same models."""
    if windows.mode == "independent_multi_vd":
        return False
    return windows.one_by_one or len(windows.vdids) > OWN_MODELS


@one_thread()
def learn_gradient_boosting(
    windows: WindowSet, vds: slice, iterations: int, max_windows: int, at_once: int = 1
) -> Baseline:
    """:func:`forecast_gradient_boosting` of some VDs.

    Every model is learnt in so many iterations, a tree each, from at most ``max_windows`` windows,
    and so many models are learnt at the same time.
    Models of a VD's own take megabytes; they are learnt when it is forecast and then forgotten.
    """
    learn = partial(learn_models, iterations=iterations, max_windows=max_windows, at_once=at_once)
    if shares_models(windows):
        models = [of_all for _, of_all in learn(windows, [all_vds(windows)])]
        return partial(
            forecast_gradient_boosting,
            models_of=lambda _, each: product(each, models),
        )
    return partial(forecast_gradient_boosting, models_of=learn)


def learn_models(
    windows: WindowSet, each: Iterable[slice], iterations: int, max_windows: int, at_once: int = 1
) -> Iterator[tuple[slice, list[Model]]]:
    """The models of each of several VDs, or of several that share theirs.

    There is none for a feature that none of them observed, and nothing for VDs without any.
    """
    made_for: list[tuple[slice, range, int]] = []

    def tasks() -> Iterator[tuple[Callable[..., Any], tuple[Any, ...]]]:
        for vds in each:
            for horizons, feature, *learnt_from in changes_to_learn(windows, vds, max_windows):
                made_for.append((vds, horizons, feature))
                # scikit-learn's own method: a process need not import this package.
                yield new_trees(iterations).fit, (*learnt_from,)

    learnt = (
        (vds, Model(horizons, feature, trees))
        for trees in in_order(tasks(), at_once)
        for vds, horizons, feature in [made_for.pop(0)]
    )
    for vds, models in groupby(learnt, itemgetter(0)):
        yield vds, [model for _, model in models]


def changes_to_learn(
    windows: WindowSet, vds: slice, max_windows: int
) -> Iterator[tuple[range, int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """The horizons and the feature of each model, and what it is learnt from: inputs and the
    changes that followed."""
    at, vd = draw(windows.origins("train"), vds, max_windows, np.random.default_rng(SEED))
    past = lagged_inputs(windows, vd, at)
    last, _ = values_at(windows, vd, at[:, None])
    for horizons in horizon_groups(windows.prediction_length):
        row, horizon = rotate(len(at), horizons)
        inputs, step = np.column_stack([past[row], horizon]), at[row] + horizon
        values, observed = values_at(windows, vd[row], step[:, None])
        for f, feature in enumerate(windows.target_positions):
            seen = observed[:, 0, feature]
            if seen.any():
                changes = (values[:, 0] - last[row, 0])[:, feature]
                yield horizons, f, inputs[seen], changes[seen]


def new_trees(iterations: int) -> "HistGradientBoostingRegressor":
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415  (slow to import)

    return HistGradientBoostingRegressor(
        loss="absolute_error",
        max_iter=iterations,
        max_bins=MAX_BINS,
        early_stopping=False,  # it would judge by windows drawn at random
        random_state=SEED,
    )


@one_thread()
def forecast_gradient_boosting(
    windows: WindowSet,
    origins: np.ndarray,
    vds: slice,
    models_of: Callable[[WindowSet, Iterable[slice]], Iterable[tuple[slice, Iterable[Model]]]],
) -> np.ndarray:
    """Forecasts of some VDs n at some origins ``[W]``, float32 ``[W, H, n, F]`` in scaled units,
    with the models of each VD.

    A feature that a VD never observed in training stays at its last value.
    """
    few = windows.of(vds)
    forecast = few.last_values(origins)
    steps = few.target_steps(few.origins("train"))
    _, observed = few.target_series
    learnable = np.asarray(observed[np.unique(steps)].any(axis=0))  # [n, F]
    inputs = lagged_inputs(
        windows,
        np.repeat(np.arange(vds.start, vds.stop), len(origins)),
        np.tile(origins, len(learnable)),
    ).reshape(len(learnable), len(origins), -1)
    each = [slice(vd, vd + 1) for vd in range(vds.start, vds.stop)]
    for vd, models in models_of(windows, each):
        n = vd.start - vds.start
        for horizons, f, trees in models:
            if learnable[n, f]:
                questions = np.column_stack(
                    [np.tile(inputs[n], (len(horizons), 1)), np.repeat(horizons, len(origins))]
                )
                change = trees.predict(questions).reshape(len(horizons), -1)
                forecast[:, horizons.start - 1 : horizons.stop - 1, n, f] += change.T
    return forecast


def values_at(
    windows: WindowSet, vd: np.ndarray, steps: np.ndarray
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values, scaled, of VDs by position ``vd`` [W] at steps ``[W, S]``, and which are observed.

    Both are ``[W, S, P]``; the series of some VDs at a time are in memory.
    """
    shape = (*steps.shape, len(windows.features))
    values, observed = np.empty(shape, "float32"), np.empty(shape, bool)
    for vds in blocks_of_vds(windows):
        [rows] = np.nonzero((vds.start <= vd) & (vd < vds.stop))
        if len(rows):
            first = vd[rows].min()
            few = windows.of(slice(first, vd[rows].max() + 1))
            where = steps[rows], vd[rows, None] - first
            values[rows], observed[rows] = few.values[where], few.observed[where]
    return values, observed


def draw(
    train: np.ndarray, vds: slice, max_windows: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The windows that the model of some VDs learns from: all, or as many as allowed, at random.

    Each has an origin and the position of its VD, both int ``[W]``.
    """
    total = len(train) * (vds.stop - vds.start)
    if total > max_windows:
        number = np.sort(random.choice(total, max_windows, replace=False))
    else:
        number = np.arange(total)
    return train[number % len(train)], vds.start + number // len(train)


def lagged_inputs(windows: WindowSet, vd: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Inputs of a model, but for the horizon, of VDs by position ``vd`` [W] at origins ``at`` [W].

    Lag by lag all features of the VD, the minute of the day, the day of the week, whether the day
    is off and the position of the VD; for a global model also the mean and the standard deviation
    of its features, and what describes the VD: float32 ``[W, C]``.
    """
    steps = at[:, None] - spaced_lags(windows.sequence_length)
    past, _ = values_at(windows, vd, steps)  # [W, lags, features]
    minute = minute_of_week(windows.time[at])
    calendar = [minute % MINUTES_PER_DAY, minute // MINUTES_PER_DAY, windows.day_off[at]]
    of_vd = [*windows.scaler.values(), windows.static] if windows.one_by_one else []
    inputs = [past.reshape(len(at), -1), *calendar, vd, *(of[vd] for of in of_vd)]
    return np.column_stack(inputs).astype("float32")


def spaced_lags(length: int) -> np.ndarray:
    """Steps back from the origin, ever further apart, because neighbouring lags are much alike.

    The first step of the window is among them; for 20 steps 0, 1, 2, 3, 5, 7, 11, 15 and 19.
    """
    counts = {1, length} | {m * 2**k for k in range(length.bit_length()) for m in (2, 3)}
    return np.array(sorted(count for count in counts if count <= length)) - 1


def horizon_groups(last: int) -> list[range]:
    """Horizons that share a model; for 12: 1; 2 and 3; 4 to 6; 7 to 9; 10 to 12."""
    firsts = [first for first in (1, 2, *range(4, last + 1, 3)) if first <= last]
    return [range(*ends) for ends in pairwise([*firsts, last + 1])]


def rotate(num_windows: int, horizons: range) -> tuple[np.ndarray, np.ndarray]:
    """Which window is used at which horizons, so that each horizon has its equal share.

    Positions of windows, each up to :data:`USES` times, and a horizon for each, int ``[W * uses]``.
    """
    uses = min(USES, len(horizons))
    row = np.repeat(np.arange(num_windows), uses)
    offset = np.tile(np.arange(uses) * (len(horizons) // uses), num_windows)
    return row, horizons.start + (row + offset) % len(horizons)
