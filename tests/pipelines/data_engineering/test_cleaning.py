import tracemalloc
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tests import PROJECT
from tests.make.arrays import make_clean
from tests.make.parameters import REPORT, SPLIT
from vd_forecasting import vd_array as vd_blocks
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.detector_clocks import detect_interval
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import rules
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_engineering.resample import resample
from vd_forecasting.pipelines.data_engineering.rules import RULES
from vd_forecasting.pipelines.data_quality import coverage_plots, traffic_plots
from vd_forecasting.pipelines.data_quality.coverage_plots import coverage
from vd_forecasting.pipelines.data_quality.report import report_quality
from vd_forecasting.vd_array import eligible_vds
from vd_forecasting.wording import in_words

NAN = np.nan
FEATURES = ["avg_speed", "total_volume", "other"]
ROW_RULES = {"blank time stamps", "duplicates", "absent steps"}


def parameters(**changes: Any) -> Cleaning:
    """Speed and volume as in the project's own parameters, stuck after a quarter of an hour."""
    features = {
        "avg_speed": {"unit": "km/h", "range": (0, 200), "stuck_after": "15min"},
        "total_volume": {
            "unit": "veh/interval",
            "range": (0, 3000),
            "error_codes": (-99, -1, 999),
        },
    }
    base = {
        "interval": None,
        "error_codes": (-99, -1, 255, 999),
        "min_observed": 0.5,
        "features": features,
    }
    return Cleaning(**{**base, **changes})


def steps(*clock: str, day: str = "2024-03-01") -> np.ndarray:
    return np.array(
        ["NaT" if text == "" else f"{day}T{text}" for text in clock], dtype="datetime64[ns]"
    )


def vd_array(
    values: npt.ArrayLike,
    times: np.ndarray | None = None,
    features: Sequence[str] | None = None,
    **attrs: Any,
) -> xr.DataArray:
    """One VD with one feature from a flat list, else [time, vd, feature] as given."""
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 1:
        values = values[:, None, None]
    if times is None:
        times = np.datetime64("2024-03-01T00:00", "ns") + np.arange(len(values)) * np.timedelta64(
            5, "m"
        )
    return xr.DataArray(
        values,
        dims=("time", "vd", "feature"),
        coords={
            "time": times,
            "vd": [f"VD-{n}" for n in range(values.shape[1])],
            "feature": features or FEATURES[: values.shape[2]],
        },
        attrs={"source_file": "test.h5", **attrs},
        name="features",
    )


def flat(vd: xr.DataArray) -> np.ndarray:
    return vd.to_numpy()[:, 0, 0]


def test_error_codes_become_missing() -> None:
    vd = vd_array([50, -99, -1, 255, 999, 254])
    np.testing.assert_array_equal(
        flat(rules.drop_error_codes(vd, parameters())), [50, NAN, NAN, NAN, NAN, 254]
    )


def test_own_error_codes_replace_the_shared_ones() -> None:
    vd = vd_array([255, 999, -1], features=["total_volume"])
    np.testing.assert_array_equal(flat(rules.drop_error_codes(vd, parameters())), [255, NAN, NAN])


def test_an_empty_list_of_own_error_codes_means_none() -> None:
    features = {"avg_speed": {"unit": "km/h", "error_codes": ()}}
    vd = vd_array([255, 999])
    np.testing.assert_array_equal(rules.drop_error_codes(vd, parameters(features=features)), vd)


def test_fractional_error_code_is_found_in_single_precision() -> None:
    vd = vd_array([-9.9, 50])
    cleaned = rules.drop_error_codes(vd, parameters(error_codes=(-9.9,)))
    np.testing.assert_array_equal(flat(cleaned), [NAN, 50])


def test_range_includes_its_limits() -> None:
    vd = vd_array([-0.1, 0, 200, 200.1, NAN])
    np.testing.assert_array_equal(
        flat(rules.drop_impossible_values(vd, parameters())), [NAN, 0, 200, NAN, NAN]
    )


def test_unknown_feature_has_no_range_but_loses_infinities() -> None:
    vd = vd_array([1e9, -1e9, np.inf, -np.inf], features=["other"])
    np.testing.assert_array_equal(
        flat(rules.drop_impossible_values(vd, parameters())), [1e9, -1e9, NAN, NAN]
    )


