import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from tests import PROJECT
from vd_forecasting.parameters import Simulate
from vd_forecasting.pipelines.simulate import create_pipeline
from vd_forecasting.pipelines.simulate.corridor import (
    DETECTORS_KM,
    ENTRIES_KM,
    EXITS,
    JAM_DENSITY,
    LANE_DROP_KM,
    NODES_KM,
    REACTION_TIME,
    drive,
    lanes,
    plan,
)
from vd_forecasting.pipelines.simulate.detectors import FAULTY, OUTAGE, measure, spoil

BASE = PROJECT / "conf" / "base" / "parameters_simulate.yml"
FEATURES = ["avg_speed", "total_volume", "avg_occupancy", "speed_std", "lane_count"]


def parameters(**changes: object) -> Simulate:
    return Simulate(**(yaml.safe_load(BASE.read_text())["simulate"] | changes))


def steady_plan(entering: float, hours: float = 2, lane_drop: float = np.inf) -> xr.Dataset:
    """The same demand all the time at the upstream end, none on the ramps."""
    time = pd.date_range("2024-03-05 12:00", periods=int(12 * hours), freq="5min")
    demand = np.zeros((len(time), len(ENTRIES_KM)))
    demand[:, 0] = entering
    capacity = np.full((len(time), len(NODES_KM)), np.inf)
    capacity[:, NODES_KM.index(LANE_DROP_KM)] = lane_drop
    return xr.Dataset(
        {"demand": (("time", "entry"), demand), "capacity": (("time", "node"), capacity)},
        coords={"time": time, "entry": list(ENTRIES_KM), "node": list(NODES_KM)},
    )


def steady_traffic(days: int = 1, flow: float = 2400.0, speed: float = 90.0) -> xr.Dataset:
    time = pd.date_range("2024-03-04", periods=288 * days, freq="5min")
    shape = (len(time), len(DETECTORS_KM))
    dims = ("time", "km")
    return xr.Dataset(
        {
            "flow": (dims, np.full(shape, flow)),
            "speed": (dims, np.full(shape, speed)),
            "speed_spread": (dims, np.zeros(shape)),
        },
        coords={"time": time, "km": list(DETECTORS_KM)},
    )


def share_passing(km: float) -> float:
    """Share of the vehicles from the upstream end that come past ``km``."""
    return float(np.prod([1 - share for exit_km, share in EXITS.items() if exit_km < km]))


def test_a_day_depends_on_the_seed_and_its_number_alone() -> None:
    short, long, other = (
        plan(parameters(days=days, seed=seed)) for days, seed in ((2, 1), (4, 1), (2, 2))
    )
    xr.testing.assert_identical(short, long.isel(time=slice(2 * 288)))
    assert not short.equals(other)


def test_weekdays_have_two_peaks_that_differ_from_day_to_day() -> None:
    days = plan(parameters(days=28))["demand"].sum("entry").values.reshape(28, 288)
    weekday = np.arange(28) % 7 < 5  # 2024-03-04 is a Monday
    hourly = days.reshape(28, 24, 12).mean(-1)
    assert (hourly[weekday][:, [7, 8]].max(1) > 1.25 * hourly[weekday][:, 12]).all()
    assert (hourly[weekday][:, [17, 18]].max(1) > 1.25 * hourly[weekday][:, 12]).all()
    assert hourly[~weekday][:, 7].max() < 0.85 * hourly[weekday][:, 7].min()
    assert (hourly[:, 3] < 0.15 * hourly.max(1)).all()
    evening = hourly[weekday][:, 17:19].max(1)
    assert 0.02 < evening.std() / evening.mean() < 0.2


def test_free_flow_is_conserved() -> None:
    pytest.importorskip("uxsim", reason="the simulate extra is not installed")
    traffic = drive(steady_plan(3000, hours=1), parameters())
    settled = traffic.isel(time=slice(6, None)).mean("time")
    expected = [3000 * share_passing(km) for km in DETECTORS_KM]
    np.testing.assert_allclose(settled["flow"], expected, rtol=0.06)
    np.testing.assert_allclose(settled["speed"], 3.6 * 27.8, rtol=0.01)
    assert not any(np.isnan(traffic[name]).any() for name in traffic)


def test_a_queue_stands_upstream_of_the_bottleneck_and_grows_upstream() -> None:
    pytest.importorskip("uxsim", reason="the simulate extra is not installed")
    limit = 3400.0
    traffic = drive(steady_plan(6000, hours=1.5, lane_drop=limit), parameters())
    speed, flow = traffic["speed"], traffic["flow"].isel(time=slice(6, None)).mean("time")

    downstream = [km for km in DETECTORS_KM if km > LANE_DROP_KM]
    np.testing.assert_allclose(flow.sel(km=downstream), limit, rtol=0.05)
    np.testing.assert_allclose(speed.sel(km=downstream), 3.6 * 27.8, rtol=0.02)

    # Newell: a vehicle keeps its jam spacing and its reaction time
    per_lane = limit / lanes(11.4) / 3600
    queueing = 3.6 * per_lane / JAM_DENSITY / (1 - per_lane * REACTION_TIME)
    np.testing.assert_allclose(speed.sel(km=11.4)[-12:].mean(), queueing, rtol=0.15)

    congested = (speed < 60).values
    upstream = [DETECTORS_KM.index(km) for km in (11.4, 10.5, 9.6)]
    onset = [int(congested[:, place].argmax()) for place in upstream]
    assert congested[:, upstream].any(0).all()
    assert onset == sorted(onset)
    assert onset[-1] > onset[0]


