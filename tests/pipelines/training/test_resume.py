"""A training that was stopped anywhere ends like one that was not."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.make.arrays import make_clean
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    XLSTM,
    Killed,
    KilledAfter,
    global_windows,
    independent_windows,
    joint_windows,
    saved_bytes,
    train_lstm,
    train_xlstm,
    without_seconds,
)
from tests.make.windows import make_global_windows, make_joint_windows
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import TrainingState, TrainingStateDataset
from vd_forecasting.datasets.tensors import load_plain, save_plain
from vd_forecasting.pipelines.training import loop
from vd_forecasting.pipelines.training.loop import likely_cause
from vd_forecasting.pipelines.training.resume import name_differences

SHORT = TRAINING.model_copy(
    update={"learning_rate": 0.01, "decay_epochs": 4, "epochs": 4, "patience": 99}
)


def stalling_windows() -> WindowSet:
    """Validation gets worse from the first epoch on, so the learning rate falls."""
    windows = joint_windows()
    windows.data["values"][windows.ends["train"] : windows.ends["val"]] = 5.0
    return windows


def assert_same(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    assert saved_bytes(first) == saved_bytes(second)
    assert first[2] == second[2]
    assert without_seconds(first[3]) == without_seconds(second[3])


def stop(folder: Path, after: int, training: Any = SHORT, windows: Any = None) -> None:
    with pytest.raises(Killed):
        train_lstm(
            joint_windows() if windows is None else windows,
            LSTM,
            training,
            MAPE_MIN_TRUTH,
            COMPUTE,
            KilledAfter.saves(folder, after),
        )


# --- the same in the end --------------------------------------------------------------------------


@pytest.mark.parametrize(("train", "model"), [(train_lstm, LSTM), (train_xlstm, XLSTM)])
def test_killed_after_every_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, train: Any, model: Any
) -> None:
    windows = stalling_windows()
    whole = train(windows, model, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    rates = [epoch["learning_rate"] for epoch in whole[3]["42"]["joint"]["epochs"]]
    assert len(set(rates)) > 1
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    for _ in range(SHORT.epochs + 1):  # epochs, and the finished model
        with pytest.raises(Killed):
            train(windows, model, SHORT, MAPE_MIN_TRUTH, COMPUTE, KilledAfter.saves(tmp_path, 1))
        torch.rand(3)  # another process draws other numbers
    resumed = train(windows, model, SHORT, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path))
    assert_same(whole, resumed)
    for epoch in range(1, SHORT.epochs):
        assert f"resumes after epoch {epoch}" in caplog.text
    assert "was trained before, 4 epochs" in caplog.text


def test_killed_between_epochs_of_drawn_windows(tmp_path: Path) -> None:
    windows = global_windows()
    drawn = SHORT.model_copy(update={"windows_per_epoch": 100})
    whole = train_lstm(windows, LSTM, drawn, MAPE_MIN_TRUTH, COMPUTE)
    every, *_ = train_lstm(windows, LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    assert saved_bytes(whole[:1]) != saved_bytes((every,))
    stop(tmp_path, 2, drawn, windows)
    again = TrainingState(tmp_path)
    assert_same(whole, train_lstm(windows, LSTM, drawn, MAPE_MIN_TRUTH, COMPUTE, again))


def test_killed_among_seeds_and_detectors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    windows = independent_windows()
    seeds = SHORT.model_copy(update={"seeds": (3, 4), "epochs": 2})
    whole = train_lstm(windows, LSTM, seeds, MAPE_MIN_TRUTH, COMPUTE)
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    # Every model keeps three states: of two epochs, and finished.
    for after in (5, 2, 3):
        stop(tmp_path, after, seeds, windows)
    resumed = train_lstm(windows, LSTM, seeds, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path))
    assert_same(whole, resumed)
    epochs = [line for line in caplog.messages if ": epoch " in line]
    assert len({line.split("train loss")[0] for line in epochs}) == len(epochs)


def test_killed_after_early_stopping(tmp_path: Path) -> None:
    windows = joint_windows()
    hopeless = TRAINING.model_copy(update={"learning_rate": 1.0, "epochs": 50, "patience": 2})
    whole = train_lstm(windows, LSTM, hopeless, MAPE_MIN_TRUTH, COMPUTE)
    epochs = len(whole[3]["42"]["joint"]["epochs"])
    stop(tmp_path, epochs, hopeless, windows)
    assert_same(
        whole, train_lstm(windows, LSTM, hopeless, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path))
    )


def test_seconds_add_up(tmp_path: Path) -> None:
    stop(tmp_path, 2)
    (path,) = tmp_path.iterdir()
    state = load_plain(path)
    save_plain({**state, "seconds": 1000.0}, path)
    history = train_lstm(
        joint_windows(), LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE, TrainingState(tmp_path)
    )[3]
    assert 1000 < history["42"]["joint"]["seconds"] < 1100


# --- trained for another experiment ---------------------------------------------------------------


@pytest.fixture
def of_independent(tmp_path: Path) -> TrainingState:
    """Where the models of two detectors were trained, each by itself."""
    state = TrainingState(tmp_path / "independent_multi_vd_lstm" / "training_state")
    train_lstm(independent_windows(), LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE, state)
    return state


def test_the_same_training_of_another_experiment_is_taken_over(
    of_independent: TrainingState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows = make_joint_windows(make_clean(500), num_vds=1)
    whole = train_lstm(windows, LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    own = TrainingState(tmp_path / "multi_vd_lstm" / "training_state", has_others=True)
    taken = train_lstm(windows, LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE, own)
    assert_same(whole, taken)
    assert caplog.messages[0].endswith(f"takes over the same from {of_independent.folder}")
    assert not [line for line in caplog.messages if ": epoch " in line]
    assert taken[0]["vdids"] == ["VD-0"]
    assert len([*own.folder.iterdir()]) == 1, "so that more models than memory holds find it"


@pytest.mark.parametrize("change", ["seed", "training", "mode", "data", "unfinished"])
def test_no_other_training_is_taken_over(
    of_independent: TrainingState, change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training, windows = SHORT, make_joint_windows(make_clean(500), num_vds=1)
    if change == "seed":
        training = SHORT.model_copy(update={"seeds": (43,)})
    elif change == "training":
        training = SHORT.model_copy(update={"weight_decay": 0.02})
    elif change == "mode":
        windows = make_global_windows(make_clean(500), num_vds=1)
    elif change == "data":
        clean = make_clean(500)
        clean[300, 0, 0] += 0.5
        windows = make_joint_windows(clean, num_vds=1)
    else:
        of_independent.clear()
        stop(of_independent.folder, 2, windows=independent_windows())
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    own = TrainingState(tmp_path / "multi_vd_lstm" / "training_state", has_others=True)
    train_lstm(windows, LSTM, training, MAPE_MIN_TRUTH, COMPUTE, own)
    assert len([line for line in caplog.messages if ": epoch " in line]) == SHORT.epochs
    assert not [line for line in caplog.messages if "takes over" in line]


# --- not the same training ------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["training", "model", "data"])
def test_another_training_starts_afresh_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    stop(tmp_path, 2)
    windows, model, training = joint_windows(), LSTM, SHORT
    if change == "training":
        training, told = SHORT.model_copy(update={"epochs": 5}), "training.epochs was 4, is 5"
    elif change == "model":
        model, told = LSTM.model_copy(update={"dropout": 0.2}), "model.dropout was 0.1, is 0.2"
    else:
        windows.data["values"][10, 0, 0] += 1
        told = "the data changed"
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    arguments = (windows, model, training, MAPE_MIN_TRUTH, COMPUTE)
    again = train_lstm(*arguments, TrainingState(tmp_path))
    line = "multi_vd_lstm: starts afresh, a killed training cannot be continued: "
    assert caplog.messages[0] == line + told
    assert_same(again, train_lstm(*arguments))


def test_differences_are_named_but_not_all() -> None:
    before = {"a": "1", "b": "2", "code": "x", "d": "4", "e": "5"}
    now = {"a": "2", "b": "2", "code": "y", "d": "5", "f": "6"}
    assert name_differences(before, now) == (
        "a was 1, is 2; the code changed; d was 4, is 5; and 2 more"
    )


def broken(kind: str, path: Path) -> None:
    state = load_plain(path)
    if kind == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "code":
        torch.save({"made_with": Run("x")}, path)
    elif kind == "foreign":
        save_plain({"a": 1}, path)
    elif kind == "moments":
        state["moments"][0]["exp_avg"] = torch.zeros(1)
    elif kind == "random":
        state["random"]["cpu"] = torch.zeros(8, dtype=torch.uint8)
    elif kind == "weights":
        state["weights"].popitem()
    elif kind == "epochs":
        state["epochs"] = [1]
    if kind in ("moments", "random", "weights", "epochs"):
        save_plain(state, path)


class Run:
    """Runs code when it is loaded."""

    ran = False

    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Run, "ran", True)


@pytest.mark.parametrize(
    "kind", ["half", "empty", "code", "foreign", "moments", "random", "weights", "epochs"]
)
def test_a_broken_state_is_told_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    once = SHORT.model_copy(update={"epochs": 2})
    stop(tmp_path, 1, once)
    (path,) = tmp_path.iterdir()
    broken(kind, path)
    caplog.clear()  # of what ran before
    caplog.set_level(logging.INFO)
    arguments = (joint_windows(), LSTM, once, MAPE_MIN_TRUTH, COMPUTE)
    again = train_lstm(*arguments, TrainingState(tmp_path))
    assert "\n" not in caplog.messages[0]
    assert "starts afresh" in caplog.messages[0] or "it is ignored" in caplog.messages[0]
    assert not Run.ran
    assert not any("resumes" in line for line in caplog.messages)
    assert_same(again, train_lstm(*arguments))


# --- where states are kept ------------------------------------------------------------------------


def test_the_handle_is_always_there_and_pickles(tmp_path: Path) -> None:
    dataset = TrainingStateDataset(filepath=str(tmp_path / "states"))
    assert dataset.exists()
    state = pickle.loads(pickle.dumps(dataset.load()))
    assert not (tmp_path / "states").exists()
    assert state.load("a") is None
    for name in ("a", "../a", ".a", "VD 1/2", "x" * 999):
        state.save(name, {"name": name})
        assert state.load(name) == {"name": name}
    assert [path for path in tmp_path.iterdir() if path.name != "states"] == []
    assert len(list((tmp_path / "states").iterdir())) == 5
    state.clear()
    state.clear()
    assert list(tmp_path.iterdir()) == []


# --- divergence -----------------------------------------------------------------------------------


def diverge_in(epoch: int, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From that epoch on, training or averaged weights are NaN."""
    before, steps_of_an_epoch = loop.move_average, 11

    def spoil(average: list[torch.Tensor], current: list[torch.Tensor], steps: int) -> None:
        before(average, current, steps)
        if steps // steps_of_an_epoch == epoch - 1:
            (current if loss == "training" else average)[0].fill_(torch.nan)

    monkeypatch.setattr(loop, "move_average", spoil)


