from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.make.xlstm_blocks import FUSED, KINDS, LONGEST, error, make_block, run
from vd_forecasting.models import XLSTMConfig, XLSTMCore
from vd_forecasting.models.fused_xlstm import choice

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
NEGLIGIBLE = 1e-2
"""A gradient smaller than this share of the largest is measured against that share."""

needs_numba = pytest.mark.skipif(choice.COMPILED is None, reason="numba is not installed")
COMPILED = pytest.param("compiled", marks=needs_numba)
KERNELS = [COMPILED, "torch"]
CORE: dict[str, Any] = {
    "embedding_dim": 16,
    "num_blocks": 3,
    "slstm_at": [1],
    "dropout": 0.3,
    "context_length": 32,
}


@contextmanager
def using(name: str) -> Iterator[None]:
    """``compiled`` or ``torch``, whatever an input gets by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "is_compiled", lambda *_: name == "compiled")
        yield


def largest(gradients: dict[str, Tensor]) -> float:
    return max(float(gradient.abs().max()) for gradient in gradients.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.float64, "torch"),
        (torch.float32, "torch"),
        pytest.param(torch.float32, "compiled", marks=needs_numba),
    ],
)
@settings(max_examples=10, deadline=None)
@given(
    batch=st.integers(1, 5),
    length=st.integers(1, 24),
    width=st.sampled_from([32, 64, 128]),
    heads=st.sampled_from([2, 4]),
    last_only=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(batch=2, length=LONGEST, width=32, heads=4, last_only=False, seed=0)
@example(batch=2, length=LONGEST, width=32, heads=4, last_only=True, seed=0)
@example(batch=1, length=1, width=32, heads=4, last_only=True, seed=0)
@example(batch=2, length=LONGEST, width=128, heads=2, last_only=False, seed=0)
@example(batch=2, length=LONGEST, width=128, heads=2, last_only=True, seed=0)
@example(batch=3, length=21, width=32, heads=2, last_only=False, seed=133)
def test_it_is_the_block_of_the_package(
    kind: str,
    dtype: torch.dtype,
    name: str,
    batch: int,
    length: int,
    width: int,
    heads: int,
    last_only: bool,
    seed: int,
) -> None:
    """Outputs and all gradients; the package's are in float64, to have no error of its own.

    A constant added to all input gates only scales what the norm then scales back, so the gradient
    of their bias is a sum that nearly cancels. Its terms hold fewer digits in float32 than are
    asked for, the package's too; there, and over long sequences, the package's own error is the
    measure.
    """
    block = make_block(kind, width, heads, seed=seed).to(dtype)
    x = torch.randn(batch, length, width, dtype=dtype)
    weight = torch.randn(batch, 1 if last_only else length, width, dtype=dtype)
    with using(name):
        output, gradients = run(block, kind, x, weight)
    expected, expected_gradients = run(block.double(), None, x.double(), weight.double())
    assert output.dtype == dtype
    assert output.shape == expected.shape
    floor = NEGLIGIBLE * largest(expected_gradients)

    def errors(output: Tensor, gradients: dict[str, Tensor]) -> dict[str, float]:
        of_gradients = {
            parameter: error(gradients[parameter], gradient, floor)
            for parameter, gradient in expected_gradients.items()
        }
        return {"output": error(output, expected), **of_gradients}

    found, tolerance = errors(output, gradients), TOLERANCE[dtype]
    beyond = {name for name, size in found.items() if not size <= tolerance}
    if beyond and (length == LONGEST or all(name.endswith("igate.bias") for name in beyond)):
        own = errors(*run(block.to(dtype), None, x, weight))
        tolerance = max(tolerance, 3 * max(own.values()))
    assert {n: e for n, e in found.items() if not e <= tolerance} == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [{"convolved": 3}, {"width": 24}, {"heads": 8, "width": 64}])
def test_what_is_not_compiled_is_the_block_of_the_package_too(
    kind: str, shape: dict[str, int]
) -> None:
    block = make_block(kind, **shape)
    width = shape.get("width", 32)
    x, weight = torch.randn(3, 9, width), torch.randn(3, 9, width)
    output, gradients = run(block, kind, x, weight)
    expected, exact = run(block, None, x, weight)
    assert error(output, expected) < 1e-5
    floor = NEGLIGIBLE * largest(exact)
    assert all(error(gradients[name], of, floor) < 1e-4 for name, of in exact.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 6])
def test_gradients_are_those_of_the_forward_pass(kind: str, steps: int) -> None:
    """By finite differences, of the input and of every parameter."""

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = make_block(kind, width=8, heads=2)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = FUSED[kind](self.block, x, steps)
            return output

    module = Fused().double()
    names, parameters = zip(*module.named_parameters(), strict=True)
    x = torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        weights = dict(zip(names, parameters, strict=True))
        output: Tensor = torch.func.functional_call(module, weights, (x,))
        return output

    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_are_finite_where_all_input_gates_are_shut(name: str) -> None:
    """The package's are not: the lower bound of its normaliser, an exponential, overflows."""
    block: Any = make_block("mlstm")
    with torch.no_grad():
        block.xlstm.mlstm_cell.igate.bias.fill_(-100)
    x, weight = torch.randn(3, 20, 32), torch.randn(3, 20, 32)
    with using(name):
        output, gradients = run(block, "mlstm", x, weight)
    expected, exact = run(block.double(), None, x.double(), weight.double())
    assert error(output.double(), expected) < 1e-5
    floor = NEGLIGIBLE * largest(exact)
    errors = {name: error(gradients[name].double(), of, floor) for name, of in exact.items()}
    assert {name: size for name, size in errors.items() if not size < 1e-4} == {}


