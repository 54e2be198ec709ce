"""What a graph is made of, tried where there is no GPU: a graph that is the function itself.

Whether CUDA records the steps, and how fast it is then, ``tests/benchmarks/gpu.py`` finds.
"""

import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.make.recorded import recorded_steps
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    XLSTM,
    Killed,
    KilledAfter,
    global_windows,
    joint_windows,
    saved_bytes,
    train_lstm,
    train_xlstm,
    without_seconds,
)
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import TrainingState
from vd_forecasting.pipelines.training import captured, loop

MODELS: list[Any] = [
    (train_lstm, LSTM.model_copy(update={"dropout": 0.0})),
    (train_xlstm, XLSTM.model_copy(update={"dropout": 0.0})),
]
SHORT = TRAINING.model_copy(
    update={"learning_rate": 2**-11, "decay_epochs": 4, "epochs": 4, "patience": 99}
)
"""The rate is the same number in single precision."""


@pytest.fixture
def recorded() -> Iterator[list[int]]:
    """Steps are taken as on a GPU; one number per recorded graph, its replays."""
    with recorded_steps() as replays:
        yield replays


def stalling_windows() -> WindowSet:
    """Validation gets worse from the first epoch on, so the learning rate falls."""
    windows = joint_windows()
    windows.data["values"][windows.ends["train"] : windows.ends["val"]] = 5.0
    return windows


@pytest.mark.parametrize("make", [stalling_windows, global_windows])
@pytest.mark.parametrize(("train", "model"), MODELS)
def test_recorded_steps_train_what_steps_one_by_one_train(
    request: pytest.FixtureRequest, train: Any, model: Any, make: Callable[[], WindowSet]
) -> None:
    """Also the last step of an epoch, whose batch is smaller, and at learning rates that fall."""
    windows = make()
    arguments = (windows, model, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    _, _, _, history = train(*arguments)
    replays = request.getfixturevalue("recorded")
    _, _, _, other = train(*arguments)
    [epochs], [others] = ([fit["epochs"] for fit in of["42"].values()] for of in (history, other))
    rates = [epoch["learning_rate"] for epoch in epochs]
    assert [epoch["learning_rate"] for epoch in others] == pytest.approx(rates, rel=1e-6)
    for one, two in zip(epochs, others, strict=True):
        # Moments near zero magnify the last digits, epoch by epoch.
        tolerance = 1e-5 if one["epoch"] == 1 else 0.02
        for split in ("train", "val"):
            assert two[split]["loss"] == pytest.approx(one[split]["loss"], rel=tolerance)
            mae, other_mae = (of[split]["avg_speed"]["mae"] for of in (one, two))
            assert other_mae == pytest.approx(mae, rel=tolerance)
    assert len(replays) == 1
    assert replays[0] % len(epochs) == 0


@pytest.mark.parametrize(("train", "model"), [(train_lstm, LSTM), (train_xlstm, XLSTM)])
def test_a_killed_training_of_recorded_steps_ends_like_one_that_was_not(
    recorded: list[int], tmp_path: Path, train: Any, model: Any
) -> None:
    arguments = (stalling_windows(), model, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    whole = train(*arguments)
    for _ in range(SHORT.epochs):
        with pytest.raises(Killed):
            train(*arguments, KilledAfter.saves(tmp_path, 1))
        torch.rand(3)
    resumed = train(*arguments, TrainingState(tmp_path))
    assert saved_bytes(whole) == saved_bytes(resumed)
    assert without_seconds(whole[3]) == without_seconds(resumed[3])
    assert len(recorded) > SHORT.epochs


@pytest.mark.parametrize(("loss", "step"), [("training", 5), ("validation", 1)])
def test_a_divergence_names_its_step_though_it_is_found_at_the_end_of_the_epoch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    recorded: list[int], loss: str, step: int,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    before, per_epoch = loop.move_average, 11

    def spoil(average: list[Tensor], current: list[Tensor], steps: Any) -> None:
        before(average, current, steps)
        if int(steps) == 2 * per_epoch + 3:
            (current if loss == "training" else average)[0].fill_(torch.nan)

    monkeypatch.setattr(loop, "move_average", spoil)
    _, _, _, history = train_lstm(joint_windows(), LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    run = history["42"]["joint"]
    assert recorded == [3 * per_epoch], "the epoch was not left before its end"
    assert len(run["epochs"]) == 2
    assert (run["diverged"]["loss"], run["diverged"]["step"]) == (loss, step)
    assert f"diverged in epoch 3, step {step} of" in caplog.text


def test_what_warming_up_changed_is_undone_in_place() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)

    def changes() -> list[Tensor]:
        return [weight, *(of for state in optimizer.state.values() for of in state.values())]

    def step() -> None:
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()

    with captured.undone(changes):
        step()
    assert [of.count_nonzero().item() for of in changes()] == [3, 0, 0, 0]
    expected = copy.deepcopy(weight)
    moment = optimizer.state[weight]["exp_avg"]
    step()
    after = weight.detach().clone()
    with captured.undone(changes):
        step()
        assert not torch.equal(weight, after)
    assert torch.equal(weight, after)
    assert optimizer.state[weight]["exp_avg"] is moment
    alone = torch.optim.AdamW([expected], lr=0.1)
    (expected**2).sum().backward()
    alone.step()
    torch.testing.assert_close(expected, weight)
