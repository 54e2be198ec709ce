"""Memory that kernels work in, the same in every call: warm in the caches, and never asked for."""

import threading

import torch
from torch import Tensor

_of_thread = threading.local()


def workspace(size: int) -> Tensor:
    """At least so many float32 numbers of any value, until the next call in this thread."""
    kept: Tensor | None = getattr(_of_thread, "kept", None)
    if kept is None or kept.numel() < size:
        kept = _of_thread.kept = torch.empty(size, dtype=torch.float32, device="cpu")
    return kept
