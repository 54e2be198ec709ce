"""The range of forecasts: by hand, and never narrower than what cleaning leaves."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make.arrays import array
from vd_forecasting.parameters import Cleaning
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_engineering.possible_range import possible_range

FEATURES = ["avg_speed", "total_volume", "speed_std"]


def cleaning(resample: str | None = None, **volume: Any) -> Cleaning:
    volume = {"unit": "veh/interval", "max_rate": 3600, "aggregate": "sum", **volume}
    return Cleaning.model_validate(
        {
            **{"interval": None, "error_codes": (), "min_observed": 0.5, "resample": resample},
            "resample_min_observed": 0.1,
            "features": {
                "avg_speed": {"unit": "km/h", "range": (0, 200)},
                "total_volume": volume,
            },
        }
    )


def ends(cleaned: xr.DataArray, how: Cleaning, vd: int = 0) -> list[tuple[float, float]]:
    low, high = possible_range(cleaned[:, :0], np.isfinite(cleaned.to_numpy()), how)
    assert low.shape == high.shape == cleaned.shape[1:]
    return list(zip(low[vd].tolist(), high[vd].tolist(), strict=True))


@pytest.mark.parametrize(
    ("how", "volume"),
    [
        (cleaning(), (0, 300)),  # 3600 an hour in 5 minutes
        (cleaning("15min"), (0, 900)),
        (cleaning(range=(0, 100)), (0, 100)),
        (cleaning("15min", range=(0, 100)), (0, 300)),
        (cleaning("15min", range=(2, 100)), (0, 300)),
        (cleaning("15min", range=(-1, 100)), (-3, 300)),
        (cleaning("15min", range=(2, 100), aggregate="mean"), (2, 100)),
        (cleaning(unit="veh/h"), (0, 3600)),
        (cleaning("15min", unit="veh/h", aggregate="mean"), (0, 3600)),
        (cleaning(range=None), (-np.inf, np.inf)),
    ],
)
def test_ranges_by_hand(how: Cleaning, volume: tuple[float, float]) -> None:
    raw = array(np.ones((48, 1, 3)), FEATURES, minutes=5)
    cleaned, _ = clean(raw, how)
    assert ends(cleaned, how) == [(0, 200), volume, (-np.inf, np.inf)]


def test_the_rate_of_a_detector_counts_for_its_own_interval() -> None:
    values = np.ones((60, 2, 3))
    values[np.arange(60) % 3 > 0, 1] = np.nan
    cleaned, _ = clean(array(values, FEATURES, minutes=5), cleaning())
    assert ends(cleaned, cleaning(), vd=0)[1] == (0, 300)
    assert ends(cleaned, cleaning(), vd=1)[1] == (0, 900)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, "10min", "15min"]),
    st.sampled_from([{}, {"range": (0, 100)}, {"range": (3, 100)}, {"unit": "veh/h"}]),
)
@settings(max_examples=40, deadline=None)
def test_nothing_that_cleaning_leaves_lies_outside(
    seed: int, resample: str | None, volume: dict[str, Any]
) -> None:
    random = np.random.default_rng(seed)
    values = random.exponential(200, (90, 3, 3)) * random.choice([-1, 1], (90, 3, 3), p=[0.1, 0.9])
    values[np.arange(90) % random.integers(1, 4) > 0, 1] = np.nan
    aggregate = "mean" if "unit" in volume else "sum"
    how = cleaning(resample, **volume, aggregate=aggregate)
    cleaned, _ = clean(array(values, FEATURES, minutes=5), how)
    found = cleaned.to_numpy()
    low, high = possible_range(cleaned[:, :0], np.isfinite(found), how)
    assert not ((found < low) | (found > high)).any()
