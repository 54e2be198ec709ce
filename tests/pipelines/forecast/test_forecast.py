"""From a recent file to forecasts, as ``evaluate`` makes them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.parameters import CLEANING, INTERVALS
from tests.make.recent_files import (
    BASELINES,
    STEPS,
    evaluated,
    forecast,
    recent_file,
    recent_windows,
    trained,
    without,
)
from tests.make.trainings import COMPUTE
from vd_forecasting.artefacts import RecentForecasts, WindowBlocks, WindowSet
from vd_forecasting.evaluation.intervals import Calibration, Forecasted, interval_bounds
from vd_forecasting.parameters import Forecast
from vd_forecasting.pipelines.baselines.forecast import forecast_by, quick_baselines
from vd_forecasting.pipelines.forecast.clean_recent import clean_recent
from vd_forecasting.pipelines.forecast.flags import find_flags
from vd_forecasting.pipelines.forecast.recent_windows import make_recent_windows
from vd_forecasting.pipelines.forecast.table import write_table

NETWORK = "lstm"


def scaled_difference(recent: RecentForecasts, kind: str) -> float:
    """The largest difference from what ``evaluate`` forecast at the same origins."""
    _, windows, forecasts = trained(kind)
    own = recent.prediction.sel(model=NETWORK)
    same = forecasts.prediction.isel(seed=0).sel(origin=own["origin"], vd=own["vd"])
    std = xr.DataArray(windows.target_scaler[1], dims=("vd", "feature"))
    of_vds = [windows.vdids.index(str(name)) for name in own["vd"].values]
    return float((abs(own - same).transpose(..., "vd", "feature") / std[of_vds].values).max())


@pytest.mark.parametrize("kind", ["joint", "independent", "global"])
def test_equals_evaluate_at_the_same_origins(kind: str) -> None:
    # The last origins of evaluate's lie a horizon before the end of the file.
    recent = forecast(recent_file(last=STEPS - 3), kind, "all")
    origins = recent.origins[recent.origins >= trained(kind)[2].origins[0]]
    assert len(origins) > 50
    of_test = RecentForecasts(recent.data.sel(origin=origins))
    assert scaled_difference(of_test, kind) < 1e-5


def test_the_order_of_detectors_and_features_does_not_matter() -> None:
    raw = recent_file()
    other = raw.isel(vd=[2, 0, 1], feature=[2, 1, 0])
    xr.testing.assert_identical(forecast(raw).data, forecast(other).data)


def test_the_last_origin_is_the_last_step_with_a_value() -> None:
    raw = recent_file()
    cut = without(raw, slice(-2, None), slice(None), slice(None))
    end = raw["time"].values[-1]
    for file, origin, has_flag in ((raw, end, False), (cut, raw["time"].values[-3], True)):
        recent = forecast(file)
        assert recent.origins.tolist() == [pd.Timestamp(origin).value]
        assert bool(recent.has("file_ends_later").all()) is has_flag


def test_all_origins_are_those_of_windows_inside_the_file() -> None:
    recent = forecast(recent_file(first=450), origins="all")
    assert len(recent.origins) == 50 - 6 + 1
    assert recent.truth.notnull().any(["horizon", "vd", "feature"]).sum() == 50 - 6


def test_baselines_do_what_they_do_on_the_test_split() -> None:
    """The value a day before, which only the comparison's data have, and the last value."""
    raw = recent_file(first=470)
    recent = forecast(raw)
    before = make_day_before(raw)
    known = np.isfinite(before)
    naive = recent.prediction.sel(model="seasonal_naive").isel(origin=0).values  # [H, N, F]
    np.testing.assert_allclose(naive[known], before[known], rtol=1e-4)
    flagged = recent.has("no_day_before").sel(model="seasonal_naive").isel(origin=0).values
    np.testing.assert_array_equal(flagged, ~known)
    last = recent.prediction.sel(model="persistence").isel(origin=0)
    assert float(last.std("horizon").max()) == pytest.approx(0, abs=1e-6)


def test_baselines_equal_those_of_the_comparison() -> None:
    _, windows, _ = trained()
    recent = forecast(recent_file(last=STEPS - 3), origins="all")
    by_split = forecast_by(quick_baselines(BASELINES), windows, ["test"], COMPUTE)
    same = by_split["test"].prediction
    origins = [origin for origin in recent.origins if origin in same["origin"].values]
    assert len(origins) > 50
    for model in ("ridge", "historical_average", "seasonal_naive"):
        own, other = (one.sel(model=model, origin=origins) for one in (recent.prediction, same))
        np.testing.assert_allclose(own.values, other.values, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["joint", "global"])
