"""What in a file is worth a look, in plain words.

Each check looks for one thing and says, where it finds it, which detectors and features it is
about, what was found and what to do. What concerns the whole file comes before single detectors,
what is wrong before what is missing, and what is missing before what cleaning has dealt with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.resample import cleaned_interval
from vd_forecasting.pipelines.data_quality.cleaning_history import History
from vd_forecasting.pipelines.data_quality.detector_statistics import (
    DENSE,
    NIGHT,
    SPARSE,
    DetectorStatistics,
    Runs,
    detector_statistics,
)
from vd_forecasting.pipelines.data_quality.wording import listed, percent, plain_text, plural, stamp
from vd_forecasting.vd_array import interval_of
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import in_words

MOST_FINDINGS = 10

NAMED_VDS = 3
"""Those a finding is most about; the others are counted."""

MUCH_MISSING = 0.2
MANY_CODES = 0.05
MANY_BLANK = 0.01
WRONG_UNIT = 0.01
"""Shares from which on something is worth a look."""

NIGHT_WITHOUT_VEHICLES = 0.1
"""By how much more must be missing by night than by day, and three times as much."""

LONG_GAP = np.timedelta64(3, "h")
LONG_ZERO = np.timedelta64(24, "h")
LONG_REPEAT = np.timedelta64(3, "h")
FEWEST_REPEATS = 12
SHORT_FILE = np.timedelta64(28, "D")

FEWEST_STEPS = 24
"""Time steps, or changes of value, that a comparison needs."""

UNSLOWED = 0.9
"""A speed on a full road, as a share of that on a free one, that is hard to believe."""

MEASURED = (*TARGET_FEATURES, "speed_std")
"""Features that cannot stay the same for hours; lane_count, for one, can."""

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class File:
    """All that a check may look at."""

    vd: xr.DataArray
    """The clean array; its values are not read again."""
    history: History
    cleaning: Cleaning
    statistics: DetectorStatistics

    @property
    def features(self) -> list[str]:
        return [str(name) for name in self.vd["feature"].to_numpy()]

    def columns(self, names: Sequence[str]) -> list[int]:
        """Positions of those features the file has."""
        return [at for at, name in enumerate(self.features) if name in names]

    def steps(self, span: np.timedelta64) -> int:
        """The fewest time steps that are no shorter than a time."""
        return int(-(-span // interval_of(self.vd)))

    def lasts(self, steps: int) -> str:
        return in_words(steps * interval_of(self.vd))

    def name(self, vd: int) -> str:
        return plain_text(self.vd["vd"].to_numpy()[vd])

    def names(self, vds: Sequence[int] | Positions) -> str:
        """``VD-1, VD-2, VD-3 and 12 other VDs``."""
        told = [self.name(vd) for vd in vds[:NAMED_VDS]]
        return listed([*told, *_others(len(vds))])

    def removed(self, rule: str) -> npt.NDArray[np.int64]:
        """Values that a rule removed, [N, F]."""
        at = self.history.rules.index(rule)
        lost: npt.NDArray[np.int64] = self.history.observed[at - 1] - self.history.observed[at]
        return lost


def what_to_look_at(vd: xr.DataArray, history: History, cleaning: Cleaning) -> str:
    """The findings as a Markdown list, the most important first.

    Args:
        vd: the clean VD array ``("time", "vd", "feature")``, which may be larger than memory.
        history: what cleaning did to it.
        cleaning: the parameters it was cleaned with.
    """
    found = findings(vd, history, cleaning)
    if not found:
        return "Nothing stands out."
    lines = [f"- {finding}" for finding in found[:MOST_FINDINGS]]
    if (more := len(found) - MOST_FINDINGS) > 0:
        lines.append(f"- … and {more} more of less weight; the tables below have the numbers.")
    return "\n".join(lines)


def findings(vd: xr.DataArray, history: History, cleaning: Cleaning) -> list[str]:
    """One sentence or two for each check that found something, the most important first."""
    file = File(vd, history, cleaning, detector_statistics(vd))
    if not file.statistics.something.any():
        return ["**No value is left** after cleaning. Compare the limits below with the file."]
    return [finding for check in CHECKS if (finding := check(file))]


def shared_steps(file: File) -> str | None:
    """An interval longer than that of the detectors."""
    merged, kept = file.history.rows_lost("duplicates"), file.history.rows_after("duplicates")
    if merged <= kept:
        return None
    return (
        "**More than half of the time steps share their place on the grid of "
        f"{in_words(cleaned_interval(file.vd))} with another.** Cleaning keeps the last value of "
        "each, it does not average or add up; check `cleaning.interval`."
    )


def empty_grid(file: File) -> str | None:
    """An interval shorter than that of the detectors."""
    if file.history.rows_after("absent steps") <= 2 * file.history.rows_after("duplicates"):
        return None
    return (
        f"**More than half of the grid of {in_words(cleaned_interval(file.vd))} has no time step "
        "in the file**; check `cleaning.interval`."
    )


def blank_time_stamps(file: File) -> str | None:
    """Records that nobody knows the time of."""
    blank, all_steps = file.history.rows_lost("blank time stamps"), int(file.history.rows[0])
    if blank < MANY_BLANK * all_steps or not blank:
        return None
    return (
        f"**{blank:,} of {all_steps:,} time steps have no time stamp** and were dropped. Export "
        "the file again, with time stamps."
    )


def occupancy_as_share(file: File) -> str | None:
    """Occupancies from 0 to 1 where % are expected."""
    for feature in file.columns(["avg_occupancy"]):
        highest = file.statistics.highest[feature]
        if str(file.vd["unit"].to_numpy()[feature]) == "%" and 0 < highest <= 1:
            return (
                f"**avg_occupancy never exceeds {highest:.2g} %**: it may be a share of 1. If so, "
                "multiply it by 100 (`scale: 100` of a table's column)."
            )
    return None


def busy_nights(file: File) -> str | None:
    """A clock of another place."""
    volume = file.statistics.volume_by_hour
    if np.isnan(volume).any() or volume[1:5].mean() <= volume[7:19].mean():
        return None
    return (
        "**More vehicles an hour are counted from 01:00 to 05:00 than from 07:00 to 19:00.** The "
        "clock may be that of another time zone, such as UTC: see the typical week, and give the "
        "source's `timezone`."
    )


def clock_gaps(file: File) -> str | None:
    """Times without a value of any detector."""
    missing = ~file.statistics.something
    begins = np.flatnonzero(np.diff(missing.astype(np.int8), prepend=0) == 1)
    lengths = np.flatnonzero(np.diff(missing.astype(np.int8), append=0) == -1) - begins + 1
    long = lengths >= file.steps(LONG_GAP)
    if not long.any():
        return None
    longest = int(lengths.argmax())
    found = (
        f"**No detector reports for {file.lasts(int(lengths[longest]))}** from "
        f"{stamp(file.vd, int(begins[longest]))}"
    )
    if (count := int(long.sum())) > 1:
        found += (
            f"; {count:,} such gaps of {in_words(LONG_GAP)} or more are "
            f"{file.lasts(int(lengths[long].sum()))} together"
        )
    return f"{found}. Ask whether the records of that time still exist."


def features_without_values(file: File) -> str | None:
    """Features that are only a name."""
    dead = [file.features[at] for at in np.flatnonzero(np.isnan(file.statistics.highest))]
    if not dead:
        return None
    have = "has" if len(dead) == 1 else "have"
    return (
        f"**{plain_text(listed(dead))} {have} no values** in any VD. Leave it out of "
        "`input_features` and `target_features`."
    )


def empty_nights(file: File) -> str | None:
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
    vds = np.flatnonzero(odd[:, feature])
    vds = vds[np.argsort(-night[vds, feature], kind="stable")]
    others = [file.features[at] for at in np.flatnonzero(odd.any(axis=0)) if at != feature]
    also = f" (and {plain_text(listed(others))})" if others else ""
    return (
        f"**{plain_text(file.features[feature])}{also} by night: "
        f"{percent(float(night[vds, feature].mean()))} missing** from {NIGHT[0]:02d}:00 to "
        f"{NIGHT[1]:02d}:00, by day {percent(float(day[vds, feature].mean()))}, in "
        f"{file.names(vds)}. Steps without vehicles may have been dropped; if so, write them "
        "with a volume of 0, or night averages come out too high."
    )


def silent_zeros(file: File) -> str | None:
    """A sensor that is dead and reports 0."""
    steps, columns = file.steps(LONG_ZERO), file.columns(TARGET_FEATURES)
    found = _long_runs(file, file.statistics.zero_run, columns, steps, "is 0")
    return found and f"{found}. A closed road, or a dead sensor: if so, its zeros are no values."


def much_missing(file: File) -> str | None:
    """Detectors that miss much of what others have."""
    statistics = file.statistics
    alive = np.flatnonzero(~np.isnan(statistics.highest))
    steps = int(statistics.something.sum())
    own = statistics.missing[:, alive] - (len(statistics.something) - steps)  # [N, F]
    share = own.mean(axis=1) / steps
    limit = min(MUCH_MISSING, 1 - file.cleaning.min_observed)
    vds = np.flatnonzero(share >= limit)
    if not vds.size:
        return None
    vds = vds[np.argsort(-share[vds], kind="stable")]
    told = []
    for vd in vds[:NAMED_VDS]:
        if share[vd] == 1:
            told.append(f"**{file.name(vd)}: nothing observed**")
            continue
        feature = alive[statistics.missing_run.length[vd, alive].argmax()]
        length = int(statistics.missing_run.length[vd, feature])
        start = int(statistics.missing_run.start[vd, feature])
        told.append(
            f"**{file.name(vd)}: {percent(float(share[vd]))} missing**, longest gap "
            f"{file.lasts(length)} from {stamp(file.vd, start)}"
        )
    more = len(vds) - NAMED_VDS
    others = f"; {more:,} more {'misses' if more == 1 else 'miss'} {percent(limit)} or more"
    need = percent(file.cleaning.min_observed)
    return (
        f"{'; '.join(told)}{others if more > 0 else ''}. Find out why; what is observed less than "
        f"{need} (`cleaning.min_observed`) is not trained on."
    )


def identical_series(file: File) -> str | None:
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
    told = [
        f"**{file.names(vds)} report identical {plain_text(listed(features_of[vds]))}**"
        for vds in groups[:NAMED_VDS]
    ]
    more = f"; {len(groups) - NAMED_VDS:,} more such groups" if len(groups) > NAMED_VDS else ""
    return f"{'; '.join(told)}{more}. One is likely a copy: use one of them."


def stuck_sensors(file: File) -> str | None:
    """What the rule on stuck values removed."""
    at = file.history.rules.index("stuck values")
    removed = file.removed("stuck values")
    share = removed / np.maximum(file.history.observed[at - 1], 1)  # [N, F]
    vds = np.flatnonzero(removed.any(axis=1))
    if not vds.size:
        return None
    vds = vds[np.argsort(-share[vds].max(axis=1), kind="stable")]
    told = []
    for vd in vds[:NAMED_VDS]:
        feature = int(share[vd].argmax())
        told.append(
            f"**{file.name(vd)}: {plain_text(file.features[feature])} was stuck** for "
            f"{in_words(int(removed[vd, feature]) * cleaned_interval(file.vd))} in all "
            f"({percent(float(share[vd, feature]))} of its values)"
        )
    return f"{_with_others(told, len(vds))}. One value for hours: removed. Check the sensor."


def repeated_values(file: File) -> str | None:
    """What repeats one value for hours, and is not removed because the rule is off."""
    steps = max(file.steps(LONG_REPEAT), FEWEST_REPEATS)
    columns = file.columns(MEASURED)
    found = _long_runs(file, file.statistics.equal_run, columns, steps, "repeats one value")
    return found and f"{found}. Check the sensor; `stuck_after` removes such runs."


def speed_against_occupancy(file: File) -> str | None:
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
    vds = np.flatnonzero(ratio > UNSLOWED)
    if not vds.size:
        return None
    vds = vds[np.argsort(-ratio[vds], kind="stable")]
    vd = int(vds[0])
    unit = plain_text(file.vd["unit"].to_numpy()[file.features.index("avg_speed")])
    return (
        f"**Speed does not fall when occupancy rises at {file.names(vds)}**: at {file.name(vd)} "
        f"its median is {statistics.speed_when_dense[vd]:.0f} {unit} above {DENSE:g} % and "
        f"{statistics.speed_when_sparse[vd]:.0f} {unit} below {SPARSE:g} %. Check the sensor."
    )


def many_error_codes(file: File) -> str | None:
    """Features that are error codes for a good part."""
    removed, recorded = file.removed("error codes"), file.history.observed[0]  # [N, F]
    share = removed.sum(axis=0) / np.maximum(recorded.sum(axis=0), 1)
    own = removed / np.maximum(recorded, 1)
    odd = own >= MANY_CODES
    if not odd.any():
        return None
    feature = int(np.where(odd.any(axis=0), share, -1).argmax())
    vds = np.flatnonzero(odd[:, feature])
    vds = vds[np.argsort(-own[vds, feature], kind="stable")]
    most = percent(float(own[vds[0], feature]))
    return (
        f"**{plain_text(file.features[feature])}: {most} error codes in {file.name(vds[0])}**"
        + (f", {percent(MANY_CODES)} or more in {len(vds) - 1:,} more" if len(vds) > 1 else "")
        + ". Check that these codes are no values (`cleaning.error_codes`)."
    )


def out_of_range(file: File) -> str | None:
    """Values that cannot be."""
    removed = file.removed("physical range")  # [N, F]
    told, unit = [], False
    for feature in np.argsort(-removed.sum(axis=0), kind="stable"):
        count, name = int(removed[:, feature].sum()), file.features[feature]
        if not count:
            continue
        low, high = file.cleaning.features[name].range or (-np.inf, np.inf)
        vds = np.flatnonzero(removed[:, feature])
        where = file.name(int(vds[0])) if len(vds) == 1 else f"{len(vds):,} VDs"
        what = f"{count:,} {plural('value', count)} outside {low:g} to {high:g}"
        told.append(f"**{plain_text(name)}: {what}** in {where}")
        unit |= count >= WRONG_UNIT * int(file.history.observed[0][:, feature].sum())
    if not told:
        return None
    more = f"; {len(told) - NAMED_VDS} more features" if len(told) > NAMED_VDS else ""
    advice = "So many: check the unit." if unit else "Removed; widen the range if they are real."
    return f"{'; '.join(told[:NAMED_VDS])}{more}. {advice}"


def short_file(file: File) -> str | None:
    """A file too short to know what is usual on a Tuesday."""
    span = file.vd.sizes["time"] * interval_of(file.vd)
    if span >= SHORT_FILE:
        return None
    return (
        f"**The file holds {in_words(span)}**, less than 4 weeks: how days of the week differ is "
        "weakly known. Bring more if you can."
    )


def _others(vds: int) -> list[str]:
    """The VDs that are not named; none where all are."""
    more = vds - NAMED_VDS
    return [f"{more:,} other {plural('VD', more)}"] if more > 0 else []


def _long_runs(file: File, runs: Runs, columns: Sequence[int], steps: int, what: str) -> str | None:
    """The VDs with runs of so many steps or more, those with the longest first."""
    lengths = runs.length[:, columns]
    vds = np.flatnonzero((lengths >= steps).any(axis=1))
    if not vds.size:
        return None
    vds = vds[np.argsort(-lengths[vds].max(axis=1), kind="stable")]
    told = []
    for vd in vds[:NAMED_VDS]:
        feature = columns[int(lengths[vd].argmax())]
        start, length = int(runs.start[vd, feature]), int(runs.length[vd, feature])
        told.append(
            f"**{file.name(vd)}: {plain_text(file.features[feature])} {what} for "
            f"{file.lasts(length)}** from {stamp(file.vd, start)}"
        )
    return _with_others(told, len(vds))


def _with_others(told: Sequence[str], vds: int) -> str:
    """What was told of the first VDs, and how many it could be told of too."""
    return "; ".join([*told, *(f"{others} too" for others in _others(vds))])


CHECKS: tuple[Callable[[File], str | None], ...] = (
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
