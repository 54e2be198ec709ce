"""Numbers of the page, named as its template calls them; names from the file are harmless text."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vd_forecasting.pipelines.data_engineering.resample import (
    cleaned_interval,
    describe_resampling,
    steps_needed,
    steps_per_bin,
    summed,
    unit_of_sum,
)
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile
from vd_forecasting.pipelines.data_quality.cleaning_history import History
from vd_forecasting.pipelines.data_quality.gaps import Gap, longest_gaps
from vd_forecasting.rendering.markdown import plain_text
from vd_forecasting.vd_array import interval_of, source_of
from vd_forecasting.wording import in_words, listed, plural, share

MAX_LISTED_VDS = 40
WORST_VDS = 20
LONGEST_GAPS = 10

# The words after the number of time steps that a rule dropped or moved.
_DROPPED = {"blank time stamps": "dropped", "duplicates": "merged"}
_MOVED = {"time order": "out of order", "time grid": "off the grid"}

_QUANTILES = {"lowest": 0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "highest": 1}


@dataclass(frozen=True)
class FileView:
    """The labels of the clean array."""

    source: str
    description: str
    detectors: int
    features: list[str]
    """With their units."""
    steps: int
    interval: str
    first: str
    last: str
    span: str
    resampled: bool
    interval_before: str
    """At which the cleaning rules saw the values."""
    steps_per_bin: int
    steps_needed: int
    """How many of the steps of a bin must be observed."""


@dataclass(frozen=True)
class Summary:
    """The file as a whole; shares are of all values."""

    fit: int
    need: str
    targets: str
    min_observed: float
    missing: float
    missing_cleaned: float
    missing_raw: float
    recorded: int
    removed: int
    removed_share: float
    time_stamps: str
    resampling: str


@dataclass(frozen=True)
class Observed:
    """Rows of a label and, for each feature, the share observed in the file, clean, resampled."""

    quantiles: list[list[str]]
    """Over detectors; none where all of them are listed."""
    detectors: list[list[str]]


@dataclass(frozen=True)
class Limit:
    """Limits of a feature, in the unit the rules saw."""

    feature: str
    unit: str
    error_codes: str
    range: str
    stuck_after: str


@dataclass(frozen=True)
class GapView:
    """A gap in words."""

    detectors: str
    features: str
    first: str
    last: str
    length: str


@dataclass(frozen=True)
class Unfit:
    """A detector that cannot be trained on."""

    vdid: str
    reason: str


def view_file(file: CleanedFile) -> FileView:
    vd, units = file.vd, file.units
    return FileView(
        source=plain_text(source_of(vd)),
        description=plain_text(vd.attrs.get("description", "")),
        detectors=vd.sizes["vd"],
        features=[
            plain_text(f"{name} ({unit})" if unit else name)
            for name, unit in zip(file.features, units, strict=True)
        ],
        steps=vd.sizes["time"],
        interval=file.span(1),
        first=file.stamp(0),
        last=file.stamp(-1),
        span=file.span(vd.sizes["time"]),
        resampled=file.history.resampled,
        interval_before=in_words(cleaned_interval(vd)),
        steps_per_bin=steps_per_bin(vd, file.cleaning),
        steps_needed=steps_needed(vd, file.cleaning),
    )


def view_summary(file: CleanedFile) -> Summary:
    history, min_observed = file.history, file.cleaning.min_observed
    recorded, clean = (int(history.observed[state].sum()) for state in (0, history.clean))
    targets = plain_text(listed(file.targets))
    return Summary(
        fit=int((file.target_shares >= min_observed).all(axis=1).sum()),
        need=f"at least {share(min_observed)} of {targets} observed",
        targets=targets,
        min_observed=min_observed,
        missing=history.missing(-1),
        missing_cleaned=history.missing(history.clean),
        missing_raw=history.missing(0),
        recorded=recorded,
        removed=recorded - clean,
        removed_share=(recorded - clean) / max(recorded, 1),
        time_stamps=_time_stamps(history),
        resampling=describe_resampling(file.vd, file.cleaning),
    )


def _time_stamps(history: History) -> str:
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


def view_observed(file: CleanedFile) -> Observed:
    states = [0, file.history.clean, *([-1] if file.history.resampled else [])]
    shares = np.stack([file.history.share(state) for state in states])  # [state, vd, feature]
    if shares.shape[1] <= MAX_LISTED_VDS:
        listed_vds = list(range(shares.shape[1]))
        return Observed([], [[file.vdid(vd), *_arrows(shares[:, vd])] for vd in listed_vds])
    quantiles = [
        [name, *_arrows(np.quantile(shares, at, axis=1))] for name, at in _QUANTILES.items()
    ]
    final = shares[-1]
    worst = [vd for vd in np.argsort(final.mean(axis=1), kind="stable") if (final[vd] < 1).any()]
    return Observed(
        quantiles, [[file.vdid(vd), *_arrows(shares[:, vd])] for vd in worst[:WORST_VDS]]
    )


def _arrows(shares: Iterable[Iterable[float]]) -> list[str]:
    """Shares [state, feature] as one text for each feature."""
    return [" → ".join(map(share, of_feature)) for of_feature in zip(*shares, strict=True)]


def view_rules(history: History) -> list[list[str]]:
    """A row for each rule: its name, what it did to time steps, values removed per feature."""
    removed = -np.diff(history.observed[: history.clean + 1].sum(axis=1), axis=0)  # [rule, feature]
    rows = []
    for rule, counts in zip(history.rules[1 : history.clean + 1], removed, strict=True):
        lost, steps = history.rows_lost(rule), "–"
        if rule in _MOVED:
            steps = f"{history.steps_moved(rule):,} {_MOVED[rule]}"
        elif rule in _DROPPED:
            steps = f"{lost:,} {_DROPPED[rule]}"
        elif rule == "absent steps":
            steps = f"{-lost:,} added"
        rows.append([rule, steps, *(f"{count:,}" for count in counts)])
    return [*rows, ["**all**", "", *(f"**{count:,}**" for count in removed.sum(axis=0))]]


def view_limits(file: CleanedFile) -> list[Limit]:
    cleaning, limits = file.cleaning, []
    for name, unit in zip(file.features, _units_before_resampling(file), strict=True):
        own = cleaning.features.get(name)
        codes = cleaning.error_codes
        if own and own.error_codes is not None:
            codes = own.error_codes
        stuck = own and own.stuck_after
        limits.append(
            Limit(
                feature=plain_text(name),
                unit=plain_text(unit) or "unknown",
                error_codes=", ".join(f"{code:g}".replace("-", "−") for code in codes) or "none",
                range=f"{own.range[0]:g} to {own.range[1]:g}" if own and own.range else "off",
                stuck_after=in_words(pd.Timedelta(stuck).to_timedelta64()) if stuck else "off",
            )
        )
    return limits


def _units_before_resampling(file: CleanedFile) -> list[str]:
    if not file.history.resampled:
        return file.units
    old, new = cleaned_interval(file.vd), interval_of(file.vd)
    return [
        unit_of_sum(unit, new, old, name) if add else unit
        for name, unit, add in zip(
            file.features, file.units, summed(file.vd, file.cleaning), strict=True
        )
    ]


def view_gaps(file: CleanedFile) -> list[GapView]:
    """The longest gaps, longest first."""
    return [
        GapView(
            detectors=_who(file, gap),
            features=_which(file, gap),
            first=file.stamp(gap.start),
            last=file.stamp(gap.start + gap.length - 1),
            length=file.span(gap.length),
        )
        for gap in longest_gaps(file.vd, LONGEST_GAPS)
    ]


def _who(file: CleanedFile, gap: Gap) -> str:
    if len(gap.vds) == 1:
        return file.vdid(gap.vds[0])
    return "all detectors" if len(gap.vds) == file.vd.sizes["vd"] else f"{len(gap.vds):,} detectors"


def _which(file: CleanedFile, gap: Gap) -> str:
    others = [name for at, name in enumerate(file.features) if at not in gap.features]
    if not others and len(file.features) > 1:
        return "all features"
    if len(others) == 1 and len(gap.features) > 2:
        return f"all but {plain_text(others[0])}"
    return plain_text(", ".join(file.features[at] for at in gap.features))


def view_unfit(file: CleanedFile) -> list[Unfit]:
    unfit = []
    for vd, shares in enumerate(file.target_shares):
        short = [
            f"{plain_text(name)} {share(observed)}"
            for name, observed in zip(file.targets, shares, strict=True)
            if observed < file.cleaning.min_observed
        ]
        if short:
            reason = "no value at all" if not shares.any() else f"observed: {', '.join(short)}"
            unfit.append(Unfit(file.vdid(vd), reason))
    return unfit
