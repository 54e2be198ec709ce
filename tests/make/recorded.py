"""Steps that are recorded as on a GPU, where there is none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vd_forecasting.pipelines.training import captured, loop


@contextmanager
def recorded_steps() -> Iterator[list[int]]:
    """A graph is the function itself; how often each is replayed."""
    replays: list[int] = []

    def capture(
        function: Callable[[], None], changes: Callable[[], Sequence[Tensor]], _: torch.device
    ) -> Any:
        with captured.undone(changes), torch.random.fork_rng([]):
            for _run in range(captured.WARM_UPS):
                function()
        replays.append(0)

        def replay(graph: int = len(replays) - 1) -> None:
            replays[graph] += 1
            function()

        return SimpleNamespace(replay=replay)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "capture", capture)
        patch.setattr(loop, "is_asynchronous", lambda device: True)
        yield replays
