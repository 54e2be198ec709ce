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

All models are learnt on one thread. OpenMP's threads wait for each other when another process
needs the core too: on two busy cores two threads took 25 times as long as one.
"""

from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.vd_array import MINUTES_PER_DAY, minute_of_week

SEED = 0
USES = 2
"""At how many horizons of a group a training window is used."""
OWN_MODELS = 20
"""Up to so many VDs each has models of its own."""
MAX_BINS = 63
"""Bins of an input's histogram: a quarter of scikit-learn's default, in half the time."""


@threadpool_limits.wrap(limits=1, user_api="openmp")
def forecast_gradient_boosting(
    windows: WindowSet, origins: np.ndarray, iterations: int, max_windows: int
) -> np.ndarray:
    """Forecasts at some origins ``[W]``, float32 ``[W, H, N, F]`` in scaled units.

    Every model is learnt in so many iterations, a tree each, from at most ``max_windows`` windows.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415  (slow to import)

    values, observed = windows.values, windows.observed
    train = windows.origins("train")
    random = np.random.default_rng(SEED)
    forecast = windows.last_values(origins)
    sharing = list(windows.models.values())  # VDs, by position, that share models
    if len(windows.vdids) <= OWN_MODELS and not windows.one_by_one:
        sharing = [slice(n, n + 1) for n in range(len(windows.vdids))]
    for vds in sharing:
        at, vd = draw(train, vds, max_windows, random)
        past = lagged_inputs(windows, vd, at)
        for horizons in horizon_groups(windows.prediction_length):
            row, horizon = rotate(len(at), horizons)
            inputs, step = np.column_stack([past[row], horizon]), at[row] + horizon
            for f, feature in enumerate(windows.target_positions):
                seen = observed[step, vd[row], feature]
                if not seen.any():
                    continue  # nothing to learn: the forecast stays the last value
                changes = values[step, vd[row], feature] - values[at[row], vd[row], feature]
                model = HistGradientBoostingRegressor(
                    loss="absolute_error",
                    max_iter=iterations,
                    max_bins=MAX_BINS,
                    early_stopping=False,  # it would judge by windows drawn at random
                    random_state=SEED,
                ).fit(inputs[seen], changes[seen])
                for n in np.unique(vd[row][seen]):
                    known = lagged_inputs(windows, np.full(len(origins), n), origins)
                    questions = np.column_stack(
                        [np.tile(known, (len(horizons), 1)), np.repeat(horizons, len(known))]
                    )
                    change = model.predict(questions).reshape(len(horizons), -1)
                    forecast[:, horizons.start - 1 : horizons.stop - 1, n, f] += change.T
    return forecast


def draw(
    train: np.ndarray, vds: slice, max_windows: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The windows that the model of some VDs learns from: all, or as many as allowed, at random.

    Each has an origin and the position of its VD, both int ``[W]``.
    """
    number = np.arange(len(train) * (vds.stop - vds.start))
    if len(number) > max_windows:
        number = np.sort(random.choice(len(number), max_windows, replace=False))
    return train[number % len(train)], vds.start + number // len(train)


def lagged_inputs(windows: WindowSet, vd: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Inputs of a model, but for the horizon, of VDs by position ``vd`` [W] at origins ``at`` [W].

    Lag by lag all features of the VD, the minute of the day, the day of the week, whether the day
    is off and the position of the VD; for a global model also the mean and the standard deviation
    of its features, and what describes the VD: float32 ``[W, C]``.
    """
    steps = at[:, None] - spaced_lags(windows.sequence_length)
    past = windows.values[steps, vd[:, None]]  # [W, lags, features]
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
