import json

import pytest
import torch
from torch import Tensor, nn

from tests.make.arrays import make_clean
from tests.make.trainings import (
    COMPUTE,
    LSTM,
    MAPE_MIN_TRUTH,
    TRAINING,
    joint_windows,
    train_lstm,
)
from vd_forecasting.artefacts import Experiment, WindowBlocks
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.pipelines.training.cost import training_step_bytes
from vd_forecasting.pipelines.training.measure_cost import measure_cost
from vd_forecasting.pipelines.training.train import describe_network


class OneProduct(nn.Module):
    """Keeps its input for the gradient of its weight, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight).reshape(len(x), 3, 2, 1)


def test_bytes_of_a_step_by_hand() -> None:
    inputs, targets = torch.randn(7, 10), torch.randn(7, 3, 2, 1)
    weights, kept = 10 * 6 * 4, 7 * 10 * 4
    # The loss keeps, of its 42 errors, the mask (a byte each) and the error itself (four).
    loss = 42 * (1 + 4)
    expected = (1 + 1 + 2 + 1) * weights + kept + loss
    found = training_step_bytes(OneProduct(), inputs, targets)  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=16)  # and a count of observed targets


def test_what_is_kept_grows_with_the_batch_and_the_rest_does_not() -> None:
    experiment = Experiment(joint_windows(), "lstm", LSTM, TRAINING, COMPUTE, MAPE_MIN_TRUTH)
    described = describe_network(experiment)
    forecaster = build_forecaster(described)
    channels, shape = described["network"]["num_channels"], (3, 2, 2)
    one, two, three = (
        training_step_bytes(forecaster, torch.randn(batch, 6, channels), torch.randn(batch, *shape))
        for batch in (64, 128, 192)
    )
    assert three - two == two - one > 0


def test_measuring_changes_nothing_and_is_ready_for_json() -> None:
    windows = joint_windows(make_clean(500))
    checkpoint, _, _, _ = train_lstm(
        windows, LSTM, TRAINING.model_copy(update={"epochs": 1}), MAPE_MIN_TRUTH, COMPUTE
    )
    before = {k: v.clone() for k, v in checkpoint["weights"]["joint"].items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    cost = measure_cost(checkpoint, WindowBlocks.of_one(windows), TRAINING)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[k], v) for k, v in checkpoint["weights"]["joint"].items())
    assert json.loads(json.dumps(cost)) == cost
    assert set(cost["latency_seconds"]) == {"1", "256"}
    assert 0 < cost["latency_seconds"]["1"] < cost["latency_seconds"]["256"]
