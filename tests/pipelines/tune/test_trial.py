"""A trial trains as an experiment does."""

import logging
from dataclasses import replace

import pytest
import torch

from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    XLSTM,
    independent_windows,
    joint_windows,
    train_lstm,
    train_xlstm,
)
from vd_forecasting.artefacts import Experiment
from vd_forecasting.parameters import LSTMModel, XLSTMModel
from vd_forecasting.pipelines.training.train import torch_threads
from vd_forecasting.pipelines.tune.study import TrialFailed
from vd_forecasting.pipelines.tune.trial import train_trial

SETTINGS = {"model.dropout": 0.2, "training.learning_rate": 0.002}


@pytest.mark.parametrize("model", ["lstm", "xlstm"])
def test_losses_are_those_of_a_training_with_these_settings(model: str) -> None:
    networks: dict[str, LSTMModel | XLSTMModel] = {"lstm": LSTM, "xlstm": XLSTM}
    network, train = networks[model], {"lstm": train_lstm, "xlstm": train_xlstm}[model]
    experiment = Experiment(joint_windows(), model, network, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    with torch_threads(1):
        epochs = [*train_trial(experiment, SETTINGS, 0)]
    training = TRAINING.model_copy(update={"learning_rate": 0.002})
    changed = network.model_copy(update={"dropout": 0.2})
    *_, history = train(experiment.windows, changed, training, MAPE_MIN_TRUTH, COMPUTE)
    losses = [epoch["val"]["loss"] for epoch in history["42"]["joint"]["epochs"]]
    assert [epoch.loss for epoch in epochs] == [min(losses[: n + 1]) for n in range(len(losses))]
    assert [epoch.is_last for epoch in epochs] == [False, False, True]
    assert all(epoch.seconds > 0 for epoch in epochs)


def test_models_that_take_turns_train_as_if_each_were_alone() -> None:
    windows = independent_windows()
    training = TRAINING.model_copy(update={"patience": 1, "epochs": 6, "learning_rate": 0.05})
    experiment = Experiment(windows, "lstm", LSTM, training, COMPUTE, MAPE_MIN_TRUTH)
    with torch_threads(1):
        epochs = [*train_trial(experiment, {}, 0)]
    *_, history = train_lstm(windows, LSTM, training, MAPE_MIN_TRUTH, COMPUTE)
    fits = history["42"].values()
    lowest = [min(epoch["val"]["loss"] for epoch in fit["epochs"]) for fit in fits]
    assert len(lowest) == 2
    assert epochs[-1].loss == pytest.approx(sum(lowest) / 2, rel=1e-12)
    assert len(epochs) == max(len(fit["epochs"]) for fit in fits)


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    experiment = Experiment(joint_windows(), "lstm", LSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    before = torch.get_rng_state()
    [*train_trial(experiment, SETTINGS, 0)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_cannot_be_built_fails_with_its_reason() -> None:
    experiment = Experiment(joint_windows(), "xlstm", XLSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    with pytest.raises(TrialFailed, match="slstm_at names block 1") as failed:
        next(train_trial(experiment, {"model.num_blocks": 1}, 0))
    assert failed.value.seconds < 1


@pytest.mark.parametrize("epochs_before", [0, 1])
def test_a_training_that_diverges_fails_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, epochs_before: int
) -> None:
    experiment = Experiment(joint_windows(), "lstm", LSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    epochs = train_trial(experiment, {"training.learning_rate": 1e38}, 3)
    if epochs_before:
        epochs = train_trial(experiment, {}, 3)
        next(epochs)
        nan = torch.tensor(float("nan"))
        path = "vd_forecasting.pipelines.training.loop.masked_mae"
        monkeypatch.setattr(path, lambda forecast, targets: forecast.sum() * nan)
    with pytest.raises(TrialFailed, match=rf"^diverged in epoch {epochs_before + 1}") as failed:
        list(epochs)
    assert failed.value.seconds > 0


def test_a_trial_logs_no_epoch(caplog: pytest.LogCaptureFixture) -> None:
    experiment = Experiment(joint_windows(), "lstm", LSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    with caplog.at_level(logging.INFO):
        [*train_trial(replace(experiment), SETTINGS, 0)]
    assert not [line for line in caplog.messages if "epoch" in line or "windows" in line]
