"""Which kernels a tensor gets."""

from types import ModuleType

import torch
from torch import Tensor

from vd_forecasting.models.fused_xlstm import torch_kernels

try:
    from vd_forecasting.models.fused_xlstm import numba_kernels

    COMPILED: ModuleType | None = numba_kernels
except ImportError:  # numba is late with new versions of Python
    COMPILED = None


def kernels_for(x: Tensor) -> ModuleType:
    """The compiled kernels where they apply, else those in plain torch, which export can trace."""
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32
    if COMPILED is not None and is_plain and not torch.compiler.is_compiling():
        return COMPILED
    return torch_kernels
