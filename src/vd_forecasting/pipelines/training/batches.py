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

    Of a global model every window is of one VD: N is 1, and windows without a generator come VD by
    VD. Channels behind the calendar describe the VD; the last one is its number, its position
    counted from 1.
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
        values, observed = map(torch.from_numpy, windows.series(vds))  # [T, N, features]
        calendar = torch.from_numpy(windows.calendar)  # [T, 9]
        # Views all: [T-S+1, S, ...] for the inputs, [T-S-H+1, H, ...] for the targets.
        self.past = values.unfold(0, length, 1).movedim(-1, 1)
        self.past_calendar = calendar.unfold(0, length, 1).movedim(-1, 1)
        self.future = values[length:].unfold(0, horizons, 1).movedim(-1, 1)
        self.future_observed = observed[length:].unfold(0, horizons, 1).movedim(-1, 1)
        self.target_positions = windows.target_positions
        self.one_by_one, self.first_vd = windows.one_by_one, vds.start
        self.static = torch.from_numpy(windows.static[vds])  # [N, Q]
        starts = windows.starts(split)
        chosen = np.ones((values.shape[1] if self.one_by_one else 1, len(starts)), bool)
        if generator is not None:
            any_target = observed[..., self.target_positions].any(dim=2)  # [T, N]
            if not self.one_by_one:
                any_target = any_target.any(dim=1, keepdim=True)
            before = np.zeros((len(any_target) + 1, len(chosen)), "int32")
            np.cumsum(any_target.numpy(), axis=0, out=before[1:])
            first = starts + length
            chosen = (before[first + horizons] > before[first]).T
        vd, at = np.nonzero(chosen)
        self.starts = torch.from_numpy(starts[at])
        self.vd = torch.from_numpy(vd.astype("int32"))  # among ``vds``; 0 where they are joint
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
        """Some windows, counted in the order they have without a generator."""
        starts, vd, targets = self.starts[rows], self.vd[rows].long(), self.target_positions

        def cut(series: Tensor) -> Tensor:  # [B, S or H, N, features]
            return series[starts, :, vd][:, :, None] if self.one_by_one else series[starts]

        channels = [cut(self.past).flatten(2), self.past_calendar[starts]]
        if self.one_by_one:
            number = (self.first_vd + 1 + vd).float()[:, None]
            of_vd = torch.cat([self.static[vd], number], dim=1)  # [B, Q + 1]
            channels.append(of_vd[:, None].expand(-1, channels[0].shape[1], -1))
        observed = cut(self.future_observed)[..., targets]
        future = cut(self.future)[..., targets].masked_fill(~observed, torch.nan)
        return torch.cat(channels, dim=2), future
