"""What a step costs: time against PyTorch's LSTM, the ``xlstm`` package, ``neuralforecast`` and the
floor; memory; and how the time grows. In under six minutes::

    python -m tests.benchmarks.performance docs/performance.png > tables.md
    python -m tests.benchmarks.performance small.png --quick   # to try the script itself

Networks take steps in turn in one process, so that a machine busy with other things slows all of
them; a table has medians. ``neuralforecast`` is left out where it is not installed. The floor is
the time of the products alone at the speed of one large product.
"""

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from torch import Tensor, nn

from tests.benchmarks import multiply_adds
from tests.make.networks import HORIZONS, WORK, Size, make_batch, make_lstm, make_xlstm
from vd_forecasting.pipelines.training.cost import training_step_bytes
from vd_forecasting.rendering import plot_style
from vd_forecasting.rendering.markdown import table
from vd_forecasting.wording import listed, number, plural

MB = 1e6
VANILLA, FUSED, LSTM = "xLSTM, `xlstm` package", "xLSTM, fused", "LSTM"
OURS = (VANILLA, FUSED, LSTM)
MLSTM_ONLY, THEIR_XLSTM = "xLSTM, fused, mLSTM blocks only", "xLSTM of neuralforecast"
THEIR_LSTM = "LSTM of neuralforecast"
THEIRS = (THEIR_LSTM, THEIR_XLSTM, MLSTM_ONLY)
"""Their xLSTM has mLSTM blocks only, so one of ours that has is measured beside it."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long."""

    base: Size
    growth: dict[str, tuple[int, ...]]
    threads: tuple[int, ...]
    seconds: float  # about how long a cell takes
    least_rounds: int
    product: int  # rows and columns of the product that finds the peak


FULL = Plan(
    base=Size(),
    growth={
        "batch": (16, 32, 64, 128, 256),
        "length": (12, 24, 48, 96),
        "width": (32, 64, 128, 256),
        "detectors": (1, 3, 10, 30, 100),
    },
    threads=(1, 2),
    seconds=12.0,
    least_rounds=4,
    product=2048,
)
QUICK = Plan(
    base=Size(4, 6, detectors=2, width=8, blocks=2, slstm_at=(1,), hidden=8, layers=2),
    growth={"batch": (2, 4), "length": (3, 6), "width": (8, 24), "detectors": (1, 2)},
    threads=(1,),
    seconds=0.0,
    least_rounds=1,
    product=64,
)
AXES = {
    "batch": "windows in a batch",
    "length": "steps of a window",
    "width": "width of the layers",
    "detectors": "detectors, forecast jointly",
}
MOST_ROUNDS = 40


# --- networks -------------------------------------------------------------------------------------


