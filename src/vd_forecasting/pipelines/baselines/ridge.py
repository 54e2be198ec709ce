"""Ridge regression (Hoerl and Kennard 1970) on the windows that the networks see.

C inputs: the scaled window of all features of the VDs that a model sees, flattened, the calendar of
the origin, of a global model what describes the VD, and a one for the intercept, which is not
penalised. K outputs, one per horizon, VD and target feature: the change from the last value known
at the origin, in scaled units.

A missing target is left out, never imputed, so each output has training windows of its own. With a
thousand inputs it would take long to go through the windows once per output. Instead the normal
equations of all windows are made once, and the few windows that an output lacks are subtracted.

A global model has the windows of every VD by itself, in one set of equations. A joint model of few
VDs sees them all. Of many VDs each has a model that sees it and its :mod:`.neighbours`: neither the
inputs of a model nor its memory then grow with the number of VDs.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from vd_forecasting.artefacts import WindowSet
from vd_forecasting.pipelines.baselines.baseline import Baseline
from vd_forecasting.pipelines.baselines.neighbours import Neighbours
from vd_forecasting.vd_array import VDS_AT_ONCE
from vd_forecasting.wording import listed, plural

logger = logging.getLogger(__name__)

BLOCK = 4096
"""Windows flattened at a time, so that a long series takes no more memory than a short one."""

GRAM_BYTES = 64 * 2**20
"""What sums over windows of several outputs may take while the series are read once."""

one_thread = threadpool_limits.wrap(limits=1, user_api="blas")
"""Hundreds of equations, each too small for threads: with two it took half as long again."""

Positions = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float64]


class Part(NamedTuple):
    """What a model forecasts at once, and what it sees for that: VDs by position."""

    vds: slice
    seen: Positions


class Series(NamedTuple):
    """That of a part."""

    seen: npt.NDArray[np.float32]
    """``[T, n, P]``"""
    values: npt.NDArray[np.float32]
    """Of the targets ``[T, m, F]``."""
    observed: npt.NDArray[np.bool_]
    """The same."""
    static: npt.NDArray[np.float32]
    """What describes the VD ``[Q]``."""


def learn_ridge(
    windows: WindowSet, vds: slice, alphas: Sequence[float], neighbours: Neighbours
) -> Baseline:
    """:func:`forecast_ridge` of some VDs, with the best of some penalties for each model."""
    learnt, chosen = [], Counter[float]()
    for parts in models_of(windows, vds, neighbours):
        equations = NormalEquations(windows, parts)
        alpha = choose_alpha(equations, alphas)
        [weights] = equations.solve([alpha], np.arange(equations.num_outputs))
        learnt += [(part, weights) for part in parts]
        chosen[alpha] += 1
    counts = [f"{alpha:g} of {plural(number, 'model')}" for alpha, number in sorted(chosen.items())]
    logger.info("%s_baselines: ridge: alpha %s", windows.mode, listed(counts))
    return partial(forecast_ridge, learnt=learnt)


def models_of(windows: WindowSet, vds: slice, neighbours: Neighbours) -> Iterator[list[Part]]:
    """The parts of each model that forecasts of some VDs need; of a global one, all VDs."""
    everything = np.arange(len(windows.vdids))
    alone = [Part(slice(n, n + 1), everything[n : n + 1]) for n in everything]
    if windows.one_by_one:
        yield alone
    elif windows.mode == "independent_multi_vd" or not neighbours.count:
        yield from ([part] for part in alone[vds])
    elif len(everything) <= neighbours.count + 1:
        yield [Part(vds, everything)]
    else:
        for part, near in zip(alone[vds], neighbours.of(windows, vds), strict=True):
            yield [Part(part.vds, np.sort([*part.seen, *near]))]


def forecast_ridge(
    windows: WindowSet,
    origins: np.ndarray,
    vds: slice,
    learnt: Sequence[tuple[Part, Weights]],
) -> np.ndarray:
    """Forecasts of some VDs n at some origins ``[W]``, float32 ``[W, H, n, F]`` in scaled units.

    ``learnt`` are parts with their coefficients ``[C, K]``. None of them is of VDs of which some
    only are asked for.
    """
    forecast = windows.of(vds).last_values(origins)
    wanted = [one for one in learnt if vds.start <= one[0].vds.start < vds.stop]
    parts = [part for part, _ in wanted]
    for (part, weights), series in zip(wanted, series_of(windows, parts), strict=True):
        own = forecast[:, :, part.vds.start - vds.start : part.vds.stop - vds.start]
        blocks = input_blocks(windows, series, origins)
        own += np.concatenate([inputs @ weights for inputs in blocks]).reshape(own.shape)
    return forecast


class NormalEquations:
    """The least-squares problems of all outputs of a model, on the training split.

    The model forecasts the VDs of each of its ``parts`` at once; the W windows are those of the
    first part, then those of the next. Nothing of many parts is kept but sums.
    """

    def __init__(self, windows: WindowSet, parts: Sequence[Part]) -> None:
        self.windows, self.parts = windows, parts
        self.origins = windows.origins("train")
        # Lazy series of one part are read once, those of many parts for every sum.
        self.kept = [*series_of(windows, parts)] if len(parts) == 1 else None
        first = next(self.series())
        self.num_inputs = next(input_blocks(windows, first, self.origins[:1])).shape[1]
        self.num_outputs = target_changes(windows, first, self.origins[:1]).shape[1]
        gram = np.zeros((self.num_inputs, self.num_inputs))
        moments = np.zeros((self.num_inputs, self.num_outputs))
        self.counts = np.zeros(self.num_outputs, "int64")
        """Windows in which each output is observed."""
        digests = [blake2b() for _ in self.counts]
        for series in self.series():
            changes = target_changes(windows, series, self.origins)
            observed = np.isfinite(changes)
            self.counts += observed.sum(axis=0)
            for digest, of_output in zip(digests, np.packbits(observed, axis=0).T, strict=True):
                digest.update(of_output.tobytes())
            for number, x in enumerate(input_blocks(windows, series, self.origins)):
                y = changes[number * BLOCK : (number + 1) * BLOCK]
                gram += x.T @ x
                moments += x.T @ np.nan_to_num(y.astype("float64"))
        self.masks = np.array([digest.hexdigest() for digest in digests])
        """The same for outputs that are observed in the same windows."""
        # An input that is always zero, such as a constant lane_count, has a coefficient of zero.
        self.live = np.flatnonzero(gram.diagonal())
        self.gram = gram[np.ix_(self.live, self.live)]  # [L, L]
        self.moments = moments[self.live]  # [L, K]

    def series(self) -> Iterator[Series]:
        """The series of each part."""
        return iter(self.kept) if self.kept else series_of(self.windows, self.parts)

    def grams_of(self, outputs: Sequence[int]) -> Iterator[np.ndarray]:
        """For each of some outputs the sum ``[L, L]`` of the live inputs' outer products over
        windows in which it is observed."""
        at_once = max(GRAM_BYTES // self.gram.nbytes, 1)
        for first in range(0, len(outputs), at_once):
            some = outputs[first : first + at_once]
            few = 2 * self.counts[some] < len(self.origins) * len(self.parts)
            grams = [np.zeros_like(self.gram) if is_few else self.gram.copy() for is_few in few]
            for series in self.series():
                shape = (self.windows.prediction_length, *series.values.shape[1:])
                for output, is_few, gram in zip(some, few, grams, strict=True):
                    horizon, vd, feature = np.unravel_index(output, shape)
                    rows = series.observed[self.origins + 1 + horizon, vd, feature] == is_few
                    for x in input_blocks(self.windows, series, self.origins[rows], self.live):
                        (np.add if is_few else np.subtract)(gram, x.T @ x, out=gram)
            yield from grams

    @one_thread
    def solve(self, alphas: Sequence[float], outputs: np.ndarray) -> np.ndarray:
        """The coefficients that minimise the squared error plus alpha times their squares.

        They are ``[len(alphas), C, K']`` for the K' ``outputs``, positions among the K; zero for an
        output that was never observed, which makes its forecast the last value.
        """
        weights = np.zeros((len(alphas), self.num_inputs, len(outputs)))
        penalised = np.arange(len(self.live) - 1)  # all but the intercept, which comes last
        masks = np.unique(self.masks[outputs[self.counts[outputs] > 0]])
        groups = [np.flatnonzero(self.masks[outputs] == mask) for mask in masks]
        firsts = [int(outputs[members[0]]) for members in groups]
        for members, gram in zip(groups, self.grams_of(firsts), strict=True):
            moments = self.moments[:, outputs[members]]
            for each, alpha in zip(weights, alphas, strict=True):
                penalised_gram = gram.copy()
                penalised_gram[penalised, penalised] += alpha
                # Symmetric, so the transpose is the same, but in the memory order LAPACK works in.
                factor = cho_factor(penalised_gram.T, overwrite_a=True, check_finite=False)
                each[np.ix_(self.live, members)] = cho_solve(factor, moments, check_finite=False)
        return weights


def choose_alpha(equations: NormalEquations, alphas: Sequence[float]) -> float:
    """The penalty with the lowest mean absolute error on the validation split, in scaled units.

    The first and the last horizon judge, for all VDs and target features; with every horizon
    judging, most of the time would go into the choice.
    """
    if len(alphas) == 1:
        return alphas[0]
    windows = equations.windows
    horizons, origins = windows.prediction_length, windows.origins("val")
    by_horizon = np.arange(equations.num_outputs).reshape(horizons, -1)
    judges = by_horizon[sorted({0, horizons - 1})].ravel()
    weights = equations.solve(alphas, judges)
    errors = np.zeros(len(alphas))
    for series in equations.series():
        changes = target_changes(windows, series, origins)[:, judges]
        inputs = np.concatenate(list(input_blocks(windows, series, origins)))
        errors += [np.nansum(abs(inputs @ each - changes)) for each in weights]
    return alphas[int(np.argmin(errors))]


def series_of(windows: WindowSet, parts: Sequence[Part]) -> Iterator[Series]:
    """The series of each part. Those of some VDs at a time are in memory."""
    targets = windows.target_positions
    for first in range(0, len(parts), VDS_AT_ONCE):
        few = parts[first : first + VDS_AT_ONCE]
        read = np.unique(np.concatenate([part.seen for part in few]))
        values, observed = (of := windows.of(read)).values, of.observed
        for vds, seen in few:
            own = np.searchsorted(read, np.arange(vds.start, vds.stop))
            yield Series(
                values[:, np.searchsorted(read, seen)],
                values[:, own][..., targets],
                observed[:, own][..., targets],
                windows.static[vds].ravel(),
            )


def input_blocks(
    windows: WindowSet, series: Series, at: np.ndarray, chosen: Positions | slice = slice(None)
) -> Iterator[np.ndarray]:
    """The ``chosen`` inputs of the windows with the origins ``at`` [W], some thousand at a time.

    Lag by lag all features of all VDs, the calendar of the origin, what describes the VD, one:
    float64 ``[B, C]``.
    """
    lags = np.arange(windows.sequence_length)
    for first in range(0, len(at), BLOCK):
        origin = at[first : first + BLOCK]
        past = series.seen[origin[:, None] - lags].reshape(len(origin), -1)
        static = np.broadcast_to(series.static, (len(origin), len(series.static)))
        inputs = [past, windows.calendar[origin], static, np.ones((len(origin), 1), "float32")]
        yield np.hstack(inputs)[:, chosen].astype("float64", order="C")


def target_changes(windows: WindowSet, series: Series, origins: np.ndarray) -> np.ndarray:
    """The change from the last value known at origins ``[W]`` to every target.

    float32 ``[W, K]``, horizon, VD and target feature flattened; NaN where not observed.
    """
    steps = windows.target_steps(origins)  # [W, H]
    changes = series.values[steps] - series.values[origins][:, None]
    return np.where(series.observed[steps], changes, np.float32(np.nan)).reshape(len(steps), -1)
