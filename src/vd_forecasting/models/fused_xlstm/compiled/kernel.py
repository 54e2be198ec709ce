"""From a Python function to a compiled kernel on torch's threads."""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from numba import njit
from torch import Tensor

from vd_forecasting.models.fused_xlstm.compiled.threads import in_parts
from vd_forecasting.models.fused_xlstm.compiled.vectors import (
    INNER,
    OPTIONS,
    pointers,
    widest,
)

_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_VERSION = sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:8]
_one_part: Any = None


def _all_parts(parts, openmp, addresses, numbers):
    in_parts(_one_part, parts, openmp, pointers(addresses) + numbers)


def kernel(one_part: Any) -> Callable[..., None]:
    """Compile ``one_part(part, parts, *tensors, *numbers)`` for vectors of any number of lanes.

    The compiled function takes that number, what :func:`.threads.parts_of` returns, contiguous
    float32 tensors, which it sees as pointers, and numbers. Numba keeps it beside the file of
    ``one_part``, which reads ``LANES``, for as long as no file of this folder changes.
    ``_all_parts`` is copied, with the kernel among its globals: in a closure, numba's cache would
    not know it again.
    """

    @cache
    def compiled(lanes: int) -> Any:
        of_lanes = FunctionType(one_part.__code__, {**one_part.__globals__, "LANES": lanes})
        code = _all_parts.__code__.replace(co_filename=one_part.__code__.co_filename)
        all_parts = FunctionType(code, {**globals(), "_one_part": njit(**INNER)(of_lanes)})
        # It names the file in the cache.
        all_parts.__qualname__ = f"{one_part.__qualname__}_{lanes}_{_VERSION}"
        all_parts.__module__ = one_part.__module__
        return njit(cache=True, **OPTIONS)(all_parts)

    def call(
        lanes: int, parts: tuple[int, int], tensors: Sequence[Tensor], numbers: tuple[Any, ...]
    ) -> None:
        for tensor in tensors:
            if not tensor.is_contiguous() or tensor.dtype != torch.float32:
                raise ValueError(
                    "a kernel takes contiguous float32 tensors, not one of "
                    f"{tensor.dtype}, shape {[*tensor.shape]} and strides {tensor.stride()}"
                )
        compiled(lanes)(*parts, tuple([tensor.data_ptr() for tensor in tensors]), numbers)

    return call


@cache
def lanes_of(width: int) -> int:
    """The lanes of vectors of which a width is a multiple; 0 if it is odd or half of that."""
    lanes = widest()
    while width % lanes:
        lanes //= 2
    return lanes if lanes >= 4 else 0
