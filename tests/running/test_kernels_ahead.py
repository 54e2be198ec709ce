"""The process that compiles kernels while a run does something else."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from tests import PROJECT
from tests.make.trainings import LSTM, XLSTM
from vd_forecasting.datasets.atomic import has_ended
from vd_forecasting.models.fused_xlstm import choice
from vd_forecasting.pipelines.training.train import torch_threads
from vd_forecasting.running import kernels_ahead
from vd_forecasting.running.hooks import KernelsAhead

FAST = """
import sys, time
from pathlib import Path
time.sleep(0.3)
for width, done, content in zip(*[iter(sys.argv[1:])] * 3):
    Path(done).write_text(content, "utf-8")
"""
FAILING = "raise SystemExit(1)"
ENDLESS = "import sys; sys.stdin.read()"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernels_ahead, "_waited_for", set())
    yield tmp_path
    kernels_ahead.end()


def files(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_a_training_waits_until_its_kernels_are_compiled(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels_ahead, "PROGRAM", FAST)
    kernels_ahead.begin([16, 8, 8])
    assert files(cache) == {".process"}
    kernels_ahead.wait(16)
    assert (cache / f"kernels-8-{platform.node()}.done").exists()
    kernels_ahead.end()
    assert files(cache) == {".done"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the scheduler of Linux")
def test_it_makes_way_for_a_training_in_several_threads(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels_ahead, "PROGRAM", ENDLESS)
    kernels_ahead.begin([8])
    [path] = cache.iterdir()
    process = int(path.read_text())
    with torch_threads(1):
        assert os.sched_getscheduler(process) == os.SCHED_OTHER
    with torch_threads(2):
        assert os.sched_getscheduler(process) == os.SCHED_IDLE
    kernels_ahead.end()
    with torch_threads(2):  # nothing there
        pass


def test_what_is_compiled_is_not_compiled_again_until_its_sources_change(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels_ahead, "PROGRAM", FAST)
    kernels_ahead.begin([8])
    kernels_ahead.wait(8)
    kernels_ahead.end()
    monkeypatch.setattr(kernels_ahead, "PROGRAM", ENDLESS)
    kernels_ahead.begin([8])
    assert files(cache) == {".done"}
    monkeypatch.setattr(kernels_ahead, "_kernels", lambda: "others")
    kernels_ahead.begin([8])
    assert files(cache) == {".done", ".process"}


def test_a_second_run_waits_for_the_process_of_the_first(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels_ahead, "PROGRAM", ENDLESS)
    kernels_ahead.begin([8])
    [path] = cache.iterdir()
    process = path.read_text()
    kernels_ahead.begin([8])
    assert path.read_text() == process
    monkeypatch.setattr(kernels_ahead, "LONGEST_SECONDS", 0.2)
    started = time.monotonic()
    kernels_ahead.wait(8)
    kernels_ahead.wait(8)  # once is enough
    assert 0.2 <= time.monotonic() - started < 0.4
    kernels_ahead.wait(16)  # nobody compiles for that


def test_nobody_waits_for_a_process_that_failed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels_ahead, "PROGRAM", FAILING)
    kernels_ahead.begin([8])
    kernels_ahead.wait(8)
    deadline = time.monotonic() + 5
    while files(cache) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert files(cache) == set()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (cache / f"kernels-8-{platform.node()}.process").write_text(str(gone.pid))
    kernels_ahead.wait(8)  # that of a run which was killed


@pytest.mark.parametrize("is_file", [True, False])
def test_where_nothing_can_be_written_nothing_begins(
    cache: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    folder = cache / "folder"
    if is_file:
        folder.touch()
    else:
        folder.symlink_to("/proc/self")  # where not even root can write
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    monkeypatch.setattr(kernels_ahead, "PROGRAM", ENDLESS)
    kernels_ahead.begin([8])
    kernels_ahead.wait(8)
    for process, thread in kernels_ahead._of_run:
        thread.join(5)
        assert process.poll() is not None


@pytest.mark.integration
def test_the_process_ends_with_the_run_however_that_ends(cache: Path) -> None:
    program = """
import os
from vd_forecasting.running import kernels_ahead
kernels_ahead.PROGRAM = (
    "from vd_forecasting.models.fused_xlstm import ahead; import time; "
    "ahead.compile_kernels = lambda width: time.sleep(60); ahead.main(['8', '', ''])"
)
kernels_ahead.begin([8])
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False)
    process = int(next(cache.iterdir()).read_text())
    deadline = time.monotonic() + 30
    while not has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert has_ended(process)


def model(params: Any, training_state: Any) -> int:
    return 1


def test_only_a_run_that_trains_a_fused_xlstm_has_its_kernels_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[list[int]] = []
    monkeypatch.setattr(kernels_ahead, "begin", begun.append)
    vanilla = {"slstm_backend": "vanilla", "mlstm_backend": "vanilla"}
    models = {
        "single_vd_lstm": LSTM,
        "single_vd_xlstm": XLSTM,
        "multi_vd_xlstm": XLSTM.model_copy(update=vanilla),
    }
    catalog = DataCatalog(
        {f"params:{name}.model": MemoryDataset(of) for name, of in models.items()}
    )
    for name in models:
        inputs = [f"params:{name}.model", f"{name}.training_state"]
        node = Node(model, inputs, f"{name}.best_model", name="train", namespace=name)
        KernelsAhead().before_pipeline_run(Pipeline([node]), catalog)
    idle = Node(model, ["params:single_vd_xlstm.model", "x"], "y", name="report")
    KernelsAhead().before_pipeline_run(Pipeline([idle]), catalog)
    assert begun == [[], [XLSTM.embedding_dim], [], []]


COMPILE = """
from vd_forecasting.models.fused_xlstm.ahead import compile_kernels
compile_kernels(64)
"""
TRAIN = """
import torch
from vd_forecasting.models.xlstm import XLSTMConfig, XLSTMCore
for threads in (1, 2):
    torch.set_num_threads(threads)
    for places in ([0], [1], [0, 2], []):
        for batch in (1, 5):
            core = XLSTMCore(XLSTMConfig(64, 3, places, "fused", "fused", 0.1, 32))
            core(torch.randn(batch, 20, 64, requires_grad=True)).square().sum().backward()
            with torch.inference_mode():
                core.eval()(torch.randn(batch, 20, 64))
            core.eval()(torch.randn(batch, 20, 64))
"""


@pytest.mark.integration
@pytest.mark.skipif(choice.COMPILED is None, reason="numba is not installed")
def test_nothing_is_left_to_compile(cache: Path) -> None:
    def run(program: str) -> dict[Path, int]:
        subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}

    compiled = run(COMPILE)
    assert compiled
    assert run(TRAIN) == compiled
