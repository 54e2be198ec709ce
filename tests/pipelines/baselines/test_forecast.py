"""All baselines together: labels, units, honesty, and the graph."""

import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from tests.make.arrays import make_clean
from tests.make.parameters import CALENDAR, SPLIT
from tests.make.trainings import train_lstm
from tests.make.windows import (
    CLEANING,
    MakesWindows,
    make_global_windows,
    make_independent_windows,
    make_joint_windows,
    window_parameters,
)
from vd_forecasting.artefacts import BaselineForecasts, WindowBlocks, WindowSet
from vd_forecasting.artefacts.forecasts import FORMAT
from vd_forecasting.datasets import TrainingState, TrainingStateDataset, XarrayDataset
from vd_forecasting.datasets.tensors import load_plain, save_plain
from vd_forecasting.parameters import Baselines, Compute, LSTMModel, MultiVDWindows, Training
from vd_forecasting.pipelines.baselines import baseline, create_pipeline, gradient_boosting
from vd_forecasting.pipelines.baselines.baseline import Baseline, Learner
from vd_forecasting.pipelines.baselines.forecast import (
    SPLITS,
    all_baselines,
    begin_baselines,
    forecast_baselines,
    forecast_baselines_part,
    forecast_by,
    forecast_vds,
    quick_baselines,
)
from vd_forecasting.pipelines.training.forecast_windows import forecast_split
from vd_forecasting.running.shares import Share

BASELINES = Baselines(
    ridge_alphas=(10,), ridge_neighbours=9, boosting_iterations=5, boosting_windows=10_000
)
COMPUTE = Compute(threads=1, accelerator="cpu")
MODELS = ["seasonal_naive", "historical_average", "ridge", "gradient_boosting"]


def forecast_test(windows: WindowSet) -> BaselineForecasts:
    return forecast_by(all_baselines(BASELINES, COMPUTE), windows, SPLITS, COMPUTE)["test"]


@pytest.mark.parametrize("make", [make_joint_windows, make_independent_windows])
def test_labels_are_those_of_the_networks_forecasts(
    make: MakesWindows,
) -> None:
    windows = make(make_clean(500, vds=2))
    training = Training(
        seeds=(42,),
        epochs=1,
        batch_size=64,
        learning_rate=0.001,
        weight_decay=0,
        gradient_clip=1,
        decay_epochs=1,
        decay_steps=1,
        patience=1,
    )
    lstm = LSTMModel(hidden_size=8, num_layers=1, dropout=0)
    checkpoint, _, _, _ = train_lstm(windows, lstm, training, 1.0, COMPUTE)
    lazy = forecast_split({"42": checkpoint}, windows, "test", COMPUTE, best_seed=42)
    network = lazy.data.isel(seed=0, drop=True).compute()
    predictions = forecast_test(windows).data
    assert predictions["model"].to_numpy().tolist() == MODELS
    assert predictions["prediction"].dtype == "float32"
    for model in MODELS:
        own = predictions["prediction"].sel(model=model).drop_vars("model")
        xr.testing.assert_identical(xr.zeros_like(own), xr.zeros_like(network["prediction"]))
        assert np.isfinite(own).all()
    assert {**predictions.attrs, "model": "lstm", "best_seed": 42} == network.attrs
    assert (predictions["fit_seconds"] > 0).all()


def test_forecasts_are_in_physical_units() -> None:
    predictions = forecast_test(make_joint_windows(make_clean(500))).data
    for model in MODELS:
        mean = predictions["prediction"].sel(model=model).mean(["origin", "horizon", "vd"])
        assert 60 < mean.sel(feature="avg_speed") < 100
        assert 60 < mean.sel(feature="total_volume") < 200


def test_the_same_twice() -> None:
    windows = make_joint_windows(make_clean(400, vds=2))
    first, second = (forecast_test(windows).data for _ in range(2))
    xr.testing.assert_identical(first["prediction"], second["prediction"])


@pytest.mark.parametrize("make", [make_joint_windows, make_independent_windows])
def test_changing_the_future_never_changes_a_forecast(
    make: MakesWindows,
) -> None:
    clean = make_clean(500, vds=2)
    changed = clean.copy()
    changed[450:] = np.where(np.arange(3) == 0, np.nan, 1e4)
    before = forecast_test(make(clean)).data["prediction"]
    after = forecast_test(make(changed)).data["prediction"]
    known = before["origin"].to_numpy() < clean["time"].to_numpy()[450]
    assert 0 < known.sum() < len(known)
    np.testing.assert_array_equal(before[:, known], after[:, known])
    for model in ("ridge", "gradient_boosting"):
        assert not np.array_equal(before.sel(model=model)[~known], after.sel(model=model)[~known])


