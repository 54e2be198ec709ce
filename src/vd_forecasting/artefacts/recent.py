"""Series of a recent file with what a model was trained on before them, and forecasts from them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.artefacts.forecasts import OfForecasts
from vd_forecasting.artefacts.windows import LABELS, Labelled, WindowSet
from vd_forecasting.language import marked
from vd_forecasting.vocabulary import REFITTED

FLAGS = {
    "gaps": marked(
        "values of the detector are missing in the window; the last one before stands in"
    ),
    "gaps_of_others": marked("the same of a detector that is forecast jointly with it"),
    "no_last_value": marked("the value at the origin is missing, from which the forecast starts"),
    "no_values": marked("nothing of the detector is known in the window"),
    "short_history": marked("the file begins too late for a stuck sensor to be recognised"),
    "no_day_before": marked("no value at this time of day on seven days; the last value stands in"),
    "beyond_training": marked("a value in the window is lower or higher than any in training"),
    "seen_in_training": marked(
        "the forecast time is one that the model was trained or validated on"
    ),
    "file_ends_later": marked("nothing is known at the last steps of the file"),
    "clock_assumed": marked(
        "one of file and training data names no UTC offset: the same clock is assumed"
    ),
}
"""What makes a forecast unsure, by the name in files; each is a bit, in this order."""


@dataclass(frozen=True)
class RecentWindows(WindowSet):
    """Series of the training and validation splits, of the days before a file, and of the file.

    What learns from training windows and forecasts test windows does so here: the latter are those
    of the file, also where some of the steps that they forecast lie behind its end. These count as
    not observed.
    """

    firsts: npt.NDArray[np.int64]
    """First input step of every test window, ``[W]``."""
    file: slice
    """The steps of the file, without those behind its end."""
    vdids_there: list[str]
    """The detectors that the file has."""
    file_utc_offset: str
    """Of the clock of the file, "" where it is not known; the series have that of training."""

    def starts(self, split: str) -> npt.NDArray[np.int64]:
        """First input step of every window of a split, in order of time."""
        return self.firsts if split == "test" else super().starts(split)

    @property
    def last_known(self) -> int:
        """The last step of the file at which anything is observed."""
        seen = np.flatnonzero(self.observed[self.file].any(axis=(1, 2)))
        return int(self.file.start + seen.max())


@dataclass(frozen=True)
class AllWindows(WindowSet):
    """The series of a comparison and those of a file behind them, all of them to train on.

    Training and validation split end where the latter begin, so that no window is of both.
    """

    def starts(self, split: str) -> npt.NDArray[np.int64]:
        """First input step of every window, in order of time; all are of the training split."""
        starts = np.concatenate([super().starts("train"), super().starts("test")])
        return starts if split == "train" else starts[:0]

    @property
    def of_comparison_and_file(self) -> tuple[int, int]:
        """How many windows are of the comparison, and how many of the file."""
        starts = self.starts("train")
        before = int((starts < self.ends["train"]).sum())
        return before, len(starts) - before


@dataclass(frozen=True)
class RecentForecasts(Labelled, OfForecasts):
    """Forecasts of a network and of baselines, in physical units, on the clock of the file.

    ``data`` holds ``prediction`` and ``flag`` (model, origin, horizon, vd, feature), the latter the
    sum of the bits of :data:`FLAGS`, and ``truth`` (origin, horizon, vd, feature), NaN where it is
    not known. ``lower_90`` and ``upper_90`` are the ends of intervals that 90 % of the truths are
    to lie in, as many of these as there are levels, from the lowest. With a refitted network,
    attributes say how many windows of comparison and file it was trained on, until when, and for
    how many epochs.
    """

    NEEDS: ClassVar = {
        "prediction": "f model origin horizon vd feature",
        "flag": "i model origin horizon vd feature",
        "truth": "f origin horizon vd feature",
        **{"model": "T model", "origin": "M origin", "horizon": "i horizon", "utc_offset": str},
        **LABELS,
    }
    """As of :class:`.windows.WindowSet`."""

    @property
    def network(self) -> str:
        """``lstm`` or ``xlstm``, that of the comparison."""
        return str(self.data.attrs["model"])

    @property
    def refitted(self) -> str | None:
        """Name of the network that was trained on everything, if there is one."""
        name = REFITTED[self.network]
        return name if name in self.models else None

    @property
    def best_informed(self) -> str:
        """The network to forecast with: the refitted one, else that of the comparison."""
        return self.refitted or self.network

    @property
    def experiment(self) -> str:
        return f"{self.mode}_{self.network}"

    @property
    def models(self) -> list[str]:
        return [str(name) for name in self.data["model"].values]

    @property
    def refit_windows(self) -> tuple[int, int]:
        """How many windows of the comparison and of the file the refitted network learnt from."""
        comparison, file = self.data.attrs["refit_windows"]
        return int(comparison), int(file)

    @property
    def refit_until(self) -> np.datetime64:
        """The last time stamp among these, on the clock of the file."""
        return np.datetime64(self.data.attrs["refit_until"])

    @property
    def refit_epochs(self) -> list[int]:
        """For how many epochs, one number per network."""
        return [int(epochs) for epochs in np.atleast_1d(self.data.attrs["refit_epochs"])]

    @property
    def scored(self) -> list[str]:
        """All models but the refitted one, which has seen the truths."""
        return [name for name in self.models if name != self.refitted]

    @property
    def utc_offset(self) -> str:
        """Of the clock, "" where it is not known."""
        return str(self.data.attrs["utc_offset"])

    @property
    def prediction(self) -> xr.DataArray:
        return self.data["prediction"]

    @property
    def truth(self) -> xr.DataArray:
        return self.data["truth"]

    @property
    def levels(self) -> list[str]:
        """Of the intervals, in per cent."""
        names = (str(name) for name in self.data.data_vars)
        return [name.removeprefix("lower_") for name in names if name.startswith("lower_")]

    def ends(self, level: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Lower and upper ends of the intervals of a level, each like ``prediction``."""
        return self.data[f"lower_{level}"], self.data[f"upper_{level}"]

    def has(self, flag: str) -> xr.DataArray:
        """Where forecasts have a flag, bool (model, origin, horizon, vd, feature)."""
        found: xr.DataArray = (self.data["flag"] & 2 ** [*FLAGS].index(flag)) > 0
        return found
