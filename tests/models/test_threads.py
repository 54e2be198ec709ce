"""The compiled kernels on several threads."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.make.xlstm_blocks import FUSED, KINDS, error, make_block, run
from vd_forecasting.models.fused_xlstm import choice

if choice.COMPILED is None:
    pytest.skip("numba is not installed", allow_module_level=True)

from numba import njit

from vd_forecasting.models.fused_xlstm.compiled import threads
from vd_forecasting.models.fused_xlstm.compiled.threads import in_parts, parts_of

needs_openmp = pytest.mark.skipif(not threads.OPENMP, reason="torch has no OpenMP here")
with_and_without_openmp = pytest.mark.parametrize(
    "openmp",  # its address has no place in a test's name: it differs from process to process
    [pytest.param(0, id="in turn"), pytest.param(threads.OPENMP, id="OpenMP", marks=needs_openmp)],
)


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@njit(nogil=True)
def _count(part: int, parts: int, counts: np.ndarray, broken: int) -> None:
    if part == broken:
        raise MemoryError
    counts[part] += parts


@njit(nogil=True)
def count(parts: int, openmp: int, *arguments: Any) -> None:
    in_parts(_count, parts, openmp, arguments)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@with_and_without_openmp
def test_every_part_is_done_once(parts: int, openmp: int) -> None:
    counts = np.zeros(8, "int64")
    count(parts, openmp, counts, -1)
    np.testing.assert_array_equal(counts, [parts] * parts + [0] * (8 - parts))


@with_and_without_openmp
def test_a_part_without_memory_is_told(openmp: int) -> None:
    counts = np.zeros(4, "int64")
    with pytest.raises(MemoryError):
        count(4, openmp, counts, 2)
    np.testing.assert_array_equal(counts, [4, 4, 0, 4])


def test_from_several_threads_at_once() -> None:
    """As the ThreadRunner trains."""
    counts = np.zeros((4, 3), "int64")

    def often(row: np.ndarray) -> None:
        for _ in range(200):
            count(3, threads.OPENMP, row, -1)

    running = [threading.Thread(target=often, args=(row,)) for row in counts]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    np.testing.assert_array_equal(counts, np.full((4, 3), 600))


def test_as_many_parts_as_threads_but_none_empty() -> None:
    torch.set_num_threads(3)
    several = (3, threads.OPENMP) if threads.OPENMP else (1, 0)
    assert parts_of(100) == several
    assert parts_of(1) == (1, 0)
    torch.set_num_threads(1)
    assert parts_of(100) == (1, 0)


@needs_openmp
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 9), workers=st.integers(2, 4), last_only=st.booleans())
@example(batch=33, workers=2, last_only=False)  # more than are done together
@example(batch=64, workers=3, last_only=True)
def test_threads_change_rounding_only(kind: str, batch: int, workers: int, last_only: bool) -> None:
    block = make_block(kind)
    x = torch.randn(batch, 5, 32)
    weight = torch.randn(batch, 1 if last_only else 5, 32)
    torch.set_num_threads(1)
    output, gradients = run(block, kind, x, weight)
    torch.set_num_threads(workers)
    again = [run(block, kind, x, weight) for _ in range(2)]
    for output_on_threads, _ in again:
        assert error(output_on_threads, output) < 1e-6
    for name, gradient in gradients.items():
        assert error(again[0][1][name], gradient, floor=1e-2) < 1e-5, name
        assert torch.equal(again[0][1][name], again[1][1][name]), name


@needs_openmp
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_does_not_know_of_threads(kind: str) -> None:
    block, x = make_block(kind, dropout=0.4), torch.randn(33, 5, 32)

    def output(workers: int) -> torch.Tensor:
        torch.set_num_threads(workers)
        torch.manual_seed(0)
        with torch.no_grad():
            return FUSED[kind](block, x, 5)

    assert error(output(3), output(1)) < 1e-6


def test_a_matrix_in_pieces_is_refused() -> None:
    """A kernel sees addresses; it would read other numbers."""
    block: Any = make_block("mlstm")
    weight = block.xlstm.proj_down.weight
    weight.data = weight.data.T.contiguous().T
    with pytest.raises(ValueError, match="contiguous float32"):
        FUSED["mlstm"](block, torch.randn(1, 5, 32), 5)
