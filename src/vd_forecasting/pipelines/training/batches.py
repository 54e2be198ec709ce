"""Batches of windows, cut out of the series by indexing views of it; no window is ever stored."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from vd_forecasting.artefacts import WindowSet

Batch = tuple[Tensor, Tensor]
"""Inputs ``[B, S, C]`` and targets ``[B, H, N, F]``, NaN where not observed; both scaled."""


class WindowBatches:
    """Iterates over the batches of one split that a model of some VDs sees and forecasts.

    The C input channels are, VD by VD, its features, then the calendar. The last batch may be
    smaller. With a generator, windows are shuffled anew in every pass and those without any
    observed target left out, as they teach nothing; without one they keep the order of time.
    """

    def __init__(
        self,
        windows: WindowSet,
        vds: slice,
        split: str,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        length, horizons = windows.sequence_length, windows.prediction_length
        values = torch.from_numpy(windows.values[:, vds])  # [T, N, features]
        observed = torch.from_numpy(windows.observed[:, vds])
        calendar = torch.from_numpy(windows.calendar)  # [T, 4]
        # Views all: [T-S+1, S, ...] for the inputs, [T-S-H+1, H, ...] for the targets.
        self.past = values.unfold(0, length, 1).movedim(-1, 1)
        self.past_calendar = calendar.unfold(0, length, 1).movedim(-1, 1)
        self.future = values[length:].unfold(0, horizons, 1).movedim(-1, 1)
        self.future_observed = observed[length:].unfold(0, horizons, 1).movedim(-1, 1)
        self.target_positions = windows.target_positions
        starts = windows.starts(split)
        if generator is not None:
            any_target = observed[..., self.target_positions].flatten(1).any(dim=1).numpy()
            before = np.concatenate([[0], np.cumsum(any_target)])
            first = starts + length
            starts = starts[before[first + horizons] > before[first]]
        self.starts = torch.from_numpy(starts)
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(len(self.starts))
        if self.generator is not None:
            order = torch.randperm(len(order), generator=self.generator)
        for first in range(0, len(order), self.batch_size):
            yield self.at(order[first : first + self.batch_size])

    def at(self, rows: slice | Tensor) -> Batch:
        """Some windows, counted in the order of time."""
        starts, targets = self.starts[rows], self.target_positions
        inputs = torch.cat([self.past[starts].flatten(2), self.past_calendar[starts]], dim=2)
        observed = self.future_observed[starts][..., targets]
        return inputs, self.future[starts][..., targets].masked_fill(~observed, torch.nan)
