"""Several networks computed at once are each what it is alone."""

from typing import Any

import pytest
import torch

from tests.make.checkpoints import NETWORK
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.models.forecaster import Forecaster
from vd_forecasting.models.fused_xlstm import choice
from vd_forecasting.models.several import several

MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"hidden_size": 16, "num_layers": 2, "dropout": 0.3},
    "xlstm": {
        "embedding_dim": 16,
        "num_blocks": 3,
        "slstm_at": [1],
        "slstm_backend": "fused",
        "mlstm_backend": "fused",
        "dropout": 0.3,
        "context_length": 32,
    },
}
COUNT, WINDOWS, CHANNELS = 3, 5, 6


@pytest.fixture(autouse=True)
def plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: what lies between the layers is not compiled."""
    monkeypatch.setattr(choice, "is_compiled", lambda *_: False)


def networks(model: str, known_vds: int) -> list[Forecaster]:
    """With all weights away from their initial values."""
    made = []
    for seed in range(COUNT):
        torch.manual_seed(seed)
        network = {**NETWORK, "known_vds": known_vds}
        described = {"model": model, "model_parameters": MODELS[model], "network": network}
        made.append(build_forecaster(described).eval())
        for parameter in made[-1].parameters():
            parameter.data.add_(torch.randn_like(parameter), alpha=0.2)
    return made


def together(made: list[Forecaster]) -> dict[str, torch.Tensor]:
    weights = [dict(network.named_parameters()) for network in made]
    return {
        name: torch.stack([of[name].detach() for of in weights]).requires_grad_()
        for name in weights[0]
    }


@pytest.mark.parametrize("known_vds", [0, 4])
@pytest.mark.parametrize("model", MODELS)
def test_forecasts_and_gradients_are_those_of_each_alone(model: str, known_vds: int) -> None:
    made = networks(model, known_vds)
    x = torch.randn(COUNT, WINDOWS, 5, CHANNELS)
    if known_vds:
        number = torch.randint(1, known_vds + 1, (COUNT, WINDOWS, 1, 1)).expand(-1, -1, 5, -1)
        x = torch.cat([x, number.float()], -1)
    weights = together(made)
    forecasts = several(made[0])(weights, x)
    factors = torch.randn_like(forecasts)
    gradients = torch.autograd.grad((forecasts * factors).sum(), [*weights.values()])
    for n, network in enumerate(made):
        forecast = network(x[n])
        torch.testing.assert_close(forecasts[n], forecast, rtol=1e-4, atol=1e-5)
        expected = torch.autograd.grad((forecast * factors[n]).sum(), [*network.parameters()])
        for name, found, alone in zip(weights, gradients, expected, strict=True):
            torch.testing.assert_close(found[n], alone, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_each_has_a_dropout_of_its_own(model: str) -> None:
    [network, *_] = networks(model, 0)
    x = torch.randn(1, WINDOWS, 5, CHANNELS).expand(COUNT, -1, -1, -1)
    one, other, _ = several(network.train())(together([network] * COUNT), x)
    assert not torch.allclose(one, other)
    still, same, _ = several(network.eval())(together([network] * COUNT), x)
    assert torch.allclose(still, same)