def test_blank_time_stamps_are_dropped() -> None:
    vd = vd_array([1, 2, 3], steps("08:00", "", "08:10"))
    cleaned = rules.drop_blank_timestamps(vd, parameters())
    np.testing.assert_array_equal(flat(cleaned), [1, 3])
    np.testing.assert_array_equal(cleaned["time"], steps("08:00", "08:10"))


def test_sorting_is_stable() -> None:
    vd = vd_array([1, 2, 3, 4], steps("08:10", "08:00", "08:10", "08:00"))
    np.testing.assert_array_equal(flat(rules.sort_by_time(vd, parameters())), [2, 4, 1, 3])


def test_sorting_is_stable_for_many_equal_time_stamps() -> None:
    times = np.tile(steps("08:05", "08:00"), 500)
    expected = [*range(1, 1000, 2), *range(0, 1000, 2)]
    assert flat(rules.sort_by_time(vd_array(range(1000), times), parameters())).tolist() == expected


def test_steps_out_of_order_are_those_behind_a_later_one() -> None:
    assert rules.steps_out_of_order(steps("08:00", "08:15", "08:05", "08:10", "08:20")) == 2


def test_snapping_goes_to_the_nearest_grid_point() -> None:
    times = steps("08:00:20", "08:05", "08:09:40", "08:15", "08:20", "08:25")
    cleaned = rules.snap_to_grid(vd_array(range(6), times), parameters())
    np.testing.assert_array_equal(
        cleaned["time"], steps("08:00", "08:05", "08:10", "08:15", "08:20", "08:25")
    )
    assert cleaned.attrs["interval_minutes"] == 5.0


def test_grid_is_anchored_at_midnight_of_the_first_day() -> None:
    times = steps("00:03", "00:10", "00:17", "00:24")
    cleaned = rules.snap_to_grid(vd_array(range(4), times), parameters())
    np.testing.assert_array_equal(cleaned["time"], steps("00:00", "00:07", "00:14", "00:21")[:4])


def test_given_interval_wins_over_the_detected_one() -> None:
    times = steps("08:00", "08:05", "08:10")
    cleaned = rules.snap_to_grid(vd_array(range(3), times), parameters(interval="15min"))
    np.testing.assert_array_equal(cleaned["time"], steps("08:00", "08:00", "08:15"))
    assert cleaned.attrs["interval_minutes"] == 15.0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0, 60, 120, 3600, 3660], 60),  # gaps do not count
        ([0, 420, 840, 1260], 420),  # unusual, but regular
        ([0, 60, 180], 60),  # of two equally common the lesser
        ([0, 299, 603, 898, 1202], 300),  # jitter about five minutes
        ([0, 290, 600, 900, 1200, 1500], 300),
        ([0, 450, 950], 450),  # no usual interval near
    ],
)
def test_detected_interval(seconds: list[int], expected: int) -> None:
    times = np.datetime64("2024-03-01", "ns") + np.array(seconds) * np.timedelta64(1, "s")
    assert detect_interval(times) == np.timedelta64(expected, "s")


def test_jittering_clock_gives_the_usual_grid() -> None:
    seconds = np.array([2, 301, 598, 903, 1199, 1502])
    times = np.datetime64("2024-03-01", "ns") + seconds * np.timedelta64(1, "s")
    cleaned, _ = clean(vd_array(np.arange(6), times), parameters())
    np.testing.assert_array_equal(
        cleaned["time"], steps("00:00", "00:05", "00:10", "00:15", "00:20", "00:25")
    )


def test_last_non_missing_duplicate_wins_for_each_vd_and_feature() -> None:
    values = np.array(
        [[[1, 1], [1, 1]], [[2, NAN], [2, NAN]], [[NAN, NAN], [3, NAN]], [[9, 9], [9, 9]]]
    )
    vd = vd_array(values, steps("08:00", "08:00", "08:00", "08:05"))
    cleaned = rules.resolve_duplicates(vd, parameters())
    np.testing.assert_array_equal(cleaned, [[[2, 1], [3, 1]], [[9, 9], [9, 9]]])
    np.testing.assert_array_equal(cleaned["time"], steps("08:00", "08:05"))


