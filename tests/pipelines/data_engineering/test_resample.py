import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.make.parameters import REPORT, SPLIT
from vd_forecasting.datasets import VDHDF5Dataset
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_engineering.clocks import steps_between_records
from vd_forecasting.pipelines.data_engineering.resample import bin_values, resample, unit_of_sum
from vd_forecasting.pipelines.data_quality.coverage_plots import plot_coverage
from vd_forecasting.pipelines.data_quality.report import report_quality
from vd_forecasting.vd_array import check_regular_grid

NAN = np.nan
FEATURES = ["avg_speed", "total_volume", "avg_occupancy"]
UNITS = ["km/h", "veh/min", "%"]
MINUTE, FIVE, HOUR = (np.timedelta64(n, "m") for n in (1, 5, 60))


def parameters(
    resample: str | None = "5min", min_observed: float = 0.6, **changes: Any
) -> Cleaning:
    base = {
        "interval": None,
        "error_codes": (-99,),
        "min_observed": 0.5,
        "resample": resample,
        "resample_min_observed": min_observed,
        "features": {
            "avg_speed": {"unit": "km/h", "range": (0, 200)},
            "total_volume": {"unit": "veh/interval", "range": (0, 3000), "aggregate": "sum"},
            "avg_occupancy": {"unit": "%", "range": (0, 100)},
        },
    }
    return Cleaning(**{**base, **changes})


def minutes(
    values: npt.ArrayLike,
    start: str = "2024-03-01T08:00",
    features: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    interval: int = 1,
) -> xr.DataArray:
    """A clean array of minutes: one VD with one feature from a flat list, else as given."""
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 1:
        values = values[:, None, None]
    features = features or FEATURES[: values.shape[2]]
    return xr.DataArray(
        values,
        dims=("time", "vd", "feature"),
        coords={
            "time": np.datetime64(start, "ns")
            + np.arange(len(values)) * np.timedelta64(interval, "m"),
            "vd": [f"VD-{n}" for n in range(values.shape[1])],
            "feature": features,
            "unit": ("feature", units or UNITS[: len(features)]),
        },
        attrs={"source_file": "test.h5", "interval_minutes": float(interval)},
        name="features",
    )


def flat(vd: xr.DataArray) -> np.ndarray:
    return vd.to_numpy()[:, 0, 0]


def test_by_hand() -> None:
    """Twelve minutes from 08:03: bins 08:00 (2 of 5 there), 08:05, 08:10."""
    speed = [90, 90, 80, 82, NAN, 84, 86, 70, NAN, NAN, 72, 74]
    volume = [9, 9, 10, NAN, NAN, 12, 14, 1, NAN, NAN, NAN, 2]
    vd = minutes(np.stack([speed, volume], axis=-1)[:, None], start="2024-03-01T08:03")
    coarse = resample(vd, parameters())
    # 08:05: speed (80+82+84+86)/4; volume (10+12+14)/3×5. 08:10: volume has 2 of 5.
    np.testing.assert_array_equal(coarse[:, 0], [[NAN, NAN], [83, 60], [72, NAN]])
    assert [str(time)[11:16] for time in coarse["time"].to_numpy()] == ["08:00", "08:05", "08:10"]
    assert coarse["unit"].to_numpy().tolist() == ["km/h", "veh/5 min"]
    assert coarse.attrs == {
        "source_file": "test.h5",
        "interval_minutes": 5.0,
        "resampled_from_minutes": 1.0,
    }
    assert coarse.dtype == np.float32


def test_bins_are_closed_on_the_left_and_start_at_midnight() -> None:
    vd = minutes(np.arange(20.0), start="2024-02-29T23:52", features=["avg_speed"])
    coarse = resample(vd, parameters(min_observed=0.01))
    np.testing.assert_array_equal(flat(coarse), [1, 5, 10, 15, 18.5])
    assert str(coarse["time"].to_numpy()[2]).startswith("2024-03-01T00:00")


