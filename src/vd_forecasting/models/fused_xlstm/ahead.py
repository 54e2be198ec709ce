"""Compile all kernels before they are needed, in a process of their own that does nothing else.

It is started by :mod:`vd_forecasting.running.kernels_ahead`. What numba compiles here it keeps on
the disk, where every process finds it.
"""

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import torch

from vd_forecasting.models.xlstm import XLSTMConfig, XLSTMCore


def compile_kernels(embedding_dim: int) -> None:
    """Compile every kernel that networks of this width use in training and for forecasts, or load
    what numba has kept of it."""
    for last in (0, 1):  # the last block computes one step only, whichever kind it is
        config = XLSTMConfig(
            embedding_dim=embedding_dim,
            num_blocks=3 - last,
            slstm_at=[1],
            slstm_backend="fused",
            mlstm_backend="fused",
            dropout=0.5,
            context_length=8,
        )
        core, windows = XLSTMCore(config), torch.zeros(2, 8, embedding_dim, requires_grad=True)
        core.train()(windows).sum().backward()
        with torch.inference_mode():
            core.eval()(windows)


def main(arguments: Iterable[str]) -> None:
    """Compile for widths. Each is followed by a file, which is written once that is done, and by
    what to write there."""
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    given = iter(arguments)
    for width, done, content in zip(given, given, given, strict=True):
        compile_kernels(int(width))
        Path(done).write_text(content, "utf-8")


def _end_with_the_run() -> None:
    """End this process once the run that has the other end of the pipe is gone."""
    sys.stdin.buffer.read()
    os._exit(1)
