"""Shares of the work of a node, for several workers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Which of so many parts."""

    number: int
    """Counted from 0."""
    count: int

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Every ``count``-th item."""
        return islice(items, self.number, None, self.count)


def in_parts(part: Callable[..., None]) -> Callable[[Function], Function]:
    """Mark the function of a node; ``part`` takes the same inputs and a ``share``."""

    def mark(function: Function) -> Function:
        function.part = part  # type: ignore[attr-defined]
        return function

    return mark
