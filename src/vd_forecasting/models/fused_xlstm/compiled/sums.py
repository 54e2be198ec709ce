"""Gradients that every part of the windows adds up by itself."""

from collections.abc import Sequence

from torch import Tensor


def zeros(parts: int, like: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
    """Zeros for every part, ``[parts, size]``, and those of the first part by tensor.

    Those of the other parts lie one size behind the other.
    """
    sizes = [of.numel() for of in like]
    sums = like[0].new_zeros(parts, sum(sizes))
    return sums, sums[0].split(sizes)


def added_up(sums: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The sum over all parts, in the shapes of these tensors."""
    total = sums[0] if len(sums) == 1 else sums.sum(0)
    pieces = total.split([of.numel() for of in like])
    return [piece.view(of.shape) for piece, of in zip(pieces, like, strict=True)]
