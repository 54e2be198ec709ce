"""What stays as it is for as long as a block lives, found once.

To look it up in the block's modules at every call took a thirtieth of a training step.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

T = TypeVar("T")


def once_per_block(find: Callable[[Any], T]) -> Callable[[nn.Module], T]:
    """Call ``find`` with a block only once; what it returns must not hold the block."""
    found: WeakKeyDictionary[nn.Module, T] = WeakKeyDictionary()

    def of(block: nn.Module) -> T:
        if (known := found.get(block)) is None:
            known = found[block] = find(block)
        return known

    return of


def parameters_of(block: nn.Module, names: Iterable[str]) -> Callable[[], list[Tensor]]:
    """A function that returns the parameters which the block then has by these names."""
    paths = [name.rpartition(".") for name in names]
    kept = [(block.get_submodule(path)._parameters, name) for path, _, name in paths]
    return lambda: [of[name] for of, name in kept]  # type: ignore[misc]  # none of them is None
