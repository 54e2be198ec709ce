"""What a run will take, worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node

from tests.make.arrays import make_clean
from tests.make.artefacts import make_config, make_cost, make_history, make_predictions
from tests.make.parameters import CLEANING
from vd_forecasting.datasets import AtomicJSONDataset
from vd_forecasting.parameters import (
    Budget,
    Compute,
    Forecast,
    GlobalVDWindows,
    IndependentMultiVDWindows,
    LSTMModel,
    MultiVDWindows,
    SingleVDWindows,
    Split,
    Training,
    Windows,
)
from vd_forecasting.running.estimate import (
    Planned,
    count_refits,
    count_trainings,
    estimate,
    estimate_refits,
    estimate_searches,
    grid_shape,
    plan_refits,
    plan_trainings,
    searched_experiments,
    time_left,
)
from vd_forecasting.wording import duration

LENGTHS = {
    "sequence_length": 20,
    "prediction_length": 12,
    "input_features": None,
    "target_features": ("avg_speed", "total_volume"),
}
SINGLE = SingleVDWindows.model_validate({**LENGTHS, "select_vd_id": None})


ONE = Split(train=0.7, val=0.1, test=0.2)


def training(**changed: Any) -> Training:
    config = make_config(make_predictions())
    return config.training.model_copy(update={"decay_epochs": 1000, **changed})


def independent(target_vd_index: Any) -> Windows:
    block = {**LENGTHS, "num_vds": 10, "target_vd_index": target_vd_index}
    return IndependentMultiVDWindows.model_validate(block)


def train(windows: int, state: int) -> int:
    """Stands for a training."""
    return windows + state


def catalog(folder: Path, **datasets: Any) -> DataCatalog:
    """Base parameters; records of an earlier run where there are any."""
    records = {
        f"single_vd_lstm.{name}": AtomicJSONDataset(filepath=str(folder / f"{name}.json"))
        for name in ("config", "training_history", "cost")
    }
    parameters = {
        "params:single_vd_lstm.windows": SINGLE,
        "params:single_vd_lstm.training": training(),
        "params:single_vd_lstm.model": LSTMModel(hidden_size=256, num_layers=3, dropout=0.3),
        "params:split": ONE,
        "params:compute": Compute(threads=1, accelerator="cpu"),
        "params:cleaning": CLEANING,
    }
    made = {name: MemoryDataset(value) for name, value in {**parameters, **datasets}.items()}
    return DataCatalog({**records, **made})


def save_records(known: DataCatalog) -> None:
    """What a run of 25 epochs left, 101.5 s in all, with 5,611 windows in training."""
    predictions = make_predictions()
    config = make_config(predictions).model_copy(update={"network": {}})
    known.save("single_vd_lstm.config", config)
    known.save("single_vd_lstm.training_history", make_history(predictions))
    known.save("single_vd_lstm.cost", make_cost(predictions))


@pytest.mark.parametrize(
    ("windows", "models", "vds"),
    [
        (SINGLE, 1, 1),
        (MultiVDWindows.model_validate({**LENGTHS, "num_vds": 7}), 1, 7),
        (independent(3), 1, 1),
        (independent([0, 4, 5]), 3, 3),
        (independent("all"), 10, 10),
        (GlobalVDWindows.model_validate({**LENGTHS, "num_vds": 7}), 1, 7),
        (GlobalVDWindows.model_validate({**LENGTHS, "num_vds": None}), 1, None),
    ],
)
def test_models_and_detectors_of_a_mode(windows: Windows, models: int, vds: int | None) -> None:
    planned = Planned("a", windows, training(), ONE)
    assert (planned.models, planned.vds) == (models, vds)


def test_the_line_counts_models_times_seeds() -> None:
    one = [Planned(name, SINGLE, training(), ONE) for name in "abcdef"]
    assert count_trainings(one) == "6 trainings: 6 experiments of 1 model × 1 seed"
    other = Planned("multi", independent([1, 2]), training(seeds=[1, 2, 3]), ONE)
    assert count_trainings([*one[:4], other]) == (
        "10 trainings: 4 experiments of 1 model × 1 seed, multi of 2 models × 3 seeds"
    )
    blocks = Planned("a", SINGLE, training(), ONE.model_copy(update={"folds": 3}))
    assert count_trainings([blocks]) == "3 trainings: a of 1 model × 1 seed × 3 test blocks"
    assert count_trainings(one[:1]) == "1 training: a of 1 model × 1 seed"


def test_only_nodes_that_train_are_planned(tmp_path: Path) -> None:
    name = "single_vd_lstm"
    nodes = [
        Node(train, [f"{name}.windows", f"{name}.training_state"], f"{name}.model", namespace=name),
        Node(train, [f"{name}.model", "other"], "score", namespace=name),
    ]
    assert plan_trainings(nodes, catalog(tmp_path)) == [Planned(name, SINGLE, training(), ONE)]


def test_time_is_that_of_the_last_run_for_all_epochs_and_the_windows_there_are(
    tmp_path: Path,
) -> None:
    known = catalog(tmp_path)
    save_records(known)
    planned = [Planned("single_vd_lstm", SINGLE, training(epochs=10, seeds=[1, 2]), ONE)]
    time, memory, _ = estimate(planned, None, known)
    # 4.06 s an epoch × 10 epochs × 2 seeds
    assert "at most 1 min 21 s" in time
    assert "558 MB for each worker besides the data, 32.6 MB of it" in memory
    other = Planned("multi_vd_lstm", SINGLE, training(), ONE)
    partly, _, _ = estimate([*planned, other], None, known)
    assert partly.endswith("not known before a first run with these settings: multi_vd_lstm")
    # half as many windows: 0.7 × 4,051 steps hold 2,805 of 32 steps
    halved, _, _ = estimate(planned, (4051, 3), known)
    assert "at most 41 s" in halved
    # 4 blocks of 1,380, 2,791, 4,203 and 5,614 training windows, where 5,611 take 4.06 s
    rolling = [replace(planned[0], split=ONE.model_copy(update={"folds": 4}))]
    rolled, _, _ = estimate(rolling, (8064, 3), known)
    assert "at most 3 min 22 s" in rolled


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        (8064, 8 * 4.06 * 5614 / 5611),  # 176 steps an epoch
        (4051, 16 * 4.06 * 2805 / 5611),  # 88 steps an epoch, so 1,400 of them take 16
        (401, 20 * 4.06 * 250 / 5611),  # 8 steps an epoch, but no more than 20 epochs
    ],
)
def test_a_training_takes_as_many_epochs_as_its_rate_takes_to_fall(
    tmp_path: Path, steps: int, seconds: float
) -> None:
    known = catalog(tmp_path)
    save_records(known)
    decaying = training(epochs=20, decay_epochs=8, decay_steps=1400)
    planned = [Planned("single_vd_lstm", SINGLE, decaying, ONE)]
    time, *_ = estimate(planned, (steps, 3), known)
    assert f"at most {duration(seconds)}, if none stops early" in time


@pytest.mark.parametrize(
    ("most", "of_epoch"),
    # The last run saw 5,611 windows of each of two detectors in an epoch of 4.06 s.
    [(None, 2805 / 5611), (5611, 1 / 2), (20_000, 2805 / 5611)],
)
def test_an_epoch_of_drawn_windows_takes_no_longer_with_more_of_them(
    tmp_path: Path, most: int | None, of_epoch: float
) -> None:
    known = catalog(tmp_path)
    save_records(known)
    config = known.load("single_vd_lstm.config")
    known.save("single_vd_lstm.config", config | {"vdids": ["a", "b"]})
    windows = GlobalVDWindows.model_validate({**LENGTHS, "num_vds": None})
    once = training(epochs=100, windows_per_epoch=most)
    time, *_ = estimate([Planned("single_vd_lstm", windows, once, ONE)], (4051, 3), known)
    assert f"at most {duration(100 * 4.06 * of_epoch)}" in time


@pytest.mark.parametrize(
    "changed",
    [
        {"params:single_vd_lstm.model": LSTMModel(hidden_size=32, num_layers=3, dropout=0.3)},
        {"params:compute": Compute(threads=1, accelerator="gpu")},
    ],
)
def test_a_run_with_another_network_says_nothing(tmp_path: Path, changed: Any) -> None:
    known = catalog(tmp_path, **changed)
    save_records(known)
    unknown = "not known before a first run with these settings"
    planned = [Planned("single_vd_lstm", SINGLE, training(), ONE)]
    time, memory, _ = estimate(planned, None, known)
    assert time == f"Time of training: {unknown}"
    assert memory == f"Memory: {unknown}"


def test_without_an_earlier_run_only_the_disk_is_known(tmp_path: Path) -> None:
    planned = [Planned("single_vd_lstm", SINGLE, training(seeds=[1, 2]), ONE)]
    time, memory, disk = estimate(planned, (1000, 3), catalog(tmp_path))
    assert "not known" in time
    assert "not known" in memory
    # 169 origins of test and 69 of val × 12 horizons × 1 detector × 2 features ×
    # (2 seeds + truth) × 4 B
    assert (169 + 69) * 12 * 2 * 3 * 4 == 68_544
    assert disk.startswith("Disk: up to 0.0685 MB")
    every = GlobalVDWindows.model_validate({**LENGTHS, "num_vds": None})
    of_all = [replace(planned[0], windows=every)]
    *_, disk = estimate(of_all, (1000, 100), catalog(tmp_path))
    assert disk.startswith("Disk: up to 6.85 MB")
    *_, unknown = estimate(planned, None, catalog(tmp_path))
    assert unknown == "Disk: not known, as the detector file cannot be read"


def test_steps_are_those_of_the_grid_that_cleaning_makes(tmp_path: Path) -> None:
    gap = make_clean(300).isel(time=[*range(100), *range(200, 300)])
    assert grid_shape(catalog(tmp_path, vd_raw=gap), "vd_raw") == (300, 3)
    coarser = CLEANING.model_copy(update={"resample": "15min"})
    found = grid_shape(catalog(tmp_path, vd_raw=gap, **{"params:cleaning": coarser}), "vd_raw")
    assert found == (100, 3)
    file = AtomicJSONDataset(filepath=str(tmp_path / "absent.json"))
    known = catalog(tmp_path)
    known["vd_raw"] = file
    assert grid_shape(known, "vd_raw") is None


REFITS = [
    Node(train, [f"{space}.x", f"{space}.refit_state"], f"{space}.refitted", namespace=space)
    for space in ("forecast_single_vd_lstm", "forecast_multi_vd_lstm")
]


def with_refits(folder: Path, **changed: Any) -> DataCatalog:
    """One experiment was trained; refits are asked for, and the file has 288 steps and one."""
    forecast = {"params:forecast": Forecast(origins="last", refit=True)}
    known = catalog(folder, **{"vd_raw": make_clean(289), **forecast, **changed})
    save_records(known)
    return known


def test_refits_are_planned_where_they_are_asked_for_and_there_is_a_comparison(
    tmp_path: Path,
) -> None:
    unasked = {"params:forecast": Forecast(origins="last")}
    assert plan_refits(REFITS, with_refits(tmp_path, **unasked)) == []
    planned = plan_refits(REFITS, with_refits(tmp_path))
    [fit] = planned[0].fits
    line = f"1 training on all data: single_vd_lstm of {fit.best_epoch} epochs"
    assert count_refits(planned) == line


def test_the_time_of_a_refit_is_that_of_its_epochs_in_proportion_to_the_windows(
    tmp_path: Path,
) -> None:
    known = with_refits(tmp_path)
    planned = plan_refits(REFITS, known)
    [fit] = planned[0].fits
    # 4.06 s an epoch with 5,611 windows; 1,200 of test, 775 of val, and 288 steps of the file
    expected = fit.best_epoch * 4.06 * (5611 + 775 + 1200 + 288) / 5611
    times = known.load("vd_raw").indexes["time"]
    assert planned[0].seconds(times) == pytest.approx(expected)
    line = estimate_refits(planned, known)
    assert line.startswith(f"Time of training on all data: at most {duration(expected)}, none on")
    other = {"params:compute": Compute(threads=1, accelerator="gpu")}
    line = estimate_refits(planned, with_refits(tmp_path, **other))
    assert line.endswith("not known on another device or with other threads: single_vd_lstm")


def test_the_time_left_is_that_of_the_models_trained_so_far() -> None:
    assert time_left([50.0, 70.0], 12) == "2 of 12 models trained, about 10 min left"
    assert time_left([0.1, 0.1, 60.0], 5) == "3 of 5 models trained, about 2 min left"
    assert time_left([0.1, 0.1], 5) is None, "an earlier run had trained these"
    assert time_left([60.0], 2) is None, "one or two need no such line"
    assert time_left([60.0] * 5, 5) is None


def test_searches_are_no_trainings_and_take_their_budget() -> None:
    nodes = [
        Node(train, ["x", f"tune_{name}.study"], "found", namespace=f"tune_{name}")
        for name in ("single_vd_lstm", "single_vd_xlstm")
    ]
    assert plan_trainings(nodes, DataCatalog()) == []
    experiments = searched_experiments(nodes)
    assert experiments == ["single_vd_lstm", "single_vd_xlstm"]
    assert estimate_searches(experiments, Budget(seconds=3600)) == (
        "2 searches for settings: at most 1 h of training each, over all runs"
    )
    assert estimate_searches(experiments[:1], Budget(trials=1)) == (
        "1 search for settings: at most 1 trial each, over all runs"
    )