def test_bins_of_a_day_and_more() -> None:
    vd = minutes(np.ones(4 * 24), start="2024-03-01", features=["total_volume"], interval=60)
    days = resample(vd.assign_coords(unit=("feature", ["veh/h"])), parameters("1D"))
    assert flat(days).tolist() == [24] * 4
    assert days["unit"].item() == "veh/day"
    assert flat(resample(vd, parameters("2D", features={}))).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("share", "observed", "kept"),
    [(0.6, 3, True), (0.6, 2, False), (1.0, 4, False), (1.0, 5, True)],
)
def test_share_needed(share: float, observed: int, kept: bool) -> None:
    vd = minutes([4.0] * observed + [NAN] * (5 - observed) + [1.0] * 5)
    assert np.isfinite(flat(resample(vd, parameters(min_observed=share)))[0]) == kept


def test_rounding_does_not_ask_for_one_more() -> None:
    vd = minutes([4.0] * 7 + [NAN] * 3 + [1.0] * 10)  # 0.7 × 10 is 7.000000000000001
    assert flat(resample(vd, parameters("10min", 0.7)))[0] == 4


def test_missing_never_becomes_zero_and_zero_stays() -> None:
    vd = minutes([NAN] * 5 + [0.0] * 5, features=["total_volume"], units=["veh/min"])
    np.testing.assert_array_equal(flat(resample(vd, parameters())), [NAN, 0])


@pytest.mark.parametrize("same", [None, "1min", "60s"])
def test_nothing_to_do(same: str | None) -> None:
    vd = minutes(range(10))
    assert resample(vd, parameters(same)) is vd


@pytest.mark.parametrize("interval", ["7min", "2min", "30s"])
def test_interval_that_does_not_fit(interval: str) -> None:
    vd = minutes(range(10), interval=5)
    with pytest.raises(
        ValueError, match=r"^test\.h5: cleaning\.resample is [^\n]* whole multiple[^\n]* of 5 min$"
    ):
        resample(vd, parameters(interval))


def test_interval_longer_than_the_data() -> None:
    with pytest.raises(ValueError, match=r"^test\.h5: cleaning\.resample makes one step of 1 day"):
        resample(minutes(range(10)), parameters("1D"))


@pytest.mark.parametrize(
    ("unit", "old", "new", "expected"),
    [
        ("veh/min", MINUTE, FIVE, "veh/5 min"),
        ("veh/5min", FIVE, HOUR, "veh/h"),
        ("veh/1 minute", MINUTE, FIVE, "veh/5 min"),
        ("veh/1 h 30 min", 90 * MINUTE, 2 * 90 * MINUTE, "veh/3 h"),
        ("vehicles", MINUTE, FIVE, "vehicles"),
        ("veh/lane", MINUTE, FIVE, "veh/lane"),
        ("", MINUTE, FIVE, ""),
    ],
)
def test_unit_of_a_sum(unit: str, old: np.timedelta64, new: np.timedelta64, expected: str) -> None:
    assert unit_of_sum(unit, old, new, "here") == expected


def test_rates_are_not_added_up() -> None:
    vd = minutes(range(10), features=["total_volume"], units=["veh/h"])
    with pytest.raises(
        ValueError,
        match=r"^test\.h5: cleaning\.features\.total_volume\.aggregate is sum[^\n]*veh/h",
    ):
        resample(vd, parameters())


def test_averaged_volume_stays_per_minute() -> None:
    vd = minutes(range(10), features=["total_volume"], units=["veh/min"])
    mean = {"total_volume": {"unit": "veh/interval", "aggregate": "mean"}}
    coarse = resample(vd, parameters(features=mean))
    assert flat(coarse).tolist() == [2, 7]
    assert coarse["unit"].item() == "veh/min"


