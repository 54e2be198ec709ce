"""Steps that are recorded as on a GPU, where there is none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vd_forecasting.models.fused_xlstm import choice
from vd_forecasting.pipelines.training import captured


@contextmanager
def recorded_steps() -> Iterator[list[int]]:
    """A graph is the function itself, and what is compiled for CPUs is not used between layers.

    Yields how often each graph was replayed.
    """
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
        patch.setattr(captured, "capture", capture)
        patch.setattr(choice, "is_compiled", lambda *_: False)
        patch.setattr(captured, "is_asynchronous", lambda device: True)
        yield replays
