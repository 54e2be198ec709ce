"""Batches of windows, cut out of the series by indexing views of it; no window is ever stored."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from typing_extensions import Self

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

    ``num_windows`` are there, of which a pass may see fewer, see :meth:`at_most`. They lie on a
    device and are cut there; which windows a pass sees does not depend on it.
    """

    def __init__(
        self,
        windows: WindowSet,
        vds: slice,
        split: str,
        batch_size: int,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)

        def there(array: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(self.device)

        self.lengths = windows.sequence_length, windows.prediction_length
        self._show(*map(there, windows.series(vds)))  # [T, N, features]
        calendar = there(windows.calendar)  # [T, 9]
        self.past_calendar = calendar.unfold(0, self.lengths[0], 1).movedim(-1, 1)
        self.target_positions = torch.tensor(windows.target_positions, device=self.device)
        self.one_by_one, self.first_vd = windows.one_by_one, vds.start
        self.static = there(windows.static[vds])  # [N, Q]
        any_target = None
        if generator is not None:
            any_target = self.observed[..., self.target_positions].any(dim=2).cpu()  # [T, N]
        self._choose(windows, split, batch_size, any_target)
        self.generator = generator

    def _show(self, values: Tensor, observed: Tensor) -> None:
        """Cut windows out of this series: views, ``[T-S+1, S, ...]`` for the inputs and
        ``[T-S-H+1, H, ...]`` for the targets."""
        length, horizons = self.lengths
        self.values, self.observed = values, observed
        self.past = values.unfold(0, length, 1).movedim(-1, 1)
        self.future = values[length:].unfold(0, horizons, 1).movedim(-1, 1)
        self.future_observed = observed[length:].unfold(0, horizons, 1).movedim(-1, 1)

    def _choose(
        self, windows: WindowSet, split: str, batch_size: int, any_target: Tensor | None
    ) -> None:
        """Take the windows of a split, where ``any_target`` [T, N] is given those with a target."""
        self.starts = torch.from_numpy(windows.starts(split))
        chosen = np.ones((self.past.shape[2] if self.one_by_one else 1, len(self.starts)), bool)
        if any_target is not None:
            if not self.one_by_one:
                any_target = any_target.any(dim=1, keepdim=True)
            before = np.zeros((len(any_target) + 1, len(chosen)), "int32")
            np.cumsum(any_target.numpy(), axis=0, out=before[1:])
            first = self.starts.numpy() + windows.sequence_length
            chosen = (before[first + windows.prediction_length] > before[first]).T
        # A window is its place among those of all VDs, VD by VD. Thousands of VDs have many.
        kind = "int32" if chosen.size < 2**31 else "int64"
        self.windows = torch.from_numpy(np.flatnonzero(chosen).astype(kind)).to(self.device)
        self.starts = self.starts.to(self.device)
        self.num_windows = self.num_seen = len(self.windows)
        self.batch_size = batch_size

    def in_order(self, windows: WindowSet, split: str, batch_size: int) -> Self:
        """All windows of a split of the same series, which are shared, in the order of time."""
        other = copy.copy(self)
        other.generator = None
        other._choose(windows, split, batch_size, None)
        return other

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
        return map(self.at, self.draw())

    def draw(self) -> "Pass":
        """The windows of the next pass."""
        if self.generator is None:
            order = torch.arange(self.num_seen) * self.num_windows // max(self.num_seen, 1)
        else:
            kind = self.windows.dtype
            order = torch.randperm(self.num_windows, generator=self.generator, dtype=kind)
            order = order[: self.num_seen].clone()  # not a view, which would keep them all
        return Pass(order.to(self.device), self.batch_size)

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


@dataclass(frozen=True)
class Pass:
    """The windows of one pass, counted as :meth:`WindowBatches.at` does, batch by batch."""

    order: Tensor
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        return map(self.rows, range(len(self)))

    def rows(self, number: int) -> Tensor:
        """Those of a batch, counted from 0; the last batch may have fewer."""
        return self.order[number * self.batch_size : (number + 1) * self.batch_size]


def cut_together(several: Sequence[WindowBatches]) -> Callable[[Tensor], Batch]:
    """What :meth:`WindowBatches.at` does, for several models of as many VDs at once.

    It takes rows ``[M, B]`` and returns inputs ``[M, B, S, C]`` and targets ``[M, B, H, N, F]``. A
    row of -1 is no window: it has no target.
    """
    one = copy.copy(several[0])

    def cut(values: Tensor, observed: Tensor, windows: Tensor, rows: Tensor) -> Batch:
        one._show(values, observed)
        one.windows = windows
        inputs, targets = one.at(rows)
        return inputs, without_target(targets, rows)

    series = [torch.stack([getattr(of, name) for of in several]) for name in ("values", "observed")]
    windows = pad_sequence([of.windows for of in several], batch_first=True)
    return partial(torch.vmap(cut), *series, windows)


def without_target(targets: Tensor, rows: Tensor) -> Tensor:
    """The targets ``[B, H, N, F]`` of these rows, NaN where a row is -1, which fills up a batch."""
    return targets.masked_fill((rows < 0)[:, None, None, None], torch.nan)
