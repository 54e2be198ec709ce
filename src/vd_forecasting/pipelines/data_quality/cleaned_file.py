"""A cleaned file as the page looks at it: values, what cleaning did, and words for both."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning, Split
from vd_forecasting.pipelines.data_engineering.resample import RESAMPLED, cleaned_interval
from vd_forecasting.pipelines.data_quality.detector_statistics import (
    DetectorStatistics,
    detector_statistics,
)
from vd_forecasting.rendering.markdown import feature_text, plain_text
from vd_forecasting.vd_array import before_test, interval_of, observed_shares, targets_in
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import in_words, time_stamp

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


class History:
    """The state after each rule, in arrays; the first is the raw file.

    Where the data were resampled, the last state is that of the coarser grid.
    """

    def __init__(self, vd: xr.DataArray, cleaning_log: pd.DataFrame) -> None:
        self.rules = [str(rule) for rule in cleaning_log["rule"].unique()]
        self.resampled = self.rules[-1] == RESAMPLED
        self.clean = len(self.rules) - (2 if self.resampled else 1)
        """The state after the last rule, on the file's own grid."""
        # By position, not by name: two detectors may have the same VDID.
        shape = (3, len(self.rules), vd.sizes["vd"], vd.sizes["feature"])
        states = cleaning_log[["rows", "moved", "observed"]].to_numpy(np.int64).T.reshape(shape)
        self.observed: Counts = states[2]
        self.rows: Counts
        self.rows, moved = states[:2, :, 0, 0]
        self.rows_after = dict(zip(self.rules, self.rows.tolist(), strict=True))
        """Time steps left by a rule."""
        self.rows_lost = dict(zip(self.rules[1:], (-np.diff(self.rows)).tolist(), strict=True))
        """Time steps a rule removed; negative where it added some."""
        self.steps_moved = dict(zip(self.rules, moved.tolist(), strict=True))
        """Time steps a rule moved to another place or time stamp."""

    @property
    def recorded(self) -> int:
        """Values in the raw file."""
        return int(self.observed[0].sum())

    @property
    def removed(self) -> int:
        """Values that the rules removed."""
        return self.recorded - int(self.observed[self.clean].sum())

    def share(self, state: int) -> Shares:
        """Share observed after a rule, [vd, feature], of the time steps then there."""
        return np.asarray(self.observed[state] / max(self.rows[state], 1))

    def missing(self, state: int) -> float:
        """Share of all values missing after a rule."""
        observed: Counts = self.observed[state]
        return 1.0 - int(observed.sum()) / max(int(self.rows[state]) * observed.size, 1)

    def values_lost(self, rule: str) -> tuple[Counts, Counts]:
        """Values that a rule removed, and those there before, [vd, feature] both."""
        before, after = self.observed[self.rules.index(rule) - 1 :][:2]
        return before - after, before


@dataclass(frozen=True)
class CleanedFile:
    """A clean VD array ``("time", "vd", "feature")``, which may be larger than memory."""

    vd: xr.DataArray
    history: History
    cleaning: Cleaning
    """The parameters it was cleaned with."""
    split: Split

    @cached_property
    def statistics(self) -> DetectorStatistics:
        """From one pass over the values."""
        return detector_statistics(self.vd)

    @cached_property
    def features(self) -> list[str]:
        return [str(name) for name in self.vd["feature"].to_numpy()]

    @property
    def units(self) -> list[str]:
        return [str(unit) for unit in self.vd["unit"].to_numpy()]

    @property
    def targets(self) -> list[str]:
        """Features that must be observed for a detector to be fit for training."""
        return targets_in(self.vd, TARGET_FEATURES)

    @cached_property
    def target_shares(self) -> Shares:
        """Share of values observed before the test split, [vd, target], as training judges it."""
        shares = observed_shares(before_test(self.vd, self.split), TARGET_FEATURES)
        return np.concatenate([of_some.to_numpy() for of_some in shares])

    @property
    def fit(self) -> int:
        """Number of detectors fit for training."""
        return int((self.target_shares >= self.cleaning.min_observed).all(axis=1).sum())

    @property
    def interval_before(self) -> str:
        """The interval at which the cleaning rules saw the values."""
        return in_words(cleaned_interval(self.vd))

    def steps_in(self, span: np.timedelta64) -> int:
        """The fewest time steps that are no shorter than a time."""
        return int(-(-span // interval_of(self.vd)))

    def span(self, steps: int) -> str:
        """How long time steps last, in words."""
        return in_words(steps * interval_of(self.vd))

    def stamp(self, step: int) -> str:
        """The time stamp of a step."""
        return time_stamp(self.vd["time"].to_numpy()[step], interval_of(self.vd))

    def vdid(self, vd: int) -> str:
        return plain_text(self.vd["vd"].to_numpy()[vd])

    def feature(self, at: int) -> str:
        return feature_text(self.features[at])
