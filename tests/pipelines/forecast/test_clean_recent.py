"""What a recent file may be like, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from tests.make.recent_files import STEPS, forecast, recent_file, recent_windows, trained
from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.forecast.clean_recent import clean_recent, rules_for


def cleaned(raw: xr.DataArray, kind: str = "joint") -> xr.DataArray:
    return clean_recent(raw, trained(kind)[0])


def minutes(raw: xr.DataArray, parts: int) -> xr.DataArray:
    """Each step in equal parts: volumes are shared out, other values stay."""
    interval = np.timedelta64(5 * 60 // parts, "s")
    time = raw["time"].values[0] + interval * np.arange(parts * raw.sizes["time"])
    values = np.repeat(raw.values, parts, axis=0)
    values[..., 1] /= parts
    per = {1: "5 min", 5: "min"}[parts]
    coords = {"time": time, "vd": raw["vd"], "feature": raw["feature"]}
    units = ("feature", ["km/h", f"veh/{per}", "%"])
    return xr.DataArray(values, {**coords, "unit": units}, raw.dims, attrs=raw.attrs)


def test_a_shorter_interval_is_resampled() -> None:
    """A mean; the rules of this experiment sum nothing, so volumes must not be shared out."""
    fine = minutes(recent_file(), 5)
    fine = fine.assign_coords(unit=("feature", ["km/h", "veh/5 min", "%"]))
    coarse = cleaned(fine)
    assert coarse.attrs["interval_minutes"] == 5
    np.testing.assert_allclose(coarse.values[:, :, 0], recent_file().isel(vd=[0, 1]).values[..., 0])


def test_what_adds_up_is_summed_and_its_range_is_that_of_the_interval() -> None:
    best, *_ = trained()
    rules = Cleaning.model_validate_json(best["cleaning"])
    volume = FeatureCleaning(unit="veh/interval", range=(0, 500), aggregate="sum")
    summed = rules.model_copy(update={"features": {"total_volume": volume}})
    checkpoint = {**best, "cleaning": summed.text}
    raw = recent_file()
    coarse = clean_recent(minutes(raw, 5), checkpoint)
    expected = clean_recent(raw, checkpoint)
    np.testing.assert_allclose(coarse.values, expected.values, rtol=1e-5)
    assert expected.sel(feature="total_volume").max() > 100
    assert rules_for(minutes(raw, 5), checkpoint).features["total_volume"].range == (0, 100)


def test_a_volume_of_another_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"total_volume is in veh/min, .*trained on veh/5 min"):
        cleaned(minutes(recent_file(), 5))


@pytest.mark.parametrize("step", [2, 3])
def test_a_longer_interval_is_refused(step: int) -> None:
    coarse = recent_file().isel(time=slice(None, None, step))
    with pytest.raises(ValueError, match=rf"today.h5: its interval is {5 * step} min, .*5 min"):
        cleaned(coarse)


def test_another_unit_is_refused() -> None:
    raw = recent_file().assign_coords(unit=("feature", ["mph", "veh/5 min", "%"]))
    with pytest.raises(ValueError, match=r"today.h5: avg_speed is in mph, .*trained on km/h"):
        cleaned(raw)


def test_a_missing_feature_is_refused() -> None:
    with pytest.raises(ValueError, match=r"today.h5: has no avg_occupancy, which the model reads"):
        cleaned(recent_file().isel(feature=[0, 1]))


def test_a_missing_detector_is_refused_where_detectors_are_forecast_jointly() -> None:
    with pytest.raises(ValueError, match=r"has no detector 'VD-1', one of the 2 .* jointly"):
        cleaned(recent_file().isel(vd=[0, 2]))


@pytest.mark.parametrize("kind", ["independent", "global"])
def test_a_missing_detector_is_left_out_where_each_is_forecast_by_itself(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = forecast(recent_file(), kind)
    first = whole.vdids[0]
    without = recent_file().sel(vd=[name for name in recent_file()["vd"].values if name != first])
    recent = forecast(without, kind)
    assert recent.vdids == whole.vdids[1:]
    assert f"lacks 1 detector of the model: '{first}'" in caplog.text
    xr.testing.assert_allclose(recent.prediction, whole.prediction.sel(vd=recent.vdids))


def test_unknown_detectors_are_left_out_and_a_file_of_them_is_refused() -> None:
    raw = recent_file()
    xr.testing.assert_allclose(cleaned(raw), cleaned(raw.isel(vd=[0, 1])))
    other = raw.assign_coords(vd=["A", "B", "C"])
    with pytest.raises(ValueError, match="has none of the model's detectors, 'VD-0', 'VD-1'"):
        cleaned(other)


def test_a_file_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"5 steps of 5 min .* a window takes 6; .* least 30 min"):
        recent_windows(recent_file(first=STEPS - 5))
    with pytest.raises(ValueError, match=r"at least 2 different time stamps"):
        cleaned(recent_file(first=STEPS - 1))


def test_a_file_on_another_clock_is_forecast_for_the_same_moment() -> None:
    best, *_ = trained()
    on_eight = {**best, "utc_offset": "+08:00"}
    raw = recent_file().assign_attrs(utc_offset="+08:00")
    utc = raw.assign_coords(time=raw["time"] - np.timedelta64(8, "h"))
    moved = clean_recent(utc.assign_attrs(utc_offset="+00:00"), on_eight)
    xr.testing.assert_equal(moved, clean_recent(raw, on_eight))
    assert (moved.attrs["utc_offset"], moved.attrs["file_utc_offset"]) == ("+08:00", "+00:00")


def test_rules_are_those_of_the_checkpoint() -> None:
    best, *_ = trained()
    raw = recent_file()
    values = np.array(raw.values)
    values[3, 0, 0] = -99
    raw = raw.copy(data=values)
    assert clean_recent(raw, best).values[3, 0, 0] == -99  # these have no error codes
    rules = best["cleaning"].replace('"error_codes": []', '"error_codes": [-99]')
    assert np.isnan(clean_recent(raw, {**best, "cleaning": rules}).values[3, 0, 0])
