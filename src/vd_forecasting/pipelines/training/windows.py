"""From cleaned data to what a training reads: selected VDs, split, scaled, imputed, windowed.

A window is ``sequence_length`` input steps and the ``prediction_length`` steps after them. Windows
lie wholly inside one split, so no split sees values of another. They are never stored: a window is
its first step, and :mod:`.batches` cuts it out of the one array.
"""

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, Final

import numpy as np
import xarray as xr

from vd_forecasting import vd_array
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.artefacts.windows import small_in_memory
from vd_forecasting.datasets.hdf5_attributes import NUMBERS, TEXTS
from vd_forecasting.days_off import is_day_off
from vd_forecasting.parameters import (
    Calendar,
    Cleaning,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    MultiVDWindows,
    SingleVDWindows,
    Split,
    Windows,
)
from vd_forecasting.pipelines.data_engineering.clean import with_interval
from vd_forecasting.pipelines.data_engineering.possible_range import possible_range
from vd_forecasting.pipelines.data_engineering.resample import cleaned_interval
from vd_forecasting.vocabulary import SPLITS, TARGET_FEATURES
from vd_forecasting.wording import listed, nearest, plural

logger = logging.getLogger(__name__)

HARMONICS: Final = 4
CALENDAR: Final = (
    "day_off",
    *(f"{wave}_day_{n}" for n in range(1, HARMONICS + 1) for wave in ("sin", "cos")),
)

_MODES: Final = {
    SingleVDWindows: "single_vd",
    MultiVDWindows: "multi_vd",
    IndependentMultiVDWindows: "independent_multi_vd",
    GlobalVDWindows: "global_vd",
}