class OfNeuralforecast(nn.Module):
    """One of its models: ``[B, S, C]`` to ``[B, H, 1]``, the first channel its target."""

    def __init__(self, name: str, size: Size, **sizes: Any) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = getattr(importlib.import_module("neuralforecast.models"), name)
        others = [str(channel) for channel in range(1, size.channels)]
        self.model = model(h=HORIZONS, input_size=size.length, hist_exog_list=others, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        windows = {"insample_y": x[:, :, :1], "hist_exog": x[:, :, 1:]}
        forecast: Tensor = self.model({**windows, "futr_exog": None, "stat_exog": None})
        return forecast


def their_lstm(size: Size) -> nn.Module:
    sizes = {"encoder_n_layers": size.layers, "encoder_hidden_size": size.hidden}
    return OfNeuralforecast("LSTM", size, **sizes, encoder_dropout=0.3)


def their_xlstm(size: Size) -> nn.Module:
    sizes = {"encoder_n_blocks": size.blocks, "encoder_hidden_size": size.width}
    return OfNeuralforecast("xLSTM", size, **sizes, encoder_dropout=0.1)


def mlstm_only(size: Size) -> nn.Module:
    return make_xlstm(replace(size, slstm_at=()), "fused")


NETWORKS: dict[str, Callable[[Size], nn.Module]] = {
    VANILLA: partial(make_xlstm, backend="vanilla"),
    FUSED: partial(make_xlstm, backend="fused"),
    LSTM: make_lstm,
    THEIR_LSTM: their_lstm,
    THEIR_XLSTM: their_xlstm,
    MLSTM_ONLY: mlstm_only,
}


def compared() -> tuple[str, ...]:
    """Ours, and theirs where it is installed."""
    return OURS + (THEIRS if find_spec("neuralforecast") else ())


def batch_for(name: str, size: Size) -> tuple[Tensor, Tensor]:
    """Theirs forecasts one channel."""
    x, y = make_batch(size)
    return x, y[:, :, 0, :1] if name in {THEIR_LSTM, THEIR_XLSTM} else y


# --- measuring ------------------------------------------------------------------------------------


def medians(
    names: Sequence[str], size: Size, work: str, plan: Plan, seconds: float
) -> dict[str, float]:
    """Seconds of a step of each network; they take steps in turn."""
    steps = {name: WORK[work](NETWORKS[name](size), *batch_for(name, size)) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in names}

    def take_steps() -> float:
        begun = time.perf_counter()
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            taken[name].append(time.perf_counter() - started)
        return time.perf_counter() - begun

    take_steps()  # compiles and allocates
    a_round = take_steps()
    rounds = min(max(int(seconds / a_round), plan.least_rounds), MOST_ROUNDS)
    for times in taken.values():
        times.clear()
    for _ in range(rounds):
        take_steps()
    return {name: median(times) for name, times in taken.items()}


def multiply_adds_per_second(size: int) -> float:
    """The most that a product of two square matrices reached on the threads torch now has."""
    a, c = torch.randn(size, size), torch.empty(size, size)
    taken = []
    for _ in range(12):
        started = time.perf_counter()
        torch.mm(a, a, out=c)
        taken.append(time.perf_counter() - started)
    return size**3 / min(taken)


def floor_seconds(name: str, size: Size, work: str, peak: float) -> float:
    """What the products of a step take at this peak; NaN of theirs."""
    if name in {THEIR_LSTM, THEIR_XLSTM}:
        return math.nan
    if name == MLSTM_ONLY:
        size = replace(size, slstm_at=())
    return multiply_adds.step(size, "lstm" if name == LSTM else "xlstm", work) / peak


def measure_steps(plan: Plan, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each kind of work, number of threads and network."""
    for threads in plan.threads:
        torch.set_num_threads(threads)
        peak = multiply_adds_per_second(plan.product)
        for work in WORK:
            for name, seconds in medians(names, plan.base, work, plan, plan.seconds).items():
                floor = floor_seconds(name, plan.base, work, peak)
                about = {"work": work, "threads": threads, "network": name, "peak": peak}
                yield {**about, "seconds": seconds, "floor": floor}


def measure_growth(plan: Plan) -> Iterator[dict[str, Any]]:
    """A row for each axis, value on it and network: training on one thread."""
    torch.set_num_threads(1)
    peak = multiply_adds_per_second(plan.product)
    for axis, values in plan.growth.items():
        for value in values:
            changed: dict[str, Any] = {axis: value}
            if axis == "width":
                changed["hidden"] = value
            size = replace(plan.base, **changed)
            found = medians(OURS, size, "training", plan, plan.seconds / 3)
            floors = {name: floor_seconds(name, size, "training", peak) for name in OURS}
            for name, seconds in found.items():
                about = {"axis": axis, "value": value, "network": name}
                yield {**about, "seconds": seconds, "floor": floors[name]}


def memory_of(name: str, size: Size) -> dict[str, float]:
    """Weights, bytes of a training step as a report has them, and the most this process held."""
    torch.set_num_threads(1)
    NETWORKS[name](size)  # imports what it needs
    libraries = _memory("VmRSS")
    network, batch = NETWORKS[name](size), batch_for(name, size)
    step = WORK["training"](network, *batch)
    for _ in range(5):
        step()
    peak = _memory("VmHWM")
    return {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "step_bytes": training_step_bytes(network, *batch),  # type: ignore[arg-type]  # theirs too
        "peak_bytes": peak,
        "libraries_bytes": libraries,
    }


def _memory(of: str) -> float:
    """Bytes of this process; NaN where the system is not Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [1024.0 * int(line.split()[1]) for line in lines if line.startswith(of)]
    return found[0] if found else math.nan


IN_A_PROCESS = """
import json, sys
from tests.benchmarks import performance
print(json.dumps(performance.memory_of(sys.argv[1], performance.FULL.base)))
"""


def measure_memory(plan: Plan, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each network; but for a quick run each has a process of its own."""
    for name in names:
        if plan is FULL:
            command = [sys.executable, "-c", IN_A_PROCESS, name]
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(printed.splitlines()[-1])
        else:
            found = memory_of(name, plan.base)
        yield {"network": name, **found}


# --- what is shown --------------------------------------------------------------------------------


def machine(steps: pd.DataFrame, plan: Plan) -> str:
    """Cores, vectors and what a large product reaches."""
    peaks = steps.groupby("threads")["peak"].first() / 1e9
    reached = listed([f"{peaks[n]:.0f} on {plural(n, 'thread')}" for n in plan.threads])
    packages = [
        f"{name} {version(name)}"
        for name in ("torch", "xlstm", "neuralforecast")
        if find_spec(name)
    ]
    return (
        f"{plural(os.cpu_count() or 1, 'core')} with {torch.backends.cpu.get_cpu_capability()}; "
        f"{listed(packages)}. A product of two matrices of {plan.product:,} rows and columns "
        f"reaches, in billions of multiply-adds a second, {reached}."
    )


def table_of_steps(steps: pd.DataFrame) -> str:
    """Milliseconds and ratios, of one kind of work."""
    head = ["threads", "network", "ms", "`xlstm` ÷ it", "it ÷ LSTM", "floor, ms", "it ÷ floor"]
    rows = []
    for threads, group in steps.groupby("threads"):
        of = group.set_index("network")
        for name, row in of.iterrows():
            seconds, floor = row["seconds"], row["floor"]
            numbers = [1e3 * seconds, of["seconds"][VANILLA] / seconds]
            numbers += [seconds / of["seconds"][LSTM], 1e3 * floor, seconds / floor]
            rows.append([str(threads), str(name), *(number(value) for value in numbers)])
    return table(head, rows, text_columns=2)


def table_of_memory(memory: pd.DataFrame) -> str:
    head = ["network", "weights", "training step, MB", "peak of its process, MB", "libraries, MB"]
    rows = [
        [row["network"], f"{row['weights']:,}"]
        + [f"{row[name] / MB:,.0f}" for name in ("step_bytes", "peak_bytes", "libraries_bytes")]
        for row in memory.to_dict("records")
    ]
    return table(head, rows)


def table_of_growth(growth: pd.DataFrame) -> str:
    """How many times as long the largest value takes as the smallest, and what fused saves."""
    head = ["from", "to", *(f"{name}, times" for name in OURS), "`xlstm` ÷ fused at each"]
    rows = []
    for axis, group in growth.groupby("axis", sort=False):
        of = group.pivot_table(index="value", columns="network", values="seconds")
        times = of.iloc[-1] / of.iloc[0]
        ratios = " / ".join(number(ratio) for ratio in of[VANILLA] / of[FUSED])
        ends = [f"{axis} {of.index[0]}", f"{of.index[-1]}"]
        rows.append([*ends, *(number(times[name]) for name in OURS), ratios])
    return table(head, rows, text_columns=2)


LOOKS: dict[str, dict[str, Any]] = {
    LSTM: plot_style.line_style("lstm"),
    VANILLA: plot_style.line_style(
        "xlstm", label="xLSTM, xlstm package", linestyle="--", markerfacecolor="white"
    ),
    FUSED: plot_style.line_style("xlstm", label=FUSED),
}


def draw(growth: pd.DataFrame, path: Path) -> None:
    """A training step by batch, length, width and number of detectors, on logarithmic scales."""
    figure, axes = plot_style.panels(
        "How does the time of a training step grow?",
        "Base sizes but for the one below its panel, one thread, medians. Where the width changes, "
        "both networks have the same. Dotted: the products alone, of the LSTM and of the xLSTM.",
        (2, 2),
        2.7,
        sharey=True,
    )
    flat = [ax for row in axes for ax in row]
    for ax, (axis, group) in zip(flat, growth.groupby("axis", sort=False), strict=True):
        for name, look in LOOKS.items():
            of = group[group["network"] == name]
            ax.plot(of["value"], 1e3 * of["seconds"], **look)
            if name != VANILLA:
                floor = {"color": look["color"], "linestyle": ":", "linewidth": 1.3}
                ax.plot(of["value"], 1e3 * of["floor"], **floor)
        values = sorted(group["value"].unique())
        ax.set(xscale="log", yscale="log", xlabel=AXES[str(axis)])
        ax.xaxis.set_major_locator(FixedLocator(values))
        ax.xaxis.set_major_formatter(FixedFormatter([str(value) for value in values]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
    for row in axes:
        row[0].set_ylabel("ms")
    handles, _ = flat[0].get_legend_handles_labels()
    plot_style.legend_below(figure, handles)
    figure.savefig(path, dpi=150)


def report(plan: Plan, plot: Path) -> Iterator[str]:
    """Draws the plot and yields the text around it, part by part."""
    names = compared()
    if names == OURS:
        yield "neuralforecast is not installed and left out"
    steps = pd.DataFrame(measure_steps(plan, names))
    yield machine(steps, plan)
    for work, of_work in steps.groupby("work", sort=False):
        yield f"{work}:\n\n{table_of_steps(of_work)}"
    # Kernels are compiled by now, which takes memory too.
    yield table_of_memory(pd.DataFrame(measure_memory(plan, names)))
    growth = pd.DataFrame(measure_growth(plan))
    draw(growth, plot)
    yield table_of_growth(growth)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plot", type=Path)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, a step each")
    given = parser.parse_args(arguments)
    for part in report(QUICK if given.quick else FULL, given.plot):
        sys.stdout.write(f"{part}\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
