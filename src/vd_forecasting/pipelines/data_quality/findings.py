"""Findings: what in a file deserves a look, in plain words.

Each check looks for one thing. Where it finds it, it names the detectors and features, what was
found and what to do. The order: the whole file before single detectors, wrong data before missing
data, and missing data before data that cleaning has dealt with.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vd_forecasting.pipelines.data_engineering.resample import cleaned_interval
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile
from vd_forecasting.pipelines.data_quality.cleaning_history import History
from vd_forecasting.pipelines.data_quality.detector_statistics import (
    DENSE,
    NIGHT,
    SPARSE,
    LongestStretches,
)
from vd_forecasting.pipelines.data_quality.stretches import stretches
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.vd_array import interval_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, TARGET_FEATURES
from vd_forecasting.wording import in_words, listed, plural, share

NAMED_VDS = 3
"""Detectors that a finding names; the others are counted."""

MUCH_MISSING = 0.2
MANY_CODES = 0.05
MANY_BLANK = 0.01
WRONG_UNIT = 0.01
"""Shares from which on a finding is reported."""

NIGHT_WITHOUT_VEHICLES = 0.1
"""Share missing by night less that by day, at least; it must also be three times as large."""

LONG_GAP = np.timedelta64(3, "h")
LONG_ZERO = np.timedelta64(24, "h")
LONG_REPEAT = np.timedelta64(3, "h")
FEWEST_REPEATS = 12
SHORT_FILE = np.timedelta64(28, "D")

FEWEST_STEPS = 24
"""Time steps, or changes of value, that a comparison needs at least."""

UNSLOWED = 0.9
"""Speed on a full road relative to a free one, from which on it is implausible."""

MEASURED = (*TARGET_FEATURES, "speed_std")
"""Features that cannot repeat one value for hours; others, such as lane_count, can."""

Positions = npt.NDArray[np.intp]


def findings(file: CleanedFile) -> list[str]:
    """One or two sentences from each check that found something, the most important first."""
    if not file.statistics.observed.any():
        return ["**No value is left** after cleaning. Compare the limits below with the file."]
    return [finding for check in CHECKS if (finding := check(file))]


def shared_steps(file: CleanedFile) -> str | None:
    """An interval longer than that of the detectors."""
    merged, kept = file.history.rows_lost("duplicates"), file.history.rows_after("duplicates")
    if merged <= kept:
        return None
    return (
        "**More than half of the time steps share their place on the grid of "
        f"{file.interval_before} with another.** Cleaning keeps the last value of "
        "each, it does not average or add up; check `cleaning.interval`."
    )


def empty_grid(file: CleanedFile) -> str | None:
    """An interval shorter than that of the detectors."""
    if file.history.rows_after("absent steps") <= 2 * file.history.rows_after("duplicates"):
        return None
    return (
        f"**More than half of the grid of {file.interval_before} has no time step "
        "in the file**; check `cleaning.interval`."
    )


def blank_time_stamps(file: CleanedFile) -> str | None:
    """Records that nobody knows the time of."""
    blank, all_steps = file.history.rows_lost("blank time stamps"), int(file.history.rows[0])
    if blank < MANY_BLANK * all_steps or not blank:
        return None
    return (
        f"**{blank:,} of {all_steps:,} time steps have no time stamp** and were dropped. Export "
        "the file again, with time stamps."
    )


def occupancy_as_share(file: CleanedFile) -> str | None:
    """Occupancies from 0 to 1 where % are expected."""
    for feature in file.columns([OCCUPANCY]):
        highest = file.statistics.highest[feature]
        if file.units[feature] == "%" and 0 < highest <= 1:
            return (
                f"**{OCCUPANCY} never exceeds {highest:.2g} %**: it may be a share of 1. If so, "
                "multiply it by 100 (`scale: 100` of a table's column)."
            )
    return None


def busy_nights(file: CleanedFile) -> str | None:
    """A clock of another place."""
    volume = file.statistics.volume_by_hour
    if np.isnan(volume).any() or volume[1:5].mean() <= volume[7:19].mean():
        return None
    return (
        "**More vehicles an hour are counted from 01:00 to 05:00 than from 07:00 to 19:00.** The "
        "clock may be that of another time zone, such as UTC: see the typical week, and set the "
        "source's `timezone`."
    )


def clock_gaps(file: CleanedFile) -> str | None:
    """Times without a value of any detector."""
    _, begins, lengths = stretches(~file.statistics.observed[np.newaxis])
    long = lengths >= file.steps_in(LONG_GAP)
    if not long.any():
        return None
    longest = int(lengths.argmax())
    found = (
        f"**No detector reports for {file.span(int(lengths[longest]))}** from "
        f"{file.stamp(int(begins[longest]))}"
    )
    if (count := int(long.sum())) > 1:
        found += (
            f"; {count:,} such gaps of {in_words(LONG_GAP)} or more are "
            f"{file.span(int(lengths[long].sum()))} together"
        )
    return f"{found}. Ask whether the records of that time still exist."


def features_without_values(file: CleanedFile) -> str | None:
    """Features that are only a name."""
    dead = [file.features[at] for at in np.flatnonzero(np.isnan(file.statistics.highest))]
    if not dead:
        return None
    have = "has" if len(dead) == 1 else "have"
    return (
        f"**{plain_text(listed(dead))} {have} no values** in any detector. Leave it out of "
        "`input_features` and `target_features`."
    )


def empty_nights(file: CleanedFile) -> str | None:
    """Steps without a vehicle that were left out of the file."""
    statistics = file.statistics
    if statistics.nights < 3 or not statistics.day_steps:
        return None
    night = statistics.missing_by_night / statistics.night_steps  # [N, F]
    day = statistics.missing_by_day / statistics.day_steps
    odd = (night - day >= NIGHT_WITHOUT_VEHICLES) & (night >= 3 * day)
    odd &= 2 * statistics.patchy_nights >= statistics.nights
    if not odd.any():
        return None
    feature = int(odd.sum(axis=0).argmax())
    vds = _worst_first(odd[:, feature], night[:, feature])
    others = [file.features[at] for at in np.flatnonzero(odd.any(axis=0)) if at != feature]
    also = f" (and {plain_text(listed(others))})" if others else ""
    return (
        f"**{plain_text(file.features[feature])}{also} by night: "
        f"{share(float(night[vds, feature].mean()))} missing** from {NIGHT[0]:02d}:00 to "
        f"{NIGHT[1]:02d}:00, by day {share(float(day[vds, feature].mean()))}, in "
        f"{_named(file, vds)}. Steps without vehicles may have been dropped; if so, write them "
        "with a volume of 0, or night averages come out too high."
    )


def silent_zeros(file: CleanedFile) -> str | None:
    """A sensor that is dead and reports 0."""
    steps, columns = file.steps_in(LONG_ZERO), file.columns(TARGET_FEATURES)
    found = _long_stretches(file, file.statistics.zero_stretch, columns, steps, "is 0")
    return found and f"{found}. A closed road, or a dead sensor: if so, its zeros are no values."


def much_missing(file: CleanedFile) -> str | None:
    """Detectors that miss much of what others have."""
    statistics = file.statistics
    alive = np.flatnonzero(~np.isnan(statistics.highest))
    steps = int(statistics.observed.sum())
    own = statistics.missing[:, alive] - (len(statistics.observed) - steps)  # [N, F]
    missing = own.mean(axis=1) / steps
    limit = min(MUCH_MISSING, 1 - file.cleaning.min_observed)
    vds = _worst_first(missing >= limit, missing)
    if not vds.size:
        return None
    worst = []
    for vd in vds[:NAMED_VDS]:
        if missing[vd] == 1:
            worst.append(f"**{file.vdid(vd)}: nothing observed**")
            continue
        longest = statistics.missing_stretch
        feature = alive[longest.length[vd, alive].argmax()]
        worst.append(
            f"**{file.vdid(vd)}: {share(float(missing[vd]))} missing**, longest gap "
            f"{file.span(int(longest.length[vd, feature]))} from "
            f"{file.stamp(int(longest.start[vd, feature]))}"
        )
    more = len(vds) - NAMED_VDS
    if more > 0:
        worst.append(
            f"{more:,} more {'has' if more == 1 else 'have'} {share(limit)} or more missing"
        )
    return (
        f"{'; '.join(worst)}. Find out why; a detector observed less than "
        f"{share(file.cleaning.min_observed)} (`cleaning.min_observed`) is not trained on."
    )


def identical_series(file: CleanedFile) -> str | None:
    """Detectors that are copies of each other."""
    statistics = file.statistics
    features_of: dict[tuple[int, ...], list[str]] = {}
    for feature, name in enumerate(file.features):
        by_digest: dict[bytes, list[int]] = {}
        for vd in np.flatnonzero(statistics.changes[:, feature] >= FEWEST_STEPS):
            by_digest.setdefault(bytes(statistics.digests[vd, feature]), []).append(int(vd))
        for vds in by_digest.values():
            if len(vds) > 1:
                features_of.setdefault(tuple(vds), []).append(name)
    if not features_of:
        return None
    groups = sorted(features_of, key=lambda vds: (-len(features_of[vds]), vds))
    copies = [
        f"**{_named(file, vds)} report identical {plain_text(listed(features_of[vds]))}**"
        for vds in groups[:NAMED_VDS]
    ]
    more = f"; {len(groups) - NAMED_VDS:,} more such groups" if len(groups) > NAMED_VDS else ""
    return f"{'; '.join(copies)}{more}. One is likely a copy: use one of them."


def stuck_sensors(file: CleanedFile) -> str | None:
    """Values that the rule on stuck values removed."""
    at = file.history.rules.index("stuck values")
    removed = _removed(file, "stuck values")
    part = removed / np.maximum(file.history.observed[at - 1], 1)  # [N, F]
    vds = _worst_first(removed.any(axis=1), part.max(axis=1))
    if not vds.size:
        return None
    stuck = []
    for vd in vds[:NAMED_VDS]:
        feature = int(part[vd].argmax())
        stuck.append(
            f"**{file.vdid(vd)}: {plain_text(file.features[feature])} was stuck** for "
            f"{in_words(int(removed[vd, feature]) * cleaned_interval(file.vd))} in all "
            f"({share(float(part[vd, feature]))} of its values)"
        )
    return f"{_with_others(stuck, len(vds))}. One value for hours: removed. Check the sensor."


def repeated_values(file: CleanedFile) -> str | None:
    """Repeats of one value for hours, not removed because the rule is off."""
    steps = max(file.steps_in(LONG_REPEAT), FEWEST_REPEATS)
    columns = file.columns(MEASURED)
    found = _long_stretches(
        file, file.statistics.equal_stretch, columns, steps, "repeats one value"
    )
    return found and f"{found}. Check the sensor; `stuck_after` removes such runs."


def speed_against_occupancy(file: CleanedFile) -> str | None:
    """Speed that does not fall where the road is full."""
    statistics = file.statistics
    enough = (statistics.dense_steps >= FEWEST_STEPS) & (statistics.sparse_steps >= FEWEST_STEPS)
    ratio = np.full(len(enough), np.nan)
    np.divide(
        statistics.speed_when_dense,
        statistics.speed_when_sparse,
        out=ratio,
        where=enough & (statistics.speed_when_sparse > 0),
    )
    vds = _worst_first(ratio > UNSLOWED, ratio)
    if not vds.size:
        return None
    vd = int(vds[0])
    unit = plain_text(file.units[file.features.index(SPEED)])
    return (
        f"**Speed does not fall when occupancy rises at {_named(file, vds)}**: at {file.vdid(vd)} "
        f"its median is {statistics.speed_when_dense[vd]:.0f} {unit} above {DENSE:g} % and "
        f"{statistics.speed_when_sparse[vd]:.0f} {unit} below {SPARSE:g} %. Check the sensor."
    )


def many_error_codes(file: CleanedFile) -> str | None:
    """Features that are error codes to a considerable part."""
    removed, recorded = _removed(file, "error codes"), file.history.observed[0]  # [N, F]
    part = removed.sum(axis=0) / np.maximum(recorded.sum(axis=0), 1)
    own = removed / np.maximum(recorded, 1)
    odd = own >= MANY_CODES
    if not odd.any():
        return None
    feature = int(np.where(odd.any(axis=0), part, -1).argmax())
    vds = _worst_first(odd[:, feature], own[:, feature])
    most = share(float(own[vds[0], feature]))
    return (
        f"**{plain_text(file.features[feature])}: {most} error codes in {file.vdid(vds[0])}**"
        + (f", {share(MANY_CODES)} or more in {len(vds) - 1:,} more" if len(vds) > 1 else "")
        + ". Check that these codes are no values (`cleaning.error_codes`)."
    )


def out_of_range(file: CleanedFile) -> str | None:
    """Impossible values."""
    removed = _removed(file, "physical range")  # [N, F]
    outside, unit = [], False
    for feature in np.argsort(-removed.sum(axis=0), kind="stable"):
        count, name = int(removed[:, feature].sum()), file.features[feature]
        if not count:
            continue
        low, high = file.cleaning.features[name].range or (-np.inf, np.inf)
        vds = np.flatnonzero(removed[:, feature])
        where = file.vdid(int(vds[0])) if len(vds) == 1 else f"{len(vds):,} detectors"
        what = f"{plural(count, 'value')} outside {low:g} to {high:g}"
        outside.append(f"**{plain_text(name)}: {what}** in {where}")
        unit |= count >= WRONG_UNIT * int(file.history.observed[0][:, feature].sum())
    if not outside:
        return None
    more = f"; {len(outside) - NAMED_VDS} more features" if len(outside) > NAMED_VDS else ""
    advice = (
        "That many suggest a wrong unit." if unit else "Removed; widen the range if they are real."
    )
    return f"{'; '.join(outside[:NAMED_VDS])}{more}. {advice}"


def short_file(file: CleanedFile) -> str | None:
    """A file too short to know what is usual on a Tuesday."""
    span = file.vd.sizes["time"] * interval_of(file.vd)
    if span >= SHORT_FILE:
        return None
    return (
        f"**The file holds {in_words(span)}**, less than 4 weeks: how days of the week differ is "
        "weakly known. Bring more if you can."
    )


def time_stamps(history: History) -> str:
    """One sentence about the time stamps of the file."""
    counts = {
        "blank (dropped)": history.rows_lost("blank time stamps"),
        "out of order": history.steps_moved("time order"),
        "off the regular grid": history.steps_moved("time grid"),
        "duplicates": history.rows_lost("duplicates"),
    }
    problems = listed(f"{count:,} {what}" for what, count in counts.items() if count)
    steps, absent = int(history.rows[0]), -history.rows_lost("absent steps")
    sentence = f"All {steps:,} time stamps are in order"
    if problems:
        sentence = f"{steps:,} time stamps, among them {problems}"
    if not absent:
        return f"{sentence}; no step of the regular grid is absent."
    added = f"{'was' if absent == 1 else 'were'} added as missing"
    return f"{sentence}; {plural(absent, 'step')} of the regular grid had none and {added}."


def _removed(file: CleanedFile, rule: str) -> npt.NDArray[np.int64]:
    """Values that a rule removed, [N, F]."""
    at = file.history.rules.index(rule)
    lost: npt.NDArray[np.int64] = file.history.observed[at - 1] - file.history.observed[at]
    return lost


def _worst_first(found: Any, by: npt.NDArray[Any]) -> Positions:
    """Positions of the detectors found, [N], from the largest value of ``by``, [N]."""
    vds = np.flatnonzero(found)
    return vds[np.argsort(-by[vds], kind="stable")]


def _named(file: CleanedFile, vds: Sequence[int] | Positions) -> str:
    """``VD-1, VD-2, VD-3 and 12 other detectors``."""
    return listed([*(file.vdid(vd) for vd in vds[:NAMED_VDS]), *_others(len(vds))])


def _others(vds: int) -> list[str]:
    """The detectors that are not named; none where all are."""
    more = vds - NAMED_VDS
    return [plural(more, "other detector")] if more > 0 else []


def _with_others(parts: Sequence[str], vds: int) -> str:
    """Statements on the named detectors, and how many others they hold for."""
    return "; ".join([*parts, *(f"{others} too" for others in _others(vds))])


def _long_stretches(
    file: CleanedFile, longest: LongestStretches, columns: Sequence[int], steps: int, what: str
) -> str | None:
    """Detectors with stretches of at least ``steps``, the longest first."""
    lengths = longest.length[:, columns]
    vds = _worst_first((lengths >= steps).any(axis=1), lengths.max(axis=1, initial=0))
    if not vds.size:
        return None
    parts = []
    for vd in vds[:NAMED_VDS]:
        feature = columns[int(lengths[vd].argmax())]
        parts.append(
            f"**{file.vdid(vd)}: {plain_text(file.features[feature])} {what} for "
            f"{file.span(int(longest.length[vd, feature]))}** from "
            f"{file.stamp(int(longest.start[vd, feature]))}"
        )
    return _with_others(parts, len(vds))


CHECKS: tuple[Callable[[CleanedFile], str | None], ...] = (
    shared_steps,
    empty_grid,
    blank_time_stamps,
    occupancy_as_share,
    busy_nights,
    clock_gaps,
    features_without_values,
    empty_nights,
    silent_zeros,
    identical_series,
    repeated_values,
    speed_against_occupancy,
    much_missing,
    short_file,
    stuck_sensors,
    many_error_codes,
    out_of_range,
)
"""The most important first."""
