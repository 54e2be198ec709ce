"""Gradients that every part of the windows adds up by itself."""

from collections.abc import Sequence

from torch import Tensor


def in_one(parts: int, like: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    """Memory for every part, ``[parts, size]``, of any values, and in it, shaped like these, the
    tensors of the first part.

    Those of the other parts lie one size behind the other.
    """
    sizes = [of.numel() for of in like]
    sums = like[0].new_empty(parts, sum(sizes))
    pieces = sums[0].split(sizes)
    return sums, [piece.view(of.shape) for piece, of in zip(pieces, like, strict=True)]


def add_up(sums: Tensor) -> None:
    """Add to the first part what the others have."""
    if len(sums) > 1:
        sums[0] += sums[1:].sum(0)
