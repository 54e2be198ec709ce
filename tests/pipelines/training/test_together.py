"""Models trained at once are those trained one by one."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.make.arrays import make_clean
from tests.make.recorded import recorded_steps
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    XLSTM,
    Killed,
    KilledAfter,
    train_lstm,
    train_xlstm,
)
from tests.make.windows import make_independent_windows, make_joint_windows
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import TrainingState
from vd_forecasting.pipelines.training import together

MODELS: list[Any] = [
    (train_lstm, LSTM.model_copy(update={"dropout": 0.0, "num_layers": 2})),
    (train_xlstm, XLSTM.model_copy(update={"dropout": 0.0})),
]
HASTY = TRAINING.model_copy(
    update={"learning_rate": 2**-11, "decay_epochs": 8, "epochs": 6, "patience": 1}
)


@pytest.fixture
def on_a_gpu() -> Iterator[list[int]]:
    """Steps are taken as there; one number per recorded graph, its replays."""
    with recorded_steps() as replays:
        yield replays


def uneven_windows() -> WindowSet:
    """Three detectors: validation contradicts the training of the first, the second is observed for
    half of it."""
    clean = make_clean(500)
    clean[20:200, 1] = np.nan
    windows = make_independent_windows(clean, num_vds=3)
    windows.data["values"][windows.ends["train"] : windows.ends["val"], 0] = 5.0
    return windows


def epochs_of(history: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    return {
        (seed, name): fit["epochs"] for seed, fits in history.items() for name, fit in fits.items()
    }


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Moments near zero magnify the last digits, epoch by epoch."""
    others = epochs_of(found)
    for model, epochs in epochs_of(expected).items():
        assert len(others[model]) == len(epochs), model
        for one, two in zip(epochs, others[model], strict=True):
            assert two["learning_rate"] == pytest.approx(one["learning_rate"])
            tolerance = 1e-4 if one["epoch"] == 1 else 0.02
            for split in ("train", "val"):
                assert two[split]["loss"] == pytest.approx(one[split]["loss"], rel=tolerance)
                mae, other = (of[split]["avg_speed"]["mae"] for of in (one, two))
                assert other == pytest.approx(mae, rel=tolerance)


