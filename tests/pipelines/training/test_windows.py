import math
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DatasetError

from tests.make.arrays import make_clean, with_places
from tests.make.parameters import CALENDAR, SPLIT
from vd_forecasting.artefacts import WindowBlocks, WindowSet
from vd_forecasting.artefacts import windows as artefacts
from vd_forecasting.datasets import VDHDF5Dataset, XarrayDataset, xarray_dataset
from vd_forecasting.datasets.hdf5_array import LazyHDF5Array
from vd_forecasting.parameters import (
    Calendar,
    Cleaning,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    MultiVDWindows,
    SingleVDWindows,
    Split,
    Windows,
)
from vd_forecasting.pipelines.training.batches import WindowBatches
from vd_forecasting.pipelines.training.windows import (
    calendar_inputs,
    choose_features,
    make_independent_multi_vd_windows,
    make_multi_vd_windows,
    make_single_vd_windows,
    make_windows,
    split_bounds,
)

CLEANING = Cleaning(interval=None, error_codes=(), min_observed=0.5, features={})
LENGTHS = {
    "sequence_length": 6,
    "prediction_length": 4,
    "input_features": None,
    "target_features": None,
}
FEATURES = ["avg_speed", "total_volume", "avg_occupancy"]


def single(**changes: object) -> SingleVDWindows:
    return SingleVDWindows.model_validate({**LENGTHS, "select_vd_id": None, **changes})


def multi(**changes: object) -> MultiVDWindows:
    return MultiVDWindows.model_validate({**LENGTHS, "num_vds": 2, **changes})


def of_all(**changes: object) -> GlobalVDWindows:
    return GlobalVDWindows.model_validate({**LENGTHS, "num_vds": None, **changes})


def independent(**changes: object) -> IndependentMultiVDWindows:
    return IndependentMultiVDWindows.model_validate(
        {**LENGTHS, "num_vds": 3, "target_vd_index": 0, **changes}
    )


def vdids(windows: WindowSet) -> list[str]:
    return windows.vdids


# --- which VDs ------------------------------------------------------------------------------------


def unusable_first() -> xr.DataArray:
    clean = make_clean()
    clean[:250, 0] = np.nan
    return clean


def test_null_selects_the_first_usable_vd() -> None:
    assert vdids(make_single_vd_windows(make_clean(), single(), SPLIT, CLEANING, CALENDAR)) == [
        "VD-0"
    ]
    assert vdids(make_single_vd_windows(unusable_first(), single(), SPLIT, CLEANING, CALENDAR)) == [
        "VD-1"
    ]


def test_the_test_split_does_not_choose_detectors() -> None:
    clean = xr.ones_like(make_clean(100, vds=2))
    clean[41:, 0] = np.nan  # 41 of all 100 steps, but 41 of the 80 before the test split
    assert vdids(make_single_vd_windows(clean, single(), SPLIT, CLEANING, CALENDAR)) == ["VD-0"]
    clean[39, 0], clean[40, 0], clean[80:, 0] = np.nan, np.nan, 1.0  # 39 of 80
    assert vdids(make_single_vd_windows(clean, single(), SPLIT, CLEANING, CALENDAR)) == ["VD-1"]


def test_a_vd_is_selected_by_name_even_if_unfit(caplog: pytest.LogCaptureFixture) -> None:
    windows = make_single_vd_windows(
        unusable_first(), single(select_vd_id="VD-0"), SPLIT, CLEANING, CALENDAR
    )
    assert vdids(windows) == ["VD-0"]
    assert "less than 50 % of its values before the test split are observed" in caplog.text


def test_unknown_vd_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no detector .VD-01.; the nearest of its 3 is 'VD-[01]'"):
        make_single_vd_windows(
            make_clean(), single(select_vd_id="VD-01"), SPLIT, CLEANING, CALENDAR
        )


