"""Layers of several models at once, for ``torch.vmap``: their heads side by side.

A layer knows the number of its heads from its weights, so it takes those of M models as one model
with M times as many: ``[B, S, I]`` of each become ``[B, S, MI]``, weights by head ``[H, ...]``
become ``[MH, ...]``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor


def keep_for_gradient(ctx: Any, inputs: Iterable[Tensor], outputs: Sequence[Tensor]) -> None:
    """Keep inputs, and all outputs but the first, which nothing but the gradient uses."""
    ctx.mark_non_differentiable(*outputs[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, *outputs[1:])


def models_first(info: Any, in_dims: Sequence[int | None], inputs: Sequence[Any]) -> list[Any]:
    """The inputs with the models along the first dim of every tensor; others as they are."""
    return [
        value
        if not isinstance(value, Tensor)
        else value.expand(info.batch_size, *value.shape)
        if dim is None
        else value.movedim(dim, 0)
        for value, dim in zip(inputs, in_dims, strict=True)
    ]


def beside(x: Tensor) -> Tensor:
    """``[M, B, S, I]`` as ``[B, S, MI]``."""
    return x.permute(1, 2, 0, 3).flatten(2)


def apart(
    info: Any, outputs: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    """The first output, ``[B, T, MI]``, by model, and along which dim of each the models are.

    The others belong to no model; they are handed to the gradient as they are.
    """
    output, *kept = outputs
    return (output.unflatten(2, (info.batch_size, -1)), *kept), (2, *(None for _ in kept))
