"""Why outputs are stale, in words."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vd_forecasting.running.staleness.fingerprint import Fingerprint

MOST_NAMES = 3
SPEED_ONLY = ("compute.threads",)
"""Parameters that do not change a result."""


def differences(before: Fingerprint, now: Fingerprint, ignore: Collection[str] = ()) -> list[str]:
    """Differences between how outputs were made and how they would be made now.

    Args:
        before: taken when the outputs were made.
        now: taken now.
        ignore: inputs that are made again anyway.
    """
    return [
        *_parameters(before["parameters"], now["parameters"]),
        *_code(before["code"], now["code"]),
        *_inputs(before["inputs"], now["inputs"], ignore),
        *(
            f"catalog entry of {name} changed"
            for name in _both(before["datasets"], now["datasets"])
        ),
        *(
            f"{package} {before['versions'].get(package, 'not used')} → "
            f"{now['versions'].get(package, 'not used')}"
            for package in _changed(before["versions"], now["versions"])
        ),
    ]


def alterations(before: Fingerprint, now: Fingerprint) -> dict[str, str]:
    """Output files that changed since they were made, by dataset, and how.

    Args:
        before: taken when the outputs were made.
        now: taken now.
    """
    found = {}
    for name, content in now["outputs"].items():
        if content is None:
            found[name] = "is missing"
        elif content != before["outputs"].get(name):
            found[name] = "was changed since"
    return found


def short_path(path: Path) -> str:
    """A path, short if it lies in the working directory."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def _parameters(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    old, new = flat(before), flat(now)
    return [
        f"parameter {key} {_value(old, key)} → {_value(new, key)}"
        for key in _changed(old, new)
        if key not in SPEED_ONLY
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested blocks as one, with dotted keys; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def _value(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(none)"
    return json.dumps(values[key], ensure_ascii=False)


def _code(before: dict[str, str], now: dict[str, str]) -> list[str]:
    # Added or removed modules show up in those that import them.
    changed = _both(before, now) or _changed(before, now)
    if not changed:
        return []
    names = [name.partition(".")[2] if " " not in name else name for name in changed]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return [f"code changed: {', '.join(names[:MOST_NAMES])}{more}"]


def _inputs(
    before: dict[str, list[str | None]],
    now: dict[str, list[str | None]],
    ignore: Collection[str],
) -> list[str]:
    found = []
    for name in _changed(before, now):
        if name.split()[0] in ignore:  # a figure goes with its page
            continue
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            continue  # the pipeline calls the node with other inputs, which counts as code
        if new[1] is None:
            found.append(f"input {name}: there is no {new[0]}")
        elif old[1] is None:
            found.append(f"input {name} was not there")
        elif old[0] != new[0]:
            found.append(f"input {name} is {new[0]}, was {old[0]}")
        else:
            found.append(f"input {name} changed")
    return found


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    missing = object()
    return sorted(
        key
        for key in before.keys() | now.keys()
        if before.get(key, missing) != now.get(key, missing)
    )


def _both(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in _changed(before, now) if key in before and key in now]
