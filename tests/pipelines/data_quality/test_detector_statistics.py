from itertools import groupby

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.make.arrays import array, one
from vd_forecasting import vd_array as vd_blocks
from vd_forecasting.pipelines.data_quality.detector_statistics import detector_statistics
from vd_forecasting.pipelines.data_quality.stretches import longest_stretches, stretches
from vd_forecasting.pipelines.data_quality.traffic_plots import evenly_spread

NAN = np.nan


@given(hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 15))))
@settings(deadline=None)
def test_stretches_agree_with_a_plain_search(holds: npt.NDArray[np.bool_]) -> None:
    start, length = longest_stretches(holds)
    every = list(zip(*(found.tolist() for found in stretches(holds)), strict=True))
    for index, series in enumerate(holds.tolist()):
        runs, at = [(0, 0)], 0
        for value, run in groupby(series):
            size = len(list(run))
            if value:
                runs.append((size, -at))
            at += size
        assert [run for run in every if run[0] == index] == [
            (index, -begin, size) for size, begin in runs if size
        ]
        expected = max(runs)
        assert length[index] == expected[0]
        if expected[0]:
            assert start[index] == -expected[1]


def test_blocks_do_not_change_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 3, (200, 20, 3)).astype(float)
    values[random.random(values.shape) < 0.3] = NAN
    whole = vars(detector_statistics(array(values)))
    monkeypatch.setattr(vd_blocks, "BLOCK_BYTES", 1)
    for name, value in vars(detector_statistics(array(values))).items():
        pairs = [(value, whole[name])]
        if hasattr(value, "start"):
            pairs = [(value.start, whole[name].start), (value.length, whole[name].length)]
        for mine, theirs in pairs:
            np.testing.assert_array_equal(mine, theirs)


def test_evenly_spread() -> None:
    vd = array(np.zeros((5, 10, 2)))
    assert list(evenly_spread(vd, 40)["vd"].values) == ["VD-0", "VD-2", "VD-5", "VD-7"]
    assert evenly_spread(vd, 1).sizes["vd"] == 1
    assert evenly_spread(vd, 100).sizes["vd"] == 10


def test_stretches_of_a_series() -> None:
    found = detector_statistics(one([5, 5, 5, 0, 0, 7, NAN, 7, 7, NAN, NAN, 0]))
    assert (found.missing_stretch.start[0, 0], found.missing_stretch.length[0, 0]) == (9, 2)
    assert (found.zero_stretch.start[0, 0], found.zero_stretch.length[0, 0]) == (3, 2)
    assert (found.equal_stretch.start[0, 0], found.equal_stretch.length[0, 0]) == (0, 3)
    assert found.missing[0, 0] == 3
    assert found.highest[0] == 7
    # 5, 0, 7, 7 after the gap, 0
    assert found.changes[0, 0] == 5


def test_nights_and_days() -> None:
    series = np.ones(72)
    series[[0, 1, 24, 5, 23]] = NAN  # twice in the first night, once in the second; 5 and 23 h
    series[[6, 21, 22]] = NAN  # 22 h is evening
    found = detector_statistics(one(series, features=["avg_speed"]))
    assert found.missing_by_night[0, 0] == 3
    assert found.missing_by_day[0, 0] == 2
    assert (found.nights, found.night_steps, found.day_steps) == (3, 15, 48)
    assert found.patchy_nights[0, 0] == 2  # 40 % and 20 %


def test_no_vehicle_no_speed() -> None:
    values = np.ones((24, 1, 3))
    values[:3, 0, 0] = NAN
    values[:2, 0, 1] = [0, NAN]
    found = detector_statistics(array(values))
    np.testing.assert_array_equal(found.missing_by_night[0], [2, 1, 0])


def test_volume_by_hour() -> None:
    values = np.zeros((48, 2, 1))
    values[[8, 32], :, 0] = [[10.0, 20.0], [NAN, 60.0]]
    found = detector_statistics(array(values, features=["total_volume"]))
    assert found.volume_by_hour[8] == 30
    assert found.volume_by_hour[9] == 0
    assert np.isnan(detector_statistics(one([1, 2])).volume_by_hour).all()


def test_speeds_by_occupancy() -> None:
    speed, occupancy = [90, 100, 40, 20, 30, NAN], [5, 10, 30, 50, NAN, 60]
    values = np.stack([speed, np.ones(6), occupancy], axis=-1)[:, None]
    found = detector_statistics(array(values))
    assert (found.speed_when_sparse[0], found.sparse_steps[0]) == (95, 2)
    assert (found.speed_when_dense[0], found.dense_steps[0]) == (30, 2)


def test_only_equal_series_have_equal_digests() -> None:
    values = np.arange(12.0).reshape(4, 3, 1) % 5
    values[:, 2] = values[:, 0]
    values[1, [0, 2]] = NAN
    digests = detector_statistics(array(values)).digests[:, 0]
    assert digests[0] == digests[2] != digests[1]
