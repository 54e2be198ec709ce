"""From the grid of the detectors to a coarser one.

A bin is closed on the left, labelled by its start and counted from midnight: the bin 08:00 of 5 min
holds the steps from 08:00 up to, not including, 08:05.
"""

import math
import re

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from vd_forecasting.detector_clocks import Times
from vd_forecasting.language import say
from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.data_engineering.clocks import steps_between_records
from vd_forecasting.vd_array import as_interval, interval_minutes, interval_of, source_of
from vd_forecasting.vocabulary import VOLUME
from vd_forecasting.wording import enumerated, feature_name, in_words, per_words, span

RESAMPLED = "resampled"
"""Name of this step in the cleaning log."""

FROM = "resampled_from_minutes"
"""Attribute with the interval before, in minutes; absent where nothing was resampled."""

ROUNDING = 1e-9
"""In floating point, 0.7 × 10 is a little more than 7."""

_PER_TIME = re.compile(r"/\s*(\d*)\s*(s|sec|second|min|minute|h|hr|hour|d|day)s?$", re.IGNORECASE)

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64] | float


def resample(vd: xr.DataArray, cleaning: Cleaning) -> xr.DataArray:
    """Join several steps of ``("time", "vd", "feature")`` into one, as ``cleaning`` says.

    Every detector and feature by itself: the mean of the observed steps of a bin, or, for
    ``aggregate: sum``, that mean times the steps of a whole bin, so that a sum with missing steps
    is scaled up. Means are over time, not over vehicles. A bin with a smaller share of its steps
    observed than ``resample_min_observed`` is NaN; steps before the first and after the last of
    the data count as not observed. Of a detector that reports less often than every step, only the
    steps at which it reports count. The unit of a sum changes, veh/min to veh/5 min. ``vd`` itself
    is returned where there is nothing to do.

    Raises:
        ValueError: ``cleaning.resample`` is not a whole multiple of the interval or longer than
            the data; or a feature to be summed has a unit per other time than the interval.
    """
    if cleaning.resample is None:
        return vd
    source = source_of(vd)
    old, new = interval_of(vd), nanoseconds(cleaning.resample)
    if new % old != np.timedelta64(0, "ns"):
        raise ValueError(
            f"{source}: cleaning.resample is {in_words(new)}, must be a whole multiple of the "
            f"data's interval of {in_words(old)}"
        )
    if new == old:
        return vd
    start, steps = vd["time"].to_numpy()[0].astype("datetime64[ns]"), int(new // old)
    midnight = start.astype("datetime64[D]").astype("datetime64[ns]")
    first_bin, lead = divmod(int((start - midnight) // old), steps)
    bins = -(-(lead + vd.sizes["time"]) // steps)
    if bins < 2:
        raise ValueError(
            f"{source}: cleaning.resample makes one step of {in_words(new)} of all data, at least "
            "2 are needed; set it to a shorter one"
        )
    sums = summed(vd, cleaning)
    records = steps / steps_between_records(vd)[:, np.newaxis]  # [N, 1]
    needed = np.maximum(1, np.ceil(cleaning.resample_min_observed * records - ROUNDING))
    values = bin_values(vd.to_numpy(), (steps, lead), needed, np.where(sums, records, 1))
    named = zip(vd["feature"].to_numpy(), vd["unit"].to_numpy(), sums, strict=True)
    units = [
        unit_of_sum(str(unit), old, new, f"{source}: cleaning.features.{feature}") if add else unit
        for feature, unit, add in named
    ]
    coarse = with_time(vd, values, midnight + (first_bin + np.arange(bins)) * new)
    minutes = float(new / np.timedelta64(1, "m"))
    coarse.attrs |= {"interval_minutes": minutes, FROM: interval_minutes(vd)}
    return coarse.assign_coords(unit=("feature", np.array(units, dtype=str)))


def with_time(vd: xr.DataArray, values: Floats, times: Times) -> xr.DataArray:
    """The array with other values and time stamps; all else stays."""
    others = {name: coord for name, coord in vd.coords.items() if "time" not in coord.dims}
    return xr.DataArray(values, {"time": times, **others}, vd.dims, vd.name, vd.attrs)


def bin_values(values: Floats, bins: tuple[int, int], needed: Numbers, factors: Numbers) -> Floats:
    """The value of every bin, [B, N, F], NaN where too few of its steps are observed.

    ``values``, [T, N, F], are NaN where missing. A whole bin has the first number of ``bins`` as
    steps; the first one lacks the second number. At least 1 is ``needed``. The mean of a bin is
    multiplied by ``factors``; both may differ by detector and feature, [N, F].
    """
    steps, lead = bins
    total = np.zeros((-(-(lead + len(values)) // steps), *values.shape[1:]))
    count = np.zeros(total.shape, dtype=np.int32)
    # The first steps of all bins at once, then the second steps, ...: no padded copy is made.
    for step in range(min(steps, len(values))):
        part, first = values[step::steps], (lead + step) // steps
        seen = np.isfinite(part)
        total[first : first + len(part)] += np.where(seen, part, 0)
        count[first : first + len(part)] += seen
    total[count < needed] = np.nan
    # Multiplied before it is divided, a sum of whole vehicles without gaps stays exact.
    total *= factors
    total /= np.maximum(count, 1, out=count)
    return total.astype(np.float32)


def steps_needed(vd: xr.DataArray, cleaning: Cleaning) -> int:
    """Observed steps that a bin needs; ``vd`` is the array before or after resampling."""
    share = cleaning.resample_min_observed
    return max(1, math.ceil(share * steps_per_bin(vd, cleaning) - ROUNDING))


def steps_per_bin(vd: xr.DataArray, cleaning: Cleaning) -> int:
    """Steps of a whole bin; ``vd`` is the array before or after resampling."""
    new = nanoseconds(cleaning.resample) if cleaning.resample else interval_of(vd)
    return int(new // cleaned_interval(vd))


def cleaned_interval(vd: xr.DataArray) -> np.timedelta64:
    """The interval at which the cleaning rules saw the data, whether resampled since or not."""
    return as_interval(vd.attrs.get(FROM, interval_minutes(vd)))


def summed(vd: xr.DataArray, cleaning: Cleaning) -> list[bool]:
    """Whether each feature, [F], adds up when steps are joined."""
    names = map(str, vd["feature"].to_numpy())
    return [limits_of(cleaning, name).aggregate == "sum" for name in names]


def unit_of_sum(unit: str, old: np.timedelta64, new: np.timedelta64, what: str) -> str:
    """A unit per ``old`` interval as one per ``new`` interval; one that names no time is kept, and
    one per another time, such as veh/h of every minute, is a ValueError that names ``what``."""
    if unit.endswith(f"/{per_words(old)}"):
        return f"{unit.removesuffix(per_words(old))}{per_words(new)}"
    if (period := period_of(unit)) is None:
        return unit
    if period != pd.Timedelta(old):
        raise ValueError(
            f"{what}.aggregate is sum, but the unit is {unit}, which does not add up from steps of "
            f"{in_words(old)}; set it to mean, or correct the unit"
        )
    return f"{_PER_TIME.sub('', unit)}/{per_words(new)}"


def period_of(unit: str) -> pd.Timedelta | None:
    """The time in a unit, 5 min in ``veh/5 min``; None where it names none."""
    if (found := _PER_TIME.search(unit)) is None:
        return None
    # pandas deprecates "d".
    name = "day" if found[2].lower() == "d" else found[2].lower()
    return pd.Timedelta(f"{found[1] or 1} {name}")


def describe_resampling(resampled: xr.DataArray, cleaning: Cleaning) -> str:
    """How an array was resampled, in one line."""
    sums = summed(resampled, cleaning)
    names = enumerated(feature_name(str(name)) for name in resampled["feature"].to_numpy()[sums])
    if not names:
        how = say("all features averaged")
    elif all(sums):
        how = say("all features summed (scaled up for missing steps)")
    else:
        how = say(
            "{features} summed (scaled up for missing steps), the others averaged", features=names
        )
    return say(
        "resampled from {old} to {new}: {how}; fewer than {needed} of {steps} values observed make "
        "a missing one",
        old=in_words(cleaned_interval(resampled)),
        new=in_words(interval_of(resampled)),
        how=how,
        needed=steps_needed(resampled, cleaning),
        steps=steps_per_bin(resampled, cleaning),
    )


def limits_of(cleaning: Cleaning, feature: str) -> FeatureCleaning:
    """The limits of a feature, listed or not; its own error codes replace the shared ones."""
    own = cleaning.features.get(feature, FeatureCleaning(unit=""))
    codes = cleaning.error_codes if own.error_codes is None else own.error_codes
    return own.model_copy(update={"error_codes": codes})


def range_of(limits: FeatureCleaning) -> tuple[float, float]:
    """Lowest and highest possible value; a rate has no highest value, but is never negative."""
    return limits.range or (-np.inf if limits.max_rate is None else 0, np.inf)


def range_in_words(limits: FeatureCleaning) -> str:
    """``0 to 200``, ``0 to 36,000 an hour``; ``off`` where there are no limits."""
    if limits.range is not None:
        return span(*map("{:g}".format, limits.range))
    if limits.max_rate is None:
        return say("off")
    return say("0 to {rate} an hour", rate=f"{limits.max_rate:,g}")


def unit_of(vd: xr.DataArray, cleaning: Cleaning, at: int) -> str:
    """The unit of the feature at a position: the file's own, else that of the parameters."""
    own = str(vd["unit"].to_numpy()[at]) if "unit" in vd.coords else ""
    return own or limits_of(cleaning, str(vd["feature"].to_numpy()[at])).unit


def flow_factor(vd: xr.DataArray) -> float:
    """What makes ``total_volume`` of a clean array vehicles per hour: by the time that its unit
    names, without one by the interval."""
    period = period_of(str(vd["unit"].sel(feature=VOLUME).item())) or pd.Timedelta(interval_of(vd))
    return pd.Timedelta("1h") / period


def nanoseconds(duration: str) -> np.timedelta64:
    """A time written as "5min"."""
    return np.timedelta64(pd.Timedelta(duration).as_unit("ns").value, "ns")
