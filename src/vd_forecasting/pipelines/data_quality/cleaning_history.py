"""The cleaning log as arrays."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.pipelines.data_engineering.resample import RESAMPLED

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
        self.rows: Counts = states[0, :, 0, 0]
        self.moved: Counts = states[1, :, 0, 0]
        self.observed: Counts = states[2]

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

    def rows_after(self, rule: str) -> int:
        """Time steps left by a rule."""
        return int(self.rows[self.rules.index(rule)])

    def rows_lost(self, rule: str) -> int:
        """Time steps a rule removed; negative where it added some."""
        return -int(np.diff(self.rows)[self.rules.index(rule) - 1])

    def steps_moved(self, rule: str) -> int:
        """Time steps a rule moved to another place or time stamp."""
        return int(self.moved[self.rules.index(rule)])

    def values_lost(self, rule: str) -> tuple[Counts, Counts]:
        """Values that a rule removed, and those there before, [vd, feature] both."""
        before, after = self.observed[self.rules.index(rule) - 1 :][:2]
        return before - after, before
