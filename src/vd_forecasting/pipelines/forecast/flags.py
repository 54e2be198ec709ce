"""What is unsure about each forecast from a recent file."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from vd_forecasting.artefacts import AllWindows, RecentWindows
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.baselines.forecast import earlier_days
from vd_forecasting.vd_array import as_interval
from vd_forecasting.vocabulary import MODELS, REFITTED

Mask = npt.NDArray[np.bool_]

_SEE_WINDOWS = (*MODELS, *REFITTED.values(), "ridge")
_START_FROM_LAST = (*_SEE_WINDOWS, "persistence")
_CONCERNED = {
    **dict.fromkeys(("gaps", "gaps_of_others", "no_values", "beyond_training"), _SEE_WINDOWS),
    **dict.fromkeys(("no_last_value", "short_history"), _START_FROM_LAST),
    "clock_assumed": (*_SEE_WINDOWS, "historical_average", "seasonal_naive"),
    "no_day_before": ("seasonal_naive",),
    "seen_in_training": (*_SEE_WINDOWS, "historical_average"),
}
"""The models that a flag is about, if not all."""


def flags_of(
    models: list[str], recent: RecentWindows, refitted: Mapping[str, AllWindows] | None = None
) -> npt.NDArray[np.int32]:
    """The sum of the bits of :data:`~vd_forecasting.artefacts.recent.FLAGS` that apply to the
    forecasts of each model, ``[M, W, H, N, F]``.

    Models that were ``refitted`` know the windows given by their name.
    """
    shape = (*recent.target_steps(recent.origins("test")).shape, *recent.target_scaler[0].shape)
    known, usual = refitted or {}, find_flags(recent)
    again = {name: find_flags(recent, windows) for name, windows in known.items()}
    flags = np.zeros((len(models), *shape), "int32")
    for row, model in enumerate(models):
        found = again.get(model, usual)
        for bit, name in enumerate(FLAGS):
            if model in _CONCERNED.get(name, models):
                flags[row] |= np.where(found[name], np.int32(2**bit), np.int32(0))
    return flags


def find_flags(recent: RecentWindows, refitted: AllWindows | None = None) -> Mapping[str, Mask]:
    """Where each flag applies; the masks broadcast to ``[W, H, N, F]``.

    They are of models that know the training and validation splits, or of one that was
    ``refitted`` on these windows.
    """
    length, origins = recent.sequence_length, recent.origins("test")
    trained = slice(0, recent.ends["train"])
    # A feature that a detector never reported tells nothing by being absent.
    usable = recent.observed[trained].any(axis=0)  # [N, P]
    missing = in_windows((~recent.observed & usable).sum(axis=2), recent)  # [W, N]
    of_all = missing.sum(axis=1, keepdims=True)
    history = (origins - recent.file.start + 1) * as_interval(recent.interval_minutes)  # [W]
    days = np.any([known for _, known in earlier_days(recent, origins)], axis=0)  # [W, H, N, F]
    known_until = recent.time[recent.ends["val"] - 1] if refitted is None else refitted.time[-1]
    beyond = beyond_training(recent, refitted).sum(axis=2)
    last = recent.last_known
    ends_later = (origins == last) & (last < recent.file.stop - 1)
    joint = len(recent.models) == 1 and not recent.one_by_one

    def per_vd(mask: Mask) -> Mask:  # [W, N]
        return mask[:, None, :, None]

    def per_window(mask: Mask) -> Mask:  # [W]
        return mask[:, None, None, None]

    return {
        "gaps": per_vd(missing > 0),
        "gaps_of_others": per_vd((of_all > missing) & joint),
        "no_last_value": ~recent.observed[origins][:, None][..., recent.target_positions],
        "no_values": per_vd(missing == length * usable.sum(axis=1)),
        "short_history": per_window(history < stuck(recent)),
        "no_day_before": ~days,
        "beyond_training": per_vd(in_windows(beyond, recent) > 0),
        "seen_in_training": per_window(recent.time[origins] < known_until),
        "file_ends_later": per_window(ends_later),
        "clock_assumed": np.array(bool(recent.utc_offset) != bool(recent.file_utc_offset)),
    }


def in_windows(counts: npt.NDArray[np.int64], recent: RecentWindows) -> npt.NDArray[np.int64]:
    """Sums over the input steps of each test window, ``[W, N]``, of counts ``[T, N]``."""
    total = np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)])
    first = recent.starts("test")
    sums: npt.NDArray[np.int64] = total[first + recent.sequence_length] - total[first]
    return sums


def beyond_training(recent: RecentWindows, refitted: AllWindows | None = None) -> Mask:
    """Which observed values, ``[T, N, P]``, are lower or higher than all of the training split, or
    than all that a refitted network was trained on."""
    trained = recent if refitted is None else refitted
    steps = slice(0, recent.ends["train"] if refitted is None else None)
    values, seen = trained.values[steps], trained.observed[steps]
    low = values.min(axis=0, where=seen, initial=np.inf)
    high = values.max(axis=0, where=seen, initial=-np.inf)
    beyond: Mask = recent.observed & ((recent.values < low) | (recent.values > high))
    return beyond & seen.any(axis=0)


def stuck(recent: RecentWindows) -> np.timedelta64:
    """How long a value must be repeated to count as that of a stuck sensor, the longest of all."""
    limits = Cleaning.model_validate_json(recent.cleaning).features
    spans = [limits[name].stuck_after for name in recent.features if name in limits]
    return max(
        (pd.Timedelta(span).to_timedelta64() for span in spans if span),
        default=np.timedelta64(0, "ns"),
    )
