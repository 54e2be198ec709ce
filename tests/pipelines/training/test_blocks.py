"""Several test blocks: what lies in each, and that each is a comparison of its own."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.make.arrays import make_clean
from tests.make.artefacts import make_cost
from tests.make.parameters import CALENDAR, SPLIT
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    Killed,
    KilledAfter,
    saved_bytes,
    without_seconds,
)
from tests.make.windows import CLEANING, window_parameters
from vd_forecasting.artefacts import Config, Forecasts, History, WindowBlocks
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets import TrainingState, XarrayDataset
from vd_forecasting.evaluation.aligned import align
from vd_forecasting.evaluation.errors import errors_of, sum_errors
from vd_forecasting.parameters import Baselines, IndependentMultiVDWindows, MultiVDWindows, Split
from vd_forecasting.pipelines.baselines.forecast import forecast_baselines
from vd_forecasting.pipelines.reporting.scores import gather_outcome
from vd_forecasting.pipelines.training import train as training
from vd_forecasting.pipelines.training.blocks import (
    make_independent_multi_vd_blocks,
    make_multi_vd_blocks,
)
from vd_forecasting.pipelines.training.evaluate import evaluate
from vd_forecasting.pipelines.training.train_nodes import begin_training, train_lstm
from vd_forecasting.pipelines.training.windows import make_multi_vd_windows
from vd_forecasting.vd_array import rolling_splits

STEPS = 2000
TWO = SPLIT.model_copy(update={"folds": 2})
BASELINES = Baselines(
    ridge_alphas=(10,), ridge_neighbours=9, boosting_iterations=5, boosting_windows=1000
)
SHORT = TRAINING.model_copy(update={"epochs": 2})
Trained = tuple[Checkpoint, dict[str, Checkpoint], Config, History]


def make(clean: xr.DataArray, split: Split = TWO, **changes: Any) -> WindowBlocks:
    parameters = MultiVDWindows.model_validate(window_parameters(changes))
    return make_multi_vd_blocks(clean, parameters, split, CLEANING, CALENDAR)


def train(blocks: WindowBlocks, state: TrainingState | None = None) -> Trained:
    torch.manual_seed(0)
    return train_lstm(blocks, LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE, state)


def forecast(trained: Trained, blocks: WindowBlocks) -> Forecasts:
    best, models, _, _ = trained
    return evaluate(best, models, blocks, MAPE_MIN_TRUTH, COMPUTE)[0]


@pytest.fixture(scope="module")
def clean() -> xr.DataArray:
    return make_clean(STEPS)


@pytest.fixture(scope="module")
def blocks(clean: xr.DataArray) -> WindowBlocks:
    return make(clean)


@pytest.fixture(scope="module")
def trained(blocks: WindowBlocks) -> Trained:
    return train(blocks)


# --- where the blocks lie -------------------------------------------------------------------------


@given(
    steps=st.integers(100, 300_000),
    folds=st.integers(1, 6),
    test=st.floats(0.02, 0.15),
    val=st.floats(0.02, 0.3),
)
def test_blocks_follow_each_other_to_the_end(
    steps: int, folds: int, test: float, val: float
) -> None:
    split = Split(train=1 - val - test, val=val, test=test, folds=folds)
    parts = rolling_splits(steps, split)
    assert len(parts) == folds
    assert parts[-1][0] == steps
    begins = [round(end * (part.train + part.val)) for end, part in parts]
    assert begins[1:] == [end for end, _ in parts[:-1]], "a block begins where the last one ended"
    for begin, (end, part) in zip(begins, parts, strict=True):
        assert abs(end - begin - steps * test) <= 1
        share = val / (1 - test)  # of what is known, for validation as in the whole file
        assert abs(begin - round(end * part.train) - begin * share) <= 2


def test_one_block_is_the_split_of_the_file(clean: xr.DataArray) -> None:
    parameters = MultiVDWindows.model_validate(window_parameters({}))
    whole = make_multi_vd_windows(clean, parameters, SPLIT, CLEANING, CALENDAR)
    one = make(clean, SPLIT)
    assert one.count == 1
    xr.testing.assert_identical(one.last.data, whole.data)


def test_the_last_block_is_that_of_one(clean: xr.DataArray, blocks: WindowBlocks) -> None:
    assert (
        blocks.last.ends
        == make(clean, SPLIT).last.ends
        == {"train": 1400, "val": 1600, "test": 2000}
    )
    assert blocks.blocks[1].ends == {"train": 1050, "val": 1200, "test": 1600}


@settings(deadline=None, max_examples=20)
@given(value=st.floats(-1e4, 1e4), seed=st.integers(0, 9))
def test_a_block_does_not_see_what_lies_behind_it(value: float, seed: int) -> None:
    clean = make_clean(STEPS, seed=seed)
    changed = clean.copy()
    changed[1600:] = value
    before, after = (make(one).blocks[1].data for one in (clean, changed))
    xr.testing.assert_identical(before, after)


def test_the_first_block_needs_two_days_of_training() -> None:
    many = SPLIT.model_copy(update={"folds": 4})
    line = r"split.folds 4: the first block has 14 h 35 min of training, at least 2 days are needed"
    with pytest.raises(ValueError, match=line):
        make(make_clean(1000), many)


def test_more_blocks_than_the_file_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"folds 5 × test 0.2 leaves nothing to train on"):
        Split(train=0.7, val=0.1, test=0.2, folds=5)


def test_a_block_that_cannot_be_made_is_named(
    clean: xr.DataArray, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    late = clean.copy()
    late[:1300, 1:] = np.nan  # only one detector reported then
    found = make(late)
    assert list(found.blocks) == [2]
    assert "only 1 of 3 have" in found.failed[1]
    assert "test block 1 of 2: made.h5: 2 eligible detectors asked for" in caplog.text
    file = XarrayDataset(
        filepath=str(tmp_path / "windows.nc"), holds="vd_forecasting.artefacts.WindowBlocks"
    )
    file.save(found)
    assert file.load().failed == found.failed
    _, models, config, _ = train(found)
    assert (list(models), config.failed) == (["42"], dict(found.failed))
    late[:1590, 1:] = np.nan
    with pytest.raises(ValueError, match="only 1 of 3 have"):
        make(late)


# --- files ----------------------------------------------------------------------------------------


def test_the_file_holds_every_block(blocks: WindowBlocks, tmp_path: Path) -> None:
    path = tmp_path / "windows.nc"
    file = XarrayDataset(filepath=str(path), holds="vd_forecasting.artefacts.WindowBlocks")
    file.save(blocks)
    loaded = file.load()
    for number, of_block in blocks.blocks.items():
        found = loaded.blocks[number]
        xr.testing.assert_equal(found.data, of_block.data)
        assert (found.ends, found.targets) == (of_block.ends, of_block.targets)
    with xr.open_dataset(path, engine="h5netcdf") as root:
        np.testing.assert_array_equal(root["values"], blocks.last.values)


# --- trained and forecast -------------------------------------------------------------------------


def test_a_block_is_forecast_as_if_the_file_had_ended_there(
    clean: xr.DataArray, blocks: WindowBlocks, trained: Trained
) -> None:
    end, split = rolling_splits(STEPS, TWO)[0]
    alone = make(clean[:end], split)
    together, of_first = forecast(trained, blocks), forecast(train(alone), alone)
    first = together.data.sel(origin=together.data["test_block"].values == 1)
    for name in ("prediction", "truth", "persistence"):
        np.testing.assert_array_equal(first[name], of_first.data[name])
    for name in ("mase_scale", "free_flow_speed"):
        np.testing.assert_array_equal(first[name].sel(block=1), of_first.data[name].sel(block=1))


def test_histories_and_models_are_named_by_block_and_seed(trained: Trained) -> None:
    best, models, config, history = trained
    assert list(models) == ["block 1, seed 42", "42"]
    assert best is models["42"]
    assert (list(history.seeds), list(history.earlier)) == (["42"], [1])
    assert config.earlier[1]["test"].end < config.split["test"].start
    assert config.split["train"].start == config.earlier[1]["train"].start
    assert [period.windows for period in config.test_periods] == [392, 392]
    assert History.model_validate_json(history.model_dump_json()) == history
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_training_goes_on_with_its_block(
    blocks: WindowBlocks, trained: Trained, tmp_path: Path, after: int
) -> None:
    with pytest.raises(Killed):
        train(blocks, KilledAfter.saves(tmp_path, after))
    kept = begin_training(blocks, SHORT)
    assert kept == ["block1-42-joint", "block2-42-joint"]
    TrainingState(tmp_path).clear(kept)
    resumed = train(blocks, TrainingState(tmp_path))
    assert saved_bytes(resumed) == saved_bytes(trained)
    histories = [without_seconds(one[3].model_dump(mode="json")) for one in (resumed, trained)]
    assert histories[0] == histories[1]


def test_a_block_whose_training_fails_is_named_and_left_out(
    blocks: WindowBlocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    whole = training.train_model

    def fails(experiment: Any, *arguments: Any) -> Any:
        if experiment.block == 1:
            raise ValueError("diverged in epoch 1")
        return whole(experiment, *arguments)

    monkeypatch.setattr(training, "train_model", fails)
    found = train(blocks)
    assert found[2].failed == {1: "diverged in epoch 1"}
    assert "multi_vd_lstm: test block 1: diverged in epoch 1" in caplog.text
    lstm = forecast(found, blocks)
    assert set(lstm.data["test_block"].values) == {2}
    baselines, _ = forecast_baselines(blocks, BASELINES, COMPUTE)
    aligned = align({"lstm": lstm}, {"": baselines})
    assert set(aligned.data["test_block"].values) == {2}

    def always_fails(*arguments: Any) -> Any:
        raise ValueError("diverged in epoch 1")

    monkeypatch.setattr(training, "train_model", always_fails)
    with pytest.raises(ValueError, match="diverged in epoch 1"):
        train(blocks)


def test_blocks_may_choose_other_detectors(clean: xr.DataArray) -> None:
    late = clean.copy()
    late[:1000, 1] = np.nan  # VD-1 begins to report within the first test block
    strict = CLEANING.model_copy(update={"min_observed": 0.2})
    parameters = IndependentMultiVDWindows.model_validate(
        window_parameters({"target_vd_index": "all"})
    )
    blocks = make_independent_multi_vd_blocks(late, parameters, TWO, strict, CALENDAR)
    assert [of.vdids for of in blocks.blocks.values()] == [["VD-0", "VD-2"], ["VD-0", "VD-1"]]
    found, _ = forecast_baselines(blocks, BASELINES, COMPUTE)
    assert found.vdids == ["VD-0", "VD-1", "VD-2"]
    trained = train(blocks)
    lstm, fit_errors, validation = evaluate(*trained[:2], blocks, MAPE_MIN_TRUTH, COMPUTE)
    cost = make_cost(lstm.data)
    outcome = gather_outcome(trained[2], trained[3], cost, fit_errors, lstm, validation)
    assert list(outcome.config.vdids) == ["VD-0", "VD-1"]
    first = lstm.data["test_block"].values == 1
    assert lstm.truth.isel(origin=first).sel(vd="VD-1").isnull().all()
    assert lstm.truth.isel(origin=~first).sel(vd="VD-2").isnull().all()
    errors = errors_of(sum_errors(align({"lstm": lstm}, {"": found}), MAPE_MIN_TRUTH))
    of_vd = errors.by_vd["n"].sel(model="lstm", vd="VD-1")
    truth = lstm.truth.sel(vd="VD-1")
    np.testing.assert_array_equal(of_vd, truth.notnull().sum(["origin", "horizon"]))
    assert np.isfinite(errors.average["mase"].sel(model=["lstm", "ridge"])).all()


def test_errors_of_the_blocks_make_those_of_all(blocks: WindowBlocks, trained: Trained) -> None:
    lstm = forecast(trained, blocks)
    baselines, _ = forecast_baselines(blocks, BASELINES, COMPUTE)
    errors = errors_of(sum_errors(align({"lstm": lstm}, {"": baselines}), MAPE_MIN_TRUTH))
    error = abs(lstm.data["prediction"].sel(seed=42) - lstm.truth)
    for block in (1, 2):
        of_block = error.isel(origin=lstm.data["test_block"].values == block)
        by_hand = of_block.mean(["origin", "horizon", "vd"])
        found = errors.by_block["mae"].sel(model="lstm", block=block)
        np.testing.assert_allclose(found, by_hand, rtol=1e-5)
        scale = lstm.data["mase_scale"].sel(block=block)
        scaled = (of_block / scale).mean(["origin", "horizon", "vd"])
        found = errors.by_block["mase"].sel(model="lstm", block=block)
        np.testing.assert_allclose(found, scaled, rtol=1e-5)
    together = error.mean(["origin", "horizon", "vd"])
    np.testing.assert_allclose(errors.average["mae"].sel(model="lstm"), together, rtol=1e-5)
    assert [str(begin)[:10] for begin, _ in errors.spans.values()] == ["2024-03-08", "2024-03-09"]
