"""What a search reads, and what makes another study of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.make.arrays import make_clean
from tests.make.parameters import CALENDAR
from tests.make.trainings import COMPUTE, LSTM, MAPE_MIN_TRUTH, TRAINING, XLSTM, joint_windows
from tests.make.windows import CLEANING, window_parameters
from vd_forecasting.artefacts import Experiment, WindowBlocks
from vd_forecasting.datasets import Studies
from vd_forecasting.parameters import Compute, LSTMSpace, MultiVDWindows, Split, Tuning, XLSTMSpace
from vd_forecasting.pipelines.training.blocks import make_blocks
from vd_forecasting.pipelines.tune.found import Found, SearchedData
from vd_forecasting.pipelines.tune.search import (
    before_test,
    study_name,
    tune_lstm,
)

SPACE = LSTMSpace.model_validate(
    {
        "model": {"hidden_size": [4, 8]},
        "training": {"learning_rate": {"low": 0.001, "high": 0.02, "log": True}},
    }
)


def tuned(folder: Path, blocks: WindowBlocks, **changed: Any) -> Found:
    pytest.importorskip("optuna")
    arguments: dict[str, Any] = {
        "model": LSTM,
        "training": TRAINING,
        "space": SPACE,
        "mape_min_truth": MAPE_MIN_TRUTH,
        "compute": COMPUTE,
        "tuning": Tuning.model_validate({"budget": {"trials": 3}}),
        "study": Studies(folder / "study.db"),
    }
    return tune_lstm(blocks, **arguments | changed)


def without_seconds(found: Found) -> Found:
    return replace(found, trials=tuple(replace(trial, seconds=0.0) for trial in found.trials))


def test_the_test_split_is_not_seen(tmp_path: Path) -> None:
    clean = make_clean(500)
    spoilt = clean.copy(deep=True)
    spoilt[400:] = np.nan
    one, other = (
        without_seconds(tuned(tmp_path / name, WindowBlocks.of_one(joint_windows(of))))
        for name, of in (("one", clean), ("other", spoilt))
    )
    assert one == other
    assert len(one.trials) == 3


def test_of_several_test_blocks_what_lies_before_the_first_is_seen() -> None:
    windows = MultiVDWindows.model_validate(window_parameters({}))
    split = Split(train=0.7, val=0.1, test=0.2, folds=2)

    def blocks_of(clean: xr.DataArray) -> WindowBlocks:
        return make_blocks(clean, windows, split, CLEANING, CALENDAR)

    blocks = blocks_of(make_clean(2000))
    seen = before_test(blocks)
    assert seen.time[-1] < blocks.blocks[1].time[blocks.blocks[1].ends["val"]]
    assert [*seen.ends.values()][-2:] == [blocks.blocks[1].ends["val"]] * 2


def experiment(**changed: Any) -> Experiment:
    windows = before_test(WindowBlocks.of_one(joint_windows()))
    made = Experiment(windows, "lstm", LSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    return replace(made, **changed)


def test_what_is_searched_and_what_only_takes_time_make_no_other_study() -> None:
    name = study_name(experiment(), SPACE)
    for same in (
        {"model_parameters": LSTM.model_copy(update={"hidden_size": 32})},
        {"training": TRAINING.model_copy(update={"learning_rate": 0.1})},
        {"compute": Compute(threads=2, accelerator="cpu")},
    ):
        assert study_name(experiment(**same), SPACE) == name


def test_other_fixed_settings_data_seeds_or_choices_make_another_study() -> None:
    pytest.importorskip("optuna")
    name = study_name(experiment(), SPACE)
    more = LSTMSpace.model_validate({"model": {"hidden_size": [4, 8, 16]}})
    names = {
        name,
        study_name(experiment(), more),
        *(
            study_name(experiment(**other), SPACE)
            for other in (
                {"model_parameters": LSTM.model_copy(update={"num_layers": 2})},
                {"training": TRAINING.model_copy(update={"weight_decay": 0.2})},
                {"training": TRAINING.model_copy(update={"seeds": (1,)})},
                {
                    "windows": before_test(
                        WindowBlocks.of_one(joint_windows(make_clean(500, seed=1)))
                    )
                },
            )
        ),
    }
    assert len(names) == 6


def test_blocks_that_are_fixed_make_another_study_where_their_number_is_searched() -> None:
    space = XLSTMSpace.model_validate({"model": {"num_blocks": [1, 2]}})
    names = {
        study_name(experiment(model="xlstm", model_parameters=model), space)
        for at in ([0], [1])
        for model in [XLSTM.model_copy(update={"num_blocks": 2, "slstm_at": tuple(at)})]
    }
    assert len(names) == 2


def test_what_was_searched_with_is_named(tmp_path: Path) -> None:
    blocks = WindowBlocks.of_one(joint_windows())
    last, [origin, *_] = pd.Timestamp(before_test(blocks).time[-1]), blocks.last.origins("test")
    assert last < pd.Timestamp(blocks.last.time[origin + 1])  # the first that is tested
    data = tuned(tmp_path, blocks).data
    assert data == SearchedData("multi_vd_lstm", blocks.last.source, last.isoformat())


def test_only_the_first_of_several_seeds_is_trained(tmp_path: Path) -> None:
    blocks = WindowBlocks.of_one(joint_windows())
    one, several = (
        without_seconds(
            tuned(
                tmp_path / str(len(seeds)),
                blocks,
                training=TRAINING.model_copy(update={"seeds": seeds}),
            )
        )
        for seeds in ((42,), (42, 43))
    )
    assert one == several
