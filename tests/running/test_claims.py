"""Runs at the same time in one project."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.make.forked_runs import ForkedRuns
from tests.make.projects import SMALL, copy_of_the_project
from vd_forecasting.datasets.places import RemoteFile
from vd_forecasting.running import claims
from vd_forecasting.running.claims import claimed


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """The claim of another process that is alive: it writes the file ``used``."""
    program = f"""
import sys
from pathlib import Path
from vd_forecasting.running.claims import claimed
folder = Path({str(tmp_path)!r})
with claimed(folder / "other.json", [], [folder / "used"]):
    print("claimed", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield tmp_path / "other.json"
        process.kill()


@contextmanager
def own(folder: Path, reads: str = "", writes: str = "") -> Iterator[Path]:
    path = folder / "own.json"
    with claimed(path, [folder / name for name in reads.split()], [folder / writes]):
        yield path


@pytest.mark.parametrize(("reads", "writes"), [("used", "mine"), ("", "used")])
def test_what_another_run_writes_is_neither_read_nor_written(
    other: Path, reads: str, writes: str
) -> None:
    told = r"used is in use by another run, `-c` \(process \d+ on "
    with pytest.raises(ValueError, match=told), own(other.parent, reads, writes):
        pass
    assert other.exists()
    assert not (other.parent / "own.json").exists()


def test_runs_that_have_no_file_in_common_run_side_by_side(other: Path) -> None:
    with own(other.parent, "source", "mine") as path:
        assert path.exists()
    assert not path.exists()


def test_two_runs_may_read_the_same_file(tmp_path: Path) -> None:
    used = [tmp_path / "used"]
    with claimed(tmp_path / "1.json", used, []), claimed(tmp_path / "2.json", used, []):
        pass


def test_a_file_in_an_object_store_is_in_use_too(tmp_path: Path) -> None:
    used = [RemoteFile("s3://bucket/folder/used.h5")]
    told = r"^s3://bucket/folder/used.h5 is in use by another run"
    with (
        claimed(tmp_path / "1.json", [], used),
        pytest.raises(ValueError, match=told),
        claimed(tmp_path / "2.json", used, []),
    ):
        pass


def test_what_a_killed_run_claimed_is_free_at_once(other: Path) -> None:
    process = json.loads(other.read_text())["process"]
    os.kill(process, 9)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
    os.waitpid(process, 0)
    with own(other.parent, writes="used"):
        assert not other.exists()


@pytest.mark.parametrize(("silent", "alive"), [(5, True), (claims.DEAD_AFTER_SECONDS + 5, False)])
def test_a_run_on_another_machine_lives_as_long_as_it_gives_a_sign(
    other: Path, silent: float, alive: bool
) -> None:
    elsewhere = {**json.loads(other.read_text()), "processes": "another", "host": "elsewhere"}
    beyond = {**elsewhere, "process": 2**22 + 1}  # no process has this number here
    claim = other.with_name("elsewhere.json")
    claim.write_text(json.dumps(beyond))
    other.unlink()
    last = time.time() - silent
    os.utime(claim, (last, last))
    if alive:
        told = r"on elsewhere, since .* last sign of life [56] s ago"
        with pytest.raises(ValueError, match=told), own(other.parent, writes="used"):
            pass
    else:
        with own(other.parent, writes="used"):
            assert not claim.exists()


def test_a_run_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    with own(tmp_path, writes="mine") as path:
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_run_that_was_taken_for_dead_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with own(tmp_path, writes="mine") as path:
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            lose_and_wait(path)
        assert time.monotonic() - began < 5


def lose_and_wait(claim: Path) -> None:
    claim.unlink()
    time.sleep(10)


@pytest.mark.integration
def test_of_two_runs_of_an_experiment_the_second_is_refused(
    runs: ForkedRuns, tmp_path: Path
) -> None:
    folder = copy_of_the_project(tmp_path)
    part = ("--namespace", "single_vd_lstm", "--to-nodes", "single_vd_lstm.train")
    command = ("run", "--env", "quick", *part, "--params")
    endless = SMALL.replace("training.epochs=1", "training.epochs=100000")
    for key in ("decay_epochs", "patience"):
        endless += f",single_vd_lstm.training.{key}=100000"
    log = folder / "first.log"
    log.touch()
    first = runs.start(folder, log, *command, endless)
    try:
        deadline = time.monotonic() + 60
        while "epoch 2" not in log.read_text():
            assert runs.is_running(first)
            assert time.monotonic() < deadline
            time.sleep(0.1)
        code, printed = runs.run(folder, *command, SMALL)
        assert code == 1
        [line] = printed.splitlines()
        assert line.startswith("Error: data/")
        assert "is in use by another run, `kedro run --env quick --namespace single_vd_" in line
        assert f"(process {first} on " in line
    finally:
        os.kill(first, 9)
    runs.wait(first)
    code, printed = runs.run(folder, *command, SMALL)
    assert code == 0, printed
    assert list((folder / "data" / ".runs").iterdir()) == []
