"""Findings: what in a file deserves a look, in plain words.

Each check looks for what its sentence says. Where it finds it, it names the detectors and features,
what was found and what to do. The order: the whole file before single detectors, wrong data before
missing data, and missing data before data that cleaning has dealt with.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vd_forecasting.language import filled_in, say, say_many
from vd_forecasting.pipelines.data_engineering.resample import (
    cleaned_interval,
    limits_of,
    range_in_words,
)
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile, History
from vd_forecasting.pipelines.data_quality.detector_statistics import DENSE, NIGHT, SPARSE
from vd_forecasting.pipelines.data_quality.stretches import LongestStretches, stretches
from vd_forecasting.rendering.markdown import feature_list, plain_text
from vd_forecasting.vd_array import interval_of
from vd_forecasting.vocabulary import OCCUPANCY, SPEED, TARGET_FEATURES, VOLUME
from vd_forecasting.wording import (
    count,
    feature_name,
    in_words,
    listed,
    plural,
    share,
    unit_in_words,
)

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
        return [say("**No value is left** after cleaning. Compare the limits below with the file.")]
    return [finding for check in CHECKS for finding in check(file)]


def time_axis(file: CleanedFile) -> Found:
    """An interval that is not that of the detectors, and records that nobody knows the time of."""
    lost, left = file.history.rows_lost, file.history.rows_after
    overwritten, before = file.history.values_lost("duplicates")
    grid = file.interval_before
    if 2 * overwritten.sum() > before.sum():
        yield say(
            "**More than half of the values share their place on the grid of {grid} with "
            "another.** Cleaning keeps the last value of each, it does not average or add up; "
            "check `cleaning.interval`.",
            grid=grid,
        )
    if left["absent steps"] > 2 * left["duplicates"]:
        yield say(
            "**More than half of the grid of {grid} has no time step in the file**; check "
            "`cleaning.interval`.",
            grid=grid,
        )
    blank, all_steps = lost["blank time stamps"], left["raw"]
    if blank and blank >= MANY_BLANK * all_steps:
        yield say(
            "**{number} of {all} time steps have no time stamp** and were dropped. Export the file "
            "again, with time stamps.",
            number=count(blank),
            all=count(all_steps),
        )


def occupancy_as_share(file: CleanedFile) -> Found:
    for name, unit, top in zip(file.features, file.units, file.statistics.highest, strict=True):
        if name == OCCUPANCY and unit == "%" and 0 < top <= 1:
            yield say(
                "**{occupancy} never exceeds {top}**: it may be a share of 1. If so, multiply it "
                "by 100 (`scale: 100` of a table's column).",
                occupancy=feature_name(OCCUPANCY),
                top=say("{number} %", number=f"{top:.2g}"),
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
        yield say(
            "**{volume} is negative in {share} of values of {detectors}.** Vehicles are never "
            "fewer than 0: these may be standardised values (z-scores). Export the counts "
            "themselves.",
            volume=feature_name(VOLUME),
            share=share(part[vds].mean()),
            detectors=_named(file, vds),
        )


def coarser_detectors(file: CleanedFile) -> Found:
    steps = file.statistics.steps_between
    vds = _worst_first(steps > 1, steps)
    if vds.size:
        own = in_words(steps[vds[0]] * interval_of(file.vd))
        values = {
            "detectors": _named(file, vds),
            "grid": file.span(1),
            "detector": file.vdid(vds[0]),
            "own": own,
        }
        claim = say_many(
            "**{detectors} reports less often than every {grid}**: {detector} every {own}",
            "**{detectors} report less often than every {grid}**: {detector} every {own}",
            len(vds),
            **values,
        )
        if not file.history.resampled:
            claim = say("{claim}, and counts vehicles of it", claim=claim)
        yield say(
            "{claim}. Set `cleaning.resample` to the longest interval of the detectors you need.",
            claim=claim,
        )


def busy_nights(file: CleanedFile) -> Found:
    volume = file.statistics.volume_by_hour
    if not np.isnan(volume).any() and volume[1:5].mean() > volume[7:19].mean():
        yield say(
            "**More vehicles an hour are counted from 01:00 to 05:00 than from 07:00 to 19:00.** "
            "The clock may be that of another time zone, such as UTC: see the typical week, and "
            "set the source's `timezone`."
        )


def clock_gaps(file: CleanedFile) -> Found:
    _, begins, lengths = stretches(~file.statistics.observed[np.newaxis])
    long = lengths[lengths >= file.steps_in(LONG_GAP)]
    if long.size:
        begin = begins[lengths.argmax()]
        values = {"time": file.span(int(long.max())), "start": file.stamp(begin)}
        if len(long) == 1:
            yield say(
                "**No detector reports for {time}** from {start}. Ask whether the records of that "
                "time still exist.",
                **values,
            )
        else:
            yield say(
                "**No detector reports for {time}** from {start}; {number} such gaps of {least} or "
                "more are {all} together. Ask whether the records of that time still exist.",
                **values,
                number=count(len(long)),
                least=in_words(LONG_GAP),
                all=file.span(int(long.sum())),
            )


def features_without_values(file: CleanedFile) -> Found:
    dead = [file.features[at] for at in np.flatnonzero(np.isnan(file.statistics.highest))]
    if dead:
        yield say_many(
            "**{features} has no values** in any detector. Leave it out of `input_features` and "
            "`target_features`.",
            "**{features} have no values** in any detector. Leave it out of `input_features` and "
            "`target_features`.",
            len(dead),
            features=feature_list(dead),
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
    features = file.feature(feature)
    if others:
        features = say("{feature} (and {others})", feature=features, others=feature_list(others))
    yield say(
        "**{features} by night: {share} missing** from {from_hour}:00 to {until_hour}:00, by day "
        "{by_day}, in {detectors}. Steps without vehicles may have been dropped; if so, write them "
        "with a volume of 0, or night averages come out too high.",
        features=features,
        share=share(night[vds, feature].mean()),
        from_hour=f"{NIGHT[0]:02d}",
        until_hour=f"{NIGHT[1]:02d}",
        by_day=share(day[vds, feature].mean()),
        detectors=_named(file, vds),
    )


def silent_zeros(file: CleanedFile) -> Found:
    longest, steps = file.statistics.zero_stretch, file.steps_in(LONG_ZERO)
    message = say("**{detector}: {feature} is 0 for {time}** from {start}")
    if found := _long_stretches(file, longest, TARGET_FEATURES, steps, message):
        yield say(
            "{found}. A closed road, or a dead sensor: if so, its zeros are no values.", found=found
        )


def contradictions(file: CleanedFile) -> Found:
    """Values of 0 that the vehicles counted contradict, or that no count explains."""
    found, features = file.statistics, file.features
    observed = file.history.observed[-1]  # [N, F]
    for counts, name, message in (
        (
            found.zero_speed_of_unknown,
            SPEED,
            say(
                "**{feature} is 0 in {values} ({share}) where the volume is unknown**, in "
                "{detectors}. If no vehicle passed then, 0 is no speed: add 0 to "
                "`cleaning.features.avg_speed.error_codes`, or the volume to the file."
            ),
        ),
        (
            found.zero_speed_of_vehicles,
            SPEED,
            say(
                "**{feature} is 0 in {values} ({share}) while vehicles passed**, in {detectors}. "
                "It may stand for a missing value, or for a queue that hardly moves."
            ),
        ),
        (
            found.zero_occupancy_of_vehicles,
            OCCUPANCY,
            say(
                "**{feature} is 0 in {values} ({share}) while vehicles passed**, in {detectors}. "
                "It may stand for a missing value; if so, it is wrong to train on."
            ),
        ),
    ):
        vds = _worst_first(counts > 0, counts)
        if vds.size:
            part = counts[vds].sum() / observed[vds, features.index(name)].sum()
            yield filled_in(
                message,
                feature=feature_name(name),
                values=plural(int(counts[vds].sum()), "value"),
                share=share(part),
                detectors=_named(file, vds),
            )


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
        if missing[vd] == 1:
            worst.append(say("**{detector}: nothing observed**", detector=file.vdid(vd)))
        else:
            worst.append(
                say(
                    "**{detector}: {share} missing**, longest gap {time} from {start}",
                    detector=file.vdid(vd),
                    share=share(missing[vd]),
                    time=file.span(length.max()),
                    start=file.stamp(start[length.argmax()]),
                )
            )
    if (more := len(vds) - NAMED_VDS) > 0:
        worst.append(
            say_many(
                "{number} more has {share} or more missing",
                "{number} more have {share} or more missing",
                more,
                number=count(more),
                share=share(limit),
            )
        )
    if worst:
        yield say(
            "{found}. Find out why; a detector observed less than {share} "
            "(`cleaning.min_observed`) is not trained on.",
            found=say("; ").join(worst),
            share=share(file.cleaning.min_observed),
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
        say(
            "**{detectors} report identical {features}**",
            detectors=_named(file, vds),
            features=feature_list(features_of[vds]),
        )
        for vds in groups[:NAMED_VDS]
    ]
    if (more := len(groups) - NAMED_VDS) > 0:
        copies.append(say("{number} more such groups", number=count(more)))
    if copies:
        found = say("; ").join(copies)
        yield say("{found}. One is likely a copy: use one of them.", found=found)


def stuck_sensors(file: CleanedFile) -> Found:
    removed, before = file.history.values_lost("stuck values")
    part = removed / np.maximum(before, 1)  # [N, F]
    vds = _worst_first(removed.any(axis=1), part.max(axis=1))
    stuck = [
        say(
            "**{detector}: {feature} was stuck** for {time} in all ({share} of its values)",
            detector=file.vdid(vd),
            feature=file.feature(feature),
            time=in_words(removed[vd, feature] * cleaned_interval(file.vd)),
            share=share(part[vd, feature]),
        )
        for vd, feature in zip(vds[:NAMED_VDS], part[vds].argmax(axis=1), strict=False)
    ]
    if stuck:
        found = say("; ").join([*stuck, *_others_too(vds)])
        yield say("{found}. One value for hours: removed. Check the sensor.", found=found)


def repeated_values(file: CleanedFile) -> Found:
    """Repeats of one value that the rule left: for hours where it is off, else for a day."""
    longest = file.statistics.equal_stretch
    ruled = [name for name in MEASURED if limits_of(file.cleaning, name).stuck_after]
    message = say("**{detector}: {feature} repeats one value for {time}** from {start}")
    for names, span, advice in (
        (
            [name for name in MEASURED if name not in ruled],
            LONG_REPEAT,
            say("{found}. Check the sensor; `stuck_after` removes such runs."),
        ),
        (
            ruled,
            LONG_ZERO,
            say("{found}. Check the sensor; it may be chance, as the value is common there."),
        ),
    ):
        steps = max(file.steps_in(span), FEWEST_REPEATS)
        if found := _long_stretches(file, longest, names, steps, message):
            yield filled_in(advice, found=found)


def speed_against_occupancy(file: CleanedFile) -> Found:
    statistics = file.statistics
    dense, sparse = statistics.speed_when_dense, statistics.speed_when_sparse
    known = np.minimum(statistics.dense_steps, statistics.sparse_steps) >= FEWEST_STEPS
    known &= sparse > 0
    ratio = np.divide(dense, sparse, out=np.full_like(dense, np.nan), where=known)
    vds = _worst_first(ratio > UNSLOWED, ratio)
    if vds.size:
        worst = int(vds[0])
        unit = plain_text(unit_in_words(file.units[file.features.index(SPEED)]))
        yield say(
            "**Speed does not fall when occupancy rises at {detectors}**: at {detector} its median "
            "is {dense} {unit} above {dense_limit} and {sparse} {unit} below {sparse_limit}. Check "
            "the sensor.",
            detectors=_named(file, vds),
            detector=file.vdid(worst),
            dense=f"{dense[worst]:.0f}",
            sparse=f"{sparse[worst]:.0f}",
            unit=unit,
            dense_limit=say("{number} %", number=f"{DENSE:g}"),
            sparse_limit=say("{number} %", number=f"{SPARSE:g}"),
        )


def many_error_codes(file: CleanedFile) -> Found:
    removed, recorded = file.history.values_lost("error codes")  # [N, F]
    part = removed.sum(axis=0) / np.maximum(recorded.sum(axis=0), 1)
    own = removed / np.maximum(recorded, 1)
    odd = own >= MANY_CODES
    if odd.any():
        feature = int(np.where(odd.any(axis=0), part, -1).argmax())
        first, *others = _worst_first(odd[:, feature], own[:, feature])
        found = say(
            "**{feature}: {share} error codes in {detector}**",
            feature=file.feature(feature),
            share=share(own[first, feature]),
            detector=file.vdid(first),
        )
        if others:
            found = say(
                "{found}, {share} or more in {number} more",
                found=found,
                share=share(MANY_CODES),
                number=count(len(others)),
            )
        yield say(
            "{found}. Check that these codes are no values (`cleaning.error_codes`).", found=found
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
        outside.append(
            say(
                "**{feature}: {values} outside {limits}** in {where}",
                feature=file.feature(feature),
                values=plural(counts[feature], "value"),
                limits=limits,
                where=plural(len(others) + 1, "detector") if others else file.vdid(first),
            )
        )
    if outside:
        if (more := len(features) - NAMED_VDS) > 0:
            outside.append(say("{number} more features", number=more))
        recorded = file.history.observed[0].sum(axis=0)
        found = say("; ").join(outside)
        if (counts[features] >= WRONG_UNIT * recorded[features]).any():
            yield say("{found}. That many suggest a wrong unit.", found=found)
        else:
            yield say("{found}. Removed; widen the range if they are real.", found=found)


def short_file(file: CleanedFile) -> Found:
    span = file.vd.sizes["time"] * interval_of(file.vd)
    if span < SHORT_FILE:
        yield say(
            "**The file holds {time}**, less than 4 weeks: how days of the week differ is weakly "
            "known. Bring more if you can.",
            time=in_words(span),
        )


def time_stamps(history: History) -> str:
    """One sentence about the time stamps of the file."""
    lost, moved = history.rows_lost, history.steps_moved
    counts = {
        say("{number} blank (dropped)"): lost["blank time stamps"],
        say("{number} out of order"): moved["time order"],
        say("{number} off the regular grid"): moved["time grid"],
        say("{number} duplicates"): lost["duplicates"],
    }
    problems = listed(
        filled_in(message, number=count(number)) for message, number in counts.items() if number
    )
    steps, absent = history.rows_after["raw"], -lost["absent steps"]
    sentence = say("All {number} time stamps are in order", number=count(steps))
    if problems:
        sentence = say(
            "{number} time stamps, among them {problems}", number=count(steps), problems=problems
        )
    if not absent:
        return say("{sentence}; no step of the regular grid is absent.", sentence=sentence)
    return say_many(
        "{sentence}; {steps} of the regular grid had none and was added as missing.",
        "{sentence}; {steps} of the regular grid had none and were added as missing.",
        absent,
        sentence=sentence,
        steps=plural(absent, "step"),
    )


def _worst_first(found: Any, by: npt.NDArray[Any]) -> Positions:
    """Positions of the detectors found, [N], from the largest value of ``by``, [N]."""
    vds = np.flatnonzero(found)
    return vds[np.argsort(-by[vds], kind="stable")]


def _named(file: CleanedFile, vds: Sequence[int] | Positions) -> str:
    """``VD-1, VD-2, VD-3 and 12 other detectors``."""
    return listed([*map(file.vdid, vds[:NAMED_VDS]), *_others(vds)])


def _others(vds: Sequence[int] | Positions) -> list[str]:
    """The detectors that are not named; none where all are."""
    more = len(vds) - NAMED_VDS
    return [plural(more, "other detector")] if more > 0 else []


def _others_too(vds: Sequence[int] | Positions) -> list[str]:
    return [say("{detectors} too", detectors=others) for others in _others(vds)]


def _long_stretches(
    file: CleanedFile, longest: LongestStretches, names: Sequence[str], steps: int, message: str
) -> str:
    """Detectors with stretches of at least ``steps`` in these features, the longest first;
    ``message`` says what happens in such a stretch."""
    columns = [at for at, name in enumerate(file.features) if name in names]
    start, length = (numbers[:, columns] for numbers in longest)
    vds = _worst_first((length >= steps).any(axis=1), length.max(axis=1, initial=0))
    parts = [
        filled_in(
            message,
            detector=file.vdid(vd),
            feature=file.feature(columns[at]),
            time=file.span(length[vd, at]),
            start=file.stamp(start[vd, at]),
        )
        for vd in vds[:NAMED_VDS]
        for at in [length[vd].argmax()]
    ]
    return say("; ").join([*parts, *_others_too(vds)])


CHECKS: tuple[Callable[[CleanedFile], Found], ...] = (
    *(time_axis, negative_volumes, occupancy_as_share, busy_nights, coarser_detectors),
    *(clock_gaps, features_without_values, empty_nights, silent_zeros, contradictions),
    *(identical_series, repeated_values, speed_against_occupancy, much_missing, short_file),
    *(stuck_sensors, many_error_codes, out_of_range),
)
"""The most important first."""
