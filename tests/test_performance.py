"""The script that makes the tables and the plot of docs/performance.md."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import multiply_adds, performance
from tests.make.networks import WORK, Size, make_batch, make_lstm, make_xlstm

SIZES = [
    Size(batch=2, hidden=64),
    Size(batch=3, length=12, detectors=2, width=32, blocks=3, slstm_at=(2,), hidden=16, layers=1),
]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("model", ["lstm", "xlstm"])
def test_multiply_adds_are_those_that_pytorch_counts(model: str, work: str, size: Size) -> None:
    # In float64, because PyTorch does not count within the library that has the float32 LSTM.
    network = make_lstm(size) if model == "lstm" else make_xlstm(size, "vanilla")
    x, y = make_batch(size)
    step = WORK[work](network.double(), x.double(), y.double())
    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_flop_counts()["Global"]
    counted = sum(n for of, n in operations.items() if "convolution" not in str(of)) / 2
    expected = multiply_adds.step(size, model, work, last=size.length)
    # The state before the first step is a constant, which needs no gradient.
    assert counted == expected if work == "inference" else 0.95 < counted / expected <= 1


def test_a_small_run_makes_every_table_and_the_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "compared", lambda: performance.OURS)
    performance.main([str(tmp_path / "growth.png"), "--quick"])
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if re.match(r"\| [^:]", line)
    ]
    steps = [row for row in rows if row[0] == "1"]
    assert [row[1] for row in steps] == [*performance.OURS] * len(WORK)
    for of_vanilla, _, of_lstm in (steps[:3], steps[3:]):
        assert of_vanilla[3] == of_lstm[4] == "1.00"
        assert float(of_vanilla[2]) / float(of_lstm[2]) == pytest.approx(
            float(of_vanilla[4]), rel=0.02
        )
    assert all(float(row[6].replace(",", "")) > 1 for row in steps), "faster than its products"
    assert {row[0] for row in rows} >= {"batch 2", "length 3", "width 8", "detectors 1"}