def test_intervals_are_those_that_the_validation_of_evaluate_gives(kind: str) -> None:
    _, windows, _, validation = evaluated(kind)
    recent = forecast(recent_file(first=450), kind, "all")
    past, now = (
        Forecasted(one.origins, one.prediction.isel(at).values, one.truth.values, 5.0)
        for one, at in ((validation, {"seed": 0}), (recent, {"model": 0}))
    )
    levels, step = INTERVALS.levels, INTERVALS.adaptive_step
    bounds = interval_bounds(Calibration.learn([past]), now, windows.target_range, levels, step)
    for at, expected in enumerate(bounds):
        for row, level in enumerate(("50", "90")):
            for end, values in zip(recent.ends(level), expected, strict=True):
                own = end.isel(model=0, horizon=at).transpose("origin", "vd", "feature")
                np.testing.assert_allclose(own, values[row], rtol=1e-3, atol=1e-3)


def test_intervals_hold_the_forecast_and_the_narrower_ones() -> None:
    recent = forecast(recent_file(first=450), origins="all")
    assert recent.levels == ["50", "90"]
    ends = [recent.ends("90")[0], recent.ends("50")[0], recent.prediction]
    ends += [recent.ends("50")[1], recent.ends("90")[1]]
    for low, high in pairwise(ends):
        assert bool((low <= high).all())
    assert float(recent.ends("90")[0].min()) >= 0, "no speed, volume or occupancy is negative"


def test_the_last_interval_follows_what_came_true_in_the_file_before() -> None:
    of_last, of_all = (forecast(recent_file(), origins=origins) for origins in ("last", "all"))
    xr.testing.assert_identical(of_last.data, of_all.data.isel(origin=[-1]))


def test_no_interval_knows_what_comes_later() -> None:
    raw = recent_file(first=450)
    later = raw.copy(data=np.where(np.arange(50)[:, None, None] < 30, raw.values, raw.values / 2))
    both = (forecast(file, origins="all").data for file in (raw, later))
    one, other = (data.isel(origin=slice(24)) for data in both)
    xr.testing.assert_identical(one.drop_vars("truth"), other.drop_vars("truth"))
    assert not one["truth"].identical(other["truth"])


def make_day_before(raw: xr.DataArray) -> np.ndarray:
    """What was measured a day before the targets, ``[H, N, F]``, of the joint experiment."""
    times = raw["time"].values[-1] + np.timedelta64(5, "m") * np.arange(1, 4)
    whole = recent_file(first=0)
    day = whole.sel(time=times - np.timedelta64(24, "h"), vd=["VD-0", "VD-1"])
    return day.isel(feature=[0, 1]).values


def test_gaps_are_flagged_where_they_are() -> None:
    raw = recent_file(first=440)
    whole = raw.copy(data=np.nan_to_num(raw.values, nan=50.0))
    gap = without(whole, slice(-4, -2), 1, 0)
    recent = forecast(gap)
    own, other = (recent.has("gaps").sel(model=NETWORK, vd=name) for name in ("VD-1", "VD-0"))
    assert (bool(own.all()), bool(other.any())) == (True, False)
    assert bool(recent.has("gaps_of_others").sel(model=NETWORK, vd="VD-0").all())
    assert not recent.has("gaps").sel(model="persistence").any()
    at_end = forecast(without(whole, slice(-1, None), 1, 0))
    lost = at_end.has("no_last_value").sel(model="persistence")
    assert bool(lost.sel(vd="VD-1", feature="avg_speed").all())
    assert int(lost.isel(horizon=0).sum()) == 1
    assert not forecast(whole).has("gaps").any()


def test_a_detector_without_any_value_is_flagged() -> None:
    raw = recent_file(first=440)
    recent = forecast(without(raw, slice(None), 1, slice(None)), "global")
    dead = recent.has("no_values").sel(model=NETWORK)
    assert bool(dead.sel(vd="VD-1").all())
    assert not dead.sel(vd="VD-0").any()


