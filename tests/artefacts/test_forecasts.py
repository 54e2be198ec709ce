import numpy as np
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


def test_older_forecasts_say_nothing_of_the_possible_range() -> None:
    older = Forecasts.from_xarray(make_predictions().drop_vars(["low", "high"])).data
    for name, limit in (("low", -np.inf), ("high", np.inf)):
        assert older[name].dims == ("block", "vd", "feature")
        assert (older[name] == limit).all()
    with pytest.raises(ValueError, match="low has the dims"):
        Forecasts.from_xarray(older.assign(low=older["low"].isel(vd=0)))
