"""Memory that is freed stays with the process."""

import ctypes
import subprocess
import sys

import pytest

# The C library says what it has from the system; not every kernel counts the faults.
STEPS = """
import ctypes
import torch
from vd_forecasting.pipelines.training.memory import keep_freed_memory

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS.split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo

def from_the_system():
    info = mallinfo()
    return info.arena + info.hblkhd

def given_back_after_a_step(size):
    held = [torch.ones(size) for _ in range(20)]
    within = from_the_system()
    del held
    return within - from_the_system()

for keeps in (False, True):
    if keeps:
        keep_freed_memory()
    # Each step's blocks are larger than all before: those are given back wherever they lie.
    steps = [given_back_after_a_step(500_000 + 10_000 * step) for step in range(6)]
    print(min(steps), max(steps))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_a_step_gets_the_memory_of_the_step_before() -> None:
    command = [sys.executable, "-c", STEPS]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    least_returned, _, _, most_kept = map(int, run.stdout.split())
    assert least_returned > 20 * 4 * 500_000
    assert most_kept == 0
