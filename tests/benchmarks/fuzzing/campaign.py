"""Many inputs of one reader, in processes that may die, within limits of time and memory."""

import faulthandler
import logging
import os
import pickle
import resource
import shutil
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import IO, Any

import pyarrow as pa
import torch
from kedro.io import DatasetError

from tests.benchmarks.fuzzing import archives, arrays, tables
from tests.benchmarks.fuzzing.target import Target
from vd_forecasting.running.failure import in_one_line

TARGETS = {one.name: one for made in (tables, archives, arrays) for one in made.targets()}

MOST_SECONDS = 10.0
MOST_BYTES = 1_500_000_000
MOST_CHARACTERS = 300
_BATCH = 1000
_TMPFS = "/dev/shm" if Path("/dev/shm").is_dir() else None
_NO_MEMORY = ("MemoryError", "nable to allocate", "alloc failed", "out of memory", "bad_alloc")


@dataclass(frozen=True)
class Outcome:
    """What came of one input."""

    number: int
    kind: str
    """``loaded`` or ``refused``, or a finding: its kind on the first line, then more about it."""
    seconds: float = 0.0
    bytes: int = 0

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("loaded", "refused")


@dataclass
class Result:
    """What came of the inputs of a reader."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def findings(self) -> list[Outcome]:
        return [one for one in self.outcomes if one.is_finding]

    def __str__(self) -> str:
        slowest = max(self.outcomes, key=lambda one: one.seconds)
        largest = max(self.outcomes, key=lambda one: one.bytes)
        loaded = sum(one.kind == "loaded" for one in self.outcomes)
        lines = [
            f"{self.name}: {len(self.outcomes):,} inputs, {loaded:,} loaded, "
            f"{len(self.findings):,} findings; longest {slowest.seconds:.2f} s "
            f"({slowest.number}), most memory {largest.bytes / 1e6:,.0f} MB ({largest.number})"
        ]
        found = Counter(one.kind.partition("\n")[0] for one in self.findings)
        for kind, times in found.most_common():
            example = next(one for one in self.findings if one.kind.startswith(kind))
            lines += [f"  {times:,} × input {example.number}: {example.kind}"]
        return "\n".join(lines)


def run(target: Target, seed: int, numbers: range, keep: Path | None = None) -> Result:
    """Read the inputs of these numbers; those that are findings are copied to ``keep``."""
    result, first = Result(target.name), numbers.start
    while first < numbers.stop:
        batch = range(first, min(first + _BATCH, numbers.stop))
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                with os.fdopen(writing, "wb") as pipe:
                    _read_all(target, seed, batch, keep, pipe)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            result.outcomes += _received(pipe)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        first = result.outcomes[-1].number + 1 if result.outcomes else first
        if code:
            result.outcomes.append(Outcome(first, f"the process ended with {code}"))
            first += 1
    return result


def _received(pipe: IO[bytes]) -> Iterator[Outcome]:
    while True:
        try:
            yield pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):
            return


def _read_all(target: Target, seed: int, batch: range, keep: Path | None, pipe: IO[bytes]) -> None:
    """In a process of its own: read the inputs of a batch."""
    for logger in (logging.getLogger(), logging.getLogger("vd_forecasting")):
        logger.handlers.clear()
    faulthandler.enable()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    most = _memory("VmSize") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for number in batch:
        with TemporaryDirectory(prefix="fuzzing", dir=_TMPFS) as folder:
            faulthandler.dump_traceback_later(6 * MOST_SECONDS, exit=True)
            path = Path(folder) / target.file
            outcome = _read_one(target, Random(f"{seed} {target.name} {number}"), path, number)
            faulthandler.cancel_dump_traceback_later()
            pickle.dump(outcome, pipe)
            pipe.flush()
            if keep and outcome.is_finding:
                kept = keep / f"{target.name}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)


def _read_one(target: Target, random: Random, path: Path, number: int) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = target.make(path, random)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begin = time.perf_counter()
    with _heard() as heard:
        try:
            found = target.read(path)
            seconds = time.perf_counter() - begin
            kind = target.judge(path, made, found)
            kind = f"wrong\n{kind}" if kind else "loaded"
        except (DatasetError, ValueError) as error:
            seconds = time.perf_counter() - begin
            kind = _judged(error, path)
        except Exception:
            seconds = time.perf_counter() - begin
            kind = _traceback()
    peak = _memory("VmHWM")
    if heard:
        kind = f"warning or log line: {heard[0][:200]}"
    elif seconds > MOST_SECONDS:
        kind = f"slow\n{kind}"
    elif peak > MOST_BYTES:
        kind = f"large\n{kind}"
    return Outcome(number, kind, seconds, peak)


def _judged(error: Exception, path: Path) -> str:
    """Whether a refusal is one line that names the file."""
    text = str(error)
    if any(word in text for word in _NO_MEMORY):
        return f"out of memory\n{text[:300]}"
    if text.startswith("Failed while") or not isinstance(error, DatasetError):
        return _traceback()
    shown = in_one_line(error)
    if len(shown) > MOST_CHARACTERS or "\n" in shown or not shown.startswith(str(path)):
        return f"odd message\n{shown}"
    return "refused"


def _traceback() -> str:
    lines = traceback.format_exc().strip().splitlines()
    places = [line.strip() for line in lines if line.startswith("  File")]
    ours = [line for line in places if "/vd_forecasting/" in line or "/fuzzing/" in line]
    return "\n    ".join([f"traceback, {ours[-1:]}", lines[-1][:200], *places[-6:]])


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Warnings, and log lines that are more than one."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: _hear(record, heard)  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # which Python shows to nobody
        try:
            yield heard
        finally:
            root.removeHandler(handler)
            heard += [f"{one.category.__name__}: {one.message}" for one in caught]


def _hear(record: logging.LogRecord, heard: list[str]) -> None:
    text = record.getMessage()
    if "\n" in text or "\x1b" in text:
        heard.append(repr(text))


def _memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines: Any = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
