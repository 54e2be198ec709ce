"""What a detector costs: processor time, memory and disk of every step, for each mode.

::

    python -m tests.benchmarks.scale measure scale.csv --detectors 60 150
    python -m tests.benchmarks.scale plan scale.csv docs/scale.png

``measure`` makes files of four weeks with so many detectors, runs every step of the product on them
in a process of its own, with the sizes of ``--env quick`` and one epoch, and writes a row for each.
Above 40 detectors pages show their distribution, so take more. It also trains one epoch of base
sizes. ``plan`` fits a line over the numbers of detectors to each
and prints, as Markdown, what a detector costs and what a year of many takes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

from tests.benchmarks import recipes
from tests.make.arrays import make_clean
from tests.make.projects import copy_of_the_project, save
from vd_forecasting.wording import duration

STEPS = 28 * 24 * 12
YEAR = 365 / 28
"""Years are so many times as long as what is measured."""
BASE_DETECTORS = (2, 4)
MODE = "independent_multi_vd"
REPORT = ("measure_cost", "gather_outcome", "score_experiment", "write_training_report")
BASELINES = ("make_windows", "begin_baselines", "forecast_baselines")
LAYERS = ("03_primary", "05_model_input", "06_models", "07_model_output", "08_reporting")
PER_STEP = ("03_primary", "05_model_input", "07_model_output")
"""Layers that grow with the time span."""
PLAN = (1_000, 10_000, 100_000)
GB = 1e9


def stages() -> Iterator[tuple[str, str, list[str]]]:
    """Mode, step and options of ``kedro run``, in an order in which each finds what it reads."""

    def nodes(namespace: str, *names: str) -> list[str]:
        return ["--nodes", ",".join(f"{namespace}.{name}" for name in names)]

    yield "all", "clean", nodes("data_engineering", "clean")
    yield "all", "quality page", nodes("data_engineering", "report_quality")
    for mode, model in ((MODE, "lstm"), (MODE, "xlstm"), ("global_vd", "lstm")):
        space, of_mode = f"{mode}_{model}", ["--pipeline", f"compare_{mode}"]
        yield space, "windows", [*of_mode, *nodes(space, "make_windows")]
        yield space, "train", [*of_mode, *nodes(space, "begin_training", "train")]
        yield space, "evaluate", [*of_mode, *nodes(space, "evaluate")]
        yield space, "report", [*of_mode, *nodes(space, *REPORT)]
    yield f"compare_{MODE}", "baselines", nodes(f"compare_{MODE}", *BASELINES)
    comparison = ["--pipeline", f"compare_{MODE}", "--only-stale-outputs"]
    yield f"compare_{MODE}", "comparison", comparison


def many_detectors(number: int) -> xr.DataArray:
    """Four weeks of so many, some of which are alike."""
    few = make_clean(STEPS, vds=8)
    many = few.isel(vd=np.arange(number) % few.sizes["vd"])
    return many.assign_coords(vd=[f"VD-{n}" for n in range(number)])


def parameters(detectors: int) -> str:
    settings = [f"vd_file=many.h5,num_vds={detectors},compute.threads=1"]
    for model in ("lstm", "xlstm"):
        settings.append(f"{MODE}_{model}.windows.target_vd_index=all")
        settings += [f"{mode}_{model}.training.epochs=1" for mode in (MODE, "global_vd")]
    return ",".join(settings)


def run(folder: Path, options: Sequence[str], detectors: int, *env: str) -> dict[str, float]:
    """Processor time, wall time and highest memory of a ``kedro run``."""
    command = [sys.executable, "-m", "kedro", "run", *env, *options]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [*command, "--params", parameters(detectors)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
            stdout=printed,
            stderr=printed,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{' '.join(command)}:\n{printed.read().decode()[-3000:]}")
    return {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "seconds": time.perf_counter() - started,
        "memory": used.ru_maxrss * 1024,
    }


def measure(detectors: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each step and layer."""
    for number in (*detectors, *BASE_DETECTORS):
        with tempfile.TemporaryDirectory() as name:
            folder = copy_of_the_project(Path(name, "project"))
            save(many_detectors(number), folder / "many.h5")
            about = {"detectors": number}
            if number in BASE_DETECTORS:
                run(folder, ["--pipeline", "data_engineering"], number)
                for model in ("lstm", "xlstm"):
                    space = f"{MODE}_{model}"
                    to = ["--namespace", space, "--to-nodes", f"{space}.train"]
                    yield {**about, "of": space, "step": "base epoch", **run(folder, to, number)}
                continue
            for of, step, options in stages():
                found = run(folder, options, number, "--env", "quick")
                yield {**about, "of": of, "step": step, **found}
            for layer in LAYERS:
                files = [path for path in (folder / "data" / layer).rglob("*") if path.is_file()]
                size = sum(path.stat().st_size for path in files)
                yield {**about, "of": "disk", "step": layer, "bytes": size}


