"""Detectors of other phases and intervals in one file."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make.arrays import FEATURES, make_clean
from vd_forecasting.detector_clocks import detect_interval
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering import clocks
from vd_forecasting.pipelines.data_engineering.clean import clean

START = np.datetime64("2024-03-04", "ns")
FIVE, MINUTE = np.timedelta64(5, "m"), np.timedelta64(1, "m")


def parameters(**changes: Any) -> Cleaning:
    features = {
        "avg_speed": {"unit": "km/h", "range": (0, 200)},
        "total_volume": {"unit": "veh/interval", "max_rate": 6000, "aggregate": "sum"},
    }
    base = {"interval": None, "error_codes": (), "min_observed": 0.5, "features": features}
    return Cleaning.model_validate(base | changes)


def table(stamps: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> xr.DataArray:
    """Records of detectors [R], or [R, F], as ingested from a table: rows of all time stamps."""
    times = np.unique(np.concatenate([*stamps.values()]))
    features = FEATURES[: np.atleast_2d(next(iter(values.values())).T).shape[0]]
    filled = np.full((len(times), len(stamps), len(features)), np.nan, dtype=np.float32)
    for at, (vdid, own) in enumerate(stamps.items()):
        filled[np.searchsorted(times, own), at] = values[vdid].reshape(len(own), -1)
    coords = {"time": times, "vd": [*stamps], "feature": features}
    attrs = {"source_file": "table.csv"}
    return xr.DataArray(filled, coords, ("time", "vd", "feature"), "features", attrs)


def every(interval: np.timedelta64, steps: int, seconds: float = 0) -> np.ndarray:
    shift = np.timedelta64(round(seconds * 1e9), "ns")
    return np.asarray(START + np.arange(steps) * interval + shift)


@pytest.mark.parametrize(
    "phases",
    [(0, 37, 130), (0, 150), (0, 100, 200), (0, 60, 120, 180, 240), (148, 152, 290), (0, 37)],
)
@pytest.mark.parametrize("jitter", [0, 6])
def test_detectors_of_other_phases_share_a_grid(
    phases: tuple[int, ...], jitter: int, caplog: pytest.LogCaptureFixture
) -> None:
    random, steps = np.random.default_rng(0), 288
    stamps = {
        f"D{at}": every(FIVE, steps, phase)
        + random.integers(-jitter, jitter + 1, steps) * np.timedelta64(1, "s")
        for at, phase in enumerate(phases)
    }
    values = {vdid: random.uniform(50, 90, steps).astype(np.float32) for vdid in stamps}
    cleaned, log = clean(table(stamps, values), parameters())
    assert cleaned.attrs["interval_minutes"] == 5.0
    assert len(cleaned) <= steps + 1
    assert (np.isfinite(cleaned.to_numpy()).sum(axis=0) == steps).all()
    for at, own in enumerate(values.values()):
        kept = cleaned.to_numpy()[:, at, 0]
        np.testing.assert_array_equal(kept[np.isfinite(kept)], own)  # none lost, none swapped
    assert log["moved"].sum() == 0
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("interval", [12, 2])
def test_a_quicker_detector_of_another_phase_does_not_hide_the_others(
    interval: int, caplog: pytest.LogCaptureFixture
) -> None:
    stamps = {"slow": every(interval * FIVE, 288 // interval, 37), "fast": every(FIVE, 288)}
    values = {vdid: 1.0 + np.arange(len(own)) % 97 for vdid, own in stamps.items()}
    cleaned, _ = clean(table(stamps, values), parameters())
    assert cleaned.shape == (288, 2, 1)
    np.testing.assert_array_equal(cleaned[::interval, 0, 0], values["slow"])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_clocks_that_jitter_by_fractions_of_a_second_have_their_usual_interval() -> None:
    random = np.random.default_rng(0)
    jitter = random.uniform(-40e9, 40e9, 500).astype("timedelta64[ns]")
    assert detect_interval(every(FIVE, 500) + jitter) == FIVE


def test_a_record_that_comes_twice_is_still_counted(caplog: pytest.LogCaptureFixture) -> None:
    stamps = {"A": every(FIVE, 288), "B": every(FIVE, 288, 40)}
    stamps["B"] = np.sort(np.append(stamps["B"], stamps["B"][100] + np.timedelta64(9, "s")))
    values = {vdid: 1.0 + np.arange(len(own)) % 97 for vdid, own in stamps.items()}
    cleaned, log = clean(table(stamps, values), parameters())
    observed = log.groupby("rule", sort=False)["observed"].sum()
    assert observed["time grid"] - observed["duplicates"] == 1
    assert caplog.messages[-1] == (
        "table.csv: 1 of 289 time steps repeat a time stamp; the last value of each was kept"
    )
    assert len(cleaned) == 288


def test_blank_time_stamps_among_other_phases_are_dropped() -> None:
    stamps = {"A": every(FIVE, 288), "B": every(FIVE, 288, 40)}
    raw = table(stamps, {vdid: 1.0 + np.arange(288) % 97 for vdid in stamps})
    times = raw["time"].to_numpy().copy()
    times[[10, 11, 300]] = np.datetime64("NaT", "ns")
    cleaned, log = clean(raw.assign_coords(time=times), parameters())
    rows = log.groupby("rule", sort=False)["rows"].first()
    assert rows["raw"] - rows["blank time stamps"] == 3
    assert int(np.isfinite(cleaned).sum()) == 2 * 288 - 3


@pytest.mark.parametrize("chunk", [1, 3])
def test_blocks_do_not_matter(chunk: int) -> None:
    stamps = {f"D{at}": every(FIVE, 100, 20 * at) for at in range(5)}
    raw = table(stamps, {vdid: np.arange(1.0, 101) for vdid in stamps})
    xr.testing.assert_identical(
        clean(raw.chunk(vd=chunk), parameters())[0].compute(),
        clean(raw, parameters())[0].compute(),
    )


def test_a_file_of_one_clock_is_left_alone() -> None:
    for vd in (make_clean(missing=0.5), make_clean(vds=1), make_clean(steps=4)):
        assert clocks.on_one_clock(vd) == (vd, None)


def test_a_stray_time_stamp_among_other_phases_fails_in_one_line() -> None:
    stamps = {"A": every(FIVE, 50), "B": every(FIVE, 50, 40)}
    stamps["A"][-1] = np.datetime64("2099-01-01", "ns")
    raw = table(stamps, {vdid: np.arange(1.0, 51) for vdid in stamps})
    with pytest.raises(ValueError, match=r"^table\.csv: time stamps from [^\n]*2099-01-01[^\n]*$"):
        clean(raw, parameters())


@pytest.mark.parametrize("phase", [0, 2, 4])
@pytest.mark.parametrize("resample", ["5min", "15min"])
def test_resampling_knows_the_interval_of_each_detector(phase: int, resample: str) -> None:
    """Ten vehicles a minute: one detector counts them by the minute, one every five."""
    stamps = {"fast": every(MINUTE, 1440), "slow": every(FIVE, 288, 60 * phase)}
    values = {"fast": np.tile([80.0, 10], (1440, 1)), "slow": np.tile([80.0, 50], (288, 1))}
    cleaned, log = clean(table(stamps, values), parameters(resample=resample))
    minutes = cleaned.attrs["interval_minutes"]
    np.testing.assert_array_equal(cleaned[:, 0], np.tile([80, 10 * minutes], (len(cleaned), 1)))
    np.testing.assert_array_equal(cleaned[:, 1], cleaned[:, 0])
    assert cleaned["unit"].to_numpy()[1] == f"veh/{minutes:g} min"
    assert log.groupby("rule")["observed"].sum()[["raw", "stuck values"]].nunique() == 1


def test_a_bin_shorter_than_the_interval_of_a_detector_has_its_share() -> None:
    stamps = {"fast": every(MINUTE, 1440), "slow": every(2 * FIVE, 144)}
    values = {"fast": np.tile([80.0, 10], (1440, 1)), "slow": np.tile([80.0, 100], (144, 1))}
    cleaned, _ = clean(table(stamps, values), parameters(resample="5min"))
    np.testing.assert_array_equal(cleaned.to_numpy()[::2, 1, 1], 50)
    assert np.isnan(cleaned.to_numpy()[1::2, 1]).all()


def test_a_rate_counts_for_the_interval_of_each_detector() -> None:
    """At most 6,000 an hour are 100 a minute and 500 in five."""
    stamps = {"fast": every(MINUTE, 1440), "slow": every(FIVE, 288)}
    values = {vdid: np.full((len(own), 2), 80.0) for vdid, own in stamps.items()}
    values["fast"][[3, 4], 1], values["slow"][[3, 4], 1] = [100, 101], [500, 501]
    cleaned, _ = clean(table(stamps, values), parameters())
    volume = cleaned.sel(feature="total_volume")
    assert volume[[3, 15], [0, 1]].to_numpy().diagonal().tolist() == [100, 500]
    assert np.isnan(volume.to_numpy()[[4, 20], [0, 1]]).all()


@given(st.integers(1, 9), st.floats(0, 0.4), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_steps_between_records(apart: int, missing: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    recorded = np.arange(2000) % apart == 0
    recorded[random.random(2000) < missing] = False
    assert clocks.steps_between(recorded[:, None]).tolist() == [apart]


def test_records_missing_at_random_are_no_longer_interval() -> None:
    random = np.random.default_rng(0)
    recorded = random.random((3000, 20)) < np.linspace(0.02, 1, 20)
    assert clocks.steps_between(recorded).tolist() == [1] * 20
    uneven = np.isin(np.arange(3000) % 5, [0, 3])[:, None]  # 5 minutes on a grid of 2
    assert clocks.steps_between(uneven).tolist() == [2.5]
    uneven = np.isin(np.arange(3000) % 3, [0, 2])[:, None]  # 15 minutes on a grid of 10
    assert clocks.steps_between(uneven).tolist() == [1.5]
