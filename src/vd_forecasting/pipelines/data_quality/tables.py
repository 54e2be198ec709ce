"""The page's tables, most as rows; names from the file are harmless text in them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from vd_forecasting.language import marked, say
from vd_forecasting.pipelines.data_engineering import resample
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile, History
from vd_forecasting.pipelines.data_quality.stretches import Gap, longest_gaps
from vd_forecasting.rendering.markdown import bold, feature_text, plain_text, table
from vd_forecasting.vd_array import interval_of
from vd_forecasting.wording import (
    QUANTILES,
    enumerated,
    in_words,
    plural,
    quantile_name,
    share,
    unit_in_words,
)

MAX_LISTED_VDS = 40
WORST_VDS = 20
LONGEST_GAPS = 10
FEATURES_PER_TABLE = 6

# What is said of the time steps that a rule dropped, moved or added.
_CHANGED = {
    "blank time stamps": marked("{number} dropped"),
    "time order": marked("{number} out of order"),
    "time grid": marked("{number} off the grid"),
    "duplicates": marked("{number} merged"),
    "absent steps": marked("{number} added"),
}

Rows = list[list[str]]


def observed_rows(file: CleanedFile) -> tuple[Rows, Rows]:
    """Shares observed in the raw, the clean and the resampled data, a column per feature.

    Quantiles over detectors, none for a few; and all of a few detectors, else the worst ones.
    """
    states = [0, file.history.clean, *([-1] if file.history.resampled else [])]
    shares = np.stack([file.history.share(state) for state in states])  # [state, vd, feature]
    vds, quantiles, final = np.arange(shares.shape[1]), [], shares[-1]
    if len(vds) > MAX_LISTED_VDS:
        quantiles = [
            [quantile_name(at), *_arrows(np.quantile(shares, at, axis=1))] for at in QUANTILES
        ]
        incomplete = (final < 1).any(axis=1)
        worst = np.argsort(final.mean(axis=1), kind="stable")
        vds = worst[incomplete[worst]][:WORST_VDS]
    return quantiles, [[file.vdid(vd), *_arrows(shares[:, vd])] for vd in vds.tolist()]


def _arrows(shares: Iterable[Iterable[float]]) -> list[str]:
    """Shares [state, feature] as one text for each feature."""
    return [" → ".join(map(share, of_feature)) for of_feature in zip(*shares, strict=True)]


def rule_rows(history: History) -> Rows:
    """Each rule, what it did to time steps and how many values it removed of each feature."""
    removed = -np.diff(history.observed[: history.clean + 1].sum(axis=1), axis=0)  # [rule, feature]
    rows = []
    for rule, counts in zip(history.rules[1 : history.clean + 1], removed, strict=True):
        changed = abs(history.rows_lost[rule]) + history.steps_moved[rule]
        steps = say(_CHANGED[rule], number=f"{changed:,}") if rule in _CHANGED else "–"
        rows.append([say(rule), steps, *(f"{count:,}" for count in counts)])
    return [*rows, [bold(say("all")), "", *(f"**{count:,}**" for count in removed.sum(axis=0))]]


def limit_rows(file: CleanedFile) -> Rows:
    """Each feature, its unit, error codes, range and time after which it counts as stuck."""
    rows, adds = [], resample.summed(file.vd, file.cleaning)
    old, new = resample.cleaned_interval(file.vd), interval_of(file.vd)
    for name, unit, add in zip(file.features, file.units, adds, strict=True):
        # The limits are in the units before resampling.
        own = resample.unit_of_sum(unit, new, old, name) if add and old != new else unit
        limits = resample.limits_of(file.cleaning, name)
        codes = ", ".join(f"{code:g}".replace("-", "−") for code in limits.error_codes or ())
        span = resample.range_in_words(limits)
        after = limits.stuck_after
        stuck = in_words(pd.Timedelta(after).to_timedelta64()) if after else say("off")
        unit_shown = plain_text(unit_in_words(own)) or say("unknown")
        rows.append([feature_text(name), unit_shown, codes or say("none"), span, stuck])
    return rows


def gap_rows(file: CleanedFile) -> Rows:
    """The longest gaps: detectors, features, first and last missing step, length."""
    rows = []
    for gap in longest_gaps(file.vd, LONGEST_GAPS):
        first, last = file.stamp(gap.start), file.stamp(gap.start + gap.length - 1)
        vds = plural(len(gap.vds), "detector")
        if len(gap.vds) in (1, file.vd.sizes["vd"]):
            vds = say("all detectors") if len(gap.vds) > 1 else file.vdid(gap.vds[0])
        rows.append([vds, _features(file, gap), first, last, file.span(gap.length)])
    return rows


def _features(file: CleanedFile, gap: Gap) -> str:
    others = [name for at, name in enumerate(file.features) if at not in gap.features]
    if not others and len(file.features) > 1:
        return say("all features")
    if len(others) == 1 and len(gap.features) > 2:
        return say("all but {feature}", feature=feature_text(others[0]))
    return enumerated(map(file.feature, gap.features))


def unfit_rows(file: CleanedFile) -> Rows:
    """The detectors that cannot be trained on, and why."""
    rows = []
    for vd, shares in enumerate(file.target_shares):
        short = [
            say("{feature} {share}", feature=feature_text(name), share=share(observed))
            for name, observed in zip(file.targets, shares, strict=True)
            if observed < file.cleaning.min_observed
        ]
        if short:
            reason = say("no value at all")
            if shares.any():
                reason = say("observed: {shares}", shares=enumerated(short))
            rows.append([file.vdid(vd), reason])
    return rows


def by_feature(file: CleanedFile, head: list[str], rows: Rows) -> str:
    """A table with a column per feature after those of ``head``; several if it would be wide."""
    names, lead = [feature_text(name) for name in file.features], len(head)
    tables = []
    for start in range(0, len(names), FEATURES_PER_TABLE):
        some = slice(start, start + FEATURES_PER_TABLE)
        tables.append(table(head + names[some], [row[:lead] + row[lead:][some] for row in rows]))
    return "\n\n".join(tables)