def mixed(like: Tensor) -> Tensor:
    signs = torch.ones_like(like).view(-1)
    signs[::2] = -1
    return 50 * signs.view_as(like)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("forget", [50.0, -50.0, "mixed"])
@pytest.mark.parametrize("intake", [50.0, -50.0, "mixed"])
def test_extreme_gates(kind: str, name: str, intake: float | str, forget: float | str) -> None:
    """The other gates of the sLSTM are driven by the same biases."""
    block: Any = make_block(kind)
    cell = block.xlstm.slstm_cell if kind == "slstm" else block.xlstm.mlstm_cell
    if kind == "slstm":
        gates = cell._bias_.detach().view(4, -1).unbind()
    else:
        gates = cell.igate.bias.detach(), cell.fgate.bias.detach()
    for n, gate in enumerate(gates):
        bias = (intake, forget)[n % 2]
        gate.copy_(mixed(gate) if isinstance(bias, str) else torch.full_like(gate, bias))
    x, weight = torch.randn(3, 20, 32), torch.randn(3, 20, 32)
    with using(name):
        output, gradients = run(block, kind, x, weight)
    expected, _ = run(block, None, x, weight)
    assert output.isfinite().all()
    assert [n for n, gradient in gradients.items() if not gradient.isfinite().all()] == []
    finite = expected.isfinite()
    assert finite.any()
    assert error(output[finite], expected[finite]) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 20])
def test_bf16_autocast(kind: str, steps: int) -> None:
    block = make_block(kind)
    x, weight = torch.randn(3, 20, 32), torch.randn(3, steps, 32)
    expected, expected_gradients = run(block, kind, x, weight)
    output, gradients = run(block, kind, x, weight, autocast=True)
    assert output.isfinite().all()
    assert error(output.float(), expected) < 2e-2
    floor = 0.1 * largest(expected_gradients)
    for parameter, gradient in expected_gradients.items():
        assert gradients[parameter].isfinite().all(), parameter
        assert error(gradients[parameter], gradient, floor) < 0.1, parameter


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("first_changed", [1, 7, 11])
def test_no_look_ahead(kind: str, name: str, first_changed: int) -> None:
    block = make_block(kind)
    x = torch.randn(3, 12, 32)
    changed = x.clone()
    changed[:, first_changed:] = 10 * torch.randn(3, 12 - first_changed, 32)
    with using(name), torch.no_grad():
        output, other = (FUSED[kind](block, inputs, 12) for inputs in (x, changed))
    assert torch.equal(output[:, :first_changed], other[:, :first_changed])
    assert not torch.isclose(output[:, first_changed:], other[:, first_changed:]).all(-1).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("steps", [1, 12])