def test_values_are_judged_before_they_are_joined() -> None:
    values = [50.0, 52, -99, 250, 54, 60, 61, 62, 63, 64]
    coarse, log = clean(minutes(values), parameters())
    assert flat(coarse).tolist() == [52, 62]
    assert log.set_index("rule").loc[["stuck values", "resampled"], "rows"].tolist() == [10, 2]
    large = [2000.0] * 10  # possible in a minute; the sum is above the range
    volume, _ = clean(minutes(large, features=["total_volume"], units=[""]), parameters())
    assert flat(volume).tolist() == [10000, 10000]


def test_clean_file_may_be_cleaned_again() -> None:
    raw = minutes(np.random.default_rng(0).uniform(1, 90, (60, 2, 3)))
    once, _ = clean(raw, parameters(None))
    xr.testing.assert_identical(clean(once, parameters())[0], clean(raw, parameters())[0])
    again, log = clean(clean(raw, parameters())[0], parameters(None))
    assert "resampled_from_minutes" not in again.attrs
    assert "resampled" not in log["rule"].tolist()


def test_result_is_a_regular_grid_that_can_be_drawn() -> None:
    coarse, _ = clean(minutes(np.arange(1.0, 200), start="2024-03-01T23:03"), parameters())
    check_regular_grid(coarse)
    plot_coverage(coarse).draw_without_rendering()


