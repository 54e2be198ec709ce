"""A cleaned file as the page looks at it: values, what cleaning did, and words for both."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.resample import cleaned_interval
from vd_forecasting.pipelines.data_quality.cleaning_history import History, Shares
from vd_forecasting.pipelines.data_quality.detector_statistics import (
    DetectorStatistics,
    detector_statistics,
)
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.vd_array import interval_of, targets_in
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import in_words, time_stamp, with_unit


@dataclass(frozen=True)
class CleanedFile:
    """A clean VD array ``("time", "vd", "feature")``, which may be larger than memory."""

    vd: xr.DataArray
    history: History
    cleaning: Cleaning
    """The parameters it was cleaned with."""

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
    def features_with_units(self) -> list[str]:
        """Harmless in Markdown."""
        return [plain_text(text) for text in map(with_unit, self.features, self.units)]

    @property
    def targets(self) -> list[str]:
        """Features that must be observed for a detector to be fit for training."""
        return targets_in(self.vd, TARGET_FEATURES)

    @property
    def target_shares(self) -> Shares:
        """Share of values observed in the end, [vd, target], as ``eligible_vds`` judges it."""
        return self.history.share(-1)[:, [self.features.index(name) for name in self.targets]]

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
        return plain_text(self.features[at])