def test_validation_teaches_nothing_but_the_penalty() -> None:
    """With one penalty to choose from, other validation data give the same test forecasts."""
    clean = make_clean(500, vds=2)
    changed = clean.copy()
    # Windows of test begin after validation; only the seasonal forecast looks further back.
    changed[350:400] *= 1.3
    before, after = (
        forecast_test(make_joint_windows(data)).prediction for data in (clean, changed)
    )
    # A value missing at the start of test is filled by the last of validation.
    known = before["origin"].to_numpy() > clean["time"].to_numpy()[420]
    np.testing.assert_array_equal(
        before[:, known].sel(model=MODELS[1:]), after[:, known].sel(model=MODELS[1:])
    )


def test_the_pipeline_runs_and_its_forecasts_survive_a_file(tmp_path: Path) -> None:
    clean = make_clean(400, vds=2)
    windows = make_joint_windows(clean, target_features=("total_volume",))
    parameters = MultiVDWindows.model_validate(
        window_parameters({"target_features": ("total_volume",)})
    )
    names = ("predictions", "validation")
    files = {name: XarrayDataset(filepath=str(tmp_path / f"{name}.nc")) for name in names}
    catalog = DataCatalog(
        {
            "vd_clean": MemoryDataset(clean),
            "params:windows": MemoryDataset(parameters),
            "params:split": MemoryDataset(SPLIT),
            "params:cleaning": MemoryDataset(CLEANING),
            "params:calendar": MemoryDataset(CALENDAR),
            "params:baselines": MemoryDataset(BASELINES),
            "params:compute": MemoryDataset(COMPUTE),
            **files,
        }
    )
    catalog["baseline_state"] = TrainingStateDataset(filepath=str(tmp_path / "state"))
    SequentialRunner().run(create_pipeline("multi_vd"), catalog)
    blocks = WindowBlocks.of_one(windows)
    expected = forecast_baselines(blocks, BASELINES, COMPUTE)
    for name, of_split in zip(names, expected, strict=True):
        loaded = files[name].load().drop_vars("fit_seconds")
        assert loaded.attrs.pop("format") == FORMAT
        xr.testing.assert_identical(loaded, of_split.data.drop_vars("fit_seconds"))
    for split, of_split in zip(("test", "val"), expected, strict=True):
        np.testing.assert_array_equal(of_split.origins, windows.time[windows.origins(split)])


def all_of(make: Callable[..., WindowSet]) -> WindowSet:
    """Five detectors."""
    return make(make_clean(400, vds=5), num_vds=5)


@pytest.mark.parametrize(
    "make", [make_joint_windows, make_independent_windows, make_global_windows]
)
@pytest.mark.parametrize("own_models", [4, 20])
def test_blocks_of_detectors_change_nothing(
    make: Callable[..., WindowSet], own_models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_boosting, "OWN_MODELS", own_models)
    windows = all_of(make)
    learners = all_baselines(BASELINES.model_copy(update={"ridge_neighbours": 2}), COMPUTE)
    at_once = forecast_by(learners, windows, SPLITS, COMPUTE)
    monkeypatch.setattr(baseline, "VDS_AT_ONCE", 2)
    in_blocks = forecast_by(learners, windows, SPLITS, COMPUTE)
    for split in SPLITS:
        whole, joined = (of[split].data.drop_vars("fit_seconds") for of in (at_once, in_blocks))
        assert joined["prediction"].chunks is not None
        xr.testing.assert_identical(joined.compute(), whole)
    if make is not make_global_windows:  # the others are learnt from all detectors
        few = forecast_vds(learners, windows, slice(2, 4), SPLITS, COMPUTE)["test"]
        own = few.prediction.sel(model=MODELS[:3])
        expected = at_once["test"].prediction.sel(model=MODELS[:3])[..., 2:4, :]
        xr.testing.assert_identical(own, expected)


def test_forecasts_made_in_parts_are_those_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "VDS_AT_ONCE", 2)
    windows = all_of(make_independent_windows)
    inputs = (WindowBlocks.of_one(windows), BASELINES, COMPUTE)
    expected = forecast_baselines(*inputs)
    state = TrainingState(tmp_path / "state")
    for number in (1, 0):
        forecast_baselines_part(*inputs, state, share=Share(number, 2))
    kept = {path: path.read_bytes() for path in state.folder.iterdir()}
    assert len(kept) == len(begin_baselines(inputs[0])) == 3

    def assert_same(found: Sequence[BaselineForecasts]) -> None:
        for of_split, whole in zip(found, expected, strict=True):
            own, other = (of.data.drop_vars("fit_seconds").compute() for of in (of_split, whole))
            xr.testing.assert_identical(own, other)

    assert_same(forecast_baselines(*inputs, state))
    assert {path: path.read_bytes() for path in kept} == kept, "nothing is made twice"
    for path in kept:  # of other settings
        found = load_plain(path)
        save_plain({**found, "made_with": {}, "test": {}, "val": {}}, path)
    assert_same(forecast_baselines(*inputs, state))


