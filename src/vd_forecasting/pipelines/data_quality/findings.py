"""Findings: what in a file deserves a look, in plain words.

Each check looks for what its sentence says. Where it finds it, it names the detectors and features,
what was found and what to do. The order: the whole file before single detectors, wrong data before
missing data, and missing data before data that cleaning has dealt with.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vd_forecasting.pipelines.data_engineering.resample import (
    cleaned_interval,
    limits_of,
    range_in_words,
)
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile, History
from vd_forecasting.pipelines.data_quality.detector_statistics import DENSE, NIGHT, SPARSE
from vd_forecasting.pipelines.data_quality.stretches import LongestStretches, stretches
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.vd_array import interval_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, TARGET_FEATURES, VOLUME
from vd_forecasting.wording import in_words, listed, plural, share

NAMED_VDS = 3
"""Detectors that a finding names; the others are counted."""

# Shares from which on a finding is reported.
MUCH_MISSING = 0.2
MANY_CODES = 0.05
MANY_BLANK = 0.01
WRONG_UNIT = 0.01

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

Found = Iterator[str]
Positions = npt.NDArray[np.intp]


def findings(file: CleanedFile) -> list[str]:
    """One or two sentences from each check that found something, the most important first."""
    if not file.statistics.observed.any():
        return ["**No value is left** after cleaning. Compare the limits below with the file."]
    return [finding for check in CHECKS for finding in check(file)]


def time_axis(file: CleanedFile) -> Found:
    """An interval that is not that of the detectors, and records that nobody knows the time of."""
    lost, left = file.history.rows_lost, file.history.rows_after
    overwritten, before = file.history.values_lost("duplicates")
    if 2 * overwritten.sum() > before.sum():
        yield (
            "**More than half of the values share their place on the grid of "
            f"{file.interval_before} with another.** Cleaning keeps the last value of each, it "
            "does not average or add up; check `cleaning.interval`."
        )
    if left["absent steps"] > 2 * left["duplicates"]:
        yield (
            f"**More than half of the grid of {file.interval_before} has no time step in the "
            "file**; check `cleaning.interval`."
        )
    blank, all_steps = lost["blank time stamps"], left["raw"]
    if blank and blank >= MANY_BLANK * all_steps:
        yield (
            f"**{blank:,} of {all_steps:,} time steps have no time stamp** and were dropped. "
            "Export the file again, with time stamps."
        )


def occupancy_as_share(file: CleanedFile) -> Found:
    for name, unit, top in zip(file.features, file.units, file.statistics.highest, strict=True):
        if name == OCCUPANCY and unit == "%" and 0 < top <= 1:
            yield (
                f"**{OCCUPANCY} never exceeds {top:.2g} %**: it may be a share of 1. If so, "
                "multiply it by 100 (`scale: 100` of a table's column)."
            )


def negative_volumes(file: CleanedFile) -> Found:
    """Volumes below 0, removed or not."""
    if VOLUME not in file.features:
        return
    at = file.features.index(VOLUME)
    removed, recorded = (counts[:, at] for counts in file.history.values_lost("physical range"))
    limits = limits_of(file.cleaning, VOLUME)
    negative = file.statistics.negative_volume + (removed if limits.range is None else 0)
    part = negative / np.maximum(recorded, 1)
    vds = _worst_first(part >= WRONG_UNIT, part)
    if vds.size:
        yield (
            f"**{VOLUME} is negative in {share(part[vds].mean())} of values of "
            f"{_named(file, vds)}.** Vehicles are never fewer than 0: these may be standardised "
            "values (z-scores). Export the counts themselves."
        )


def coarser_detectors(file: CleanedFile) -> Found:
    steps = file.statistics.steps_between
    vds = _worst_first(steps > 1, steps)
    if vds.size:
        own = in_words(steps[vds[0]] * interval_of(file.vd))
        grid, counts = file.span(1), "" if file.history.resampled else ", and counts vehicles of it"
        yield (
            f"**{_named(file, vds)} {'reports' if len(vds) == 1 else 'report'} less often than "
            f"every {grid}**: {file.vdid(vds[0])} every {own}{counts}. Set `cleaning.resample` to "
            "the longest interval of the detectors you need."
        )


def busy_nights(file: CleanedFile) -> Found:
    volume = file.statistics.volume_by_hour
    if not np.isnan(volume).any() and volume[1:5].mean() > volume[7:19].mean():
        yield (
            "**More vehicles an hour are counted from 01:00 to 05:00 than from 07:00 to 19:00.** "
            "The clock may be that of another time zone, such as UTC: see the typical week, and "
            "set the source's `timezone`."
        )


def clock_gaps(file: CleanedFile) -> Found:
    _, begins, lengths = stretches(~file.statistics.observed[np.newaxis])
    long = lengths[lengths >= file.steps_in(LONG_GAP)]
    if long.size:
        begin = begins[lengths.argmax()]
        such = f"{len(long):,} such gaps of {in_words(LONG_GAP)} or more"
        all_of_them = f"; {such} are {file.span(int(long.sum()))} together" if len(long) > 1 else ""
        yield (
            f"**No detector reports for {file.span(int(long.max()))}** from {file.stamp(begin)}"
            f"{all_of_them}. Ask whether the records of that time still exist."
        )


def features_without_values(file: CleanedFile) -> Found:
    dead = [file.features[at] for at in np.flatnonzero(np.isnan(file.statistics.highest))]
    if dead:
        yield (
            f"**{plain_text(listed(dead))} {'has' if len(dead) == 1 else 'have'} no values** in "
            "any detector. Leave it out of `input_features` and `target_features`."
        )


def empty_nights(file: CleanedFile) -> Found:
    statistics = file.statistics
    if statistics.nights < 3 or not statistics.day_steps:
        return
    night = statistics.missing_by_night / statistics.night_steps  # [N, F]
    day = statistics.missing_by_day / statistics.day_steps
    odd = (night - day >= NIGHT_WITHOUT_VEHICLES) & (night >= 3 * day)
    odd &= 2 * statistics.patchy_nights >= statistics.nights
    if not odd.any():
        return
    feature = int(odd.sum(axis=0).argmax())
    vds = _worst_first(odd[:, feature], night[:, feature])
    others = [file.features[at] for at in np.flatnonzero(odd.any(axis=0)) if at != feature]
    also = f" (and {plain_text(listed(others))})" if others else ""
    yield (
        f"**{file.feature(feature)}{also} by night: {share(night[vds, feature].mean())} missing** "
        f"from {NIGHT[0]:02d}:00 to {NIGHT[1]:02d}:00, by day {share(day[vds, feature].mean())}, "
        f"in {_named(file, vds)}. Steps without vehicles may have been dropped; if so, write them "
        "with a volume of 0, or night averages come out too high."
    )


def silent_zeros(file: CleanedFile) -> Found:
    longest, steps = file.statistics.zero_stretch, file.steps_in(LONG_ZERO)
    if found := _long_stretches(file, longest, TARGET_FEATURES, steps, "is 0"):
        yield f"{found}. A closed road, or a dead sensor: if so, its zeros are no values."


def contradictions(file: CleanedFile) -> Found:
    """Values of 0 that the vehicles counted contradict, or that no count explains."""
    found, features = file.statistics, file.features
    observed = file.history.observed[-1]  # [N, F]
    for counts, name, where, advice in (
        (
            *(found.zero_speed_of_unknown, SPEED, "where the volume is unknown"),
            "If no vehicle passed then, 0 is no speed: add 0 to "
            f"`cleaning.features.{SPEED}.error_codes`, or the volume to the file.",
        ),
        (
            *(found.zero_speed_of_vehicles, SPEED, "while vehicles passed"),
            "It may stand for a missing value, or for a queue that hardly moves.",
        ),
        (
            *(found.zero_occupancy_of_vehicles, OCCUPANCY, "while vehicles passed"),
            "It may stand for a missing value; if so, it is wrong to train on.",
        ),
    ):
        vds = _worst_first(counts > 0, counts)
        if vds.size:
            part = counts[vds].sum() / observed[vds, features.index(name)].sum()
            values = f"{plural(int(counts[vds].sum()), 'value')} ({share(part)})"
            yield f"**{name} is 0 in {values} {where}**, in {_named(file, vds)}. {advice}"


def much_missing(file: CleanedFile) -> Found:
    """Detectors that miss much of what others have."""
    statistics = file.statistics
    alive = np.flatnonzero(~np.isnan(statistics.highest))
    steps = int(statistics.observed.sum())
    own = statistics.missing[:, alive] - (len(statistics.observed) - steps)  # [N, F]
    missing = own.mean(axis=1) / steps
    limit = min(MUCH_MISSING, 1 - file.cleaning.min_observed)
    vds = _worst_first(missing >= limit, missing)
    worst = []
    for vd in vds[:NAMED_VDS]:
        start, length = (numbers[vd, alive] for numbers in statistics.missing_stretch)
        longest = f"{file.span(length.max())} from {file.stamp(start[length.argmax()])}"
        found = f"{share(missing[vd])} missing**, longest gap {longest}"
        worst.append(f"**{file.vdid(vd)}: {'nothing observed**' if missing[vd] == 1 else found}")
    if (more := len(vds) - NAMED_VDS) > 0:
        have = "has" if more == 1 else "have"
        worst.append(f"{more:,} more {have} {share(limit)} or more missing")
    if worst:
        yield (
            f"{'; '.join(worst)}. Find out why; a detector observed less than "
            f"{share(file.cleaning.min_observed)} (`cleaning.min_observed`) is not trained on."
        )


def identical_series(file: CleanedFile) -> Found:
    statistics = file.statistics
    features_of: dict[tuple[int, ...], list[str]] = {}
    for feature, name in enumerate(file.features):
        by_digest: dict[bytes, list[int]] = {}
        for vd in np.flatnonzero(statistics.changes[:, feature] >= FEWEST_STEPS):
            by_digest.setdefault(bytes(statistics.digests[vd, feature]), []).append(int(vd))
        for vds in by_digest.values():
            if len(vds) > 1:
                features_of.setdefault(tuple(vds), []).append(name)
    groups = sorted(features_of, key=lambda vds: (-len(features_of[vds]), vds))
    copies = [
        f"**{_named(file, vds)} report identical {plain_text(listed(features_of[vds]))}**"
        for vds in groups[:NAMED_VDS]
    ]
    more = f"; {len(groups) - NAMED_VDS:,} more such groups" if len(groups) > NAMED_VDS else ""
    if copies:
        yield f"{'; '.join(copies)}{more}. One is likely a copy: use one of them."


def stuck_sensors(file: CleanedFile) -> Found:
    removed, before = file.history.values_lost("stuck values")
    part = removed / np.maximum(before, 1)  # [N, F]
    vds = _worst_first(removed.any(axis=1), part.max(axis=1))
    stuck = [
        f"**{file.vdid(vd)}: {file.feature(feature)} was stuck** for "
        f"{in_words(removed[vd, feature] * cleaned_interval(file.vd))} in all "
        f"({share(part[vd, feature])} of its values)"
        for vd, feature in zip(vds[:NAMED_VDS], part[vds].argmax(axis=1), strict=False)
    ]
    if stuck:
        others = _others(vds, " too")
        yield f"{'; '.join([*stuck, *others])}. One value for hours: removed. Check the sensor."


def repeated_values(file: CleanedFile) -> Found:
    """Repeats of one value that the rule left: for hours where it is off, else for a day."""
    longest = file.statistics.equal_stretch
    ruled = [name for name in MEASURED if limits_of(file.cleaning, name).stuck_after]
    for names, span, why in (
        (
            [name for name in MEASURED if name not in ruled],
            LONG_REPEAT,
            "; `stuck_after` removes such runs",
        ),
        (ruled, LONG_ZERO, "; it may be chance, as the value is common there"),
    ):
        steps = max(file.steps_in(span), FEWEST_REPEATS)
        if found := _long_stretches(file, longest, names, steps, "repeats one value"):
            yield f"{found}. Check the sensor{why}."


def speed_against_occupancy(file: CleanedFile) -> Found:
    statistics = file.statistics
    dense, sparse = statistics.speed_when_dense, statistics.speed_when_sparse
    known = np.minimum(statistics.dense_steps, statistics.sparse_steps) >= FEWEST_STEPS
    known &= sparse > 0
    ratio = np.divide(dense, sparse, out=np.full_like(dense, np.nan), where=known)
    vds = _worst_first(ratio > UNSLOWED, ratio)
    if vds.size:
        worst, unit = int(vds[0]), plain_text(file.units[file.features.index(SPEED)])
        yield (
            f"**Speed does not fall when occupancy rises at {_named(file, vds)}**: at "
            f"{file.vdid(worst)} its median is {dense[worst]:.0f} {unit} above {DENSE:g} % and "
            f"{sparse[worst]:.0f} {unit} below {SPARSE:g} %. Check the sensor."
        )


def many_error_codes(file: CleanedFile) -> Found:
    removed, recorded = file.history.values_lost("error codes")  # [N, F]
    part = removed.sum(axis=0) / np.maximum(recorded.sum(axis=0), 1)
    own = removed / np.maximum(recorded, 1)
    odd = own >= MANY_CODES
    if odd.any():
        feature = int(np.where(odd.any(axis=0), part, -1).argmax())
        first, *others = _worst_first(odd[:, feature], own[:, feature])
        also = f", {share(MANY_CODES)} or more in {len(others):,} more" if others else ""
        yield (
            f"**{file.feature(feature)}: {share(own[first, feature])} error codes in "
            f"{file.vdid(first)}**{also}. Check that these codes are no values "
            "(`cleaning.error_codes`)."
        )


def out_of_range(file: CleanedFile) -> Found:
    rules = ("physical range", "highest rate")
    removed = np.sum([file.history.values_lost(rule)[0] for rule in rules], axis=0)  # [N, F]
    counts = removed.sum(axis=0)
    outside = []
    features = [at for at in np.argsort(-counts, kind="stable") if counts[at]]
    for feature in features[:NAMED_VDS]:
        limits = range_in_words(limits_of(file.cleaning, file.features[feature]))
        first, *others = np.flatnonzero(removed[:, feature]).tolist()
        where = f"{len(others) + 1:,} detectors" if others else file.vdid(first)
        what = f"{plural(counts[feature], 'value')} outside {limits}"
        outside.append(f"**{file.feature(feature)}: {what}** in {where}")
    if outside:
        more = f"; {len(features) - NAMED_VDS} more features" if len(features) > NAMED_VDS else ""
        recorded = file.history.observed[0].sum(axis=0)
        many = (counts[features] >= WRONG_UNIT * recorded[features]).any()
        unit, few = "That many suggest a wrong unit.", "Removed; widen the range if they are real."
        yield f"{'; '.join(outside)}{more}. {unit if many else few}"


def short_file(file: CleanedFile) -> Found:
    span = file.vd.sizes["time"] * interval_of(file.vd)
    if span < SHORT_FILE:
        yield (
            f"**The file holds {in_words(span)}**, less than 4 weeks: how days of the week differ "
            "is weakly known. Bring more if you can."
        )


def time_stamps(history: History) -> str:
    """One sentence about the time stamps of the file."""
    lost, moved = history.rows_lost, history.steps_moved
    counts = {"blank (dropped)": lost["blank time stamps"], "out of order": moved["time order"]}
    counts |= {"off the regular grid": moved["time grid"], "duplicates": lost["duplicates"]}
    problems = listed(f"{count:,} {what}" for what, count in counts.items() if count)
    steps, absent = history.rows_after["raw"], -lost["absent steps"]
    sentence = f"All {steps:,} time stamps are in order"
    if problems:
        sentence = f"{steps:,} time stamps, among them {problems}"
    if not absent:
        return f"{sentence}; no step of the regular grid is absent."
    added = f"{'was' if absent == 1 else 'were'} added as missing"
    return f"{sentence}; {plural(absent, 'step')} of the regular grid had none and {added}."


def _worst_first(found: Any, by: npt.NDArray[Any]) -> Positions:
    """Positions of the detectors found, [N], from the largest value of ``by``, [N]."""
    vds = np.flatnonzero(found)
    return vds[np.argsort(-by[vds], kind="stable")]


def _named(file: CleanedFile, vds: Sequence[int] | Positions) -> str:
    """``VD-1, VD-2, VD-3 and 12 other detectors``."""
    return listed([*map(file.vdid, vds[:NAMED_VDS]), *_others(vds)])


def _others(vds: Sequence[int] | Positions, end: str = "") -> list[str]:
    """The detectors that are not named; none where all are."""
    more = len(vds) - NAMED_VDS
    return [plural(more, "other detector") + end] if more > 0 else []


def _long_stretches(
    file: CleanedFile, longest: LongestStretches, names: Sequence[str], steps: int, what: str
) -> str:
    """Detectors with stretches of at least ``steps`` in these features, the longest first."""
    columns = [at for at, name in enumerate(file.features) if name in names]
    start, length = (numbers[:, columns] for numbers in longest)
    vds = _worst_first((length >= steps).any(axis=1), length.max(axis=1, initial=0))
    parts = [
        f"**{file.vdid(vd)}: {file.feature(columns[at])} {what} for {file.span(length[vd, at])}** "
        f"from {file.stamp(start[vd, at])}"
        for vd in vds[:NAMED_VDS]
        for at in [length[vd].argmax()]
    ]
    return "; ".join([*parts, *_others(vds, " too")])


CHECKS: tuple[Callable[[CleanedFile], Found], ...] = (
    *(time_axis, negative_volumes, occupancy_as_share, busy_nights, coarser_detectors),
    *(clock_gaps, features_without_values, empty_nights, silent_zeros, contradictions),
    *(identical_series, repeated_values, speed_against_occupancy, much_missing, short_file),
    *(stuck_sensors, many_error_codes, out_of_range),
)
"""The most important first."""