def test_nan_stays_in_its_window(kind: str, name: str, steps: int) -> None:
    block = make_block(kind)
    x = torch.randn(4, 12, 32)
    spoilt = x.clone()
    spoilt[1, 5, 0] = torch.nan
    with using(name), torch.no_grad():
        output, other = (FUSED[kind](block, inputs, steps) for inputs in (x, spoilt))
    assert other[1, -1].isnan().all()
    assert torch.equal(output[[0, 2, 3]], other[[0, 2, 3]])


def core(slstm_backend: str, mlstm_backend: str, seed: int) -> XLSTMCore:
    torch.manual_seed(seed)
    config = XLSTMConfig(**CORE, slstm_backend=slstm_backend, mlstm_backend=mlstm_backend)
    return XLSTMCore(config).eval()


@pytest.mark.parametrize("trained", [("vanilla", "vanilla"), ("fused", "fused")])
@pytest.mark.parametrize(
    "loaded",
    [("fused", "fused"), ("vanilla", "fused"), ("fused", "vanilla"), ("vanilla", "vanilla")],
)
def test_weights_fit_every_backend(trained: tuple[str, str], loaded: tuple[str, str]) -> None:
    one, other = core(*trained, seed=0), core(*loaded, seed=1)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = one.state_dict()
    shapes = {name: value.shape for name, value in weights.items()}
    assert {name: value.shape for name, value in other.state_dict().items()} == shapes
    other.load_state_dict(weights)
    x = torch.randn(3, 8, 16)
    with torch.no_grad():
        assert one(x).shape == (3, 16)
        assert error(other(x), one(x)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
def test_dropout_acts_in_training_only(kind: str, name: str) -> None:
    block = make_block(kind, dropout=0.5).eval()
    x = torch.randn(3, 12, 32)

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return FUSED[kind](block, x, 12)

    with using(name), torch.no_grad():
        assert error(output(0), block(x)) < 1e-5
        block.train()
        assert torch.equal(output(0), output(0))
        assert not torch.allclose(output(0), output(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("steps", [1, 6])
def test_the_gradient_drops_what_the_forward_pass_dropped(kind: str, name: str, steps: int) -> None:
    """By finite differences along some direction."""
    block = make_block(kind, dropout=0.4)
    x, along = torch.randn(3, 6, 32, requires_grad=True), torch.randn(3, 6, 32)
    weight = torch.randn(3, steps, 32)

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return (FUSED[kind](block, x, steps) * weight).sum()

    with using(name):
        loss(x).backward()
        with torch.no_grad():
            difference = (loss(x + 1e-2 * along) - loss(x - 1e-2 * along)) / 2e-2
    assert x.grad is not None
    torch.testing.assert_close((x.grad * along).sum(), difference, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", KERNELS)
def test_nearly_shut_forget_gates_cost_no_digits(name: str) -> None:
    """Sums of exponents from the start of a window would hold their digits instead."""
    block: Any = make_block("mlstm")
    block.xlstm.mlstm_cell.fgate.bias.detach().fill_(-40)
    x = torch.randn(3, 64, 32)
    with torch.no_grad():
        with using(name):
            output = FUSED["mlstm"](block, x, 64)
        own = block(x)
        expected = block.double()(x.double())
    assert error(output, expected) < max(3 * error(own, expected), 1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_a_window_longer_than_the_context_is_refused(name: str) -> None:
    block = make_block("mlstm")
    x = torch.randn(1, LONGEST + 1, 32)
    with pytest.raises((RuntimeError, AssertionError)):  # by the package
        block(x)
    with using(name), pytest.raises(ValueError, match=f"context_length {LONGEST}; raise"):
        FUSED["mlstm"](block, x, 1)
