import pytest
import xarray as xr

from tests.make.artefacts import make_predictions
from vd_forecasting.artefacts import Forecasts
from vd_forecasting.artefacts.forecasts import FORMAT


def test_forecasts_of_a_newer_version_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=rf"format {FORMAT + 1} is newer than {FORMAT}, .*update"):
        Forecasts.from_xarray(xr.Dataset(attrs={"format": FORMAT + 1}))


def test_forecasts_carry_the_number_of_their_format() -> None:
    saved = Forecasts.from_xarray(make_predictions()).to_xarray()
    assert saved.attrs["format"] == FORMAT
    assert Forecasts.from_xarray(saved).to_xarray().identical(saved)