def test_absent_steps_are_added_as_missing() -> None:
    vd = vd_array([1, 2, 3], steps("08:00", "08:05", "08:20"), interval_minutes=5.0)
    cleaned = rules.fill_grid(vd, parameters())
    np.testing.assert_array_equal(flat(cleaned), [1, 2, NAN, NAN, 3])
    np.testing.assert_array_equal(
        cleaned["time"], steps("08:00", "08:05", "08:10", "08:15", "08:20")
    )


def test_stray_time_stamp_fails_before_it_eats_the_memory() -> None:
    times = np.append(steps("08:00", "08:05", "08:10"), np.datetime64("2099-01-01", "ns"))
    with pytest.raises(ValueError, match="2024-03-01T08:00:00 to 2099-01-01T00:00:00") as failure:
        clean(vd_array([1, 2, 3, 4], times), parameters())
    assert str(failure.value).startswith("test.h5: ")
    assert "\n" not in str(failure.value)


def test_long_gap_alone_does_not_fail() -> None:
    times = np.append(steps("08:00", "08:05"), np.datetime64("2024-12-01", "ns"))
    cleaned, _ = clean(vd_array([1, 2, 3], times), parameters())
    assert cleaned.sizes["time"] == 274 * 288 + 193  # 1 March 08:00 to 1 December 00:00
    assert int(np.isfinite(cleaned).sum()) == 3


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (steps("", ""), "0 usable time steps"),
        (steps("08:00", ""), "1 usable time steps"),
        (steps("08:00", "08:00"), "2 usable time steps with 1 different"),
    ],
)
def test_too_few_time_stamps(times: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^test\.h5: {message}[^\n]*$"):
        clean(vd_array([1, 2], times), parameters())


def test_interval_longer_than_the_file() -> None:
    vd = vd_array([1, 2], steps("08:00", "08:05"))
    with pytest.raises(ValueError, match=r"^test\.h5: all time stamps fall on one step of 1 day"):
        clean(vd, parameters(interval="1D"))


def test_file_without_vds() -> None:
    with pytest.raises(ValueError, match=r"^test\.h5: no values \(0 detectors, 1 features\)"):
        clean(vd_array(np.zeros((3, 0, 1))), parameters())


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([5, 5, 5, 6], [NAN, NAN, NAN, 6]),  # 15 minutes are three steps of five
        ([5, 5, 6, 6], [5, 5, 6, 6]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),  # an empty road
        ([5, 5, NAN, 5, 5], [5, 5, NAN, 5, 5]),  # a missing value ends a run
        ([6, 5, 5, 5, 5], [6, NAN, NAN, NAN, NAN]),
        ([NAN, NAN, NAN, 5], [NAN, NAN, NAN, 5]),
    ],
)
def test_stuck_values(raw: list[float], expected: list[float]) -> None:
    vd = vd_array(raw, interval_minutes=5.0)
    np.testing.assert_array_equal(flat(rules.drop_stuck_values(vd, parameters())), expected)


def test_runs_do_not_cross_from_one_vd_to_the_next() -> None:
    values = np.full((4, 2, 1), 7.0)
    values[:2, 0], values[2:, 1] = [[1.0], [2.0]], [[3.0], [4.0]]  # ends with 7 7, begins with 7 7
    vd = vd_array(values, interval_minutes=5.0)
    np.testing.assert_array_equal(rules.drop_stuck_values(vd, parameters()), values)


def test_stuck_rule_is_off_without_a_limit() -> None:
    vd = vd_array([5] * 50, features=["total_volume"], interval_minutes=5.0)
    np.testing.assert_array_equal(rules.drop_stuck_values(vd, parameters()), vd)


def test_one_long_step_is_no_repetition() -> None:
    vd = vd_array([5, 6, 7], interval_minutes=60.0)
    np.testing.assert_array_equal(rules.drop_stuck_values(vd, parameters()), vd)


def test_many_vds_are_all_looked_at() -> None:
    values = np.arange(4.0)[:, None, None] + np.arange(200.0)[None, :, None]
    values[:, [0, 63, 64, 199]] = 42.0
    cleaned = rules.drop_stuck_values(vd_array(values, interval_minutes=5.0), parameters())
    missing = np.isnan(cleaned.to_numpy()).all(axis=(0, 2))
    assert np.flatnonzero(missing).tolist() == [0, 63, 64, 199]
    assert np.isnan(cleaned).sum() == 4 * 4


