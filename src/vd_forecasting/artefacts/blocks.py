"""The windows of the test blocks of an experiment, one where the file has one test split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import xarray as xr
from typing_extensions import Self

from vd_forecasting.artefacts.windows import WindowSet

_GROUP = "block_{}"


@dataclass(frozen=True)
class WindowBlocks:
    """The windows of each block by its number, from 1; the last block ends where the file ends.

    Its file holds the last block as it would hold a single one, and each other block as a group.
    """

    GROUPED: ClassVar = True
    LAZY: ClassVar = WindowSet.LAZY
    NEEDS: ClassVar = WindowSet.NEEDS

    blocks: Mapping[int, WindowSet]
    failed: Mapping[int, str] = field(default_factory=dict)
    """Why a block before the last has no windows."""

    @classmethod
    def of_one(cls, windows: WindowSet) -> Self:
        """A single block."""
        return cls({1: windows})

    @classmethod
    def from_xarray(cls, groups: Mapping[str, xr.Dataset]) -> Self:
        """Take over what a file held; a ValueError says what of it does not fit together."""
        attributes = groups["/"].attrs
        texts = (str(text).partition(" ") for text in np.atleast_1d(attributes.get("failed", [])))
        failed = {int(number): why for number, _, why in texts}
        count = int(attributes.get("folds", 1))
        if count != len(groups) + len(failed):
            raise ValueError(f"it holds {len(groups)} of {count} blocks, {len(failed)} failed")
        at = {n: _GROUP.format(n) for n in range(1, count) if n not in failed} | {count: "/"}
        if missing := set(at.values()) - set(groups):
            raise ValueError(f"it has no {min(missing)}")
        return cls({n: WindowSet.from_xarray(groups[name]) for n, name in at.items()}, failed)

    def to_xarray(self) -> dict[str, xr.Dataset]:
        """Return what the groups of a file hold."""
        attributes: dict[str, object] = {"folds": self.count} if self.count > 1 else {}
        if self.failed:
            attributes["failed"] = [f"{number} {why}" for number, why in self.failed.items()]
        earlier = {_GROUP.format(n): of_block.data for n, of_block in self.earlier.items()}
        return {"/": self.last.data.assign_attrs(attributes), **earlier}

    @property
    def count(self) -> int:
        """Blocks, those that failed among them."""
        return max(self.blocks)

    @property
    def last(self) -> WindowSet:
        return self.blocks[self.count]

    @property
    def earlier(self) -> dict[int, WindowSet]:
        """All blocks but the last."""
        return {n: of_block for n, of_block in self.blocks.items() if n < self.count}

    def label(self, number: int) -> int | None:
        """The number of a block; None where there is one only."""
        return number if self.count > 1 else None
