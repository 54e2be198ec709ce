"""Every check finds what was put into clean traffic, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.another_language import english_left, greek, texts_of
from tests.make.parameters import REPORT, SPLIT
from vd_forecasting.parameters import Cleaning, FeatureCleaning
from vd_forecasting.pipelines.data_engineering.clean import clean
from vd_forecasting.pipelines.data_quality import findings as checks
from vd_forecasting.pipelines.data_quality.cleaned_file import CleanedFile, History
from vd_forecasting.pipelines.data_quality.findings import findings
from vd_forecasting.pipelines.data_quality.report import report_quality

NAN = np.nan
SPEED, VOLUME, OCCUPANCY = range(3)
PER_DAY = 96
PER_HOUR = 4
MONDAY = "2024-03-04"


def parameters(stuck_after: str | None = None) -> Cleaning:
    features: dict[str, dict[str, Any]] = {
        "avg_speed": {"unit": "km/h", "range": (0, 200)},
        "total_volume": {"unit": "veh/interval", "range": (0, 3000)},
        "avg_occupancy": {"unit": "%", "range": (0, 100)},
    }
    if stuck_after:
        features = {name: own | {"stuck_after": stuck_after} for name, own in features.items()}
    return Cleaning.model_validate(
        {"interval": None, "error_codes": (-99,), "min_observed": 0.5, "features": features}
    )


def traffic(days: int = 35, vds: int = 4, seed: int = 0) -> xr.DataArray:
    """Quarters of an hour of a freeway: quiet nights, two peaks, slow where it is full."""
    random = np.random.default_rng(seed)
    hour = np.arange(days * PER_DAY)[:, np.newaxis] / PER_HOUR % 24
    demand = 0.03 + np.exp(-(((hour - 8) / 2) ** 2)) + 0.9 * np.exp(-(((hour - 17) / 3) ** 2))
    volume = random.poisson(600 * demand * random.uniform(0.8, 1.2, (1, vds)))
    speed = 100 - 60 * (volume / 900) ** 2 + random.normal(size=volume.shape)
    occupancy = np.clip(volume / speed * 6 + random.normal(size=volume.shape) / 10, 0, 100)
    values = np.stack([speed, volume, occupancy], axis=-1)
    return xr.DataArray(
        values.astype(np.float32),
        dims=("time", "vd", "feature"),
        coords={
            "time": pd.date_range(MONDAY, periods=len(values), freq="15min", unit="ns"),
            "vd": [f"VD-{n}" for n in range(vds)],
            "feature": ["avg_speed", "total_volume", "avg_occupancy"],
        },
        attrs={"source_file": "made.h5"},
    )


def found_in(raw: xr.DataArray, cleaning: Cleaning | None = None) -> list[str]:
    cleaning = cleaning or parameters()
    vd, log = clean(raw, cleaning)
    return findings(CleanedFile(vd, History(vd, log), cleaning, SPLIT))


def section_of(raw: xr.DataArray, cleaning: Cleaning) -> str:
    """The first section of the page."""
    text = report_quality(*clean(raw, cleaning), cleaning, SPLIT, REPORT).text
    return text.split("## What to look at\n\n")[1].split("\n\n## ")[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("missing", [0, 0.1])
def test_nothing_stands_out_in_clean_traffic(seed: int, missing: float) -> None:
    raw = traffic(seed=seed)
    raw.values[np.random.default_rng(seed).random(raw.shape) < missing] = NAN
    cleaning = parameters(stuck_after="3h")
    assert found_in(raw, cleaning) == []
    assert section_of(raw, cleaning) == "Nothing stands out."


def test_nothing_stands_out_in_one_vd_with_one_feature() -> None:
    assert found_in(traffic(vds=1).isel(feature=[SPEED])) == []


def test_a_night_and_a_day_without_one_vd_are_no_pattern() -> None:
    """Two nights, and one day of 35, are chance."""
    raw = traffic()
    raw[2 * PER_DAY : 2 * PER_DAY + 20, 1] = NAN
    raw[9 * PER_DAY : 9 * PER_DAY + 20, 1] = NAN
    raw[20 * PER_DAY : 21 * PER_DAY, 2] = NAN
    assert found_in(raw) == []


def test_much_missing() -> None:
    raw = traffic()
    raw[: 14 * PER_DAY, 2] = NAN  # 14 of 35 days
    raw[7 * PER_DAY : 14 * PER_DAY + 6 * PER_HOUR, 1, :2] = NAN  # 7.25 of 35, in 2 of 3
    raw[:, 3] = NAN
    [found] = found_in(raw)
    assert found == (
        "**VD-3: nothing observed**; **VD-2: 40 % missing**, longest gap 14 days from "
        "2024-03-04 00:00. Find out why; a detector observed less than 50 % "
        "(`cleaning.min_observed`) is not trained on."
    )


def test_the_most_missing_are_named_and_the_others_counted() -> None:
    raw = traffic(vds=6)
    for vd in range(5):
        raw[2 : (8 + vd) * PER_DAY, vd] = NAN
    [found] = found_in(raw)
    assert found.startswith("**VD-4: 34.2 % missing**, longest gap 11 days 23 h from 2024-03-04 00")
    assert "; **VD-2: " in found
    assert "VD-1" not in found
    assert "; 2 more have 20 % or more missing. Find" in found


def test_clock_gaps_are_not_missed_by_each_vd() -> None:
    raw = traffic()
    keep = np.ones(len(raw), dtype=bool)
    keep[5 * PER_DAY : 14 * PER_DAY + 2] = False
    keep[20 * PER_DAY : 20 * PER_DAY + 13] = False
    keep[30 * PER_DAY : 30 * PER_DAY + 11] = False  # under three hours
    [found] = found_in(raw.isel(time=keep))
    assert found == (
        "**No detector reports for 9 days 30 min** from 2024-03-09 00:00; 2 such gaps of 3 h or "
        "more are 9 days 3 h together. Ask whether the records of that time still exist."
    )


def test_steps_without_vehicles_left_out() -> None:
    raw = traffic()
    hour = np.arange(len(raw)) // PER_HOUR % 24
    drop = (hour < 5) & (np.random.default_rng(0).random(len(raw)) < 0.6)
    drop[hour == 12] = np.arange((hour == 12).sum()) % 4 == 0  # 1 of 64 steps of the day
    raw[drop, 1] = NAN
    share = drop[hour < 5].mean()
    [found] = found_in(raw)
    assert found.startswith("**avg_speed (and total_volume and avg_occupancy) by night: ")
    assert f"night: {100 * share:.1f} % missing** from 00:00 to 05:00, by day 1.6 %, in " in found
    assert "in VD-1. Steps without vehicles may have been dropped" in found


def test_a_night_without_vehicles_has_no_speed() -> None:
    raw = traffic()
    night = np.arange(len(raw)) // PER_HOUR % 24 < 5
    raw[night, :, VOLUME] = 0
    raw[night, :, SPEED] = NAN
    assert found_in(raw) == []


def test_silent_zeros() -> None:
    raw = traffic()
    raw[100 : 100 + 2 * PER_DAY + PER_HOUR, 3, VOLUME] = 0
    raw[100 : 100 + PER_DAY - 1, 2, VOLUME] = 0  # not a whole day
    [found] = found_in(raw)
    assert found.startswith("**VD-3: total_volume is 0 for 2 days 1 h** from 2024-03-05 01:00. ")


def test_repeated_values_where_the_rule_is_off() -> None:
    raw = traffic()
    raw[40:60, 1, SPEED] = 77  # 5 h
    raw[40:51, 2, SPEED] = 77  # 11 steps
    [found] = found_in(raw)
    assert found.startswith("**VD-1: avg_speed repeats one value for 5 h** from 2024-03-04 10:00. ")


def test_repeated_values_that_the_rule_leaves() -> None:
    """A value that always comes in runs is not stuck."""
    raw = traffic()
    raw[..., VOLUME] = np.repeat(raw[::PER_HOUR, :, VOLUME].to_numpy() // 50 * 50 + 1, 4, axis=0)
    cleaning = parameters(stuck_after="3h")
    assert not any("repeats" in found for found in found_in(raw, cleaning))
    raw[100 : 100 + 60, 1, VOLUME] = 1  # 15 h
    assert not any("repeats" in found for found in found_in(raw, cleaning))
    hours = raw[::PER_HOUR].copy()
    hours[:, 1, SPEED] = 5 * (hours[:, 1, SPEED] // 5)
    hours[50:76, 1, SPEED] = hours[40:48, 1, SPEED] = hours[90:93, 1, SPEED] = 95
    [found] = [found for found in found_in(hours, cleaning) if "repeats" in found]
    assert found.startswith("**VD-1: avg_speed repeats one value for 1 day ")
    assert found.endswith("Check the sensor; it may be chance, as the value is common there.")


def test_lanes_may_stay_the_same() -> None:
    raw = traffic().isel(feature=[0, 1]).assign_coords(feature=["avg_speed", "lane_count"])
    raw[:, :, 1] = 3
    assert found_in(raw) == []


def test_stuck_values_that_were_removed() -> None:
    raw = traffic()
    raw[40:60, 1, SPEED] = 77
    [found] = found_in(raw, parameters(stuck_after="3h"))
    assert found == (
        "**VD-1: avg_speed was stuck** for 5 h in all (0.6 % of its values). One value for hours: "
        "removed. Check the sensor."
    )


def test_identical_series() -> None:
    raw = traffic(vds=6)
    raw[:, 4] = raw[:, 1]
    raw[:, 5, SPEED] = raw[:, 0, SPEED]
    [found] = found_in(raw)
    assert found.startswith(
        "**VD-1 and VD-4 report identical avg_speed, total_volume and avg_occupancy**; "
        "**VD-0 and VD-5 report identical avg_speed**. One is likely a copy"
    )


def test_two_dead_sensors_are_no_copies() -> None:
    raw = traffic()
    raw[:, [1, 2]] = NAN
    raw[100:, [0, 3], OCCUPANCY] = 2.5
    assert not any("identical" in found for found in found_in(raw))


def test_speed_that_ignores_occupancy() -> None:
    raw = traffic()
    assert (raw[:, 2, OCCUPANCY] >= 30).sum() > 24  # else there would be nothing to see
    raw[:, 2, SPEED] = 90 + np.random.default_rng(0).normal(size=len(raw))
    [found] = found_in(raw)
    assert found == (
        "**Speed does not fall when occupancy rises at VD-2**: at VD-2 its median is 90 km/h above "
        "30 % and 90 km/h below 10 %. Check the sensor."
    )


def test_a_road_that_is_never_full_need_not_slow_down() -> None:
    raw = traffic()
    raw[:, :, OCCUPANCY] = raw[:, :, OCCUPANCY] / 10
    raw[:, :, SPEED] = 90 + np.random.default_rng(0).normal(size=raw.shape[:2])
    assert found_in(raw) == []


def test_values_out_of_range() -> None:
    raw = traffic()
    raw[[5, 9], 0, VOLUME] = 4000
    raw[7, 3, VOLUME] = -5
    raw[7, 3, SPEED] = 201
    [found] = found_in(raw)
    assert found == (
        "**total_volume: 3 values outside 0 to 3000** in 2 detectors; **avg_speed: 1 value outside "
        "0 to 200** in VD-3. Removed; widen the range if they are real."
    )


def test_a_wrong_unit() -> None:
    raw = traffic()
    raw[:, :, SPEED] *= 3
    found = found_in(raw)
    assert "outside 0 to 200" in found[-1]
    assert found[-1].endswith("That many suggest a wrong unit.")


def test_many_error_codes() -> None:
    raw = traffic()
    raw[::10, 2, SPEED] = -99
    raw[::50, 1, SPEED] = -99
    [found] = found_in(raw)
    assert found == (
        "**avg_speed: 10 % error codes in VD-2**. Check that these codes are no values "
        "(`cleaning.error_codes`)."
    )


def test_occupancy_as_a_share() -> None:
    raw = traffic()
    raw[:, :, OCCUPANCY] /= 100
    [found] = found_in(raw)
    assert found.startswith("**avg_occupancy never exceeds 0.")
    assert "`scale: 100`" in found


def test_a_clock_of_another_place() -> None:
    """The peaks of 08:00 and 17:00 are at 21:00 and 06:00."""
    raw = traffic().roll(time=-11 * PER_HOUR)
    [found] = found_in(raw)
    assert found.startswith("**More vehicles an hour are counted from 01:00 to 05:00 than")


def test_a_feature_without_values() -> None:
    raw = traffic()
    raw[:, :, OCCUPANCY] = NAN
    [found] = found_in(raw)
    assert found.startswith("**avg_occupancy has no values** in any detector.")


def test_time_stamps_that_are_blank() -> None:
    raw = traffic()
    blank = np.arange(len(raw)) % 20 == 3
    raw["time"] = ("time", np.where(blank, np.datetime64("NaT", "ns"), raw["time"].values))
    [found] = found_in(raw)
    assert found.startswith("**168 of 3,360 time steps have no time stamp** and were dropped.")


def test_a_wrong_interval() -> None:
    raw = traffic()
    coarse = parameters().model_copy(update={"interval": "1h"})
    fine = parameters().model_copy(update={"interval": "1min"})
    assert "share their place on the grid of 1 h" in found_in(raw, coarse)[0]
    assert "half of the grid of 1 min has no time step" in found_in(raw, fine)[0]


def test_a_short_file() -> None:
    assert found_in(traffic(days=28)) == []
    [found] = found_in(traffic(days=27))
    assert found.startswith("**The file holds 27 days**, less than 4 weeks")


def test_no_value_at_all() -> None:
    raw = traffic()
    raw[:] = NAN
    [found] = found_in(raw)
    assert found.startswith("**No value is left** after cleaning.")


def test_names_from_the_file_are_harmless() -> None:
    raw = traffic().assign_coords(vd=["a|b\nc", "<b>", "x", "y"])
    raw[: 14 * PER_DAY, :2] = NAN
    [found] = found_in(raw)
    assert "**a\\|b c: 40 % missing**" in found
    assert "**&lt;b>: 40 % missing**" in found


def test_speeds_of_0_where_no_volume_says_why() -> None:
    raw = traffic().isel(feature=[SPEED])
    raw[[5, 50, 500], 1] = 0
    [found] = found_in(raw)
    assert found == (
        "**avg_speed is 0 in 3 values (0.1 %) where the volume is unknown**, in VD-1. If no "
        "vehicle passed then, 0 is no speed: add 0 to `cleaning.features.avg_speed.error_codes`, "
        "or the volume to the file."
    )


def test_zeros_that_vehicles_contradict() -> None:
    raw = traffic()
    raw[[40, 140, 240], 1, SPEED] = 0
    raw[[41, 137], 2, OCCUPANCY] = 0
    raw[[42, 142], 3] = 0  # no vehicle
    speed, occupancy = found_in(raw)
    assert speed.startswith("**avg_speed is 0 in 3 values (0.1 %) while vehicles passed**, in VD-1")
    assert occupancy.startswith("**avg_occupancy is 0 in 2 values (0.1 %) while vehicles passed**")


@pytest.mark.parametrize("own", [{"max_rate": 36_000}, {"range": None}])
def test_z_scores_in_place_of_vehicles(own: dict[str, Any]) -> None:
    raw = traffic()
    volume = raw[..., VOLUME]
    raw[..., VOLUME] = (volume - volume.mean()) / volume.std()
    features = parameters().features | {
        "total_volume": FeatureCleaning.model_validate({"unit": "veh/interval", **own})
    }
    found = found_in(raw, parameters().model_copy(update={"features": features}))[0]
    assert found.startswith("**total_volume is negative in ")
    assert "other detector.** Vehicles are never fewer than 0: these may be standardised" in found
    assert "(z-scores)" in found


def test_a_detector_that_reports_less_often() -> None:
    raw = traffic()
    raw[np.arange(len(raw)) % 4 > 0, 2] = NAN
    assert found_in(raw)[0] == (
        "**VD-2 reports less often than every 15 min**: VD-2 every 1 h, and counts vehicles of it. "
        "Set `cleaning.resample` to the longest interval of the detectors you need."
    )
    coarse = parameters().model_copy(update={"resample": "1h"})
    assert not any("less often" in found for found in found_in(raw, coarse))


def test_no_more_than_ten_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaning = parameters()
    every = tuple(lambda _, n=n: [f"finding {n}"] for n in range(13))
    monkeypatch.setattr(checks, "CHECKS", every)
    lines = section_of(traffic(days=2), cleaning).splitlines()
    assert lines[:10] == [f"- finding {n}" for n in range(10)]
    assert lines[10:] == ["- … and 3 more of less weight; the tables below have the numbers."]


def test_findings_tables_and_figures_leave_no_english_in_another_language(tmp_path: Path) -> None:
    raw = traffic()
    raw[: 14 * PER_DAY, 2] = NAN
    raw[:, 3] = NAN
    raw[20 * PER_DAY : 22 * PER_DAY, 0, SPEED] = 0.0
    raw[:PER_DAY, 1, SPEED] = -99.0
    raw[PER_DAY : 2 * PER_DAY, 1, SPEED] = 500.0
    cleaning = parameters(stuck_after="3h")
    with greek(tmp_path) as how:
        page = report_quality(*clean(raw, cleaning), cleaning, SPLIT, how)
        assert page.text.count("\n- ") > 5
        for text in texts_of(page):
            assert english_left(text, ["VD", "made", "position_lon", "position_lat"]) == set(), text