def hourly(values: npt.ArrayLike) -> xr.DataArray:
    """Speeds of detectors, [T, N], by the hour; stuck after three hours are three of them."""
    return vd_array(np.asarray(values)[..., None], interval_minutes=60.0)


STUCK = parameters(features={"avg_speed": {"unit": "km/h", "stuck_after": "3h"}})


@pytest.mark.parametrize("spread", [0.4, 1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_noise_in_whole_numbers_is_not_stuck(spread: float, seed: int) -> None:
    vd = hourly(np.random.default_rng(seed).normal(50, spread, (24 * 60, 6)).round())
    np.testing.assert_array_equal(rules.drop_stuck_values(vd, STUCK), vd)


def test_calm_nights_in_whole_numbers_are_not_stuck() -> None:
    """Quarters of an hour, six hours a night at about 1 %."""
    random = np.random.default_rng(0)
    night = np.arange(28 * 96) % 96 < 24
    level = np.where(night, random.normal(1, 0.25, (28 * 96, 4)).T, random.normal(15, 4, 28 * 96))
    vd = vd_array(level.T.round().clip(0)[..., None], interval_minutes=15.0)
    np.testing.assert_array_equal(rules.drop_stuck_values(vd, STUCK), vd)


@pytest.mark.parametrize("decimals", [0, 1])
def test_a_sensor_stuck_for_a_day_is_found_among_noise(decimals: int) -> None:
    values = np.random.default_rng(0).normal(50, 1, (24 * 60, 3)).round(decimals)
    values[99:125, 1] = [49, *[50] * 24, 51]
    vd = hourly(values)
    removed = np.isnan(rules.drop_stuck_values(vd, STUCK).to_numpy())[..., 0]
    assert removed[100:124, 1].all()
    assert removed.sum() == 24


def test_three_equal_hours_are_stuck_where_values_never_repeat() -> None:
    values = np.random.default_rng(0).normal(50, 5, 500)
    values[100:105] = 50.25
    removed = np.isnan(rules.drop_stuck_values(hourly(values[:, None]), STUCK).to_numpy())
    assert np.flatnonzero(removed).tolist() == [100, 101, 102, 103, 104]


def test_a_sensor_that_is_always_stuck_is_found() -> None:
    held = np.repeat(np.random.default_rng(0).normal(50, 5, 20), 80)
    assert np.isnan(rules.drop_stuck_values(hourly(held[:, None]), STUCK)).all()


FULL = ["avg_speed", "total_volume", "avg_occupancy"]


@pytest.mark.parametrize(
    ("speed", "volume", "occupancy", "kept"),
    [
        (0, 0, 0, False),
        (0, 0, NAN, False),
        (0, 0, 1.5, False),
        (0, 0, 60, True),  # a standing queue
        (0, 3, 0, True),  # contradicts itself, which is a finding
        (0, NAN, 0, True),
        (80, 0, 0, True),
    ],
)
def test_a_speed_of_0_without_vehicles_is_missing(
    speed: float, volume: float, occupancy: float, kept: bool
) -> None:
    vd = vd_array(np.array([[[speed, volume, occupancy]], [[90, 20, 12]]]), features=FULL)
    expected = vd.to_numpy().copy()
    if not kept:
        expected[0, 0, 0] = NAN
    before = vd.copy(deep=True)
    np.testing.assert_array_equal(rules.drop_speeds_without_vehicles(vd, parameters()), expected)
    xr.testing.assert_identical(vd, before)
    without = vd[..., :2]
    missing = np.isnan(rules.drop_speeds_without_vehicles(without, parameters())[0, 0, 0])
    assert missing == (speed == 0 and volume == 0)


def test_occupancies_as_shares_tell_a_queue_too() -> None:
    values = [[[0, 0, 0.6], [0, 0, 0.01]], [[90, 20, 0.1], [90, 20, 0.1]]]
    cleaned = rules.drop_speeds_without_vehicles(vd_array(values, features=FULL), parameters())
    np.testing.assert_array_equal(cleaned[0, :, 0], [0, NAN])


def test_speeds_alone_keep_their_zeros() -> None:
    vd = vd_array([0, 50, 0])
    np.testing.assert_array_equal(rules.drop_speeds_without_vehicles(vd, parameters()), vd)


@pytest.mark.parametrize(
    ("unit", "minutes", "highest"),
    [("", 60, 6000), ("", 5, 500), ("veh/h", 5, 6000), ("veh/min", 5, 100), ("veh/5 min", 5, 500)],
)
def test_a_rate_bounds_volumes_whatever_the_interval(
    unit: str, minutes: float, highest: float
) -> None:
    limits = parameters(features={"total_volume": {"unit": "veh/interval", "max_rate": 6000}})
    vd = vd_array([highest, highest + 1, -1], features=["total_volume"], interval_minutes=minutes)
    vd = vd.assign_coords(unit=("feature", [unit]))
    cleaned = rules.drop_impossible_rates(rules.drop_impossible_values(vd, limits), limits)
    np.testing.assert_array_equal(flat(cleaned), [highest, NAN, NAN])


@pytest.mark.parametrize("own", [(0, 100), None])
def test_a_range_holds_in_place_of_the_rate(own: tuple[float, float] | None) -> None:
    limits = parameters(features={"total_volume": {"unit": "", "max_rate": 6000, "range": own}})
    vd = vd_array([-1, 100, 101, 90_000], features=["total_volume"], interval_minutes=60.0)
    cleaned = rules.drop_impossible_rates(rules.drop_impossible_values(vd, limits), limits)
    np.testing.assert_array_equal(flat(cleaned), [NAN, 100, NAN, NAN] if own else flat(vd))


def test_the_log_tells_which_limit_of_volume_holds(caplog: pytest.LogCaptureFixture) -> None:
    limits = {"unit": "", "max_rate": 6000, "range": (0, 100)}
    with caplog.at_level("INFO"):
        clean(vd_array(np.ones((3, 1, 3))), parameters(features={"total_volume": limits}))
    told = "range of total_volume, 0 to 100 in each interval, holds in place of any max_rate"
    assert told in caplog.text


def test_units_come_from_the_parameters_with_the_interval_filled_in() -> None:
    cleaned, _ = clean(vd_array(np.ones((3, 1, 3))), parameters())
    assert cleaned["unit"].to_numpy().tolist() == ["km/h", "veh/5 min", ""]


def test_unit_of_the_file_wins() -> None:
    vd = vd_array(np.ones((3, 1, 3))).assign_coords(unit=("feature", ["mph", "", "K"]))
    cleaned, _ = clean(vd, parameters())
    assert cleaned["unit"].to_numpy().tolist() == ["mph", "veh/5 min", "K"]


def test_coordinates_and_attributes_stay() -> None:
    times = steps("08:10", "08:00", "08:05", "08:25")
    vd = vd_array([1, 2, 3, 4], times, dataset_name="mine")
    vd = vd.assign_coords(road_name=("vd", ["N5"]), lane_num=("vd", [2.0]))
    cleaned, _ = clean(vd.astype(np.float64), parameters())
    assert cleaned.dims == ("time", "vd", "feature")
    assert cleaned.dtype == np.float32
    assert cleaned["road_name"].item() == "N5"
    assert cleaned["lane_num"].item() == 2.0
    assert cleaned.attrs == {
        "source_file": "test.h5",
        "dataset_name": "mine",
        "interval_minutes": 5.0,
    }


def test_log_tells_what_every_rule_did(caplog: pytest.LogCaptureFixture) -> None:
    times = steps("08:00", "08:05", "", "08:20", "08:10", "08:10:10", "08:35", "08:40")
    values = [50, 999, 51, 300, 52, 53, 54, 55]
    _, log = clean(vd_array(values, times), parameters())
    table = log.set_index("rule")[["rows", "observed", "moved"]]
    assert table.T.to_dict("list") == {
        "raw": [8, 8, 0],
        "error codes": [8, 7, 0],
        "physical range": [8, 6, 0],
        "blank time stamps": [7, 5, 0],
        "time order": [7, 5, 2],
        "time grid": [7, 5, 1],
        "duplicates": [6, 4, 0],
        "absent steps": [9, 4, 0],
        "no vehicles": [9, 4, 0],
        "highest rate": [9, 4, 0],
        "stuck values": [9, 4, 0],
    }
    assert [record.getMessage() for record in caplog.records] == [
        "test.h5: 1 of 8 time steps have no time stamp; dropped",
        "test.h5: 2 of 7 time steps were out of order; sorted",
        "test.h5: 1 of 7 time steps were off the regular grid; moved to its nearest point",
        "test.h5: 1 of 7 time steps repeat a time stamp; the last value of each was kept",
    ]


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (5, "5 min"),
        (90, "1 h 30 min"),
        (1440, "1 day"),
        (2 * 1440 + 61, "2 days 1 h"),
        (1 / 3, "20 s"),
        (0, "0 s"),
        (1.5, "1 min 30 s"),
    ],
)
def test_durations_in_words(minutes: float, words: str) -> None:
    assert in_words(np.timedelta64(round(minutes * 60e9), "ns")) == words


