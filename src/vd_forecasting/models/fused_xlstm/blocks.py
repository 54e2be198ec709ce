"""Blocks as the ``xlstm`` package composes them: residual branches of normed input.

Both compute in the type of their weights, also where autocast would take a shorter one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vd_forecasting.models.fused_xlstm.mlstm import mlstm_layer
from vd_forecasting.models.fused_xlstm.pointwise import drop, normalize
from vd_forecasting.models.fused_xlstm.slstm import slstm_layer


def mlstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``mLSTMBlock``: ``[B, S, D]`` to ``[B, T, D]``."""
    layer = block.xlstm
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(layer.proj_up.weight.dtype)
        return x[:, -steps:] + drop(mlstm_layer(layer, block.xlstm_norm(x), steps), layer.dropout)


def slstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``sLSTMBlock`` with the vanilla backend."""
    layer, feedforward = block.xlstm, block.ffn
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(layer.fgate.weight.dtype)
        y = drop(slstm_layer(layer, block.xlstm_norm(x), steps), layer.dropout)
        x = x[:, -steps:] + normalize(y, layer.group_norm, layer.config.num_heads)
        gate, up = feedforward.proj_up(block.ffn_norm(x)).chunk(2, dim=-1)
        return x + drop(feedforward.proj_down(functional.gelu(gate) * up), feedforward.dropout)
