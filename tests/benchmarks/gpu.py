"""Whether a GPU trains what a CPU does, and how fast: in under five minutes.

::

    python -m tests.benchmarks.gpu > gpu.md       # on a machine with a GPU
    python -m tests.benchmarks.gpu --device cpu   # the same, small, to try the script itself

It ends with an error if validation losses on GPU and CPU are more than a per cent apart, the same
seed gives other weights, or recorded steps, or those of many models at once, are others than steps
one by one. Then it prints tables as Markdown. On a CPU, where nothing can be recorded, a graph is
the function itself.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from tests import PROJECT
from tests.make.arrays import make_clean
from tests.make.projects import SMALL, copy_of_the_project, kedro
from tests.make.recorded import recorded_steps
from tests.make.trainings import MAPE_MIN_TRUTH, train_lstm, train_xlstm
from tests.make.windows import make_independent_windows, make_joint_windows
from vd_forecasting.artefacts import Experiment, WindowSet
from vd_forecasting.artefacts.windows import JOINT
from vd_forecasting.models.checkpoint import build_forecaster
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel
from vd_forecasting.pipelines.training.loop import (
    Learner,
    ValidatedLearner,
    stepper,
    take_step,
)
from vd_forecasting.pipelines.training.together import Group
from vd_forecasting.pipelines.training.train import describe_network
from vd_forecasting.vocabulary import EXPERIMENTS

Model = LSTMModel | XLSTMModel
TRAINING = Training(
    seeds=(42,),
    epochs=2,
    batch_size=32,
    learning_rate=0.0003,
    weight_decay=0.01,
    gradient_clip=1.0,
    decay_epochs=20,
    decay_steps=1,
    patience=5,
)
VANILLA = {"slstm_backend": "vanilla", "mlstm_backend": "vanilla"}
BASE: dict[str, Model] = {
    "lstm": LSTMModel(hidden_size=256, num_layers=3, dropout=0.3),
    "xlstm": XLSTMModel(
        embedding_dim=128,
        num_blocks=6,
        slstm_at=(1, 3),
        slstm_backend="fused",
        mlstm_backend="fused",
        dropout=0.1,
        context_length=256,
    ),
}
SMALLER: dict[str, dict[str, Any]] = {
    "lstm": {"hidden_size": 16, "num_layers": 2},
    "xlstm": {"embedding_dim": 16, "num_blocks": 2, "slstm_at": (1,)},
}
TRAIN = {"lstm": train_lstm, "xlstm": train_xlstm}
WITHIN = 0.01
SAME = 1e-4
"""How far apart, of the largest, weights may be after the same few steps: AdamW makes of gradients
that round otherwise steps that differ more. One step moves a weight about ten times as far."""
STEPS, ROUNDS = 20, 5
MANY = 64
BATCH_OF_MANY = {"lstm": 32, "xlstm": 16}


def models(device: str) -> dict[str, Model]:
    """Base sizes; on a CPU small ones."""
    if device != "cpu":
        return BASE
    return {name: model.model_copy(update=SMALLER[name]) for name, model in BASE.items()}


def windows_of(steps: int) -> WindowSet:
    """So many steps of nine detectors, forecast jointly."""
    return make_joint_windows(
        make_clean(steps, vds=9), num_vds=9, sequence_length=20, prediction_length=12
    )


def windows_of_each(count: int) -> WindowSet:
    """2,000 steps of so many detectors, each with a model of its own."""
    clean = make_clean(2000, vds=count)
    return make_independent_windows(clean, num_vds=count, sequence_length=20, prediction_length=12)


def recording(device: str) -> AbstractContextManager[Any]:
    """Within it, steps are recorded on any device."""
    return recorded_steps() if device == "cpu" else nullcontext()


def make_learner(
    model: Model, windows: WindowSet, device: str, batch: int, of: str = JOINT
) -> ValidatedLearner:
    name = "lstm" if isinstance(model, LSTMModel) else "xlstm"
    training = TRAINING.model_copy(update={"batch_size": batch})
    compute = Compute(threads=None, accelerator=device)
    experiment = Experiment(windows, name, model, training, compute, MAPE_MIN_TRUTH)
    torch.manual_seed(0)
    forecaster = build_forecaster(describe_network(experiment)).to(device)
    return ValidatedLearner(forecaster, experiment, windows.models[of], seed=0)


def one_by_one(learner: Learner) -> Callable[[Tensor], None]:
    """What takes steps that are not recorded."""
    return lambda rows: take_step(learner, *learner.train.at(rows), learner.steps)


# --- what must hold -------------------------------------------------------------------------------


def check_parity(device: str) -> Iterator[str]:
    """A short training without dropout on both, and one with it twice."""
    windows = windows_of(1500 if device == "cpu" else 4000)
    for name, model in models(device).items():
        still = model.model_copy(update={"dropout": 0.0})
        losses, weights = list[float](), []
        for place, context in (("cpu", nullcontext()), (device, recording(device))):
            compute = Compute(threads=None, accelerator=place)
            with context:
                _, _, _, history = TRAIN[name](windows, still, TRAINING, MAPE_MIN_TRUTH, compute)
            losses.append(history["42"]["joint"]["epochs"][-1]["val"]["loss"])
        one, other = losses
        if not abs(one - other) <= WITHIN * one:
            raise SystemExit(f"{name}: validation loss {other:.6g} on {device}, {one:.6g} on cpu")
        yield f"{name}: validation loss {other:.5g}, on the CPU {one:.5g}"
        for _ in range(2):
            compute = Compute(threads=None, accelerator=device)
            with recording(device):
                best, *_ = TRAIN[name](windows, model, TRAINING, MAPE_MIN_TRUTH, compute)
            weights.append(best["weights"]["joint"])
        if different := [n for n in weights[0] if not torch.equal(weights[0][n], weights[1][n])]:
            raise SystemExit(f"{name}: the same seed gives another {different[0]} on {device}")
        yield f"{name}: the same seed twice gives the same weights, bit for bit"


def check_recorded(device: str) -> Iterator[str]:
    """A few steps without dropout, recorded and one by one, the last of them of fewer windows."""
    windows = windows_of(1500)
    for name, model in models(device).items():
        learners = []
        for is_recorded in (True, False):
            with recording(device):
                still = model.model_copy(update={"dropout": 0.0})
                learner = make_learner(still, windows, device, batch=32)
                step = stepper(learner) if is_recorded else one_by_one(learner)
            for rows in torch.arange(7 * 32 + 5, device=device).split(32):
                step(rows)
                learner.steps += 1
            learners.append(learner)
        yield same_weights(f"{name}: recorded", *learners)


def check_many(device: str) -> Iterator[str]:
    """A few steps of several models without dropout, at once and each one by one."""
    windows = windows_of_each(count=3)
    for name, model in models(device).items():
        still = model.model_copy(update={"dropout": 0.0})
        with recording(device):
            alone, together = (
                [make_learner(still, windows, device, batch=32, of=of) for of in windows.models]
                for _ in range(2)
            )
            group = Group(together)
            group.rates.fill_(TRAINING.learning_rate)
            for rows in torch.arange(7 * 32, device=device).split(32):
                for learner in alone:
                    one_by_one(learner)(rows)
                    learner.steps += 1
                group.rows.copy_(rows.expand(len(together), -1))
                group.learn()
        for number, learners in enumerate(zip(alone, together, strict=True), start=1):
            yield same_weights(f"{name}: several at once, model {number},", *learners)


def same_weights(what: str, one: Learner, other: Learner) -> str:
    """How far apart the weights of two learners are, which must be little."""
    far = max(
        float((a - b).abs().max() / a.abs().max())
        for a, b in zip(one.averages, other.averages, strict=True)
        if a.any()
    )
    if not far <= SAME:
        raise SystemExit(f"{what} steps are others than one by one: {far:.1e}")
    return f"{what} steps and steps one by one leave weights that differ by {far:.1e}"


# --- what it takes --------------------------------------------------------------------------------


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def step_seconds(step: Callable[[], None], device: str, steps: int) -> float:
    """Median over rounds of so many steps."""
    taken = []
    for _ in range(ROUNDS + 1):  # the first warms up
        wait(device)
        started = time.perf_counter()
        for _step in range(steps):
            step()
        wait(device)
        taken.append((time.perf_counter() - started) / steps)
    return median(taken[1:])


def step_table(device: str) -> Iterator[dict[str, Any]]:
    """Milliseconds of a training step."""
    windows, steps = windows_of(3000), 2 if device == "cpu" else STEPS
    for name, model in models(device).items():
        for batch in (32, 256):
            rows = torch.arange(batch, device=device)
            with recording(device):
                learner = make_learner(model, windows, device, batch)
                ways = {"recorded": stepper(learner), "one by one": one_by_one(learner)}
            row = {
                way: step_seconds(partial(step, rows), device, steps) for way, step in ways.items()
            }
            if isinstance(model, XLSTMModel):
                vanilla = make_learner(model.model_copy(update=VANILLA), windows, device, batch)
                row["vanilla"] = step_seconds(
                    partial(one_by_one(vanilla), rows), device, min(steps, 5)
                )
            yield {"model": name, "batch": batch, **{way: 1e3 * of for way, of in row.items()}}


def many_table(device: str) -> Iterator[dict[str, Any]]:
    """Milliseconds of a step of many models, of a detector each, at once and one by one."""
    count, steps = (3, 2) if device == "cpu" else (MANY, STEPS)
    windows = windows_of_each(count)
    for name, model in models(device).items():
        batch = BATCH_OF_MANY[name]
        with recording(device):
            learners = [make_learner(model, windows, device, batch, of) for of in windows.models]
            [alone, *_] = learners
            recorded, eager = stepper(alone), one_by_one(alone)
            rows = torch.arange(batch, device=device)
            row = {
                "one by one": count * step_seconds(partial(eager, rows), device, steps),
                "recorded": count * step_seconds(partial(recorded, rows), device, steps),
            }
            group = Group(learners)
            group.rows.copy_(rows.expand(count, -1))
            row["at once"] = step_seconds(group.learn, device, steps)
        yield {"model": name, "models": count, **{way: 1e3 * of for way, of in row.items()}}


def compare_all_seconds(device: str) -> tuple[float, float]:
    """Seconds of the trainings of ``compare_all`` on the sample, and of the run up to their end."""
    nodes = ",".join(f"{experiment}.train" for experiment in EXPERIMENTS)
    with tempfile.TemporaryDirectory() as name:
        folder = copy_of_the_project(Path(name, "project"))
        options = ["--pipeline", "compare_all", "--to-nodes", nodes]
        if device == "cpu":
            options += ["--env", "quick", "--params", SMALL]
        else:
            sample = PROJECT / "data" / "01_raw" / "vd_sample.h5"
            (folder / "data" / "01_raw").mkdir(parents=True)
            (folder / "data" / "01_raw" / sample.name).symlink_to(sample)
            options += ["--params", f"compute.accelerator={device}"]
        started = time.perf_counter()
        result = kedro(folder, "run", *options)
        whole = time.perf_counter() - started
        if result.returncode:
            raise SystemExit(result.stderr[-3000:])
        histories = [
            json.loads(
                (folder / "data/06_models" / experiment / "training_history.json").read_text()
            )
            for experiment in EXPERIMENTS
        ]
    fits = [
        fit for history in histories for of_seed in history.values() for fit in of_seed.values()
    ]
    # One that was taken over from another experiment has its time.
    return sum({fit["seconds"] for fit in fits}), whole


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    for line in report(parser.parse_args().device):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def report(device: str) -> Iterator[str]:
    """Its lines, as they are found."""
    name = "CPU, small sizes" if device == "cpu" else torch.cuda.get_device_name()
    yield f"{name}, torch {torch.__version__}\n"
    for check in (check_recorded, check_many, check_parity):
        yield from (f"- {line}" for line in check(device))
    ways = ("one by one", "recorded", "vanilla")
    yield f"\n| step, ms | batch | {' | '.join(ways)} |\n|---|---|{'---|' * len(ways)}"
    for row in step_table(device):
        cells = [f"{row[way]:.2f}" if way in row else "–" for way in ways]
        yield f"| {row['model']} | {row['batch']} | {' | '.join(cells)} |"
    ways = ("one by one", "recorded", "at once")
    yield f"\n| step of all, ms | models | {' | '.join(ways)} | ratio |\n|---|---|{'---|' * 4}"
    for row in many_table(device):
        cells = [f"{row[way]:.1f}" for way in ways]
        ratios = " / ".join(f"{row[way] / row['at once']:.1f}" for way in ways[:2])
        yield f"| {row['model']} | {row['models']} | {' | '.join(cells)} | {ratios} |"
    training, whole = compare_all_seconds(device)
    yield f"\ncompare_all: {training:.0f} s of training, {whole:.0f} s up to their end"


if __name__ == "__main__":
    main()
