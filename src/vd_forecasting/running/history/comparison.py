"""What differs between two runs and by how much: what ``kedro runs diff`` prints."""

from collections.abc import Iterator, Mapping

from vd_forecasting.evaluation.daily_errors import Change, DailyErrors, changes
from vd_forecasting.evaluation.significance import MIN_DAYS
from vd_forecasting.evaluation.sums_over_time import AVERAGE
from vd_forecasting.running.history.changes import changes_between
from vd_forecasting.running.history.kept import KeptRun
from vd_forecasting.running.history.listing import in_columns
from vd_forecasting.wording import (
    ahead,
    duration,
    is_number,
    listed,
    number,
    percent,
    plural,
    share,
    with_unit,
)

NOT_COMPARABLE = "test data differ, not comparable"


def compare_runs(
    before: tuple[int, KeptRun], after: tuple[int, KeptRun], confidence: float
) -> list[str]:
    """Changed parameters, data and code, and the change of each error with its interval."""
    (first, one), (second, two) = before, after
    found = changes_between(one.experiments, two.experiments)
    common = [name for name in two.experiments if name in one.experiments]
    lines = [_described(first, one), _described(second, two)]
    if common:
        for title, changed in (
            ("Parameters", found.parameters),
            ("Data", found.data),
            ("Code", [*found.code, *found.versions]),
        ):
            lines += ["", title, *(f"  {line}" for line in changed or ["the same"])]
        lines += ["", *_errors(one, two, common, confidence)]
    for which, own, other in ((first, one, two), (second, two, one)):
        if alone := [name for name in own.experiments if name not in other.experiments]:
            lines += ["", f"Only run {which} made {listed(alone)}"]
        lines += [f"In run {which} {name} failed: {why}" for name, why in own.failed.items()]
    return lines


def _described(which: int, run: KeptRun) -> str:
    return f"run {which}  {run.began:%Y-%m-%d %H:%M}  {run.command}  ({duration(run.seconds)})"


def _errors(one: KeptRun, two: KeptRun, common: list[str], confidence: float) -> Iterator[str]:
    yield f"MAE on test, and its change with the {share(confidence)} interval over test days"
    found = {}
    for name in common:
        before, after = (run.experiments[name] for run in (one, two))
        found[name] = changes(before.errors, after.errors, confidence)
        rows = list(_rows(before.errors, after.errors, found[name]))
        yield from ["", name, *(f"  {line}" for line in in_columns(rows))]
    seeds = {run.experiments[name].seeds for name in common if found[name] for run in (one, two)}
    if seeds:
        trained = (
            "Each model was trained with one seed"
            if seeds == {1}
            else "Errors are means over seeds"
        )
        yield from ["", f"{trained}; the intervals leave out differences between seeds."]


def _rows(
    before: DailyErrors, after: DailyErrors, found: Mapping[tuple[str, int], Change]
) -> Iterator[list[str]]:
    """A row per feature: all horizons together, then the last one."""
    last = before.horizons
    if any((feature, last) in found for feature in before.features):
        yield ["", "all horizons", ahead(last, before.interval_minutes)]
    for feature in dict.fromkeys([*before.features, *after.features]):
        label = with_unit(feature, {**before.units, **after.units}.get(feature, ""))
        pairs = [(feature, AVERAGE), (feature, last)]
        if pairs[0] in found:
            of_days = _days(found[pairs[0]])
            yield [label, *(_change(found[pair]) for pair in pairs), *of_days]
        elif feature in before.features and feature in after.features:
            yield [label, _why(before, after)]
        else:
            yield [label, "not a target of both"]


def _change(found: Change) -> str:
    """``2.31 → 2.30  −0.4 % (−1.0 % to +0.2 %)``."""
    relative = found.relative
    text = f"{number(found.before)} → {number(found.after)}  "
    text += percent(relative.estimate, signed=True)
    if is_number(relative.low):
        ends = (percent(end, signed=True) for end in (relative.low, relative.high))
        text += f" ({' to '.join(ends)})"
    return text


def _days(found: Change) -> list[str]:
    """What is to be said of the test days."""
    said = []
    if found.days < MIN_DAYS:
        said.append(f"no interval: {plural(found.days, 'full test day')}, {MIN_DAYS} are needed")
    if found.left_out:
        said.append(f"{plural(found.left_out, 'day')} left out, whose test data differ")
    return ["; ".join(said)] if said else []


def _why(before: DailyErrors, after: DailyErrors) -> str:
    """Why errors of a feature are not comparable."""
    if before.interval_minutes != after.interval_minutes:
        return "not comparable: the interval of the data differs"
    if before.horizons != after.horizons:
        return f"not comparable: {before.horizons} and {plural(after.horizons, 'step')} ahead"
    return NOT_COMPARABLE