def test_multi_vd_takes_the_first_usable_ones() -> None:
    assert vdids(make_multi_vd_windows(unusable_first(), multi(), SPLIT, CLEANING, CALENDAR)) == [
        "VD-1",
        "VD-2",
    ]


def test_of_a_large_file_no_more_than_the_vds_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = VDHDF5Dataset(filepath=str(tmp_path / "large.h5"))
    dataset.save(make_clean(vds=400))
    read: list[range] = []

    def spy(
        array: LazyHDF5Array, key: tuple[Any, ...], original: Any = LazyHDF5Array._read
    ) -> np.ndarray:
        read.extend(range(400)[part] if isinstance(part, slice) else part for part in key[1:2])
        values: np.ndarray = original(array, key)
        return values

    monkeypatch.setattr(LazyHDF5Array, "_read", spy)
    windows = make_multi_vd_windows(dataset.load(), multi(num_vds=10), SPLIT, CLEANING, CALENDAR)
    assert vdids(windows) == [f"VD-{n}" for n in range(10)]
    assert {vd for vds in read for vd in vds} == set(range(16))  # two chunks of eight


def test_more_vds_than_the_file_has() -> None:
    with pytest.raises(ValueError, match=r"num_vds 9: made.h5 has only 3 detectors"):
        make_multi_vd_windows(make_clean(), multi(num_vds=9), SPLIT, CLEANING, CALENDAR)


def test_more_vds_than_are_usable() -> None:
    with pytest.raises(ValueError, match="3 eligible detectors asked for, but only 2 of 3"):
        make_multi_vd_windows(unusable_first(), multi(num_vds=3), SPLIT, CLEANING, CALENDAR)


@pytest.mark.parametrize(
    ("index", "chosen"),
    [(1, ["VD-1"]), ([2, 0], ["VD-2", "VD-0"]), ("all", ["VD-0", "VD-1", "VD-2"])],
)
def test_target_vd_index(index: object, chosen: list[str]) -> None:
    windows = make_independent_multi_vd_windows(
        make_clean(), independent(target_vd_index=index), SPLIT, CLEANING, CALENDAR
    )
    assert vdids(windows) == chosen
    assert windows.models == {vdid: slice(n, n + 1) for n, vdid in enumerate(chosen)}


@pytest.mark.parametrize("index", [3, [0, 7]])
def test_target_vd_index_out_of_range(index: object) -> None:
    with pytest.raises(ValueError, match=r"target_vd_index [37] is out of range: .* use 0 to 2"):
        make_independent_multi_vd_windows(
            make_clean(), independent(target_vd_index=index), SPLIT, CLEANING, CALENDAR
        )


def test_every_value_missing() -> None:
    clean = make_clean()
    clean[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"VD VD-1 of made.h5 has no observed avg_speed at all"):
        make_single_vd_windows(clean, single(select_vd_id="VD-1"), SPLIT, CLEANING, CALENDAR)


@pytest.mark.parametrize(("num_vds", "chosen"), [(None, ["VD-0", "VD-2"]), (1, ["VD-0"])])
def test_a_global_model_has_the_first_eligible_vds_or_all(
    num_vds: int | None, chosen: list[str]
) -> None:
    clean = make_clean()
    clean[:, 1] = np.nan
    windows = make_multi_vd_windows(clean, of_all(num_vds=num_vds), SPLIT, CLEANING, CALENDAR)
    assert vdids(windows) == chosen
    assert windows.models == {"global": slice(0, len(chosen))}
    assert windows.parts("global") == [slice(n, n + 1) for n in range(len(chosen))]


def test_a_global_model_needs_an_eligible_vd() -> None:
    with pytest.raises(ValueError, match="1 eligible detector asked for, but only 0 of 3"):
        make_multi_vd_windows(make_clean() * np.nan, of_all(), SPLIT, CLEANING, CALENDAR)


# --- which features -------------------------------------------------------------------------------