@pytest.mark.parametrize(("train", "model"), MODELS)
def test_each_stops_when_it_would_alone(
    request: pytest.FixtureRequest, tmp_path: Path, train: Any, model: Any
) -> None:
    windows = uneven_windows()
    arguments = (windows, model, HASTY, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, expected = train(*arguments)
    replays = request.getfixturevalue("on_a_gpu")
    best, _, _, found = train(*arguments, TrainingState(tmp_path))
    numbers = {len(epochs) for epochs in epochs_of(expected).values()}
    assert len(numbers) > 1, "not all stop after the same epoch"
    assert_alike(found, expected)
    assert [*best["weights"]] == windows.vdids
    assert 0 < len(replays) < 2 * len(windows.vdids), "a step of all is one launch"


@pytest.mark.parametrize(("train", "model"), MODELS)
def test_seeds_of_a_joint_model_are_trained_at_once(
    request: pytest.FixtureRequest, tmp_path: Path, train: Any, model: Any
) -> None:
    seeds = HASTY.model_copy(update={"seeds": (3, 4, 5), "epochs": 2})
    arguments = (make_joint_windows(make_clean(500)), model, seeds, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, expected = train(*arguments)
    replays = request.getfixturevalue("on_a_gpu")
    _, _, _, found = train(*arguments, TrainingState(tmp_path))
    assert_alike(found, expected)
    assert len(replays) == 2


def test_weights_are_those_of_each_alone_after_an_epoch(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    once = HASTY.model_copy(update={"epochs": 1})
    for train, model in MODELS:
        arguments = (uneven_windows(), model, once, MAPE_MIN_TRUTH, COMPUTE)
        expected, *_ = train(*arguments)
        request.getfixturevalue("on_a_gpu")
        found, *_ = train(*arguments, TrainingState(tmp_path / str(model)))
        for name, weights in expected["weights"].items():
            for parameter, alone in weights.items():
                torch.testing.assert_close(
                    found["weights"][name][parameter], alone, rtol=1e-2, atol=1e-4, msg=parameter
                )


def test_a_killed_group_keeps_what_was_finished_and_goes_on_with_the_rest(
    on_a_gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(together, "STATES_EVERY", 0.0)
    train, model = MODELS[0]
    arguments = (uneven_windows(), model, HASTY, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, whole = train(*arguments, TrainingState(tmp_path / "whole"))
    for after in (2, 4):
        with pytest.raises(Killed):
            train(*arguments, KilledAfter.saves(tmp_path / "killed", after))
    caplog.clear()
    caplog.set_level(logging.INFO)
    _, _, _, resumed = train(*arguments, TrainingState(tmp_path / "killed"))
    assert_alike(resumed, whole)
    assert "resumes after epoch" in caplog.text


def test_one_that_diverges_leaves_the_others_alone(
    on_a_gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, model = MODELS[0]
    patient = HASTY.model_copy(update={"epochs": 3, "patience": 9})
    windows = make_independent_windows(make_clean(500), num_vds=3)
    arguments = (windows, model, patient, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, expected = train(*arguments, TrainingState(tmp_path / "sound"))
    before = together.Group._move

    def spoil(group: Any, gradient: torch.Tensor, active: torch.Tensor) -> None:
        before(group, gradient, active)
        if group.steps[1] == 11 + 4:
            group.weights[1] = torch.nan

    monkeypatch.setattr(together.Group, "_move", spoil)
    _, _, _, found = train(*arguments, TrainingState(tmp_path / "spoilt"))
    second = found["42"]["VD-1"]
    assert (second["diverged"]["loss"], second["diverged"]["step"]) == ("training", 5)
    assert len(second["epochs"]) == 1
    for name in ("VD-0", "VD-2"):
        losses, others = (
            [epoch["val"]["loss"] for epoch in of["42"][name]["epochs"]] for of in (expected, found)
        )
        assert others == losses


def test_where_all_diverge_what_they_learnt_before_is_kept(
    on_a_gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, model = MODELS[0]
    patient = HASTY.model_copy(update={"epochs": 3, "patience": 9})
    windows = make_independent_windows(make_clean(500), num_vds=3)
    before = together.Group._move

    def spoil(group: Any, gradient: torch.Tensor, active: torch.Tensor) -> None:
        before(group, gradient, active)
        if group.steps[1] == 11 + 4:
            group.weights[:] = torch.nan

    monkeypatch.setattr(together.Group, "_move", spoil)
    _, _, _, found = train(
        windows, model, patient, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path)
    )
    for fit in found["42"].values():
        assert fit["diverged"] is not None
        assert (len(fit["epochs"]), fit["best_epoch"]) == (1, 1)


def test_more_than_memory_holds_are_trained_half_by_half(
    on_a_gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, model = MODELS[0]
    arguments = (uneven_windows(), model, HASTY, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, expected = train(*arguments, TrainingState(tmp_path / "held"))
    sizes, before = [], together.Group._learn

    def learn(group: Any) -> None:
        before(group)
        sizes.append(len(group.learners))
        if len(group.learners) > 2:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(together.Group, "_learn", learn)
    _, _, _, found = train(*arguments, TrainingState(tmp_path / "not held"))
    assert_alike(found, expected)
    assert {3, 2, 1} >= {*sizes[1:]} >= {1, 2}
    assert sizes.count(3) == 1


def test_a_model_that_cannot_be_trained_is_named_as_ever(
    on_a_gpu: list[int], tmp_path: Path
) -> None:
    windows = uneven_windows()
    windows.data["observed"][: windows.ends["train"], 1] = False
    train, model = MODELS[0]
    with pytest.raises(ValueError, match=r"VD-1.*no training window has an observed target"):
        train(windows, model, HASTY, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path))


def test_a_cpu_trains_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "fit_together", None)
    train, model = MODELS[0]
    once = HASTY.model_copy(update={"epochs": 1})
    train(uneven_windows(), model, once, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path))