def lines(rows: pd.DataFrame) -> pd.DataFrame:
    """What is fixed and what a detector adds, of each quantity, by ``of`` and ``step``.

    The two largest numbers of detectors count.
    """

    def fit(group: pd.DataFrame) -> pd.Series:
        group = group.nlargest(2, "detectors")
        found: dict[str, float] = {}
        for name in ("cpu_seconds", "memory", "bytes"):
            if group[name].notna().all():
                slope, fixed = np.polyfit(group["detectors"], group[name], 1)
                found |= {name: max(slope, 0.0), f"{name}_fixed": fixed}
        return pd.Series(found)

    grouped = rows.groupby(["of", "step"], sort=False)
    return pd.DataFrame({key: fit(group) for key, group in grouped}).T


def slopes(fitted: pd.DataFrame) -> str:
    """What a detector of four weeks costs, as Markdown."""
    steps = fitted.drop(index="disk", level=0).astype(float)
    text = ["| of | step | CPU s | memory MB | fixed MB |", "|---|---|---|---|---|"]
    for of, step in steps.index:
        cpu = steps["cpu_seconds"][of, step]
        grows, fixed = (steps[name][of, step] / 1e6 for name in ("memory", "memory_fixed"))
        text.append(f"| {of} | {step} | {cpu:.2f} | {grows:.2f} | {fixed:.0f} |")
    text += ["", "| layer | kB |", "|---|---|"]
    disk = fitted.xs("disk")["bytes"].astype(float)
    text += [f"| {layer} | {size / 1e3:.0f} |" for layer, size in disk.items()]
    return "\n".join(text)


def plan(fitted: pd.DataFrame) -> pd.DataFrame:
    """What a year of many detectors takes, with base sizes: a row for each number of detectors.

    A training is taken to stop no earlier than it must, and an evaluation to grow with the size of
    the network as an epoch does.
    """
    cpu, disk = (fitted[name].astype(float) for name in ("cpu_seconds", "bytes"))
    epochs, evaluations = {}, {}
    for model in ("lstm", "xlstm"):
        of = f"{MODE}_{model}"
        epochs[model] = cpu[of, "base epoch"]
        evaluations[model] = cpu[of, "evaluate"] * epochs[model] / cpu[of, "train"]
    others = [(of, step) for of, step in cpu.index if step in ("train", "evaluate", "base epoch")]
    rest = cpu.drop(others).sum() + sum(evaluations.values())
    trainings = {
        model: seconds
        * recipes.parameters(f"base/parameters_{model}.yml")["_training"]["decay_epochs"]
        for model, seconds in epochs.items()
    }
    rows = {}
    for number in PLAN:
        many = number * YEAR
        rows[number] = {
            "LSTM": trainings["lstm"] * many,
            "xLSTM": trainings["xlstm"] * many,
            "all else": rest * many,
            "evaluate, one process": max(evaluations.values()) * many,
            "comparison, one process": cpu.xs("comparison", level=1).max() * many,
            "disk": sum(disk["disk", x] * number * (YEAR if x in PER_STEP else 1) for x in LAYERS),
        }
    return pd.DataFrame(rows).T


def as_markdown(planned: pd.DataFrame) -> str:
    """The same for people."""
    times = [name for name in planned.columns if name != "disk"]
    head = ["detectors", *times, "cores for a day", "disk"]
    text = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for number, row in planned.iterrows():
        cores = (row["LSTM"] + row["xLSTM"] + row["all else"]) / 86_400
        cells = [f"{number:,}", *(duration(row[name]) for name in times), f"{max(cores, 1):,.0f}"]
        cells.append(f"{row['disk'] / GB:,.0f} GB")
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def draw(planned: pd.DataFrame, path: Path) -> None:
    """Processor time by number of detectors, on two logarithmic scales."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name in ("xLSTM", "LSTM", "all else", "evaluate, one process", "comparison, one process"):
        days = planned[name].astype(float) / 86_400
        axes.plot(
            planned.index, days, marker="o", linestyle="--" if "one" in name else "-", label=name
        )
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.text(PLAN[-1], 1.15, "a day", color="0.4", ha="right")
    axes.set(xscale="log", yscale="log", xlabel="detectors, a year of each")
    axes.set_ylabel("days of one core")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("csv", type=Path)
    measuring.add_argument("--detectors", type=int, nargs="+", default=[60, 150])
    planning = commands.add_parser("plan")
    planning.add_argument("csv", type=Path)
    planning.add_argument("plot", type=Path)
    given = parser.parse_args()
    if given.command == "measure":
        rows = []
        for row in measure(given.detectors):
            rows.append(row)
            print(row, flush=True)  # noqa: T201
            pd.DataFrame(rows).to_csv(given.csv, index=False)
        return
    fitted = lines(pd.read_csv(given.csv))
    planned = plan(fitted)
    draw(planned, given.plot)
    print(f"{slopes(fitted)}\n\n{as_markdown(planned)}")  # noqa: T201


if __name__ == "__main__":
    main()