@pytest.mark.parametrize(("loss", "step"), [("training", 2), ("validation", 1)])
def test_the_best_before_a_divergence_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loss: str, step: int
) -> None:
    windows = joint_windows()
    two = train_lstm(windows, LSTM, SHORT.model_copy(update={"epochs": 2}), MAPE_MIN_TRUTH, COMPUTE)
    diverge_in(3, loss, monkeypatch)
    checkpoint, _, _, history = train_lstm(windows, LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE)
    kept = two[0]["weights"]["joint"]
    assert all(torch.equal(kept[name], checkpoint["weights"]["joint"][name]) for name in kept)
    run = history["42"]["joint"]
    assert [epoch["epoch"] for epoch in run["epochs"]] == [1, 2]
    assert run["stopped_early"]
    assert run["diverged"] == {
        "loss": loss,
        "epoch": 3,
        "step": step,
        "cause": "learning_rate 0.01 is likely too high; lower it",
    }
    assert json.loads(json.dumps(history)) == history
    (warning,) = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert f"diverged in epoch 3, step {step} of" in warning.getMessage()
    assert f"kept the best epoch before, {run['best_epoch']}" in warning.getMessage()
    assert two[3]["42"]["joint"]["diverged"] is None


def test_a_divergence_in_the_first_epoch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    diverge_in(1, "validation", monkeypatch)
    with pytest.raises(ValueError, match=r"^multi_vd_lstm: diverged in epoch 1, step 1 of 1: the"):
        train_lstm(joint_windows(), LSTM, SHORT, MAPE_MIN_TRUTH, COMPUTE)


@pytest.mark.parametrize(
    ("inputs", "steps", "cause"),
    [
        (torch.tensor([1.0, torch.nan]), 5, "its inputs are not finite"),
        (torch.tensor([1.0, -5000.0]), 5, "5e+03 standard deviations"),
        (torch.ones(2), 0, "untrained network"),
        (torch.ones(2), 5, "learning_rate 0.1 is likely too high"),
    ],
)
def test_likely_causes(inputs: torch.Tensor, steps: int, cause: str) -> None:
    assert cause in likely_cause(inputs, 0.1, steps)
