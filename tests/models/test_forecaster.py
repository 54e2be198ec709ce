import sys
from typing import Any

import pytest
import torch
from torch import nn

from vd_forecasting.models import Forecaster, LSTMConfig, LSTMCore, XLSTMConfig, XLSTMCore
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.models.lstm import drop

LSTM: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "dropout": 0.3}
XLSTM: dict[str, Any] = {
    "embedding_dim": 16,
    "num_blocks": 3,
    "slstm_at": [1],
    "slstm_backend": "fused",
    "mlstm_backend": "fused",
    "dropout": 0.3,
    "context_length": 32,
}
VANILLA = {**XLSTM, "slstm_backend": "vanilla", "mlstm_backend": "vanilla"}
SIZES = [("lstm", LSTM), ("xlstm", XLSTM), ("xlstm", VANILLA)]
NETWORK = {
    "num_channels": 10,
    "num_vd_features": 3,
    "target_channels": [0, 2, 3, 5],
    "target_shape": [2, 2],
    "sequence_length": 8,
    "prediction_length": 3,
}


def untrained(model: str, parameters: dict[str, Any]) -> Forecaster:
    torch.manual_seed(0)
    described = {"model": model, "model_parameters": parameters, "network": NETWORK}
    return build_forecaster(described)


def randomised(model: str, parameters: dict[str, Any]) -> Forecaster:
    """With a head that does something, which it does not before training."""
    forecaster = untrained(model, parameters)
    nn.init.normal_(forecaster.head.weight)
    nn.init.normal_(forecaster.autoregression.weight)
    return forecaster


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_shape(model: str, parameters: dict[str, Any]) -> None:
    forecast = untrained(model, parameters)(torch.randn(5, 8, 10))
    assert forecast.shape == (5, 3, 2, 2)


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_untrained_forecast_is_persistence(model: str, parameters: dict[str, Any]) -> None:
    x = torch.randn(5, 8, 10)
    forecast = untrained(model, parameters).eval()(x)
    last = x[:, -1, [0, 2, 3, 5]].reshape(5, 1, 2, 2)
    torch.testing.assert_close(forecast, last.expand(5, 3, 2, 2))


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_a_window_does_not_depend_on_the_others_of_its_batch(
    model: str, parameters: dict[str, Any]
) -> None:
    forecaster = randomised(model, parameters).eval()
    x = torch.randn(5, 8, 10)
    torch.testing.assert_close(forecaster(x)[:1], forecaster(x[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_every_input_step_counts(model: str, parameters: dict[str, Any]) -> None:
    forecaster = randomised(model, parameters).eval()
    x = torch.randn(1, 8, 10, requires_grad=True)
    forecaster(x).sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_the_core_gives_the_last_step_of_the_library() -> None:
    x = torch.randn(2, 8, 16)
    lstm = LSTMCore(LSTMConfig(**LSTM)).eval()
    library = nn.LSTM(16, 16, LSTM["num_layers"], batch_first=True)
    library.load_state_dict(lstm.lstm.state_dict())
    torch.testing.assert_close(lstm(x), library(x)[0][:, -1])
    for parameters in (XLSTM, VANILLA):
        xlstm = XLSTMCore(XLSTMConfig(**parameters)).eval()
        torch.testing.assert_close(xlstm(x), xlstm.stack(x)[:, -1])


def test_an_lstm_layer_by_layer_is_that_of_the_library() -> None:
    core = LSTMCore(LSTMConfig(**{**LSTM, "dropout": 0.0}))
    library = nn.LSTM(16, 16, LSTM["num_layers"], batch_first=True)
    library.load_state_dict(core.lstm.state_dict())
    x, results = torch.randn(2, 8, 16), []
    for run, weights in (
        (core.lstm, core.parameters()),
        (lambda x: library(x)[0], library.parameters()),
    ):
        output = run(x)
        results.append([output, *torch.autograd.grad(output.square().sum(), [*weights])])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(7)
    x = torch.full((100, 100), 2.0, requires_grad=True)
    dropped = drop(x, share)
    dropped.sum().backward()
    kept = dropped != 0
    assert kept.float().mean() == pytest.approx(1 - share, abs=0.02)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 2 / (1 - share or 1)))
    torch.testing.assert_close(x.grad, dropped / 2)


def test_unknown_backend() -> None:
    with pytest.raises(ValueError, match="mlstm_backend 'cuda' is not known"):
        XLSTMCore(XLSTMConfig(**{**XLSTM, "mlstm_backend": "cuda"}))


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_dropout_acts_in_training_only(model: str, parameters: dict[str, Any]) -> None:
    forecaster = randomised(model, parameters)
    x = torch.randn(2, 8, 10)
    assert not torch.equal(forecaster.train()(x), forecaster.train()(x))
    assert torch.equal(forecaster.eval()(x), forecaster.eval()(x))


def test_xlstm_dropout_reaches_every_block() -> None:
    core = XLSTMCore(XLSTMConfig(**XLSTM))
    for block in core.stack.blocks:
        rates = [module.p for module in block.modules() if isinstance(module, nn.Dropout)]
        assert rates
        assert all(rate == 0.3 for rate in rates)


def test_xlstm_blocks_are_where_they_were_asked_for() -> None:
    core = XLSTMCore(XLSTMConfig(**XLSTM))
    kinds = [type(block).__name__ for block in core.stack.blocks]
    assert kinds == ["mLSTMBlock", "sLSTMBlock", "mLSTMBlock"]


def test_the_xlstm_package_is_needed_for_an_xlstm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xlstm", None)
    with pytest.raises(ImportError, match="an xLSTM needs the xlstm package"):
        untrained("xlstm", XLSTM)
    untrained("lstm", LSTM)


def test_single_layer_lstm_builds_without_a_warning() -> None:
    LSTMCore(LSTMConfig(hidden_size=8, num_layers=1, dropout=0.5))


def test_the_embedding_sees_values_calendar_and_differences_from_the_last_values() -> None:
    forecaster, x, seen = untrained("lstm", LSTM), torch.randn(5, 8, 10), []
    forecaster.embedding.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    forecaster(x)
    [inputs] = seen
    for window, channels in zip(x, inputs, strict=True):
        for step, found in zip(window, channels, strict=True):
            expected = torch.cat([step, step[:6] - window[-1, :6]])
            torch.testing.assert_close(found, expected)


def test_the_linear_part_is_a_linear_map_of_each_vds_own_window() -> None:
    """By hand: 2 VDs of 3 features, 8 steps, 4 of the calendar; 3 horizons of 2 targets."""
    forecaster = randomised("lstm", LSTM)
    linear, x = forecaster.autoregression, torch.randn(5, 8, 10)
    y = linear(x)
    assert y.shape == (5, 3, 2, 2)
    torch.testing.assert_close(linear(2 * x), 2 * y)
    for vd in (0, 1):
        own = x[:, :, 3 * vd : 3 * vd + 3]
        rows = [
            torch.cat([*(step - window[-1] for step in window[:-1]), clock])
            for window, clock in zip(own, x[:, -1, 6:], strict=True)
        ]
        expected = (torch.stack(rows) @ linear.weight[vd]).reshape(5, 3, 2)
        torch.testing.assert_close(y[:, :, vd], expected, rtol=1e-4, atol=1e-5)


def test_the_linear_part_does_not_see_the_level() -> None:
    """Nor another VD, nor the calendar but at the end of the window."""
    linear, x = randomised("lstm", LSTM).autoregression, torch.randn(5, 8, 10)
    changed = x.clone()
    changed[:, :, :6] += torch.tensor([1.0, 2.0, 3.0, 40.0, 50.0, 60.0])
    changed[:, :-1, 6:] = 7.0
    torch.testing.assert_close(linear(changed), linear(x), rtol=1e-4, atol=1e-4)
    other_vd = x.clone()
    other_vd[:, 3, 4] += 1
    assert torch.equal(linear(other_vd)[:, :, 0], linear(x)[:, :, 0])
    assert not torch.equal(linear(other_vd)[:, :, 1], linear(x)[:, :, 1])


@pytest.mark.parametrize(("model", "parameters"), SIZES)
def test_a_global_network_knows_some_vds_by_their_numbers(
    model: str, parameters: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    one = {"num_channels": 7, "target_channels": [0, 2], "target_shape": [1, 2], "known_vds": 2}
    described = {"model": model, "model_parameters": parameters, "network": {**NETWORK, **one}}
    forecaster = build_forecaster(described).eval()
    x = torch.randn(1, 8, 7)

    def forecast(number: int) -> torch.Tensor:
        result: torch.Tensor = forecaster(torch.cat([x, torch.full((1, 8, 1), number)], dim=2))
        return result

    last = x[:, -1, [0, 2]].reshape(1, 1, 1, 2)
    torch.testing.assert_close(forecast(1), last.expand(1, 3, 1, 2))
    nn.init.normal_(forecaster.head.weight)
    assert torch.equal(forecast(1), forecast(0)), "before training all are unknown"
    assert forecaster.of_vd is not None
    with torch.no_grad():
        forecaster.of_vd.weight[2] = 1.0
    assert torch.equal(forecast(1), forecast(0))
    assert not torch.equal(forecast(2), forecast(0))