# Every other value is an error code, impossible, stuck or missing.
VALUES = st.sampled_from([NAN, np.inf, -np.inf, 0.0, 42.0, 42.0, 55.5, -99.0, 999.0, 255.0, 250.0])
# Five-minute steps over midnight with up to 100 s of jitter; None is a blank time stamp.
STAMPS = st.one_of(
    st.none(),
    st.builds(lambda step, jitter: 300 * step + jitter, st.integers(0, 30), st.integers(-100, 100)),
)


@st.composite
def raw_arrays(draw: st.DrawFn) -> xr.DataArray:
    seconds = draw(st.lists(STAMPS, min_size=2, max_size=40))
    base, blank = np.datetime64("2024-03-01T23:00", "ns"), np.datetime64("NaT", "ns")
    times = np.array(
        [blank if s is None else base + np.timedelta64(s, "s") for s in seconds],
        dtype="datetime64[ns]",
    )
    shape = (len(times), draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    values = draw(st.lists(VALUES, min_size=size, max_size=size))
    vd = vd_array(np.reshape(values, shape), times)
    grid = {nearest_step(time) for time in times if not np.isnat(time)}
    assume(len(grid) > 1)
    return vd


def nearest_step(time: np.datetime64) -> int:
    """Five-minute step, counted from 1970, nearest to a time stamp."""
    return int((time - np.datetime64(0, "ns")) / np.timedelta64(1, "s") + 150) // 300


def cleaned_by_hand(vd: xr.DataArray, n: int, feature: str) -> dict[int, float]:
    """One VD and feature cleaned in plain Python: {step: value}, absent where missing."""
    codes = {"total_volume": (-99, -1, 999)}.get(feature, (-99, -1, 255, 999))
    high = {"avg_speed": 200, "total_volume": 3000}.get(feature, np.inf)
    values = vd.sel(feature=feature).to_numpy()[:, n].tolist()
    stamped = [
        (t, v) for t, v in zip(vd["time"].to_numpy(), values, strict=True) if not np.isnat(t)
    ]
    grid = {}
    for time, value in sorted(stamped, key=lambda pair: pair[0]):
        bad = value in codes or not np.isfinite(value) or not (0 <= value <= high or high == np.inf)
        if not bad:
            grid[nearest_step(time)] = value
    if feature == "avg_speed":
        every = [nearest_step(time) for time, _ in stamped]
        if "total_volume" in vd["feature"]:
            volume = cleaned_by_hand(vd, n, "total_volume")
            grid = {step: v for step, v in grid.items() if v != 0 or volume.get(step) != 0}
        series = [(step, grid.get(step)) for step in range(min(every), max(every) + 1)]
        runs = [
            (value, [step for step, _ in run])
            for value, run in groupby(series, key=lambda pair: pair[1])
            if value
        ]
        while found := [run for run in runs if is_stuck(run, runs, len(series))]:
            runs = [run for run in runs if run not in found]
            for _, held in found:
                for step in held:
                    del grid[step]
    return grid


def is_stuck(run: tuple[float, list[int]], runs: list[Any], readings: int) -> bool:
    """Whether a run of equal values, of at least three, is longer than chance makes it."""
    longer = sum(len(held) > 1 for _, held in runs)
    same = [held for value, held in runs if value == run[0]]
    of_all = (longer - 1) / max(len(runs) - 1, 1)
    own = (sum(len(held) > 1 for held in same) - 1) / max(len(same) - 1, 1)
    needed = 1 + np.log(0.001 / readings) / np.log(min(max(own, of_all, 1e-6), 0.8))
    return bool(len(run[1]) >= max(3, needed))


def reports_on_neighbouring_steps(vd: xr.DataArray, n: int) -> bool:
    """Else the readings of a detector would be counted on a coarser grid of its own."""
    any_value = (~np.isnan(vd.to_numpy()[:, n])).any(axis=1)
    stamped = vd["time"].to_numpy()[any_value]
    steps = {nearest_step(time) for time in stamped if not np.isnat(time)}
    threes = sum({step + 1, step + 2} <= steps for step in steps)
    return len(steps) < 6 or threes > 0.1 * len(steps)


@given(raw_arrays())
@settings(max_examples=60, deadline=None)
def test_agrees_with_cleaning_by_hand(vd: xr.DataArray) -> None:
    assume(all(reports_on_neighbouring_steps(vd, n) for n in range(vd.sizes["vd"])))
    cleaned, _ = clean(vd, parameters(interval="5min"))
    grid = [nearest_step(time) for time in cleaned["time"].to_numpy()]
    assert np.diff(grid).tolist() == [1] * (len(grid) - 1)
    for n in range(vd.sizes["vd"]):
        for index, feature in enumerate(vd["feature"].to_numpy()):
            by_hand = cleaned_by_hand(vd, n, str(feature))
            expected = [by_hand.get(step, NAN) for step in grid]
            np.testing.assert_array_equal(cleaned.to_numpy()[:, n, index], expected)


@given(raw_arrays())
@settings(max_examples=40, deadline=None)
def test_cleaning_a_clean_array_changes_nothing(vd: xr.DataArray) -> None:
    cleaned, _ = clean(vd, parameters(interval="5min"))
    # Given, as the records of few steps may all lie a multiple of it apart.
    again, log = clean(cleaned, parameters(interval="5min"))
    xr.testing.assert_identical(again, cleaned)
    assert log["moved"].sum() == 0
    assert log.groupby(["vdid", "feature"])["observed"].nunique().eq(1).all()


@given(raw_arrays())
@settings(max_examples=40, deadline=None)
def test_input_is_left_alone_and_values_are_only_removed(vd: xr.DataArray) -> None:
    before = vd.copy(deep=True)
    cleaned, log = clean(vd, parameters(interval="5min"))
    cleaned = cleaned.compute()
    xr.testing.assert_identical(vd, before)

    finite = {"raw": np.isfinite(vd.to_numpy()), "stuck values": np.isfinite(cleaned.to_numpy())}
    for rule, where in finite.items():
        observed = log.loc[log["rule"] == rule, "observed"].to_numpy()
        np.testing.assert_array_equal(observed, where.sum(axis=0).ravel())
    removed = -log.groupby(["vdid", "feature"], sort=False)["observed"].diff().dropna()
    assert (removed >= 0).all()
    total = finite["raw"].sum().item() - finite["stuck values"].sum().item()
    assert removed.sum() == total

    rows = log.groupby("rule", sort=False)["rows"].first()
    changes = rows.diff().fillna(0)
    assert set(changes.index[changes != 0]) <= ROW_RULES
    assert rows.index.tolist() == ["raw", *RULES]


@given(raw_arrays(), st.sampled_from([1, 2, 5]), st.sampled_from([None, "15min"]))
@settings(max_examples=25, deadline=None)
def test_block_by_block_is_the_same_as_all_at_once(
    vd: xr.DataArray, block: int, coarser: str | None
) -> None:
    units = ["km/h", "veh/5 min", ""][: vd.sizes["feature"]]
    vd = xr.concat([vd, vd.isel(vd=[0]) + 1, vd.shift(time=1)], "vd")
    vd = vd.assign_coords(vd=[f"VD-{n}" for n in range(vd.sizes["vd"])])
    steps = [nearest_step(time) for time in vd["time"].to_numpy() if not np.isnat(time)]
    assume(coarser is None or min(steps) // 3 < max(steps) // 3)
    limits = parameters(interval="5min", resample=coarser)
    cleaned, log = clean(vd.chunk(time=7, vd=block), limits)

    stages = [vd]
    for rule in RULES.values():
        stages.append(rule(stages[-1], limits))
    stages.append(stages.pop().assign_coords(unit=("feature", units)))
    if coarser:
        stages.append(resample(stages[-1], limits))
    xr.testing.assert_identical(cleaned.compute(), stages[-1])
    observed = [np.isfinite(stage.to_numpy()).sum(axis=0) for stage in stages]
    np.testing.assert_array_equal(log["observed"], np.ravel(observed))
    rows = log.groupby("rule", sort=False)["rows"].first()
    assert rows.tolist() == [stage.sizes["time"] for stage in stages]


@pytest.mark.parametrize("vds", [1, 5, 8])
def test_the_sample_is_cleaned_the_same_in_small_blocks(vds: int) -> None:
    raw = VDHDF5Dataset(filepath=str(PROJECT / "data" / "01_raw" / "vd_sample.h5")).load()
    base = yaml.safe_load((PROJECT / "conf" / "base" / "parameters.yml").read_text())
    limits = Cleaning(**base["cleaning"] | {"resample": "15min"})
    (one, log), (many, same_log) = (clean(vd, limits) for vd in (raw, raw.chunk(vd=vds)))
    assert one.chunksizes["vd"] == (14,)
    xr.testing.assert_identical(many.compute(), one.compute())
    pd.testing.assert_frame_equal(same_log, log)


@pytest.mark.integration
def test_a_large_file_is_cleaned_and_reported_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vd_blocks, "BLOCK_BYTES", 2**19)
    for plots, names in (
        (coverage_plots, ("coverage", "detector_map")),
        (traffic_plots, ("typical_week", "fundamental_diagram")),
    ):
        for name in names:  # what a figure takes does not grow with the file
            monkeypatch.setattr(plots, f"plot_{name}", lambda *_: Figure())
    few = make_clean(5_000, vds=8)
    report_quality(*clean(few, parameters()), parameters(), SPLIT, REPORT)  # imports what is needed
    large = xr.concat([few] * 40, "vd").assign_coords(vd=[f"VD-{n}" for n in range(320)])
    raw, cleaned = (VDHDF5Dataset(filepath=str(tmp_path / name)) for name in ("a.h5", "b.h5"))
    raw.save(large)
    tracemalloc.start()
    vd, log = clean(raw.load(), parameters())
    cleaned.save(vd)
    page = report_quality(cleaned.load(), log, parameters(), SPLIT, REPORT)
    shares = coverage(cleaned.load(), np.arange(0, 5_000, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "320 of 320 detectors are fit" in page.text
    assert shares.shape == (50, 320)
    assert peak < large.nbytes / 2


def test_eligible_vds_need_every_target_the_file_has() -> None:
    values = np.ones((4, 3, 2))
    values[:2, 1, 0] = NAN  # just enough
    values[:3, 2, 1] = NAN  # too little
    vd = vd_array(values)
    targets = ["avg_speed", "total_volume", "avg_occupancy"]
    assert [*eligible_vds(vd, targets, 0.5)] == ["VD-0", "VD-1"]
    assert [*eligible_vds(vd, targets, 0.6)] == ["VD-0"]
    assert [*eligible_vds(vd, ["avg_speed"], 0.6)] == ["VD-0", "VD-2"]
    assert [*eligible_vds(vd, ["not there"], 0.6)] == ["VD-0"]  # all features count
    assert [*eligible_vds(vd * NAN, targets, 0.5)] == []


@pytest.mark.parametrize(
    ("name", "interval", "removed"),
    [
        ("taiwan_n5_2015.h5", 1.0, 18),  # occupancies above 100 %
        ("taiwan_n5_5weeks_5min.h5", 5.0, 0),
        ("metr_la_week_vd.h5", 5.0, 494),  # interpolated to constants by its publishers
    ],
)
def test_real_files(real_data: Path, name: str, interval: float, removed: int) -> None:
    raw = VDHDF5Dataset(filepath=str(real_data / name)).load()
    defaults = parameters().model_dump()["features"]
    defaults["avg_speed"]["stuck_after"] = "3h"
    defaults["avg_occupancy"] = {"unit": "%", "range": (0, 100), "stuck_after": "3h"}
    cleaned, _ = clean(raw, parameters(features=defaults))
    assert cleaned.shape == raw.shape
    assert cleaned.attrs["interval_minutes"] == interval
    assert int(np.isfinite(raw).sum() - np.isfinite(cleaned).sum()) == removed
    assert cleaned.indexes["time"].equals(raw.indexes["time"])
