"""Forecasts as a table: a row per model, detector, feature, origin and horizon."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.artefacts import RecentForecasts
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.datasets.timestamps import format_timestamps
from vd_forecasting.vd_array import as_interval
from vd_forecasting.wording import count

logger = logging.getLogger(__name__)

MOST_ROWS = 1_000_000
"""As many as a spreadsheet opens."""

ORDER = ("origin", "model", "vd", "feature", "horizon")
NAMES = {"prediction": "forecast", "truth": "measured"}
"""Columns of values; any other array of numbers has a column of its own name."""

Texts = npt.NDArray[np.object_]


def write_table(forecasts: RecentForecasts) -> pd.DataFrame:
    """A row per forecast: what, from when, for when, how much, and flags with spaces between.

    Time stamps are ISO 8601, with the UTC offset of the file where it has one. The latest origins
    are kept, up to :data:`MOST_ROWS` rows.
    """
    rows = forecasts.prediction[:, 0].size
    kept = max(1, MOST_ROWS // rows)
    if kept < len(forecasts.origins):
        line = "%s: the table holds the last %s of %s origins, its netCDF file all of them"
        logger.info(line, forecasts.source, count(kept), count(len(forecasts.origins)))
    data = forecasts.data.isel(origin=slice(-kept, None)).transpose(*ORDER, missing_dims="ignore")
    sizes = tuple(data.sizes[dim] for dim in ORDER)
    at = dict(zip(ORDER, (part.ravel() for part in np.indices(sizes)), strict=True))

    def labels(dim: str, texts: npt.ArrayLike | None = None) -> Texts:
        of_dim: Texts = np.asarray(data[dim].values if texts is None else texts, dtype=object)
        of_rows: Texts = of_dim[at[dim]]
        return of_rows

    origins = data["origin"].values
    step = as_interval(forecasts.interval_minutes)
    targets = np.add.outer(origins, step * data["horizon"].values)  # [W, H]
    times = stamps(targets.ravel(), forecasts.utc_offset).reshape(targets.shape)
    columns = {
        "model": labels("model"),
        "vdid": labels("vd"),
        "feature": labels("feature"),
        "unit": labels("feature", data["unit"].values),
        "origin": labels("origin", stamps(origins, forecasts.utc_offset)),
        "horizon": data["horizon"].values[at["horizon"]],
        "time": times[at["origin"], at["horizon"]],
    }
    shape = data["prediction"]
    for name in ("prediction", *(other for other in data.data_vars if other != "prediction")):
        if name != "flag":
            values = data[name].broadcast_like(shape).transpose(*ORDER)
            columns[NAMES.get(str(name), str(name))] = values.to_numpy().ravel()
    masks, place = np.unique(data["flag"].to_numpy().ravel(), return_inverse=True)
    columns["flag"] = np.array([flags_in_words(mask) for mask in masks], object)[place]
    return pd.DataFrame(columns)


def stamps(times: npt.NDArray[np.datetime64], utc_offset: str) -> Texts:
    """Times [T] in ISO 8601."""
    return np.array([text.decode() for text in format_timestamps(times, utc_offset)], object)


def flags_in_words(mask: int) -> str:
    """The names of the flags in a sum of bits."""
    return " ".join(name for bit, name in enumerate(FLAGS) if mask & 2**bit)
