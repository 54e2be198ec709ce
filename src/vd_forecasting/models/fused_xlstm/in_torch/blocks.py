"""Blocks as the ``xlstm`` package composes them: residual branches of normed input."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from vd_forecasting.models.fused_xlstm.in_torch.mlstm import mlstm_layer
from vd_forecasting.models.fused_xlstm.in_torch.slstm import slstm_layer


def mlstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``mLSTMBlock``: ``[B, S, D]`` to ``[B, T, D]``."""
    layer = block.xlstm
    y: Tensor = layer.dropout(mlstm_layer(layer, block.xlstm_norm(x), steps))
    return x[:, -steps:] + y


def slstm_block(block: Any, x: Tensor, steps: int) -> Tensor:
    """The last T steps of ``block(x)``, an ``sLSTMBlock`` with the vanilla backend."""
    layer, feed = block.xlstm, block.ffn
    y = layer.dropout(slstm_layer(layer, block.xlstm_norm(x), steps))
    x = x[:, -steps:] + normalize(y, layer.group_norm, layer.config.num_heads)
    gate, up = feed.proj_up(block.ffn_norm(x)).chunk(2, dim=-1)
    output: Tensor = x + feed.dropout(feed.proj_down(functional.gelu(gate) * up))
    return output


def normalize(x: Tensor, norm: Any, heads: int) -> Tensor:
    """The package's ``MultiHeadLayerNorm`` for ``[B, T, D]`` with the heads in D."""
    by_head = x.unflatten(2, (heads, -1))
    normed = functional.layer_norm(by_head, by_head.shape[3:], eps=norm.eps).flatten(2)
    output: Tensor = normed * norm.weight_proxy
    return output
