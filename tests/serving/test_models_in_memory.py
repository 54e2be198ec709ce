"""What is served equals what ``kedro run --pipeline forecast`` makes of the same values."""

import numpy as np
import pytest
import xarray as xr

from tests.make.recent_files import forecast, recent_file, without
from tests.make.served import as_csv, as_json, rows_of, served
from vd_forecasting.artefacts import RecentForecasts
from vd_forecasting.serving import models_in_memory
from vd_forecasting.serving.answers import answer
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.serving.rows import read_rows, to_vd_array

KINDS = ["joint", "independent", "global"]


def from_rows(raw: xr.DataArray, kind: str, *, as_text: bool = False) -> RecentForecasts:
    """The forecasts of a file that was sent as rows."""
    body, content_type = as_json(rows_of(raw)), "application/json"
    if as_text:
        body, content_type = as_csv(rows_of(raw)), "text/csv"
    model = served(kind)
    array, _ = to_vd_array(read_rows(body, content_type), model.checkpoint)
    return model.forecast(array)[1]


def assert_same(one: RecentForecasts, other: RecentForecasts, std: np.ndarray) -> None:
    """Forecasts and ends of intervals to 1e-5 in scaled units, and the same flags and labels."""
    assert one.data.sizes == other.data.sizes
    for name in one.data.coords:
        np.testing.assert_array_equal(one.data[name].values, other.data[name].values)
    for name in ("prediction", "lower_50", "upper_50", "lower_90", "upper_90", "truth"):
        of_both = (data[name].transpose(..., "vd", "feature") for data in (one.data, other.data))
        own, expected = (values.values / std for values in of_both)
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(one.data["flag"].values, other.data["flag"].values)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_forecast_as_a_file_is(kind: str, as_text: bool) -> None:
    raw = recent_file()
    std = served(kind).trained.target_scaler[1]
    assert_same(from_rows(raw, kind, as_text=as_text), forecast(raw, kind), std)


@pytest.mark.parametrize(
    "raw",
    [
        recent_file(first=480),
        without(recent_file(), slice(-4, None), 0, slice(None)),
        without(recent_file(), slice(-2, None), slice(None), slice(None)),
        recent_file(first=100, last=300),
    ],
    ids=["short", "gaps", "ends later", "training"],
)
def test_flags_are_those_of_the_file(raw: xr.DataArray) -> None:
    assert_same(from_rows(raw, "joint"), forecast(raw), served().trained.target_scaler[1])


def test_a_detector_that_is_forecast_by_itself_may_be_missing() -> None:
    raw = recent_file().isel(vd=[0])
    std = served("independent").trained.target_scaler[1][:1]
    assert_same(from_rows(raw, "independent"), forecast(raw, "independent"), std)


def test_an_offset_is_that_of_the_rows() -> None:
    body = as_json(rows_of(recent_file(), "+08:00"))
    model = served()
    array, _ = to_vd_array(read_rows(body, "application/json"), model.checkpoint)
    recent, found = model.forecast(array)
    content = answer("multi_vd_lstm", found, recent, [])
    assert content["origin"].endswith("+08:00")
    assert {time[-6:] for time in content["times"]} == {"+08:00"}
    assert "clock_assumed" in content["flags"]


def test_the_example_is_the_forecast_from_the_end_of_the_comparisons_data() -> None:
    _, found = served().example
    steps = 6 + 288
    raw = recent_file(first=500 - steps)
    expected = forecast(raw.assign_attrs(utc_offset=""))
    std = served().trained.target_scaler[1]
    own, same = (one.prediction.sel(model="lstm").values / std for one in (found, expected))
    np.testing.assert_allclose(own, same, atol=1e-5)


def test_more_windows_than_one_answer_may_take_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models_in_memory, "MOST_WINDOWS", 100)
    with pytest.raises(RefusedError, match=r"345 windows, more than the 100 of one.* 38 steps"):
        from_rows(recent_file(), "global")