def test_default_targets_are_those_the_file_has() -> None:
    clean = make_clean()
    assert choose_features(clean, single()) == (FEATURES, FEATURES)
    assert choose_features(clean.sel(feature=["avg_speed"]), single()) == (["avg_speed"],) * 2
    renamed = clean.assign_coords(feature=["a", "b", "c"])
    assert choose_features(renamed, single()) == (["a", "b", "c"],) * 2


def test_unknown_feature() -> None:
    with pytest.raises(ValueError, match=r"target_features: made.h5 has no feature 'speed'"):
        choose_features(make_clean(), single(target_features=["speed"]))


def test_target_without_its_past() -> None:
    with pytest.raises(ValueError, match="'avg_speed' is not among input_features"):
        choose_features(
            make_clean(), single(input_features=["total_volume"], target_features=["avg_speed"])
        )


# --- split ----------------------------------------------------------------------------------------


def test_windows_lie_inside_their_split() -> None:
    windows = make_single_vd_windows(make_clean(400), single(), SPLIT, CLEANING, CALENDAR)
    assert (windows.ends["train"], windows.ends["val"]) == (280, 320)
    for split, (start, end) in {"train": (0, 280), "val": (280, 320), "test": (320, 400)}.items():
        starts = windows.starts(split)
        assert starts[0] == start
        assert starts[-1] + 6 + 4 == end


def test_too_little_data_says_how_much_is_needed() -> None:
    with pytest.raises(ValueError, match=r"the val split has 9 of 90 steps, .* at least 100 steps"):
        split_bounds(90, single(), SPLIT)
    split_bounds(100, single(), SPLIT)


@given(
    steps=st.integers(1, 3000),
    length=st.integers(1, 50),
    horizons=st.integers(1, 30),
    train=st.floats(0.1, 0.8),
)
def test_bounds_cover_the_span_once(steps: int, length: int, horizons: int, train: float) -> None:
    split = Split(train=train, val=(1 - train) / 2, test=(1 - train) / 2)
    windows = single(sequence_length=length, prediction_length=horizons)
    try:
        bounds = split_bounds(steps, windows, split)
    except ValueError as error:
        assert "bring at least" in str(error)  # noqa: PT017
        return
    assert bounds["train"][0] == 0
    assert bounds["train"][1] == bounds["val"][0]
    assert bounds["val"][1] == bounds["test"][0]
    assert bounds["test"][1] == steps
    assert all(end - start >= length + horizons for start, end in bounds.values())


# --- scaling and imputation -----------------------------------------------------------------------


def test_scaler_knows_the_observed_training_values_only() -> None:
    clean = make_clean()
    windows = make_multi_vd_windows(clean, multi(), SPLIT, CLEANING, CALENDAR)
    training = clean.to_numpy()[:280, :2].astype("float64")
    np.testing.assert_allclose(windows.data["mean"], np.nanmean(training, axis=0), rtol=1e-5)
    np.testing.assert_allclose(windows.data["std"], np.nanstd(training, axis=0), rtol=1e-4)
    wild = clean.copy()
    wild[280:] = 1e6
    again = make_multi_vd_windows(wild, multi(), SPLIT, CLEANING, CALENDAR)
    xr.testing.assert_identical(windows.data[["mean", "std"]], again.data[["mean", "std"]])


def test_scaling_can_be_undone_where_observed() -> None:
    clean = make_clean()
    windows = make_multi_vd_windows(clean, multi(), SPLIT, CLEANING, CALENDAR)
    physical = (windows.data["values"] * windows.data["std"] + windows.data["mean"]).where(
        windows.data["observed"]
    )
    np.testing.assert_allclose(physical, clean[:, :2], rtol=1e-4, atol=1e-3)


def test_the_last_observed_value_fills_a_gap() -> None:
    clean = make_clean(missing=0.0)
    clean[:3, 0, 0] = np.nan
    clean[10:13, 0, 0] = np.nan
    windows = make_single_vd_windows(clean, single(), SPLIT, CLEANING, CALENDAR)
    values = windows.data["values"].to_numpy()[:, 0, 0]
    assert (values[:3] == 0).all()  # nothing before it: the training mean
    assert (values[10:13] == values[9]).all()
    assert not windows.data["observed"].to_numpy()[10:13, 0, 0].any()


