"""Errors by calendar day: few numbers, from which two trainings can still be compared when their
forecasts are gone."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from vd_forecasting.evaluation.errors import SummedErrors, days_that_count
from vd_forecasting.evaluation.significance import Interval, ratio_intervals
from vd_forecasting.evaluation.sums_over_time import AVERAGE, sums_over_time

DIGITS = 9
"""Significant ones that are kept."""

SAME_TRUTHS = 1e-6
"""Relative difference of their sums. Truths come back from scaled values, so that another scaler
changes their last bits."""

Floats = npt.NDArray[np.float64]
Rows = tuple[tuple[float | None, ...], ...]
"""[D, K]: a row per calendar day, a column per pair; None where undefined."""


class DailyErrors(BaseModel):
    """Absolute errors of one network on test, summed over detectors; means over its seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_minutes: float
    pairs: tuple[tuple[str, int], ...]
    """[K] of feature and horizon, :data:`AVERAGE` for all horizons."""
    dates: tuple[str, ...]
    losses: Rows
    scored: Rows
    """Values that are scored."""
    origins: Rows
    """Origins with such a value."""
    truths: Rows
    """Sums of these values themselves, by which test data are known again."""
    units: dict[str, str]
    """In words, by feature."""
    persistence: dict[str, float | None]
    """MAE of persistence for the same values, by feature, all horizons together."""

    @property
    def features(self) -> list[str]:
        """Target features."""
        return list(dict.fromkeys(feature for feature, _ in self.pairs))

    @property
    def horizons(self) -> int:
        """How many steps ahead."""
        return max(step for _, step in self.pairs)

    def mae(self, feature: str) -> float:
        """Of all horizons together; NaN where undefined."""
        k = self._at(feature)
        return _mean(_array(self.losses)[:, k], _array(self.scored)[:, k])

    def dates_of(self, feature: str) -> set[str]:
        """The calendar days on which anything of a feature is scored."""
        scored = _array(self.scored)[:, self._at(feature)]
        return {date for date, n in zip(self.dates, scored, strict=True) if n > 0}

    def skill(self, feature: str) -> float:
        """By which share MAE is lower than persistence's; NaN where undefined."""
        reference = self.persistence[feature]
        return 1 - self.mae(feature) / reference if reference else math.nan

    def _at(self, feature: str) -> int:
        return self.pairs.index((feature, AVERAGE))


def daily_errors(summed: SummedErrors, model: str) -> DailyErrors:
    """What to keep of the errors of a model, beside which stands persistence."""
    sums = sums_over_time(summed)
    own, reference = (sums.by_day[sums.models.index(name)] for name in (model, "persistence"))
    return DailyErrors(
        interval_minutes=sums.interval_minutes,
        pairs=tuple(sums.pairs),
        dates=tuple(sums.dates),
        losses=_rows(own),
        scored=_rows(sums.scored),
        origins=_rows(sums.origins),
        truths=_rows(sums.truths),
        units=dict(summed.units),
        persistence={
            feature: _rounded(_mean(reference[:, k], sums.scored[:, k]))
            for k, (feature, step) in enumerate(sums.pairs)
            if step == AVERAGE
        },
    )


@dataclass(frozen=True)
class Change:
    """How another training changed MAE, on the days that both were tested on."""

    before: float
    after: float
    relative: Interval
    """Negative where the later error is lower; the ends are NaN where the days are too few."""
    days: int
    """Test days that count: at least half of their origins are scored."""
    left_out: int
    """Calendar days of either that the other was not tested on, or with other truths."""


def changes(
    before: DailyErrors, after: DailyErrors, confidence: float
) -> dict[tuple[str, int], Change]:
    """The changes of each feature, at the horizons that both have and at :data:`AVERAGE`.

    The errors of a day are a pair, as those of two networks are: :func:`.ratio_intervals`. Only
    days with the same origins and truths count. A feature without such a day is left out, and
    everything is where intervals or numbers of horizons differ.
    """
    if (before.interval_minutes, before.horizons) != (after.interval_minutes, after.horizons):
        return {}
    dates = [date for date in before.dates if date in {*after.dates}]
    found = {}
    for feature in before.features:
        if feature not in after.features:
            continue
        pairs = [pair for pair in before.pairs if pair[0] == feature]
        one, two = (_Days.of(errors, dates, pairs) for errors in (before, after))
        same = one.same_as(two)
        if not same.any():
            continue
        one, two = one.at(same), two.at(same)
        days = days_that_count(one.origins.astype("int64"), before.interval_minutes)
        ratios = ratio_intervals(two.losses, one.losses, days, confidence)
        left_out = len(before.dates_of(feature) | after.dates_of(feature)) - int(same.sum())
        for k, (pair, ratio) in enumerate(zip(pairs, ratios, strict=True)):
            mae, other = (_mean(of.losses[:, k], one.scored[:, k]) for of in (one, two))
            relative = Interval(ratio.estimate - 1, ratio.low - 1, ratio.high - 1)
            found[pair] = Change(mae, other, relative, days[k], left_out)
    return found


@dataclass(frozen=True)
class _Days:
    """Some days and pairs, [D, K] each."""

    losses: Floats
    scored: Floats
    origins: Floats
    truths: Floats

    @classmethod
    def of(cls, errors: DailyErrors, dates: list[str], pairs: list[tuple[str, int]]) -> "_Days":
        rows = [errors.dates.index(date) for date in dates]
        columns = [errors.pairs.index(pair) for pair in pairs]
        all_of = (errors.losses, errors.scored, errors.origins, errors.truths)
        return cls(*(_array(of)[np.ix_(rows, columns)] for of in all_of))

    def at(self, days: npt.NDArray[np.bool_]) -> "_Days":
        return _Days(*(of[days] for of in vars(self).values()))

    def same_as(self, other: "_Days") -> npt.NDArray[np.bool_]:
        """[D] days of which something is scored, at the same origins for the same truths."""
        same = (self.scored == other.scored) & (self.origins == other.origins)
        same &= np.isclose(self.truths, other.truths, rtol=SAME_TRUTHS, atol=0)
        return np.asarray(same.all(axis=1) & (self.scored > 0).any(axis=1))


def _mean(losses: Floats, scored: Floats) -> float:
    """Of all days; NaN where nothing is scored."""
    n = scored.sum()
    return float(losses.sum() / n) if n else math.nan


def _array(rows: Rows) -> Floats:
    return np.array(rows, dtype="float64")


def _rows(values: npt.NDArray[np.generic]) -> Rows:
    return tuple(tuple(_rounded(float(value)) for value in row) for row in values.tolist())


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