def test_the_same_seed_drives_the_same_traffic() -> None:
    pytest.importorskip("uxsim", reason="the simulate extra is not installed")
    first, again, other = (
        drive(steady_plan(4500, hours=0.5), parameters(seed=seed)) for seed in (7, 7, 8)
    )
    xr.testing.assert_identical(first, again)
    assert not first.equals(other)


def test_without_uxsim_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uxsim", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[simulate\]"$'):
        drive(steady_plan(1000), parameters())


def test_measured_features_agree_with_the_traffic_and_each_other() -> None:
    measured = measure(steady_traffic(), parameters())
    assert measured.dims == ("time", "vd", "feature")
    assert measured.dtype == np.float32
    assert measured["feature"].values.tolist() == FEATURES
    speed, volume, occupancy, deviation, lane_count = np.moveaxis(measured.values, -1, 0)

    assert volume.mean() == pytest.approx(2400 / 12, rel=0.01)
    # day, place and noise; drivers also slow down a little as the road fills
    assert speed.mean() == pytest.approx(88, abs=3)
    assert (lane_count == [lanes(km) for km in DETECTORS_KM]).all()
    # occupancy = density [veh/km and lane] × 6.5 m / 10
    density = volume * 12 / speed / lane_count
    np.testing.assert_allclose(occupancy, 0.65 * density, rtol=0.2)
    assert (deviation > 0).all()
    assert (volume == np.round(volume)).all()
    assert len(np.unique(volume % 5)) == 5  # no trace of platoons
    np.testing.assert_array_equal(speed, speed.round(1))


def test_an_empty_interval_has_no_speed() -> None:
    speed, volume, occupancy, deviation, _ = np.moveaxis(
        measure(steady_traffic(flow=0.0), parameters()).values, -1, 0
    )
    assert (volume == 0).all()
    assert (occupancy == 0).all()
    assert np.isnan(speed).all()
    assert np.isnan(deviation).all()


def test_detectors_are_placed_on_a_line_of_the_corridors_length() -> None:
    measured = measure(steady_traffic(), parameters())
    assert measured["vd"].values[0] == "VD-11-0114-001-001"
    assert len(set(measured["vd"].values)) == len(DETECTORS_KM) >= 12
    order = np.argsort(DETECTORS_KM)
    lon, lat = (measured[f"position_{axis}"].values[order] for axis in ("lon", "lat"))
    steps = np.hypot(np.diff(lat) * 111.2, np.diff(lon) * 111.2 * np.cos(np.deg2rad(25)))
    np.testing.assert_allclose(steps, np.diff(np.array(DETECTORS_KM)[order]), rtol=0.1)


def test_spoiled_data_is_dirty_but_usable() -> None:
    clean = measure(steady_traffic(days=14), parameters())
    dirty = spoil(clean, parameters(missing=0.02, errors=0.002))
    xr.testing.assert_identical(dirty, spoil(clean, parameters(missing=0.02, errors=0.002)))

    lost = np.isnan(dirty.values).mean((0, 2))
    healthy = np.delete(lost, FAULTY)
    assert 0.01 < lost[0] < 0.06
    assert 0.02 < healthy.mean() < 0.05
    assert lost[FAULTY] > 0.5
    assert lost[OUTAGE] > lost[0] + 0.04

    times = dirty["time"].values
    blank = np.isnat(times)
    assert 0 < blank.mean() < 0.01
    assert len(np.unique(times[~blank])) < (~blank).sum()
    assert np.isnan(dirty.values[blank]).all()

    speed, occupancy = dirty.values[..., 0], dirty.values[..., 2]
    for code in (-99, -1, 255, 999):
        assert (speed == code).any()
    assert ((speed > 200) & (speed < 255)).any()
    assert ((occupancy > 100) & (occupancy < 255)).any()
    assert not (dirty.values[..., 1] == 255).any()  # 255 vehicles are possible
    changed = (dirty.values != clean.values) & ~np.isnan(dirty.values)
    assert 0.0005 < np.delete(changed, FAULTY, axis=1).mean() < 0.004

    stuck = np.abs(np.diff(dirty.values[:, FAULTY, 1])) == 0
    assert stuck.sum() > 100


def test_pipeline_makes_the_sample_from_the_parameters() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"params:simulate"}
    assert pipeline.outputs() == {"vd_sample"}