def test_constant_feature_is_harmless() -> None:
    clean = make_clean(missing=0.0)
    clean[:, :, 2] = 3.0
    windows = make_single_vd_windows(clean, single(), SPLIT, CLEANING, CALENDAR)
    assert (windows.data["values"][:, :, 2] == 0).all()


@settings(deadline=None, max_examples=30)
@given(step=st.integers(281, 399), seed=st.integers(0, 99), value=st.floats(-1e4, 1e4))
def test_no_look_ahead(step: int, seed: int, value: float) -> None:
    """Changing the data from a step on changes no input before it."""
    clean = make_clean(missing=0.3, seed=seed)
    changed = clean.copy()
    changed[step:] = np.where(np.arange(3) == 1, np.nan, value)
    lenient = CLEANING.model_copy(update={"min_observed": 0.01})
    before = make_multi_vd_windows(clean, multi(), SPLIT, lenient, CALENDAR)
    after = make_multi_vd_windows(changed, multi(), SPLIT, lenient, CALENDAR)
    for name in ("values", "observed", "calendar"):
        np.testing.assert_array_equal(before.data[name][:step], after.data[name][:step])


def test_input_is_left_alone() -> None:
    clean = make_clean()
    kept = clean.copy(deep=True)
    make_multi_vd_windows(clean, multi(), SPLIT, CLEANING, CALENDAR)
    xr.testing.assert_identical(clean, kept)


def test_calendar() -> None:
    time = np.array(["2024-03-04T00:00", "2024-03-08T03:00", "2024-03-09T18:00"], "datetime64[ns]")
    monday, friday, saturday = calendar_inputs(time, "2024-03-08")
    np.testing.assert_allclose(monday, [0, 0, 1, 0, 1, 0, 1, 0, 1], atol=1e-6)
    root = np.sqrt(0.5)  # an eighth of the day: 45, 90, 135 and 180 degrees
    np.testing.assert_allclose(friday, [1, root, root, 1, 0, root, -root, 0, -1], atol=1e-6)
    np.testing.assert_allclose(saturday, [1, -1, 0, 0, -1, 1, 0, 0, 1], atol=1e-6)


def test_the_time_of_day_is_the_same_on_every_day() -> None:
    time = np.datetime64("1999-12-27", "m") + 7 * np.arange(15_000).astype("timedelta64[m]")
    angle = 2 * np.pi * ((time - time.astype("datetime64[D]")).astype(int) / 1440)
    expected = [wave(n * angle) for n in (1, 2, 3, 4) for wave in (np.sin, np.cos)]
    np.testing.assert_allclose(calendar_inputs(time, "")[:, 1:].T, expected, atol=1e-6)


def test_a_holiday_is_a_day_off_of_the_windows() -> None:
    holiday = Calendar(holidays=(date(2024, 3, 5),))  # the second day of the clean array
    windows = make_single_vd_windows(make_clean(600), single(), SPLIT, CLEANING, holiday)
    assert (windows.day_off == np.repeat([0, 1, 0], [288, 288, 24])).all()
    assert windows.holidays == "2024-03-05"


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_batches_are_the_windows_cut_by_hand(split: str) -> None:
    clean = make_clean(missing=0.2)
    windows = make_multi_vd_windows(
        clean, multi(target_features=["total_volume"]), SPLIT, CLEANING, CALENDAR
    )
    batches = WindowBatches(windows, slice(0, 2), split, batch_size=7)
    starts = windows.starts(split)
    assert len(batches) == math.ceil(len(starts) / 7)
    values, observed = windows.data["values"].to_numpy(), windows.data["observed"].to_numpy()
    row = 0
    for inputs, targets in batches:
        for x, y in zip(inputs.numpy(), targets.numpy(), strict=True):
            start = starts[row]
            np.testing.assert_array_equal(x[:, :6], values[start : start + 6].reshape(6, 6))
            np.testing.assert_array_equal(x[:, 6:], windows.data["calendar"][start : start + 6])
            future = slice(start + 6, start + 10)
            truth = np.where(observed[future, :, 1:2], values[future, :, 1:2], np.nan)
            np.testing.assert_array_equal(y, truth)
            row += 1
    assert row == len(starts)


