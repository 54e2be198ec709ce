"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import torch
from vd_forecasting.pipelines.training.memory import keep_freed_memory

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(500_000) for _ in range(20)]  # 2 MB each
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for keeps in (False, True):
    if keeps:
        keep_freed_memory()
    steps = [faults_of_a_step() for _ in range(6)]
    print(steps[-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to")
def test_a_step_gets_the_memory_of_the_step_before() -> None:
    command = [sys.executable, "-c", STEPS]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    returned, kept = map(int, run.stdout.split())
    assert kept < 100 < returned
