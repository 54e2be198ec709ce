"""Ridge regression (Hoerl and Kennard 1970) on the windows that the networks see.

C inputs: the scaled window of all features of a model's VDs, flattened, the calendar of the origin,
of a global model what describes the VD, and a one for the intercept, which is not penalised. K
outputs, one per horizon, VD and target feature: the change from the last value known at the origin,
in scaled units.

A missing target is left out, never imputed, so each output has training windows of its own. With a
thousand inputs it would take long to go through the windows once per output. Instead the normal
equations of all windows are made once, and the few windows that an output lacks are subtracted.

A global model has the windows of every VD by itself, in one set of equations.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vd_forecasting.artefacts import WindowSet

logger = logging.getLogger(__name__)

BLOCK = 4096
"""Windows flattened at a time, so that a long series takes no more memory than a short one."""


def learn_ridge(
    windows: WindowSet, alphas: Sequence[float]
) -> Callable[[WindowSet, np.ndarray], np.ndarray]:
    """:func:`forecast_ridge` with the best of some penalties for each model."""
    weights = {}
    for name in windows.models:
        parts = windows.parts(name)
        equations = NormalEquations(windows, parts)
        alpha = choose_alpha(windows, parts, equations, alphas)
        logger.info("%s_baselines: ridge %s: alpha %g", windows.mode, name, alpha)
        [weights[name]] = equations.solve([alpha], np.arange(equations.moments.shape[1]))
    return partial(forecast_ridge, weights=weights)


def forecast_ridge(
    windows: WindowSet, origins: np.ndarray, weights: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Forecasts at some origins ``[W]``, float32 ``[W, H, N, F]`` in scaled units, with the
    coefficients ``[C, K]`` of every model."""
    forecast = windows.last_values(origins)
    for name in windows.models:
        for vds in windows.parts(name):
            blocks = input_blocks(windows, vds, origins)
            changes = np.concatenate([inputs @ weights[name] for inputs in blocks])
            forecast[:, :, vds] += changes.reshape(forecast[:, :, vds].shape)
    return forecast


class NormalEquations:
    """The least-squares problems of all outputs of a model, on the training split.

    The model forecasts the VDs of each of its ``parts`` at once; the W windows are those of the
    first part, then those of the next.
    """

    def __init__(self, windows: WindowSet, parts: Sequence[slice]) -> None:
        self.windows, self.parts = windows, parts
        self.origins = windows.origins("train")
        changes = [target_changes(windows, vds, "train") for vds in parts]
        self.observed = np.isfinite(np.concatenate(changes))  # [W, K]
        self.num_inputs = next(input_blocks(windows, parts[0], self.origins[:1])).shape[1]
        gram = np.zeros((self.num_inputs, self.num_inputs))
        moments = np.zeros((self.num_inputs, self.observed.shape[1]))
        for vds, of_part in zip(parts, changes, strict=True):
            for number, x in enumerate(input_blocks(windows, vds, self.origins)):
                y = of_part[number * BLOCK : (number + 1) * BLOCK]
                gram += x.T @ x
                moments += x.T @ np.nan_to_num(y.astype("float64"))
        # An input that is always zero, such as a constant lane_count, has a coefficient of zero.
        self.live = np.flatnonzero(gram.diagonal())
        self.gram = gram[np.ix_(self.live, self.live)]  # [L, L]
        self.moments = moments[self.live]  # [L, K]

    def gram_of(self, observed: np.ndarray) -> np.ndarray:
        """The sum ``[L, L]`` of the live inputs' outer products over ``observed`` windows [W]."""
        few = 2 * int(observed.sum()) < len(observed)
        rows = (observed if few else ~observed).reshape(len(self.parts), -1)
        gram = np.zeros_like(self.gram) if few else self.gram.copy()
        for vds, of_part in zip(self.parts, rows, strict=True):
            for x in input_blocks(self.windows, vds, self.origins[of_part], self.live):
                (np.add if few else np.subtract)(gram, x.T @ x, out=gram)
        return gram

    def solve(self, alphas: Sequence[float], outputs: np.ndarray) -> np.ndarray:
        """The coefficients that minimise the squared error plus alpha times their squares.

        They are ``[len(alphas), C, K']`` for the K' ``outputs``, positions among the K; zero for an
        output that was never observed, which makes its forecast the last value.
        """
        weights = np.zeros((len(alphas), self.num_inputs, len(outputs)))
        penalised = np.arange(len(self.live) - 1)  # all but the intercept, which comes last
        masks, group = np.unique(self.observed[:, outputs], axis=1, return_inverse=True)
        for number, observed in enumerate(masks.T):
            if not observed.any():
                continue
            members = np.flatnonzero(group == number)
            gram = self.gram_of(observed)
            moments = self.moments[:, outputs[members]]
            for each, alpha in zip(weights, alphas, strict=True):
                penalised_gram = gram.copy()
                penalised_gram[penalised, penalised] += alpha
                # Symmetric, so the transpose is the same, but in the memory order LAPACK works in.
                factor = cho_factor(penalised_gram.T, overwrite_a=True, check_finite=False)
                each[np.ix_(self.live, members)] = cho_solve(factor, moments, check_finite=False)
        return weights


def choose_alpha(
    windows: WindowSet, parts: Sequence[slice], equations: NormalEquations, alphas: Sequence[float]
) -> float:
    """The penalty with the lowest mean absolute error on the validation split, in scaled units.

    The first and the last horizon judge, for all VDs and target features; with every horizon
    judging, most of the time would go into the choice.
    """
    if len(alphas) == 1:
        return alphas[0]
    horizons = windows.prediction_length
    by_horizon = np.arange(equations.moments.shape[1]).reshape(horizons, -1)
    judges = by_horizon[sorted({0, horizons - 1})].ravel()
    weights = equations.solve(alphas, judges)
    errors = np.zeros(len(alphas))
    for vds in parts:
        changes = target_changes(windows, vds, "val")[:, judges]
        inputs = np.concatenate(list(input_blocks(windows, vds, windows.origins("val"))))
        errors += [np.nansum(abs(inputs @ each - changes)) for each in weights]
    return alphas[int(np.argmin(errors))]


def input_blocks(
    windows: WindowSet, vds: slice, at: np.ndarray, chosen: np.ndarray | slice = slice(None)
) -> Iterator[np.ndarray]:
    """The ``chosen`` inputs of the windows with the origins ``at`` [W], some thousand at a time.

    Lag by lag all features of all VDs, the calendar of the origin, what describes the VD, one:
    float64 ``[B, C]``.
    """
    lags = np.arange(windows.sequence_length)
    values = windows.values[:, vds]  # [T, N, features]
    for first in range(0, len(at), BLOCK):
        origin = at[first : first + BLOCK]
        past = values[origin[:, None] - lags].reshape(len(origin), -1)
        static = np.broadcast_to(
            windows.static[vds].ravel(), (len(origin), windows.static[vds].size)
        )
        inputs = [past, windows.calendar[origin], static, np.ones((len(origin), 1), "float32")]
        yield np.hstack(inputs)[:, chosen].astype("float64", order="C")


def target_changes(windows: WindowSet, vds: slice, split: str) -> np.ndarray:
    """The change from the last value known at the origin to every target of a split.

    float32 ``[W, K]``, horizon, VD and target feature flattened; NaN where not observed.
    """
    values, observed = (series[:, vds] for series in windows.target_series)  # [T, N, F]
    origins = windows.origins(split)
    steps = windows.target_steps(origins)  # [W, H]
    changes = values[steps] - values[origins][:, None]
    return np.where(observed[steps], changes, np.float32(np.nan)).reshape(len(steps), -1)
