"""The catalog validator for regular time grids."""

from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr
from kedro.validation.core import ValidatorSpec, resolve_validator

from vd_forecasting.vd_array import check_regular_grid


def at(*times: str) -> xr.DataArray:
    return xr.DataArray(
        np.zeros(len(times)), dims="time", coords={"time": np.array(times, dtype="M8[ns]")}
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_regular_grid_is_handed_back(count: int) -> None:
    times = np.datetime64("2015-02-28T23:50", "ns") + np.arange(count) * np.timedelta64(5, "m")
    data = at(*map(str, times))
    assert check_regular_grid(data) is data


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            ["2015-01-01T00:00", "NaT", "2015-01-01T00:10"],
            r"1 of 3 time stamps are blank \(NaT\), the first that of step 1$",
        ),
        (
            ["2015-01-01T00:00", "2015-01-01T00:05", "2015-01-01T00:15"],
            "^step 1 is at 2015-01-01 00:05:00 and step 2 at 2015-01-01 00:15:00: "
            "0 days 00:10:00 apart, but the first two are 0 days 00:05:00 apart$",
        ),
        (
            ["2015-01-01T00:00", "2015-01-01T00:05", "2015-01-01T00:05"],
            "^step 1 is at 2015-01-01 00:05:00 and step 2 at 2015-01-01 00:05:00: .*increase$",
        ),
        (["2015-01-01T00:10", "2015-01-01T00:05", "2015-01-01T00:00"], "^step 0 .*increase$"),
        ([], "no time stamps"),
    ],
)
def test_the_first_irregular_step_is_named(times: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_regular_grid(at(*times))
    assert "\n" not in str(error.value)


def test_an_array_without_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no time stamps"):
        check_regular_grid(xr.DataArray([1.0], dims="time"))


def test_kedro_takes_it_as_a_validator() -> None:
    validator = resolve_validator(ValidatorSpec("vd_forecasting.vd_array.check_regular_grid"))
    data = at("2015-01-01T00:00", "2015-01-01T00:05")
    assert validator.validate(data) is data