def test_report(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    values = np.random.default_rng(0).uniform(1, 90, (20, 2, 2)).astype(np.float32)
    values[5:8, 0, 0] = NAN
    values[10, :, 1] = NAN
    cleaned, log = clean(minutes(values), parameters())
    page = report_quality(cleaned, log, parameters(), SPLIT, REPORT).text
    told = (
        "resampled from 1 min to 5 min: total_volume summed (scaled up for missing steps), the "
        "others averaged; fewer than 3 of 5 values observed make a missing one"
    )
    assert f"test.h5: {told}" in caplog.messages
    assert f"- The data were then {told}.\n" in page
    assert (
        "**6.2 % of values are missing** after cleaning and resampling; after cleaning alone it "
        "was 6.2 %, in the raw file 6.2 %."
    ) in page  # 1 of 16, 5 of 80
    assert "Cleaning removed 0 of 75 recorded values" in page
    assert "| time steps | 4, one every 5 min |" in page
    assert "| VD-0 | 85 % → 85 % → 75 % | 95 % → 95 % → 100 % |" in page
    assert "| total_volume | veh/min | −99 | 0 to 3000 | off |" in page
    assert "| VD-0 | avg_speed | 2024-03-01 08:05 | 2024-03-01 08:05 | 5 min |" in page
    assert "fewer than 3 of the 5" in page
    assert "| resampled |" not in page.split("## What each rule did")[1]


VALUES = st.one_of(st.just(NAN), st.integers(-50, 5000).map(float))


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> xr.DataArray:
    shape = (draw(st.integers(2, 60)), draw(st.integers(1, 2)), 2)
    array = draw(hnp.arrays(np.float32, shape, elements=values.map(np.float32)))
    return minutes(array, start=f"2024-03-01T23:{draw(st.integers(0, 59)):02d}")


def bins_by_hand(vd: xr.DataArray, interval: int) -> dict[int, np.ndarray]:
    """Rows of ``vd`` that belong to each bin, by its start."""
    times = vd["time"].to_numpy().astype("datetime64[m]").astype(int)
    return {
        start: vd.to_numpy()[times // interval == start // interval]
        for start in sorted({time // interval * interval for time in times.tolist()})
    }


@given(arrays(), st.sampled_from([2, 3, 5, 15, 60]), st.floats(0.05, 1))
@settings(max_examples=75, deadline=None)
def test_agrees_with_bins_by_hand(vd: xr.DataArray, interval: int, share: float) -> None:
    by_hand = bins_by_hand(vd, interval)
    if len(by_hand) < 2:
        return
    assume((steps_between_records(vd) == 1).all())  # else every other step is its interval
    before = vd.copy(deep=True)
    coarse = resample(vd, parameters(f"{interval}min", share))
    xr.testing.assert_identical(vd, before)
    assert coarse["time"].to_numpy().astype("datetime64[m]").astype(int).tolist() == list(by_hand)
    for row, members in zip(coarse.to_numpy(), by_hand.values(), strict=True):
        for n, f in np.ndindex(row.shape):
            seen = members[:, n, f][np.isfinite(members[:, n, f])].astype(float)
            if len(seen) == 0 or len(seen) / interval < share - 1e-9:
                assert np.isnan(row[n, f])
                continue
            value = row[n, f] / interval if f == 1 else row[n, f]
            np.testing.assert_allclose(value, seen.mean(), rtol=1e-6, atol=1e-4)
            if f == 0:
                assert seen.min() <= value <= seen.max()


@given(arrays(st.integers(0, 3000).map(float)), st.sampled_from([2, 5, 20]))
@settings(max_examples=30, deadline=None)
def test_sum_is_preserved_where_nothing_is_missing(vd: xr.DataArray, interval: int) -> None:
    start = -(int(vd["time"].dt.minute[0])) % interval
    whole = vd.isel(time=slice(start, None))
    whole = whole.isel(time=slice(0, whole.sizes["time"] // interval * interval))
    if whole.sizes["time"] < 2 * interval:
        return
    coarse = resample(whole, parameters(f"{interval}min", 1.0))
    total = whole.to_numpy()[..., 1].sum(axis=0)
    np.testing.assert_array_equal(coarse.to_numpy()[..., 1].sum(axis=0), total)


def test_many_vds_are_all_looked_at() -> None:
    values = np.arange(10.0)[:, None, None] + np.arange(200.0)[None, :, None]
    coarse = resample(minutes(values), parameters())
    np.testing.assert_array_equal(coarse[..., 0], np.array([[2.0], [7.0]]) + np.arange(200.0))


def test_a_year_of_minutes_needs_little_memory() -> None:
    values = np.random.default_rng(0).random((525_600, 2, 3), dtype=np.float32)
    tracemalloc.start()
    start = perf_counter()
    result = bin_values(values, (5, 0), 3, np.array([1.0, 5, 1]))
    took = perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.shape == (105_120, 2, 3)
    assert peak < 1.5 * values.nbytes
    assert took < 5  # a fraction of a second; machines differ


@pytest.fixture
def real(real_data: Path) -> dict[str, xr.DataArray]:
    return {
        name: VDHDF5Dataset(filepath=str(real_data / f"{name}.h5")).load().compute()
        for name in ("taiwan_n5_2015", "taiwan_n5_5weeks_5min")
    }


def test_agrees_with_five_weeks_that_others_averaged(real: dict[str, xr.DataArray]) -> None:
    """Their volume is the mean per minute times five, with 3 of 5 minutes needed: ours exactly."""
    expected = real["taiwan_n5_5weeks_5min"]
    raw = real["taiwan_n5_2015"]
    off = parameters(features={"total_volume": {"unit": "veh/interval", "aggregate": "sum"}})
    uncleaned, _ = clean(raw, off.model_copy(update={"error_codes": ()}))
    cut = uncleaned.sel(time=expected["time"])
    np.testing.assert_array_equal(np.isnan(cut), np.isnan(expected))
    np.testing.assert_allclose(cut, expected, rtol=1e-6)

    cleaned, log = clean(raw, parameters())
    removed = log.groupby("rule", sort=False)["observed"].sum()
    assert removed["raw"] - removed["stuck values"] == 18  # occupancies above 100 %
    assert cleaned.sizes["time"] == 105_120
    differs = ~np.isclose(cleaned, uncleaned, rtol=1e-6, equal_nan=True)
    assert 0 < differs.sum() <= 18
    assert not differs[..., :2].any()
    times = pd.DatetimeIndex(cleaned["time"].to_numpy())
    assert (str(times[0]), str(times[-1])) == ("2015-01-01 00:00:00", "2015-12-31 23:55:00")
