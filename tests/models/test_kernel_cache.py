"""Kernels loaded from numba's cache against the same kernels just compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import PROJECT
from vd_forecasting.models.fused_xlstm import choice

RUN_ALL_KERNELS = """
import hashlib
import torch
from tests.make.xlstm_blocks import KINDS, make_block, run

for kind in KINDS:
    block = make_block(kind, dropout=0.1)
    x, weight = torch.randn(16, 20, 32), torch.randn(16, 12, 32)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        output, gradients = run(block, kind, x, weight)
        for name, tensor in {"output": output, **gradients}.items():
            bits = hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
            print(kind, threads, name, bits)
"""


@pytest.mark.integration
@pytest.mark.skipif(choice.COMPILED is None, reason="numba is not installed")
def test_compiled_and_cached_kernels_give_equal_bits(tmp_path: Path) -> None:
    def run_all_kernels() -> list[str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", RUN_ALL_KERNELS]
        return subprocess.run(
            command, cwd=PROJECT, env=environment, check=True, capture_output=True, text=True
        ).stdout.splitlines()

    def compiled() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}

    just_compiled = run_all_kernels()
    cache = compiled()
    assert cache
    assert run_all_kernels() == just_compiled
    assert compiled() == cache, "the second process compiled too"
