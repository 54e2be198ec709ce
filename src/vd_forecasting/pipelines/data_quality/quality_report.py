"""What was in the file and what cleaning did to it, as a Markdown page."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.resample import (
    cleaned_interval,
    in_one_line,
    steps_needed,
    steps_per_bin,
    summed,
    unit_of_sum,
)
from vd_forecasting.pipelines.data_quality.cleaning_history import History, Shares
from vd_forecasting.pipelines.data_quality.detector_map import NO_MAP, placed_vds
from vd_forecasting.pipelines.data_quality.findings import what_to_look_at
from vd_forecasting.pipelines.data_quality.fundamental_diagram import no_diagram
from vd_forecasting.pipelines.data_quality.gaps import Gap, longest_gaps
from vd_forecasting.pipelines.data_quality.wording import listed, percent, plain_text, plural, stamp
from vd_forecasting.vd_array import interval_of, targets_in
from vd_forecasting.vocabulary import TARGET_FEATURES
from vd_forecasting.wording import in_words

COVERAGE_PLOT = "data_quality_coverage.png"
MAP_PLOT = "data_quality_map.png"
WEEK_PLOT = "data_quality_typical_week.png"
DIAGRAM_PLOT = "data_quality_fundamental_diagram.png"

MAX_LISTED_VDS = 40
WORST_VDS = 20
LONGEST_GAPS = 10

# Wider tables are cut into several.
_FEATURES_PER_TABLE = 6

# What a rule did to time steps: the words after their number.
_DROPPED = {"blank time stamps": "dropped", "duplicates": "merged"}
_MOVED = {"time order": "out of order", "time grid": "off the grid"}


def report_quality(vd_clean: xr.DataArray, cleaning_log: pd.DataFrame, cleaning: Cleaning) -> str:
    """The data quality page.

    Args:
        vd_clean: the clean VD array ``("time", "vd", "feature")``.
        cleaning_log: what ``clean`` gave beside it.
        cleaning: the parameters it was cleaned with.
    """
    vd = vd_clean.transpose("time", "vd", "feature")
    history = History(vd, cleaning_log)
    gaps = longest_gaps(vd, LONGEST_GAPS)
    source = plain_text(vd.attrs.get("source_file", "VD file"))
    usable = int((_shares_of_targets(vd, history) >= cleaning.min_observed).all(axis=1).sum())
    need = _needed(vd, cleaning)
    warning = f"> **No VD is fit for training.** None has {need}; nothing can be trained."
    sections = [
        f"# Data quality: {source}",
        *([] if usable else [warning]),
        "## What to look at",
        what_to_look_at(vd, history, cleaning),
        "## In short",
        _summary(vd, history, gaps, usable, cleaning),
        f"![When was each detector observed?]({COVERAGE_PLOT})",
        "## Where they are",
        _map(vd),
        "## A typical week",
        f"![What does a typical week look like?]({WEEK_PLOT})",
        "## Flow, speed and occupancy",
        _diagram(vd),
        "## The file",
        _file(vd),
        "## Observed values",
        _observed(vd, history),
        "## What each rule did",
        _rules(vd, history),
        "## The limits",
        _limits(vd, cleaning),
        "## Longest gaps",
        _gaps(vd, gaps, history, cleaning),
        "## VDs unfit for training",
        _unfit(vd, history, cleaning),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(
    vd: xr.DataArray, history: History, gaps: Sequence[Gap], usable: int, cleaning: Cleaning
) -> str:
    vds = vd.sizes["vd"]
    raw, clean = int(history.observed[0].sum()), int(history.observed[history.clean].sum())
    missing = f"- **{percent(history.missing(-1))} of values are missing** after cleaning"
    if history.resampled:
        before = percent(history.missing(history.clean))
        missing += f" and resampling; after cleaning alone it was {before}, in the raw file "
    else:
        missing += "; in the raw file it was "
    missing += f"{percent(history.missing(0))}."
    lines = [
        f"- **{usable:,} of {vds:,} {plural('VD', vds)} {'is' if usable == 1 else 'are'} fit for "
        f"training** ({_needed(vd, cleaning)}).",
        missing,
        f"- Cleaning removed {raw - clean:,} of {raw:,} recorded values "
        f"({percent((raw - clean) / max(raw, 1))}).",
        f"- {_time_stamps(history)}",
    ]
    if history.resampled:
        lines.append(f"- The data were then {in_one_line(vd, cleaning)}.")
    if gaps:
        length = in_words(gaps[0].length * interval_of(vd))
        start = stamp(vd, gaps[0].start)
        lines.append(f"- The longest gap is {length}, from {start} ({_who(vd, gaps[0].vds)}).")
    return "\n".join(lines)


def _needed(vd: xr.DataArray, cleaning: Cleaning) -> str:
    """What makes a VD fit for training."""
    targets = plain_text(listed(targets_in(vd, TARGET_FEATURES)))
    return f"at least {percent(cleaning.min_observed)} of {targets} observed"


def _time_stamps(history: History) -> str:
    """One sentence about the raw time stamps."""
    absent = -history.rows_lost("absent steps")
    found = [
        (history.rows_lost("blank time stamps"), "blank (dropped)"),
        (history.steps_moved("time order"), "out of order"),
        (history.steps_moved("time grid"), "off the regular grid"),
        (history.rows_lost("duplicates"), "duplicates"),
    ]
    told = [f"{count:,} {what}" for count, what in found if count]
    sentence = f"Of {int(history.rows[0]):,} time stamps, found: {', '.join(told)}"
    if not told:
        sentence = f"All {int(history.rows[0]):,} time stamps are in order"
    if absent:
        return (
            f"{sentence}; {absent:,} {plural('step', absent)} of the regular grid had none and "
            f"{'was' if absent == 1 else 'were'} added as missing."
        )
    return f"{sentence}; no step of the regular grid is absent."


def _map(vd: xr.DataArray) -> str:
    if not placed_vds(vd).any():
        return NO_MAP
    return f"![Where are the detectors, and which of them miss much?]({MAP_PLOT})"


def _diagram(vd: xr.DataArray) -> str:
    reason = no_diagram(vd)
    if reason is not None:
        return plain_text(reason)
    return f"![How much traffic does the road carry, and how fast?]({DIAGRAM_PLOT})"


def _file(vd: xr.DataArray) -> str:
    steps, interval = vd.sizes["time"], interval_of(vd)
    finer = cleaned_interval(vd)
    features = [
        f"{plain_text(name)} ({plain_text(unit)})" if unit else plain_text(name)
        for name, unit in zip(vd["feature"].to_numpy(), vd["unit"].to_numpy(), strict=True)
    ]
    rows = [
        ["VDs", f"{vd.sizes['vd']:,}"],
        ["features", ", ".join(features)],
        ["time steps", f"{steps:,}, one every {in_words(interval)}"],
        *([["resampled from", f"one every {in_words(finer)}"]] if finer != interval else []),
        ["first step", stamp(vd, 0)],
        ["last step", stamp(vd, -1)],
        ["span", in_words(steps * interval)],
    ]
    if vd.attrs.get("description"):
        rows.append(["the file's description", plain_text(vd.attrs["description"])])
    when = "after cleaning" if finer == interval else "after cleaning and resampling"
    return _table(["", when], rows, right=False)


def _observed(vd: xr.DataArray, history: History) -> str:
    features = [plain_text(name) for name in vd["feature"].to_numpy()]
    vdids = [plain_text(vdid) for vdid in vd["vd"].to_numpy()]
    states = [history.share(0), history.share(history.clean)]
    path, grid = "raw file → after cleaning", "regular grid"
    if history.resampled:
        states.append(history.share(-1))
        path += " → after resampling"
        old, new = in_words(cleaned_interval(vd)), in_words(interval_of(vd))
        grid += f" of {old}, the resampled one of that of {new}"
    final = states[-1]
    intro = (
        f"Share of values observed, {path}. The raw share is of the file's own time steps and "
        f"counts error codes as values; the clean one is of the {grid}."
    )
    if len(vdids) <= MAX_LISTED_VDS:
        rows = [[vdids[n], *_arrows([state[n] for state in states])] for n in range(len(vdids))]
        return f"{intro}\n\n{_feature_table(['VD'], features, rows)}"

    quantiles = [("lowest", 0.0), ("5 %", 0.05), ("25 %", 0.25), ("median", 0.5), ("75 %", 0.75)]
    rows = [
        [name, *_arrows([np.quantile(state, at, axis=0) for state in states])]
        for name, at in [*quantiles, ("highest", 1.0)]
    ]
    blocks = [intro, _feature_table([f"quantile of {len(vdids):,} VDs"], features, rows)]
    worst = [n for n in np.argsort(final.mean(axis=1), kind="stable") if (final[n] < 1).any()]
    if worst:
        rows = [[vdids[n], *_arrows([state[n] for state in states])] for n in worst[:WORST_VDS]]
        blocks.append(
            f"The {len(rows)} VDs with the fewest observed values:"
            if len(rows) > 1
            else "The one VD with missing values:"
        )
        blocks.append(_feature_table(["VD"], features, rows))
    else:
        blocks.append("Every VD is observed in full.")
    return "\n\n".join(blocks)


def _arrows(states: Sequence[Iterable[float]]) -> list[str]:
    """How the share of every feature went from state to state."""
    return [" → ".join(map(percent, shares)) for shares in zip(*states, strict=True)]


def _rules(vd: xr.DataArray, history: History) -> str:
    features = [plain_text(name) for name in vd["feature"].to_numpy()]
    removed = -np.diff(history.observed[: history.clean + 1].sum(axis=1), axis=0)  # [rule, feature]
    rows = []
    for at, rule in enumerate(history.rules[1 : history.clean + 1]):
        lost, moved = history.rows_lost(rule), history.steps_moved(rule)
        if rule in _MOVED:
            steps = f"{moved:,} {_MOVED[rule]}"
        elif rule in _DROPPED:
            steps = f"{lost:,} {_DROPPED[rule]}"
        else:
            steps = f"{-lost:,} added" if rule == "absent steps" else "–"
        rows.append([rule, steps, *(f"{count:,}" for count in removed[at])])
    rows.append(["**all**", "", *(f"**{count:,}**" for count in removed.sum(axis=0))])
    table = _feature_table(["rule", "time steps"], features, rows)
    return f"In order. Under each feature: how many recorded values the rule removed.\n\n{table}"


def _limits(vd: xr.DataArray, cleaning: Cleaning) -> str:
    old, new = cleaned_interval(vd), interval_of(vd)
    rows = []
    for name, unit in zip(vd["feature"].to_numpy(), _units_of_rules(vd, cleaning), strict=True):
        limits = cleaning.features.get(str(name))
        codes = cleaning.error_codes
        if limits is not None and limits.error_codes is not None:
            codes = limits.error_codes
        span = f"{limits.range[0]:g} to {limits.range[1]:g}" if limits and limits.range else "off"
        stuck = "off"
        if limits and limits.stuck_after:
            stuck = in_words(pd.Timedelta(limits.stuck_after).to_timedelta64())
        rows.append(
            [
                plain_text(name),
                plain_text(unit) or "unknown",
                ", ".join(f"{code:g}".replace("-", "−") for code in codes) or "none",
                span,
                stuck,
            ]
        )
    head = ["feature", "unit", "error codes", "physical range", "stuck after"]
    table = _table(head, rows, right=False)
    intro = "What the rules take for wrong; set under `cleaning` in the parameters."
    if old != new:
        intro += f" They hold for the values of {in_words(old)}, before resampling."
    return f"{intro}\n\n{table}"


def _units_of_rules(vd: xr.DataArray, cleaning: Cleaning) -> list[str]:
    """The units the limits are in: those of before resampling."""
    old, new = cleaned_interval(vd), interval_of(vd)
    return [
        unit_of_sum(str(unit), new, old, str(name)) if add and old != new else str(unit)
        for name, unit, add in zip(
            vd["feature"].to_numpy(), vd["unit"].to_numpy(), summed(vd, cleaning), strict=True
        )
    ]


def _gaps(vd: xr.DataArray, gaps: Sequence[Gap], history: History, cleaning: Cleaning) -> str:
    if not gaps:
        return "None: every value is observed."
    names = [plain_text(name) for name in vd["feature"].to_numpy()]
    rows = []
    for gap in gaps:
        rows.append(
            [
                _who(vd, gap.vds),
                _which(names, gap.features),
                stamp(vd, gap.start),
                stamp(vd, gap.start + gap.length - 1),
                in_words(gap.length * interval_of(vd)),
            ]
        )
    table = _table(["VD", "feature", "first missing", "last missing", "length"], rows, right=False)
    when = "After cleaning"
    if history.resampled:
        when += (
            " and resampling, which leaves a value missing if fewer than "
            f"{steps_needed(vd, cleaning)} of the {steps_per_bin(vd, cleaning)} it is made of are "
            "observed"
        )
    return f"{when}; stretches that begin and end together are one gap.\n\n{table}"


def _unfit(vd: xr.DataArray, history: History, cleaning: Cleaning) -> str:
    targets = targets_in(vd, TARGET_FEATURES)
    rows = []
    for n, shares in enumerate(_shares_of_targets(vd, history)):
        short = [
            f"{plain_text(name)} {percent(share)}"
            for name, share in zip(targets, shares, strict=True)
            if share < cleaning.min_observed
        ]
        if short:
            reason = "no value at all" if not shares.any() else f"observed: {', '.join(short)}"
            rows.append([plain_text(vd["vd"].to_numpy()[n]), reason])
    if not rows:
        return "None."
    need = f"Needed: {percent(cleaning.min_observed)} of {plain_text(listed(targets))} (each)."
    table = _table(["VD", "reason"], rows[:MAX_LISTED_VDS], right=False)
    more = len(rows) - MAX_LISTED_VDS
    return f"{need}\n\n{table}" + (f"\n\n… and {more:,} more." if more > 0 else "")


def _who(vd: xr.DataArray, vds: Sequence[int]) -> str:
    if len(vds) == 1:
        return plain_text(vd["vd"].to_numpy()[vds[0]])
    return "all VDs" if len(vds) == vd.sizes["vd"] else f"{len(vds):,} VDs"


def _which(names: Sequence[str], features: Sequence[int]) -> str:
    others = [name for index, name in enumerate(names) if index not in features]
    if not others and len(names) > 1:
        return "all features"
    if len(others) == 1 and len(features) > 2:
        return f"all but {others[0]}"
    return ", ".join(names[index] for index in features)


def _shares_of_targets(vd: xr.DataArray, history: History) -> Shares:
    """Share observed in the end, [vd, target], as ``usable_vds`` judges it."""
    targets = targets_in(vd, TARGET_FEATURES)
    return history.share(-1)[:, [list(vd["feature"].to_numpy()).index(name) for name in targets]]


def _feature_table(head: list[str], features: list[str], rows: list[list[str]]) -> str:
    """A table with a column per feature, cut into several if there are many features."""
    lead = len(head)
    return "\n\n".join(
        _table(
            head + features[at : at + _FEATURES_PER_TABLE],
            [row[:lead] + row[lead + at : lead + at + _FEATURES_PER_TABLE] for row in rows],
        )
        for at in range(0, len(features), _FEATURES_PER_TABLE)
    )


def _table(head: list[str], rows: list[list[str]], right: bool = True) -> str:
    """A Markdown table; all columns but the first stand right if they hold numbers."""
    rule = [":--", *(["--:" if right else ":--"] * (len(head) - 1))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])
