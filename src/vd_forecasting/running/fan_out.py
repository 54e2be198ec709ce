"""Nodes that several workers can do together.

A node of many trainings, or of baselines of many detectors, has parts, each a share of them.
Workers do them ahead and leave finished states, where the node finds them. So the node itself makes
the same as without them, and raises what there is to raise; a part that fails or is killed has only
saved less time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from vd_forecasting.parameters import IndependentMultiVDWindows
from vd_forecasting.running.estimate import is_training, num_models, plan_trainings
from vd_forecasting.running.kedro_private import wiring
from vd_forecasting.running.shares import Share
from vd_forecasting.vd_array import VDS_AT_ONCE

CHUNK = 64
"""Most trainings, or blocks of detectors, in a part, so that little is lost with its worker."""

PARTS_OF_WORKER = 4
"""So many parts are made for each worker, so that none has to wait long for a slower one."""


def parts_of(node: Node, catalog: CatalogProtocol, workers: int) -> list[Node]:
    """The parts of a node, to be run before it by so many workers; none if it is best done whole.

    They read what the node reads and have no outputs.
    """
    function = getattr(node.func, "part", None)
    if function is None or workers < 2:
        return []
    if (pieces := _pieces(node, catalog)) < 2:
        return []
    count = max(min(pieces, PARTS_OF_WORKER * workers), math.ceil(pieces / CHUNK))
    name = node.name.rpartition(".")[2]
    return [
        Node(
            _Part(function, Share(number, count)),
            wiring(node)[0],
            None,
            tags=node.tags,
            name=f"{name}-{number + 1}-of-{count}",
            namespace=node.namespace,
        )
        for number in range(count)
    ]


def _pieces(node: Node, catalog: CatalogProtocol) -> int:
    """Trainings of a node; or blocks of detectors of baselines, if each detector has its own."""
    if is_training(node):
        return sum(math.prod(one.size) for one in plan_trainings([node], catalog))
    mode = str(node.namespace).removeprefix("compare_")
    windows = catalog.load(f"params:{mode}_lstm.windows")
    if not isinstance(windows, IndependentMultiVDWindows):
        return 0
    blocks = math.ceil(num_models(windows) / VDS_AT_ONCE)
    return blocks * int(catalog.load("params:split").folds) if blocks > 1 else 0


@dataclass(frozen=True)
class _Part:
    """A function with its share; Kedro warns about a ``partial``."""

    function: Callable[..., None]
    share: Share

    def __call__(self, *inputs: Any) -> None:
        self.function(*inputs, share=self.share)
