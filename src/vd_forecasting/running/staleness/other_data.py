"""Files made of another detector file, or by other rules of cleaning, than those of now."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import ValidationError

from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.running.staleness import fingerprint
from vd_forecasting.running.staleness.fingerprint import Fingerprint
from vd_forecasting.running.staleness.plan import alterations, differences


def made_of_other_data(
    pipeline: Pipeline, makers: Mapping[str, Node], catalog: CatalogProtocol
) -> dict[str, str]:
    """The nodes whose outputs are of other data, and why, in an order in which they can run.

    Other parameters, such as those of a training, do not count, and neither does a file of which
    there is no record. ``makers`` is of all pipelines. An OSError if a file cannot be read.
    """
    known = fingerprint.load_saved(catalog)
    found: dict[str, str] = {}
    changed: set[str] = set()
    for node in pipeline.nodes:
        if depends := sorted(changed.intersection(node.inputs)):
            found[node.name] = f"it depends on {depends[0]}"
        elif before := fingerprint.load_fingerprint(node, catalog):
            now = fingerprint.take_fingerprint(node, makers, catalog, known)
            reasons = _data_differences(before, now)
            reasons += [
                f"{name} {what}"
                for name, what in alterations(before, now).items()
                if now["outputs"][name] is not None
            ]
            if reasons:
                found[node.name] = "; ".join(reasons)
        if node.name in found:
            changed |= set(node.outputs)
    fingerprint.save_hashes(catalog, known)
    return found


def _is_checked(cleaning: dict[str, Any]) -> bool:
    """Whether these are all rules, defaults among them, and not only those that were given."""
    of_features = (cleaning.get("features") or {}).values()
    return cleaning.keys() == Cleaning.model_fields.keys() and all(
        one.keys() == FeatureCleaning.model_fields.keys() for one in of_features
    )


def _data_differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Differences of input files and rules of cleaning; an input that is gone is as it was."""
    old, new = (taken["parameters"].get("cleaning", {}) for taken in (before, now))
    if not _is_checked(new):
        with suppress(ValidationError, TypeError):  # a run that does not clean has no defaults
            new = Cleaning(**new).model_dump(mode="json")
    gone = {key for key, (_, content) in now["inputs"].items() if content is None}
    there = {
        key: old_file
        for key, old_file in before["inputs"].items()
        if key not in gone or old_file[0] != now["inputs"][key][0]
    }
    nothing: Fingerprint = {**before, "code": {}, "datasets": {}, "versions": {}}
    return differences(
        {**nothing, "parameters": {"cleaning": old}, "inputs": there},
        {**nothing, "parameters": {"cleaning": new}, "inputs": now["inputs"]},
    )
