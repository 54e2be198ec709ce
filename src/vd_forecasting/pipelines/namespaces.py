"""Templates whose inputs come from other namespaces."""

import warnings
from typing import Any

from kedro.pipeline import Pipeline


def across_namespaces(template: Pipeline, **names: Any) -> Pipeline:
    """Stamp out a template whose inputs come from other namespaces.

    It takes what ``Pipeline`` takes, which warns of every dotted name that is not of its own
    namespace; here it is meant.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        return Pipeline(template, **names)
