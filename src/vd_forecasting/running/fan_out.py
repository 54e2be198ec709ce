"""Nodes that several workers can do together.

A node of many trainings has parts, each a share of them, which workers do ahead and leave where the
node finds them: finished states. So the node itself makes the same as without them, and raises what
there is to raise; a part that fails or is killed has only saved less time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from vd_forecasting.running.estimate import plan_trainings
from vd_forecasting.running.kedro_private import wiring
from vd_forecasting.running.shares import Share

CHUNK = 64
"""Most trainings in a part, so that little is repeated if its worker is lost."""

PARTS_OF_WORKER = 4
"""So many parts are made for each worker, so that none has to wait long for a slower one."""


def parts_of(node: Node, catalog: CatalogProtocol, workers: int) -> list[Node]:
    """The parts of a node, to be run before it by so many workers; none if it is best done whole.

    They read what the node reads and have no outputs.
    """
    function = getattr(node.func, "part", None)
    if function is None or workers < 2:
        return []
    trainings = sum(math.prod(one.size) for one in plan_trainings([node], catalog))
    if trainings < 2:
        return []
    count = max(min(trainings, PARTS_OF_WORKER * workers), math.ceil(trainings / CHUNK))
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


@dataclass(frozen=True)
class _Part:
    """A function with its share; Kedro warns about a ``partial``."""

    function: Callable[..., None]
    share: Share

    def __call__(self, *inputs: Any) -> None:
        self.function(*inputs, share=self.share)