def make_single_vd_windows(
    vd_clean: xr.DataArray,
    windows: SingleVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowSet:
    """Windows of one VD: ``select_vd_id``, or the first eligible one. See :func:`make_windows`."""
    wanted = windows.select_vd_id
    if wanted is None:
        chosen = first_eligible_vds(vd_clean, windows, 1, split, cleaning.min_observed)
        return make_windows(vd_clean.sel(vd=chosen), windows, split, cleaning, calendar)
    known = [str(name) for name in vd_clean["vd"].values]
    if wanted not in known:
        raise ValueError(
            f"select_vd_id: {vd_array.source_of(vd_clean)} has no detector {wanted!r}; the nearest "
            f"of its {len(known)} is {nearest(wanted, known)!r}"
        )
    series = vd_clean.sel(vd=[wanted])
    _, targets = choose_features(series, windows)
    known_values = vd_array.before_test(series, split)
    if not list(vd_array.eligible_vds(known_values, targets, cleaning.min_observed)):
        line = "select_vd_id %s: less than %.0f %% of its values before the test split are observed"
        logger.warning(line, wanted, 100 * cleaning.min_observed)
    return make_windows(series, windows, split, cleaning, calendar)


def make_multi_vd_windows(
    vd_clean: xr.DataArray,
    windows: MultiVDWindows | GlobalVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowSet:
    """Windows of the first ``num_vds`` eligible VDs, or of all. See :func:`make_windows`."""
    count = windows.num_vds
    chosen = first_eligible_vds(vd_clean, windows, count, split, cleaning.min_observed)
    return make_windows(vd_clean.sel(vd=chosen), windows, split, cleaning, calendar)


def make_independent_multi_vd_windows(
    vd_clean: xr.DataArray,
    windows: IndependentMultiVDWindows,
    split: Split,
    cleaning: Cleaning,
    calendar: Calendar,
) -> WindowSet:
    """Windows of those of the first ``num_vds`` eligible VDs that ``target_vd_index`` names.

    See :func:`make_windows`; a ``target_vd_index`` of ``num_vds`` or more is a ValueError too.
    """
    count = windows.num_vds
    chosen = first_eligible_vds(vd_clean, windows, count, split, cleaning.min_observed)
    index = windows.target_vd_index
    if index != "all":
        indexes = (index,) if isinstance(index, int) else index
        beyond = [i for i in indexes if i >= len(chosen)]
        if beyond or not indexes:
            raise ValueError(
                f"target_vd_index {beyond[0] if beyond else '[]'} is out of range: num_vds is "
                f"{windows.num_vds}, so use 0 to {windows.num_vds - 1}, a list of these, or all"
            )
        chosen = [chosen[i] for i in dict.fromkeys(indexes)]
    return make_windows(vd_clean.sel(vd=chosen), windows, split, cleaning, calendar)


def choose_features(vd_clean: xr.DataArray, windows: Windows) -> tuple[list[str], list[str]]:
    """Input and target features, each as asked for or, where that is null, the default.

    Features that are not in the file and targets that are not among the inputs are a ValueError.
    """
    available = [str(name) for name in vd_clean["feature"].values]
    inputs = list(windows.input_features or available)
    default = [name for name in vd_array.targets_in(vd_clean, TARGET_FEATURES) if name in inputs]
    targets = list(windows.target_features or default)
    for key, names in (("input_features", inputs), ("target_features", targets)):
        if unknown := [name for name in names if name not in available]:
            raise ValueError(
                f"{key}: {vd_array.source_of(vd_clean)} has no feature {unknown[0]!r}; "
                f"it has {', '.join(available)}"
            )
    if without_past := [name for name in targets if name not in inputs]:
        raise ValueError(
            f"target_features: {without_past[0]!r} is not among input_features "
            f"({', '.join(inputs)}); a forecast starts from a target's own past, so add it there"
        )
    return inputs, targets


def first_eligible_vds(
    vd_clean: xr.DataArray, windows: Windows, count: int | None, split: Split, min_observed: float
) -> list[str]:
    """The first ``count`` VDs fit for training, in the order of the file; a ValueError if fewer.

    None takes all, at least one. The test split is not looked at.
    """
    _, targets = choose_features(vd_clean, windows)
    total, source = vd_clean.sizes["vd"], vd_array.source_of(vd_clean)
    if count is not None and count > total:
        raise ValueError(f"num_vds {count}: {source} has only {total} detectors; lower num_vds")
    known = vd_array.before_test(vd_clean, split)
    eligible = list(islice(vd_array.eligible_vds(known, targets, min_observed), count))
    if len(eligible) < (count or 1):
        raise ValueError(
            f"{source}: {plural(count or 1, 'eligible detector')} asked for, but only "
            f"{len(eligible)} of {total} have at least {min_observed:.0%} of their values observed "
            "before the test split (data_quality.md lists the others); lower num_vds or "
            "cleaning.min_observed"
        )
    return eligible


def make_windows(
    series: xr.DataArray, windows: Windows, split: Split, cleaning: Cleaning, calendar: Calendar
) -> WindowSet:
    """Scale, impute and split the series ``(time, vd, feature)`` of the chosen VDs.

    The scaler is fitted on the observed values of the training split only. A missing input takes
    the last observed value before it, and the training mean where there is none: no step sees a
    later one. The type of ``windows`` says the mode, which decides whether series are forecast
    jointly or each on its own; a global model also gets :func:`static_values`. The range that
    cleaning leaves is the one for forecasts. Large series are read a few detectors at a time: here
    for the scaler, and when the result, a dask array, is asked for. A split too short for a window
    and a VD without an observed value to learn from are a ValueError.
    """
    inputs, targets = choose_features(series, windows)
    series = series.sel(feature=inputs).transpose(*vd_array.DIMS)
    series = series.chunk(time=-1, vd=vd_array.VDS_PER_CHUNK, feature=-1)
    vdids = [str(vdid) for vdid in series["vd"].values]
    bounds = split_bounds(series.sizes["time"], windows, split)
    train_end, val_end = bounds["train"][1], bounds["val"][1]
    learnt = [
        _learn(block, train_end, targets, cleaning) for block in vd_array.each_vd_block(series)
    ]
    of_vds = {name: np.concatenate([of[name] for of in learnt]) for name in learnt[0]}
    scaled = small_in_memory(scale_and_fill(series, of_vds["mean"], of_vds["std"]))
    places = series.coords.to_dataset()
    series = series[:, :0].compute()  # only its labels are needed from here on
    arrays: dict[Hashable, Any] = {
        **scaled.data_vars,
        **{name: (("vd", "feature"), of_vds[name]) for name in ("mean", "std", "low", "high")},
        "calendar": (("time", "phase"), calendar_inputs(series["time"].values, calendar.text)),
    }
    dims = {"time": series["time"].values, "vd": vdids, "feature": inputs, "phase": list(CALENDAR)}
    units = [str(unit) for unit in series["unit"].values]
    attributes = {
        "mode": _MODES[type(windows)],
        "source": vd_array.source_of(series),
        "sequence_length": windows.sequence_length,
        "prediction_length": windows.prediction_length,
        "target_features": targets,
        "interval_minutes": vd_array.interval_minutes(series),
        "train_end": train_end,
        "val_end": val_end,
        "holidays": calendar.text,
        "cleaning": with_interval(cleaning, cleaned_interval(series)).text,
        "utc_offset": str(series.attrs.get("utc_offset", "")),
    }
    data = xr.Dataset(arrays, {**dims, "unit": ("feature", units)}, attributes)
    if isinstance(windows, GlobalVDWindows):
        levels = {
            feature: np.where(of_vds["seen"][:, f], of_vds["mean"][:, f], np.nan)
            for f, feature in enumerate(inputs)
            if not of_vds["varies"][:, f].any()  # constant, so its own scaler erases it
        }
        data = data.assign(static_values(places, levels))
    return WindowSet(data)


def _learn(
    block: xr.DataArray, train_end: int, targets: Sequence[str], cleaning: Cleaning
) -> dict[str, np.ndarray]:
    """What the training split of some detectors says of them, ``[n, P]`` each: ``mean`` and
    ``std``, the range from ``low`` to ``high``, and whether a value is ``seen`` and ``varies``."""
    values = block.to_numpy()[:train_end]
    observed = np.isfinite(values)
    mean, std = np.zeros(values.shape[1:], "float32"), np.ones(values.shape[1:], "float32")
    for n, f in np.ndindex(mean.shape):
        training = values[:, n, f][observed[:, n, f]]
        if training.size:
            mean[n, f] = training.mean(dtype="float64")
            # A constant feature, such as lane_count, must not lead to a division by zero.
            std[n, f] = training.std(dtype="float64") or 1.0
        elif (feature := block["feature"].values[f]) in targets:
            where = "in the training split" if block[:, n, f].notnull().any() else "at all"
            raise ValueError(
                f"VD {block['vd'].values[n]} of {vd_array.source_of(block)} has no observed "
                f"{feature} {where}; choose another VD"
            )
    low, high = possible_range(block, observed, cleaning)
    seen, varies = observed.any(axis=0), (observed & (values != mean)).any(axis=0)
    return {"mean": mean, "std": std, "low": low, "high": high, "seen": seen, "varies": varies}


def scale_and_fill(series: xr.DataArray, mean: np.ndarray, std: np.ndarray) -> xr.Dataset:
    """``values`` and ``observed`` of windows, dask arrays as the series; scalers are ``[N, P]``."""
    from dask import array  # noqa: PLC0415  (slow to import)

    scaler = [
        array.from_array(of_vds[np.newaxis], chunks=(1, *series.data.chunks[1:]))
        for of_vds in (mean, std)
    ]
    values = array.map_blocks(_scaled, series.data, *scaler, dtype="float32")
    observed = array.isfinite(series.data)
    return xr.Dataset({"values": (vd_array.DIMS, values), "observed": (vd_array.DIMS, observed)})


def _scaled(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Scale and impute ``[T, n, P]`` by a scaler ``[1, n, P]``."""
    scaled: np.ndarray = values - mean
    scaled /= std
    fill_each(scaled, np.isfinite(values))
    return scaled


def static_values(places: xr.Dataset, levels: Mapping[str, np.ndarray]) -> dict[str, xr.DataArray]:
    """Numbers that describe detectors and differ between them, as ``static``.

    Lanes and position from the coordinates ``places`` of a file, the ``levels`` [N] of constant
    features, and of each road whether a detector is on it: float32 (vd, attribute), NaN where
    unknown. Empty if there are none.
    """
    columns = {name: places[name].values for name in NUMBERS if name in places}
    columns |= levels
    if {*TEXTS} <= {*places.coords}:
        ids, names = (places[name].values.astype(str) for name in TEXTS)
        roads = np.where(ids == "", names, ids)
        for road in sorted({*roads} - {""}):
            columns[f"road {road}"] = np.where(roads == "", np.nan, roads == road)
    labels = {"vd": places["vd"].values.astype(str), "attribute": [*columns]}
    values = np.array([*columns.values()], "float32").reshape(-1, places.sizes["vd"]).T
    static = xr.DataArray(values, labels, ("vd", "attribute")).where(np.isfinite(values))
    static = static[:, (static.max("vd") > static.min("vd")).values]
    if not static.sizes["attribute"]:
        return {}
    missing = static.isnull()
    of_vds = static["vd"].values[missing.any("attribute")]
    logger.info(
        "global_vd: inputs that describe a detector are %s; of %s values %s are unknown%s",
        *(listed(static["attribute"].values), f"{static.size:,}", f"{int(missing.sum()):,}"),
        f", such as those of {of_vds[0]}" if len(of_vds) else "",
    )
    return {"static": static}


def split_bounds(num_steps: int, windows: Windows, split: Split) -> dict[str, tuple[int, int]]:
    """First step and the step after the last of train, val and test.

    A split that cannot hold a single window is a ValueError.
    """
    ends = [round(num_steps * share) for share in (0, split.train, split.train + split.val, 1)]
    bounds = dict(zip(SPLITS, pairwise(ends), strict=True))
    window = windows.sequence_length + windows.prediction_length
    for name, (start, end) in bounds.items():
        if end - start < window:
            needed = math.ceil(window / min(split.train, split.val, split.test))
            raise ValueError(
                f"the {name} split has {end - start} of {num_steps} steps, but one window takes "
                f"{window} (sequence_length {windows.sequence_length} + prediction_length "
                f"{windows.prediction_length}): bring at least {needed} steps or shorten the window"
            )
    return bounds


def fill_each(values: np.ndarray, seen: np.ndarray) -> None:
    """:func:`fill_forward` for each series of ``[T, N, P]``, in place."""
    for at in np.ndindex(values.shape[1:]):
        column = (slice(None), *at)
        values[column] = fill_forward(values[column], seen[column])


def fill_forward(column: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Replace what was not ``seen`` [T] by the last seen value before it, so by no later one.

    Where there is none it is zero, which is the training mean of the scaled ``column`` [T].
    """
    last_seen = np.maximum.accumulate(np.where(seen, np.arange(len(seen), dtype="int32"), -1))
    return np.where(last_seen >= 0, column[last_seen], np.float32(0))


def calendar_inputs(time: np.ndarray, holidays: str) -> np.ndarray:
    """Whether the day is off, then sine and cosine of one to four times the time of day.

    One flag in place of the phase of the week: that names single days, which a network learns by
    heart from a few weeks. The harmonics let a linear map follow the two peaks of a day. float32
    ``[T, 9]`` for datetime64 ``[T]``; holidays as in :func:`.days_off.is_day_off`.
    """
    calendar = np.empty((len(time), len(CALENDAR)), "float32")
    calendar[:, 0] = is_day_off(time, holidays)
    minutes = vd_array.minute_of_week(time).astype("int32")
    for n in range(1, HARMONICS + 1):
        # The angle is reduced as whole minutes, so that float32 is exact enough.
        turned = (n * minutes % vd_array.MINUTES_PER_DAY).astype("float32")
        angle = turned * np.float32(2 * np.pi / vd_array.MINUTES_PER_DAY)
        np.sin(angle, out=calendar[:, 2 * n - 1])
        np.cos(angle, out=calendar[:, 2 * n])
    return calendar