def test_batches_of_a_global_model_are_the_windows_of_each_vd() -> None:
    windows = make_multi_vd_windows(
        make_clean(missing=0.2), of_all(target_features=["total_volume"]), SPLIT, CLEANING, CALENDAR
    )
    starts = windows.starts("val")
    expected = [(n, start) for n in (1, 2) for start in starts]  # VD by VD
    values, observed = windows.values, windows.observed
    batches = WindowBatches(windows, slice(1, 3), "val", batch_size=7)
    assert len(batches) == math.ceil(2 * len(starts) / 7)
    found = [window for batch in batches for window in zip(*batch, strict=True)]
    for (n, start), (x, y) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(x[:, :3], values[start : start + 6, n])
        np.testing.assert_array_equal(x[:, 3:-1], windows.calendar[start : start + 6])
        assert (x[:, -1] == n + 1).all()
        future = slice(start + 6, start + 10)
        truth = np.where(observed[future, n, 1:2], values[future, n, 1:2], np.nan)
        np.testing.assert_array_equal(y[:, 0], truth)


def test_every_pass_of_a_global_model_draws_each_window_with_a_target_once() -> None:
    clean = make_clean(missing=0.0)
    clean[100:120, 1] = np.nan  # of the last VD those steps can be learnt from
    windows = make_multi_vd_windows(clean[:, 1:], of_all(), SPLIT, CLEANING, CALENDAR)
    generator = torch.Generator().manual_seed(0)
    batches = WindowBatches(windows, slice(0, 2), "train", 16, generator)
    place = {
        np.hstack([windows.values[s : s + 6, n], windows.calendar[s : s + 6]]).tobytes(): (
            n,
            int(s),
        )
        for n in (0, 1)
        for s in windows.starts("train")
    }
    first, second = (
        [place[x[:, :-1].numpy().tobytes()] for inputs, _ in batches for x in inputs]
        for _ in range(2)
    )
    assert first != second
    assert sorted(first) == sorted(second)
    assert {n for n, _ in first[:16]} == {0, 1}, "batches mix the VDs"
    starts = map(int, windows.starts("train"))
    left_out = {(0, start) for start in range(94, 111)}
    assert sorted(first) == sorted({(n, s) for s in starts for n in (0, 1)} - left_out)


STATIC = {
    "position_lat": [25.0, 25.1, 25.4],
    "lane_num": [2.0, 4.0, np.nan],
    "lane_count": [3.0, 3.0, 2.0],
    "road 1": [0.0, np.nan, 1.0],
    "road 5": [1.0, np.nan, 0.0],
}


def lanes_counted(clean: xr.DataArray) -> xr.DataArray:
    """The same with a feature that never changes."""
    counted = clean.isel(feature=[0]).assign_coords(feature=["lane_count"])
    counted.values[:] = np.where(np.isfinite(counted), [[[3.0], [3.0], [2.0]]], np.nan)
    both: xr.DataArray = xr.concat([clean, counted], "feature")
    return both.assign_attrs(clean.attrs)


def global_windows(clean: xr.DataArray) -> WindowSet:
    return make_multi_vd_windows(clean, of_all(), SPLIT, CLEANING, CALENDAR)


