"""Batches of windows, cut out of the series by indexing views of it; no window is ever stored."""

import copy
import math
from collections.abc import Iterator
from typing import Self

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

    ``num_windows`` are there, of which a pass may see fewer, see :meth:`at_most`.
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
        self.starts = torch.from_numpy(windows.starts(split))
        chosen = np.ones((values.shape[1] if self.one_by_one else 1, len(self.starts)), bool)
        if generator is not None:
            any_target = observed[..., self.target_positions].any(dim=2)  # [T, N]
            if not self.one_by_one:
                any_target = any_target.any(dim=1, keepdim=True)
            before = np.zeros((len(any_target) + 1, len(chosen)), "int32")
            np.cumsum(any_target.numpy(), axis=0, out=before[1:])
            first = self.starts.numpy() + length
            chosen = (before[first + horizons] > before[first]).T
        # A window is its place among those of all VDs, VD by VD. Thousands of VDs have many.
        kind = "int32" if chosen.size < 2**31 else "int64"
        self.windows = torch.from_numpy(np.flatnonzero(chosen).astype(kind))
        self.num_windows = self.num_seen = len(self.windows)
        self.batch_size = batch_size
        self.generator = generator

    def at_most(self, number: int | None) -> Self:
        """The same, of which a pass sees at most so many windows, ``num_seen``; None for all.

        With a generator they are drawn anew in every pass. Without one they are always the same, at
        even distances.
        """
        fewer = copy.copy(self)
        fewer.num_seen = min(number or self.num_windows, self.num_windows)
        return fewer

    def __len__(self) -> int:
        return math.ceil(self.num_seen / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(order := self._order()), self.batch_size):
            yield self.at(order[first : first + self.batch_size])

    def _order(self) -> Tensor:
        """The windows of a pass, counted as :meth:`at` does."""
        if self.generator is None:
            return torch.arange(self.num_seen) * self.num_windows // max(self.num_seen, 1)
        kind = self.windows.dtype
        order = torch.randperm(self.num_windows, generator=self.generator, dtype=kind)
        return order[: self.num_seen].clone()  # not a view, which would keep them all

    def at(self, rows: slice | Tensor) -> Batch:
        """Some windows, counted in the order they have without a generator."""
        of_vd, targets = len(self.starts), self.target_positions
        windows = self.windows[rows].long()
        starts, vd = self.starts[windows % of_vd], windows // of_vd  # 0 where VDs are joint

        def cut(series: Tensor) -> Tensor:  # [B, S or H, N, features]
            return series[starts, :, vd][:, :, None] if self.one_by_one else series[starts]

        channels = [cut(self.past).flatten(2), self.past_calendar[starts]]
        if self.one_by_one:
            number = (self.first_vd + 1 + vd).float()[:, None]
            static = torch.cat([self.static[vd], number], dim=1)  # [B, Q + 1]
            channels.append(static[:, None].expand(-1, channels[0].shape[1], -1))
        observed = cut(self.future_observed)[..., targets]
        future = cut(self.future)[..., targets].masked_fill(~observed, torch.nan)
        return torch.cat(channels, dim=2), future
