"""Neighbours, against NumPy's correlation."""

import numpy as np
import pytest

from tests.make.arrays import make_clean
from tests.make.windows import make_global_windows
from vd_forecasting.pipelines.baselines import baseline, neighbours
from vd_forecasting.pipelines.baselines.neighbours import Neighbours, nearest_vds


@pytest.mark.parametrize(("at_once", "row_bytes"), [(64, 10**6), (4, 3 * 280 * 2 * 4)])
def test_the_nearest_correlate_most_in_training(
    at_once: int, row_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "VDS_AT_ONCE", at_once)
    monkeypatch.setattr(neighbours, "ROW_BYTES", row_bytes)
    clean = make_clean(400, vds=10, missing=0.0)
    random = np.random.default_rng(0)
    mixed = random.normal(size=(10, 10))  # every detector is a mixture of all
    clean[:] = np.einsum("tnf,mn->tmf", clean.to_numpy() - clean.mean("time").to_numpy(), mixed)
    clean[300:] = random.normal(size=clean[300:].shape)  # behind the training split
    windows = make_global_windows(clean)
    training = clean.to_numpy()[: windows.ends["train"]]
    correlation = np.mean([np.corrcoef(training[..., f].T) for f in range(2)], axis=0)
    np.fill_diagonal(correlation, -np.inf)
    expected = np.argsort(-correlation, axis=1)
    np.testing.assert_array_equal(nearest_vds(windows, 3), expected[:, :3])
    np.testing.assert_array_equal(nearest_vds(windows, 9), expected[:, :9])


def test_neighbours_are_those_of_the_windows_asked_for() -> None:
    found = Neighbours(2)
    for seed in (0, 1, 0):
        windows = make_global_windows(make_clean(400, vds=8, seed=seed))
        for vds in (slice(0, 3), slice(3, 8)):
            np.testing.assert_array_equal(found.of(windows, vds), nearest_vds(windows, 2)[vds])


def test_a_detector_that_never_changes_is_nobodys_neighbour_first() -> None:
    clean = make_clean(400, vds=4, missing=0.0)
    clean[:, 1] = 7.0
    assert 1 not in nearest_vds(make_global_windows(clean), 1)[2:]
