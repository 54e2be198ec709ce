"""The series of a recent file behind those of training, scaled and imputed as these."""

import numpy as np
import xarray as xr

from vd_forecasting.artefacts import RecentWindows, WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.parameters import Forecast
from vd_forecasting.pipelines.baselines.forecast import DAYS_BACK
from vd_forecasting.pipelines.forecast.clean_recent import FILE_OFFSET
from vd_forecasting.pipelines.training.evaluate import check_same_windows
from vd_forecasting.pipelines.training.windows import calendar_inputs, fill_each
from vd_forecasting.vd_array import DIMS, MINUTES_PER_DAY, as_interval, source_of
from vd_forecasting.wording import in_words, plural

ADAPTING_DAYS = 7
"""The step of adaptive intervals makes them follow within some days."""


def make_recent_windows(
    clean: xr.DataArray, best_model: Checkpoint, blocks: WindowBlocks, forecast: Forecast
) -> RecentWindows:
    """Scale and impute a clean recent file as the windows that a model was trained on.

    With ``forecast.origins: last`` there are windows of the last :data:`ADAPTING_DAYS` days, as the
    intervals of the last one follow what came true of the others.
    Before the file come the seven days that baselines look back to, where the comparison's data
    have them; they fill gaps at its beginning too. A window counts if it lies wholly inside the
    file and ends no later than the last step with a value. A file without one is a ValueError, and
    so is a checkpoint that was not trained on these windows.
    """
    trained = blocks.last
    check_same_windows(best_model, trained)
    known = WindowSet(trained.data.isel(time=slice(0, trained.ends["val"])))
    return append_recent(known, trained, clean, forecast)


def fewest_steps(trained: WindowSet) -> WindowSet:
    """Those training steps at which a feature of a detector is lowest or highest, and the last one
    of validation: what :mod:`.flags` looks at, but nothing to learn from."""
    train_end, val_end = trained.ends["train"], trained.ends["val"]
    values, seen = trained.values[:train_end], trained.observed[:train_end]
    ends = np.where(seen, values, np.inf).argmin(0), np.where(seen, values, -np.inf).argmax(0)
    steps = np.unique(ends)
    data = trained.data.isel(time=[*steps, val_end - 1])
    return WindowSet(data.assign_attrs(train_end=len(steps), val_end=len(steps) + 1))


def append_recent(
    known: WindowSet, trained: WindowSet, clean: xr.DataArray, forecast: Forecast
) -> RecentWindows:
    """The series of a clean recent file, and what comes before it, behind those that are ``known``,
    some or all of training and validation; see :func:`make_recent_windows`."""
    source, interval = source_of(clean), as_interval(trained.interval_minutes)
    there = {str(name) for name in clean["vd"].values}
    series = clean.reindex(vd=trained.vdids).sel(feature=trained.features).transpose(*DIMS)
    values = np.array(series.values, dtype="float32")  # [T, N, P]
    steps = 1 + np.flatnonzero(np.isfinite(values).any(axis=(1, 2))).max(initial=-1)
    if steps < trained.sequence_length:
        raise ValueError(
            f"{source}: {plural(int(steps), 'step')} of {in_words(interval)} up to its last value, "
            f"but a window takes {trained.sequence_length}; bring at least "
            f"{in_words(trained.sequence_length * interval)}"
        )
    # What was never there in training has no scale, and the network knows it as zero.
    values[:, ~known.observed[: known.ends["train"]].any(axis=0)] = np.nan
    values -= trained.scaler["mean"]
    values /= trained.scaler["std"]

    start = series["time"].values[0]
    before = DAYS_BACK * round(MINUTES_PER_DAY / trained.interval_minutes)
    after = trained.prediction_length
    time = start + interval * np.arange(-before, len(values) + after)
    nothing = np.full((after, *values.shape[1:]), np.nan, "float32")
    values = np.concatenate([observed_at(trained, time[:before]), values, nothing])
    observed = np.isfinite(values)
    fill_each(values, observed)

    calendar = calendar_inputs(time, trained.holidays)
    added = {"values": values, "observed": observed, "calendar": calendar, "time": time}
    over_time = {
        name: (known.data[name].dims, np.concatenate([known.data[name].values, of_file]))
        for name, of_file in added.items()
    }
    data = known.data.drop_dims("time").assign(over_time).assign_attrs(source=source)
    first = len(known.time) + before
    firsts = first + np.arange(steps - trained.sequence_length + 1)
    adapting = ADAPTING_DAYS * round(MINUTES_PER_DAY / trained.interval_minutes)
    return RecentWindows(
        data,
        firsts=firsts if forecast.origins == "all" else firsts[-adapting:],
        file=slice(first, len(data["time"]) - after),
        vdids_there=[name for name in trained.vdids if name in there],
        file_utc_offset=str(clean.attrs.get(FILE_OFFSET, "")),
    )


def observed_at(windows: WindowSet, time: np.ndarray) -> np.ndarray:
    """What was observed at some times, float32 ``[T, N, P]``, scaled; else NaN."""
    at = np.searchsorted(windows.time, time).clip(max=len(windows.time) - 1)
    seen = (windows.time[at] == time)[:, None, None] & windows.observed[at]
    return np.where(seen, windows.values[at], np.float32(np.nan))
