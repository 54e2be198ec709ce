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
        shape = (len(self.rules), vd.sizes["vd"], vd.sizes["feature"])
        # By position, not by name: two detectors may have the same VDID.
        self.rows: Counts = cleaning_log["rows"].to_numpy(np.int64).reshape(shape)[:, 0, 0]
        self.moved: Counts = cleaning_log["moved"].to_numpy(np.int64).reshape(shape)[:, 0, 0]
        self.observed: Counts = cleaning_log["observed"].to_numpy(np.int64).reshape(shape)

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
        share: Shares = self.observed[state] / max(self.rows[state], 1)
        return share

    def missing(self, state: int) -> float:
        """Share of all values missing after a rule."""
        observed: Counts = self.observed[state]
        values = int(self.rows[state]) * observed.size
        return 1.0 - int(observed.sum()) / max(values, 1)

    def rows_after(self, rule: str) -> int:
        """Time steps left by a rule."""
        return int(self.rows[self.rules.index(rule)])

    def rows_lost(self, rule: str) -> int:
        """Time steps a rule removed; negative where it added some."""
        at = self.rules.index(rule)
        return int(self.rows[at - 1] - self.rows[at])

    def steps_moved(self, rule: str) -> int:
        """Time steps a rule moved to another place or time stamp."""
        return int(self.moved[self.rules.index(rule)])
