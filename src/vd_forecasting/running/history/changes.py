"""What differs between two runs of the same experiments, apart from errors, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from vd_forecasting.running.history.kept import KeptData, KeptExperiment
from vd_forecasting.running.staleness.plan import (
    changed_code,
    changed_parameters,
    changed_versions,
)
from vd_forecasting.wording import NOTHING, lead_time, plural

SHA_DIGITS = 8
"""Of a hash that are shown."""


@dataclass(frozen=True)
class Changes:
    """What differs. A change of several experiments stands once."""

    parameters: list[str]
    data: list[str]
    code: list[str]
    """Modules of this package."""
    versions: list[str]

    def __bool__(self) -> bool:
        return any(vars(self).values())


def changes_between(
    before: Mapping[str, KeptExperiment], after: Mapping[str, KeptExperiment]
) -> Changes:
    """What differs in the experiments that both have."""
    pairs = {name: (before[name], after[name]) for name in after if name in before}
    return Changes(
        parameters=_once(
            {
                name: changed_parameters(one.parameters, two.parameters)
                for name, (one, two) in pairs.items()
            }
        ),
        data=_once({name: _changed_data(one.data, two.data) for name, (one, two) in pairs.items()}),
        code=sorted({m for one, two in pairs.values() for m in changed_code(one.code, two.code)}),
        versions=sorted(
            {v for one, two in pairs.values() for v in changed_versions(one.versions, two.versions)}
        ),
    )


def _once(by_experiment: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Each change once, with the experiments that it is of unless it is of all.

    A parameter of one experiment keeps its full name; where several have the same change to theirs,
    it stands without the experiment: ``training.epochs 3 → 5 (all)``.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for name, changed in by_experiment.items():
        for key, values in changed.items():
            names.setdefault((key.removeprefix(f"{name}."), values), []).append(name)
    lines = []
    for (key, values), of in names.items():
        own = f"{of[0]}.{key}" in by_experiment[of[0]]
        if own and len(of) == 1:
            lines.append(f"{of[0]}.{key} {values}")
        elif len(of) < len(by_experiment):
            lines.append(f"{key} {values} ({', '.join(of)})")
        else:
            lines.append(f"{key} {values}{' (all)' if own else ''}")
    return lines


def _changed_data(before: KeptData, after: KeptData) -> dict[str, str]:
    """What changed, and the old and the new value."""
    found = {}
    if before.file != after.file:
        same = " with the same content" if before.sha256 == after.sha256 else ""
        found["file"] = f"{before.file} → {after.file}{same}"
    elif before.sha256 != after.sha256:
        digests = (of.sha256[:SHA_DIGITS] if of.sha256 else NOTHING for of in (before, after))
        found[f"content of {after.file}"] = " → ".join(digests)
    if before.detectors != after.detectors:
        found["detectors"] = f"{before.detectors:,} → {after.detectors:,}"
    elif before.vdids != after.vdids:
        found[f"{plural(after.detectors, 'detector')}:"] = "other ones"
    if before.span != after.span:
        found["time"] = f"{before.span} → {after.span}"
    if before.interval_minutes != after.interval_minutes:
        intervals = (lead_time(of.interval_minutes) for of in (before, after))
        found["interval"] = " → ".join(intervals)
    return found