def test_forecasts_of_the_same_detector_are_taken_over_from_another_mode(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clean = make_clean(400, vds=2)
    learnt_from = {"independent": make_independent_windows, "joint": make_joint_windows}
    blocks = {
        name: WindowBlocks.of_one(make(clean, num_vds=1)) for name, make in learnt_from.items()
    }
    [name] = begin_baselines(blocks["joint"])
    assert begin_baselines(blocks["independent"]) == [name]
    states = {name: TrainingState(tmp_path / name / "state", has_others=True) for name in blocks}

    def forecast(mode: str, baselines: Baselines = BASELINES) -> list[xr.Dataset]:
        found = forecast_baselines(blocks[mode], baselines, COMPUTE, states[mode])
        return [of_split.data for of_split in found]

    first = forecast("independent")
    alone = forecast_baselines(blocks["joint"], BASELINES, COMPUTE)
    with caplog.at_level("INFO"):
        for taken, other, own in zip(forecast("joint"), first, alone, strict=True):
            xr.testing.assert_equal(taken, other)  # with the times that it took there
            xr.testing.assert_identical(
                taken.drop_vars("fit_seconds"), own.data.drop_vars("fit_seconds")
            )
        assert caplog.text.count("takes over") == 1
        forecast("joint", BASELINES.model_copy(update={"boosting_iterations": 2}))
        assert caplog.text.count("takes over") == 1


def test_joint_forecasts_need_no_state() -> None:
    assert begin_baselines(WindowBlocks.of_one(all_of(make_joint_windows))) == []


def test_times_to_learn_add_up_over_blocks_of_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(windows: WindowSet, vds: slice) -> Baseline:
        time.sleep(0.05)
        return lambda windows, origins, vds: windows.of(vds).last_values(origins)

    learners = {"own": Learner(learn), "shared": Learner(learn, lambda _: True)}
    monkeypatch.setattr(baseline, "VDS_AT_ONCE", 2)
    made = forecast_by(learners, all_of(make_joint_windows), SPLITS, COMPUTE)["test"]
    seconds = BaselineForecasts.of_blocks({1: made}).fit_seconds
    assert seconds["own"] > 3 * 0.05
    assert 0.05 < seconds["shared"] < 3 * 0.05, "what is shared is learnt once"


def test_memory_does_not_grow_with_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "VDS_AT_ONCE", 8)
    learners = quick_baselines(BASELINES.model_copy(update={"ridge_neighbours": 2}))
    peaks = {}
    for number in (24, 56):
        windows = make_joint_windows(make_clean(2000, vds=number), num_vds=number)
        tracemalloc.start()
        made = forecast_by(learners, windows, SPLITS, COMPUTE)["test"]
        _, peaks[number] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peaks[56] - peaks[24] < made.prediction.nbytes / 3


@pytest.mark.parametrize("make", [make_joint_windows, make_independent_windows])
def test_every_baseline_stays_within_the_range(make: MakesWindows) -> None:
    windows = make(make_clean(500, vds=2))
    free = forecast_test(windows).prediction
    middle, std = (windows.data[name] for name in ("mean", "std"))
    narrow = WindowSet(windows.data.assign(low=middle - std / 4, high=middle + std / 4))
    held = forecast_test(narrow).prediction
    low, high = narrow.target_range
    for model in MODELS:
        outside = (free.sel(model=model) < low) | (free.sel(model=model) > high)
        assert outside.any()
        assert not outside.all()
    np.testing.assert_array_equal(held, np.clip(free, low, high))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_forecasts_in_physical_units_are_the_nearest_possible_ones(seed: int) -> None:
    random = np.random.default_rng(seed)
    windows = make_joint_windows(make_clean(120, vds=2))
    limits = np.sort(random.normal(100, 50, (2, *windows.scaler["std"].shape)), axis=0)
    limits[:, 0, 0] = -np.inf, np.inf  # no limits
    ends = zip(("low", "high"), limits.astype("float32"), strict=True)
    narrow = WindowSet(windows.data.assign({name: (("vd", "feature"), end) for name, end in ends}))
    scaled = random.normal(0, 5, (4, 3, 2, 2)).astype("float32")
    raw, found = windows.to_physical(scaled), narrow.to_possible(scaled)
    low, high = narrow.target_range
    assert ((found >= low) & (found <= high)).all()
    inside = (raw >= low) & (raw <= high)
    np.testing.assert_array_equal(found[inside], raw[inside])
    truth = random.uniform(np.maximum(low, -500), np.minimum(high, 500), raw.shape)
    assert (abs(found - truth) <= abs(raw - truth)).all(), "no truth is further away than before"
