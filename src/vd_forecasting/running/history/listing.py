"""The table of all runs that are kept: what ``kedro runs list`` prints."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from vd_forecasting.running.history.changes import Changes, changes_between
from vd_forecasting.running.history.kept import KeptExperiment, KeptRun
from vd_forecasting.vocabulary import EVERY_MODE, MODELS, NAMES
from vd_forecasting.wording import NOTHING, first_few, plural, shortened

MOST_CHANGES = 3
COMMAND_LENGTH = 45

HEADER = (
    "Skill on test of {models}: by how much MAE is below persistence's, in %; mean over features."
)


def list_runs(runs: Mapping[int, KeptRun]) -> list[str]:
    """A line per run, oldest first, under a header."""
    present = {name for run in runs.values() for name in (*run.experiments, *run.failed)}
    modes = [mode for mode in EVERY_MODE if not present.isdisjoint(_experiments(mode))]
    rows = [["run", "when", *modes, "command", "changed since"]]
    last: dict[str, KeptExperiment] = {}
    for number, run in runs.items():
        before = {name: last[name] for name in run.experiments if name in last}
        changes = changes_between(before, run.experiments)
        skills = [" / ".join(_skill(run, name) for name in _experiments(mode)) for mode in modes]
        command = shortened(run.command.removeprefix("kedro "), COMMAND_LENGTH)
        told = in_short(changes) if before else NOTHING
        rows.append([str(number), f"{run.began:%Y-%m-%d %H:%M}", *skills, command, told])
        last |= run.experiments
    header = HEADER.format(models=" / ".join(NAMES[model] for model in MODELS))
    return [header, *in_columns(rows)]


def in_short(changes: Changes) -> str:
    """The first changes, and how many others there are."""
    if not changes:
        return "nothing"
    code = [f"code of {plural(len(changes.code), 'module')}"] if changes.code else []
    every = [*changes.parameters, *(f"data: {of}" for of in changes.data), *code, *changes.versions]
    return "; ".join(first_few(every, MOST_CHANGES))


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, aligned at the left."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return [line.rstrip() for line in lines]


def _experiments(mode: str) -> list[str]:
    return [f"{mode}_{model}" for model in MODELS]


def _skill(run: KeptRun, name: str) -> str:
    """In per cent, or why there is none."""
    if name in run.failed:
        return "failed"
    if name not in run.experiments:
        return NOTHING
    errors = run.experiments[name].errors
    skills = [skill for of in errors.features if math.isfinite(skill := errors.skill(of))]
    return f"{100 * sum(skills) / len(skills):.1f}".replace("-", "−") if skills else "undefined"