@pytest.mark.parametrize(("steps", "is_short"), [(36, False), (35, True)])
def test_little_history_is_flagged(steps: int, is_short: bool) -> None:
    """The rule of stuck sensors takes 3 h, 36 steps."""
    recent = recent_windows(recent_file(first=STEPS - steps))
    assert not find_flags(recent)["short_history"].any()  # these rules know no stuck sensor
    ruled = replace(recent, data=recent.data.assign_attrs(cleaning=CLEANING.text))
    assert bool(find_flags(ruled)["short_history"][-1].all()) is is_short


def test_values_beyond_those_of_training_are_flagged() -> None:
    raw = recent_file(first=440)
    values = np.array(raw.values)
    values[-6:] = [80.0, 120.0, 10.0]
    usual = find_flags(recent_windows(raw.copy(data=values)))["beyond_training"]
    values[-2, 0, 1] = 900.0
    unusual = find_flags(recent_windows(raw.copy(data=values)))["beyond_training"]
    assert (usual[-1, 0, :, 0].tolist(), unusual[-1, 0, :, 0].tolist()) == (
        [False, False],
        [True, False],
    )


def test_origins_that_the_model_was_trained_or_validated_on_are_flagged() -> None:
    recent = forecast(recent_file(), origins="all")
    seen = recent.has("seen_in_training").sel(model=NETWORK).isel(horizon=0, vd=0, feature=0)
    val_end = make_time(399)  # the last step of validation, of 500
    np.testing.assert_array_equal(seen.values, recent.origins < val_end)
    assert not recent.has("seen_in_training").sel(model="persistence").any()


def make_time(step: int) -> np.datetime64:
    return np.datetime64(recent_file(first=0)["time"].values[step])


def test_a_clock_that_only_one_of_the_two_names_is_flagged() -> None:
    raw = recent_file()
    for named, is_flagged in ((raw, False), (raw.assign_attrs(utc_offset="+08:00"), True)):
        assumed = forecast(named).has("clock_assumed")
        assert bool(assumed.sel(model=[NETWORK, "ridge"]).all()) is is_flagged
        assert not assumed.sel(model="persistence").any()


def test_what_a_detector_never_reported_in_training_is_not_read() -> None:
    best, windows, _ = trained()
    observed = np.array(windows.observed)
    observed[:, 0, 2] = False
    data = windows.data.assign(observed=(windows.data["observed"].dims, observed))
    blocks = WindowBlocks.of_one(WindowSet(data))
    clean = clean_recent(recent_file(), best)
    recent = make_recent_windows(clean, best, blocks, Forecast(origins="last"))
    assert (recent.values[recent.file, 0, 2] == 0).all()
    assert not find_flags(recent)["beyond_training"][0, 0, 0].all()


def test_the_table_has_a_row_per_forecast_with_the_offset_of_the_file() -> None:
    raw = recent_file().assign_attrs(utc_offset="+08:00")
    recent = forecast(raw)
    table = write_table(recent)
    assert len(table) == recent.prediction.size
    assert [*table] == [
        *("model", "vdid", "feature", "unit", "origin", "horizon", "time"),
        *("forecast", "lower_50", "upper_50", "lower_90", "upper_90", "measured", "flag"),
    ]
    row = table[
        (table["model"] == "ridge")
        & (table["vdid"] == "VD-1")
        & (table["feature"] == "total_volume")
        & (table["horizon"] == 2)
    ]
    assert len(row) == 1
    end = pd.Timestamp(raw["time"].values[-1])
    assert row["origin"].item() == f"{end.isoformat()}+08:00"
    assert row["time"].item() == f"{(end + pd.Timedelta('10min')).isoformat()}+08:00"
    assert row["unit"].item() == "veh/5 min"
    labels = {"model": "ridge", "vd": "VD-1", "feature": "total_volume", "horizon": 2}
    assert row["forecast"].item() == recent.prediction.sel(labels).item()


def test_another_array_of_numbers_is_a_column() -> None:
    recent = forecast(recent_file())
    wider = recent.data.assign(another=recent.prediction + 1)
    table = write_table(RecentForecasts(wider))
    np.testing.assert_allclose(table["another"] - table["forecast"], 1, rtol=1e-5)


def test_a_table_for_a_spreadsheet_keeps_the_latest_origins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent = forecast(recent_file(), origins="all")
    rows = recent.prediction[:, 0].size
    monkeypatch.setattr("vd_forecasting.pipelines.forecast.table.MOST_ROWS", 2 * rows + 1)
    assert [*write_table(recent)["origin"].unique()] == [
        pd.Timestamp(origin).isoformat() for origin in recent.origins[-2:]
    ]