def test_a_global_model_gets_what_differs_between_detectors(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """... and does not change: lanes, position, road and constant features."""
    clean = lanes_counted(with_places(make_clean()))
    with caplog.at_level("INFO"):
        windows = global_windows(clean)
    assert [*windows.static_values] == [*STATIC], "position_lon does not differ"
    for name, values in STATIC.items():
        np.testing.assert_allclose(windows.static_values[name], values, rtol=1e-6)
    by_hand = [[-0.981, -1, 0.707, -1, 1], [-0.392, 1, 0.707, 0, 0], [1.373, 0, -1.414, 1, -1]]
    np.testing.assert_allclose(windows.static, by_hand, atol=1e-3)
    [line] = [message for message in caplog.messages if "describe a detector" in message]
    assert line == (
        "global_vd: inputs that describe a detector are position_lat, lane_num, lane_count, "
        "road 1 and road 5; of 15 values 3 are unknown, such as those of VD-1"
    )


def test_no_other_model_gets_it_and_none_without_it(caplog: pytest.LogCaptureFixture) -> None:
    joint = make_multi_vd_windows(with_places(make_clean()), multi(), SPLIT, CLEANING, CALENDAR)
    plain = global_windows(make_clean())
    unknown = {"lane_num": [np.nan] * 3, "road_id": [""] * 3, "road_name": [""] * 3}
    places = {name: ("vd", values) for name, values in unknown.items()}
    of_unknown = global_windows(make_clean().assign_coords(places))
    for windows in (joint, plain, of_unknown):
        assert windows.static_values == {}
        assert windows.static.shape == (len(windows.vdids), 0)
    assert not any("describe" in message for message in caplog.messages)


def test_batches_hold_what_describes_the_vd_of_each_window() -> None:
    windows = global_windows(with_places(make_clean()))
    x, _ = WindowBatches(windows, slice(1, 3), "val", batch_size=10**6).at(slice(None))
    of_each = np.repeat([1, 2], len(windows.starts("val")))
    for step in (0, -1):
        np.testing.assert_array_equal(x[:, step, 12:-1], windows.static[of_each])
        np.testing.assert_array_equal(x[:, step, -1], of_each + 1)


def test_what_describes_detectors_is_kept_in_the_file(tmp_path: Path) -> None:
    windows = global_windows(with_places(make_clean()))
    held = "vd_forecasting.artefacts.WindowBlocks"
    stored = XarrayDataset(filepath=str(tmp_path / "windows.nc"), holds=held)
    stored.save(WindowBlocks.of_one(windows))
    np.testing.assert_array_equal(stored.load().last.static, windows.static)
    alike = windows.data.assign(static=windows.data["static"] * 0)
    stored.save(WindowBlocks.of_one(WindowSet(alike)))
    with pytest.raises(DatasetError, match="do not differ between VDs"):
        stored.load()


def test_windows_are_views() -> None:
    windows = make_single_vd_windows(make_clean(4000), single(), SPLIT, CLEANING, CALENDAR)
    batches = WindowBatches(windows, slice(0, 1), "train", batch_size=8)
    for view, rows in ((batches.past, 4000 - 6 + 1), (batches.future, 4000 - 6 - 4 + 1)):
        assert len(view) == rows
        assert np.shares_memory(view.numpy(), windows.data["values"].to_numpy())


def test_memory_of_windowing_a_year_of_minutes() -> None:
    steps = 525_600
    array = steps * 2 * 3 * 4
    clean = make_clean(steps, vds=2, interval="1min")
    make_windows(clean[:2000], multi(), SPLIT, CLEANING, CALENDAR)  # imports take memory too
    tracemalloc.start()
    windows = make_windows(clean, multi(), SPLIT, CLEANING, CALENDAR)
    batches = WindowBatches(windows, slice(0, 2), "val", batch_size=512)
    next(iter(batches))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4.5 * array  # of only two detectors the calendar takes more than the values


def test_large_series_stay_where_they_are_until_a_detector_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = make_clean(3000, vds=20)
    small = make_windows(clean, multi(), SPLIT, CLEANING, CALENDAR)
    VDHDF5Dataset(filepath=str(tmp_path / "clean.h5")).save(clean)
    monkeypatch.setattr(artefacts, "BLOCK_BYTES", small.values.nbytes - 1)
    monkeypatch.setattr(xarray_dataset, "SMALL_BYTES", 0)
    of_file = VDHDF5Dataset(filepath=str(tmp_path / "clean.h5")).load()
    large = make_windows(of_file, multi(), SPLIT, CLEANING, CALENDAR)
    stored = XarrayDataset(
        filepath=str(tmp_path / "windows.nc"), holds="vd_forecasting.artefacts.WindowBlocks"
    )
    stored.save(WindowBlocks.of_one(large))
    for lazy in (large, stored.load().last):
        assert lazy.data["values"].chunks
        assert not small.data["values"].chunks
        for vds in (slice(0, 1), slice(7, 12), slice(0, 20)):
            for found, known in zip(lazy.series(vds), small.series(vds), strict=True):
                assert found.dtype == known.dtype
                np.testing.assert_array_equal(found, known)
        np.testing.assert_array_equal(lazy.values, small.values)
        whole = lazy.series(slice(0, 20))
        assert all(
            np.shares_memory(*both) for both in zip(whole, lazy.series(slice(3, 4)), strict=True)
        )
        others = [of.data.drop_vars(WindowSet.LAZY) for of in (lazy, small)]
        xr.testing.assert_equal(*others)


def test_windows_without_a_target_are_not_trained_on() -> None:
    clean = make_clean(missing=0.0)
    clean[100:120] = np.nan
    windows = make_single_vd_windows(clean, single(), SPLIT, CLEANING, CALENDAR)
    shuffled = WindowBatches(
        windows, slice(0, 1), "train", batch_size=8, generator=torch.Generator().manual_seed(0)
    )
    dropped = set(windows.starts("train")) - set(shuffled.windows.tolist())
    # those whose four targets all lie in steps 100 to 119
    assert dropped == set(range(94, 111))


@pytest.mark.parametrize("parameters", [multi(), of_all()])
def test_windows_of_an_epoch_are_drawn_anew_in_every_pass(
    parameters: MultiVDWindows | GlobalVDWindows,
) -> None:
    windows = make_multi_vd_windows(make_clean(), parameters, SPLIT, CLEANING, CALENDAR)

    def passes(most: int | None, seed: int = 0, number: int = 2) -> list[list[bytes]]:
        generator = torch.Generator().manual_seed(seed)
        vds = slice(0, len(windows.vdids))
        batches = WindowBatches(windows, vds, "train", 8, generator).at_most(most)
        found = [
            [x.numpy().tobytes() for batch in batches for x in batch[0]] for _ in range(number)
        ]
        assert len(batches) == math.ceil(len(found[0]) / 8)
        return found

    [everything] = passes(None, number=1)
    first, second = passes(21)
    assert len(first) == len(second) == len({*first}) == 21
    assert {*first} | {*second} < {*everything}
    assert {*first} != {*second}
    assert passes(21) == [first, second]
    assert passes(21, seed=1) != [first, second]
    assert passes(10**6, number=1) == [everything]
    often = {x for one in passes(len(everything) // 2, number=30) for x in one}
    assert often == {*everything}, "no window is left out for ever"


def test_windows_of_validation_are_always_the_same_at_even_distances() -> None:
    windows = make_multi_vd_windows(make_clean(), of_all(), SPLIT, CLEANING, CALENDAR)
    batches = WindowBatches(windows, slice(0, len(windows.vdids)), "val", batch_size=8)
    everything, _ = batches.at(slice(None))
    few = batches.at_most(10)
    assert len(few) == 2
    for _ in range(2):
        found = torch.cat([inputs for inputs, _ in few])
        assert torch.equal(found, everything[[n * len(everything) // 10 for n in range(10)]])


def test_window_parameters_of_another_mode_are_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        multi(select_vd_id="VD-0")
    assert issubclass(MultiVDWindows, Windows)
