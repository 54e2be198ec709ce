"""Which implementation a block gets: compiled where that applies, else in plain torch.

Both compute in the type of the weights, also where autocast would take a shorter one.
"""

import math
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vd_forecasting.models.fused_xlstm import in_torch

try:
    from vd_forecasting.models.fused_xlstm import compiled

    COMPILED: ModuleType | None = compiled
except ImportError:  # numba is late with new versions of Python
    COMPILED = None


BlockFunction = Callable[[nn.Module, Tensor, int], Tensor]


def mlstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``mLSTMBlock``: ``[B, S, D]`` to ``[B, T, D]``.

    It is a ValueError if the S steps are more than the context length.
    """
    layer, cell = block.xlstm, block.xlstm.mlstm_cell
    if x.shape[1] > (longest := cell.config.context_length):
        raise ValueError(
            f"a window of {x.shape[1]} steps is longer than context_length {longest}; "
            "raise context_length to at least that"
        )
    up, heads = layer.proj_up.weight, cell.config.num_heads
    width = math.gcd(up.shape[1], up.shape[0] // 2 // heads)
    fours = layer.conv1d.conv.weight.shape[2], layer.q_proj.weight.shape[1]
    chosen = compiled if is_compiled(x, up.dtype, width, heads, fours) else in_torch
    return in_full(chosen.mlstm_block, block, x.to(up.dtype), steps)


def slstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``sLSTMBlock`` with the vanilla backend."""
    layer, gate, feed = block.xlstm, block.xlstm.fgate.weight, block.ffn.proj_down.weight
    width = math.gcd(gate.shape[2], feed.shape[1])
    fours = (layer.conv1d.conv.weight.shape[2],)
    chosen = compiled if is_compiled(x, gate.dtype, width, len(gate), fours) else in_torch
    return in_full(chosen.slstm_block, block, x.to(gate.dtype), steps)


def in_full(function: BlockFunction, block: nn.Module, x: Tensor, steps: int) -> Tensor:
    """Without autocast."""
    if not torch.is_autocast_enabled(x.device.type):
        return function(block, x, steps)
    with torch.autocast(x.device.type, enabled=False):
        return function(block, x, steps)


def is_compiled(
    x: Tensor, dtype: torch.dtype, width: int, heads: int, fours: Collection[int]
) -> bool:
    """True if the compiled kernels take this input, weights of this type, matrices whose widths are
    multiples of this one, and so many heads. Export traces plain torch.

    ``fours`` are 4 where they apply: the steps of the convolution, the channels that a map mixes.
    """
    if COMPILED is None or torch.compiler.is_compiling():
        return False
    is_plain = x.device.type == "cpu" and dtype == torch.float32 and x.numel() > 0
    fits = heads <= COMPILED.MOST_HEADS and COMPILED.lanes_of(width) > 0
    return is_plain and fits and set(fours) == {4}
