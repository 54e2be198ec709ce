"""A function as a CUDA graph: recorded once, then launched as one, without waiting for Python."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UPS = 3
"""Runs before the recording, as PyTorch advises: libraries choose kernels and allocate then."""


def is_asynchronous(device: torch.device) -> bool:
    """Whether the device can record, and runs behind Python unless something waits for it."""
    return device.type == "cuda"


def recorded(
    function: Callable[[], None], changes: Callable[[], Sequence[Tensor]], device: torch.device
) -> Callable[[], None]:
    """The function, which reads and changes only tensors that stay where they are, as one launch.

    It is run before, which is undone; ``changes`` are the tensors that then change.
    """
    replay: Callable[[], None] = capture(function, changes, device).replay
    return replay


def capture(
    function: Callable[[], None], changes: Callable[[], Sequence[Tensor]], device: torch.device
) -> torch.cuda.CUDAGraph:
    """Record what a function does on a GPU. Dropout draws anew in every replay."""
    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream), undone(changes), torch.random.fork_rng([device]):
        for _ in range(WARM_UPS):
            function()
    # Other threads of this process may train on other devices meanwhile.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        function()
    torch.cuda.current_stream(device).wait_stream(stream)
    return graph


@contextmanager
def undone(changes: Callable[[], Sequence[Tensor]]) -> Iterator[None]:
    """Set tensors back, in place, to what they were; those that appear meanwhile, behind the
    others, to zero, with which moments of an optimizer begin."""
    before = [tensor.detach().clone() for tensor in changes()]
    try:
        yield
    finally:
        now = changes()
        with torch.no_grad():
            for tensor, value in zip(now, before, strict=False):
                tensor.copy_(value)
            for tensor in now[len(before) :]:
                tensor.zero_()
