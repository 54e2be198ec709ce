"""The random numbers of compiled dropout."""

import pytest
import torch
from torch import Tensor

from vd_forecasting.models.fused_xlstm import choice

if choice.COMPILED is None:
    pytest.skip("numba is not installed", allow_module_level=True)

from vd_forecasting.models.fused_xlstm.compiled.kernel import kernel
from vd_forecasting.models.fused_xlstm.compiled.rows import kept
from vd_forecasting.models.fused_xlstm.compiled.vectors import f32, fill, store, widest

LANES = 0  # set by kernel()


@kernel
def _masks(part, parts, mask, size, share, seed):  # type: ignore[no-untyped-def]
    like = fill(LANES, f32(0))
    for k in range(0, size, LANES):
        store(kept(like, k, seed, share), mask, k)


def mask(share: float, seed: int, size: int = 1_000_000) -> Tensor:
    found = torch.empty(size)
    _masks(widest(), (1, 0), [found], (size, f32(share), seed))
    return found


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_keeps_the_right_share_at_the_right_size(share: float) -> None:
    values = mask(share, 3)
    spread = (share * (1 - share) / len(values)) ** 0.5
    assert abs((values != 0).double().mean().item() - (1 - share)) < 4 * spread
    torch.testing.assert_close(values, (values != 0) / torch.tensor(1 - share))


def test_masks_are_uncorrelated() -> None:
    def correlation(a: Tensor, b: Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a, b]))[0, 1])

    masks = [mask(0.3, seed) for seed in (0, 1, 2, 2**16, 2**31, 2**32 - 1)]
    for n, one in enumerate(masks):
        for other in masks[:n]:
            assert abs(correlation(one, other)) < 0.01
        for lag in (1, 2, 3, 32, 128, 1024):
            assert abs(correlation(one[:-lag], one[lag:])) < 0.01
