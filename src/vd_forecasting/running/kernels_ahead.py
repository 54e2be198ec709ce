"""Lets the kernels of the fused xLSTM be compiled while a run does something else.

That takes half a minute, once on every machine, and numba lets no other Python code run meanwhile.
So a process does it, from the beginning of a run that trains an xLSTM. Once a network is trained in
several threads it takes what they leave of the processor: torch waits actively, and two threads of
it on two cores get eight times slower where a third one takes turns with them. A training that
needs the kernels before they are ready waits, in whichever process it is, which leaves its own core
to them. The process ends with the run, however that ends; without it, as where nothing can be
written, kernels are compiled when they are first used.

Two small files beside numba's own say which process compiles for a width, and for which kernels
that was done. They are of one machine: numba compiles for its processor.
"""

import atexit
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vd_forecasting.datasets.atomic import has_ended
from vd_forecasting.provenance import digest, version_of

KERNELS = Path(__file__).parents[1] / "models" / "fused_xlstm" / "compiled"
PROGRAM = """\
import sys
from vd_forecasting.models.fused_xlstm.ahead import main
main(sys.argv[1:])
"""
LONGEST_SECONDS = 60.0
"""How long a training waits before it compiles what is left: on a machine that is full of the work
of others nothing may be left for that process."""

_waited_for: set[int] = set()
_of_run: list[tuple["subprocess.Popen[bytes]", threading.Thread]] = []
"""The process that this run has started, and what waits for its end."""


def begin(widths: Collection[int]) -> None:
    """Start to compile for networks of these widths, unless that is done or in progress."""
    widths = [width for width in sorted(set(widths)) if not _is_done(width)]
    if not widths or any(map(_is_in_progress, widths)):
        return
    triples = [text for one in widths for text in (str(one), str(_file(one, "done")), _kernels())]
    path = os.pathsep.join([str(KERNELS.parents[3]), *filter(None, sys.path)])
    with suppress(OSError):
        _file(widths[0], "process").parent.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *triples],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,  # which it sees closed, whatever becomes of this process
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),  # of Windows
        )
        files = [_file(width, "process") for width in widths]
        thread = threading.Thread(target=_attend, args=(process, files), daemon=True)
        _of_run.append((process, thread))
        try:
            for file in files:
                file.write_text(str(process.pid), "utf-8")
        except OSError:
            process.kill()
            raise
        finally:
            thread.start()


def end() -> None:
    """End the process that this run has started, if there is one."""
    while _of_run:
        process, thread = _of_run.pop()
        process.kill()
        thread.join()


atexit.register(end)


def make_way() -> None:
    """Let the process that this run has started, if it is there, take only what is left over."""
    for process, _ in _of_run:
        with suppress(OSError):  # where it has ended
            if sys.platform == "linux":
                os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
            elif sys.platform != "win32":
                os.setpriority(os.PRIO_PROCESS, process.pid, 19)


def wait(width: int) -> None:
    """Wait for the process that compiles for networks of this width, if there is one.

    A process waits once for a width.
    """
    if width in _waited_for:
        return
    _waited_for.add(width)
    until = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until and _is_in_progress(width) and not _is_done(width):
        time.sleep(0.2)


def _attend(process: "subprocess.Popen[bytes]", files: Collection[Path]) -> None:
    process.wait()
    if process.stdin:
        process.stdin.close()
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _is_done(width: int) -> bool:
    with suppress(OSError):
        return _file(width, "done").read_text("utf-8") == _kernels()
    return False


def _is_in_progress(width: int) -> bool:
    with suppress(OSError, ValueError):
        return not has_ended(int(_file(width, "process").read_text("utf-8")))
    return False


def _file(width: int, kind: str) -> Path:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or KERNELS / "__pycache__")
    return folder / f"kernels-{width}-{platform.node()}.{kind}"


def _kernels() -> str:
    """What numba goes by: other sources, or another version, are compiled anew."""
    sources = [(path, path.stat()) for path in sorted(KERNELS.rglob("*.py"))]
    stamps = [[path.name, of.st_size, of.st_mtime_ns] for path, of in sources]
    return digest([stamps, sys.version, *map(version_of, ("numba", "llvmlite", "torch"))])
