"""Runs at the same time in one project: none reads or writes what another one writes.

A run claims the files of its pipeline in a file of its own, which it touches every few seconds.
Others go by that sign of life and not by the process number alone, which says nothing on another
machine that shares the folder. What a killed run claimed is free again at once on its own machine,
elsewhere after :data:`DEAD_AFTER_SECONDS`.
"""

import _thread
import atexit
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vd_forecasting.datasets.atomic import has_ended, replacing
from vd_forecasting.datasets.places import Place, is_remote
from vd_forecasting.running.options import typed_command
from vd_forecasting.running.staleness.plan import short_path
from vd_forecasting.wording import shortened

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 60.0


class Claim(BaseModel):
    """What a run reads and writes, and which run it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    host: str
    processes: str
    """Which table of processes the number is from: that of a start of a machine, or a container."""
    process: int
    since: datetime  # by the clock of the file system, which all machines that share it have
    reads: frozenset[str]
    """Files, those of this machine relative to the folder of the claims."""
    writes: frozenset[str]

    def in_the_way_of(self, other: "Claim") -> str | None:
        """A file that one of them writes and the other uses; None if there is none."""
        common = (self.writes & (other.reads | other.writes)) | (self.reads & other.writes)
        return min(common, default=None)


@contextmanager
def claimed(own: Path, reads: Iterable[Place], writes: Iterable[Place]) -> Iterator[None]:
    """Claim files for as long as the context lasts.

    Args:
        own: the claim, a file that is not there yet in the folder of the claims of all runs.
        reads: files that the run reads.
        writes: files that it writes.

    Raises:
        ValueError: one line; another run that is alive uses one of them.
        DatasetError: the claim cannot be written.
    """
    ended = threading.Event()
    try:
        # First written, then compared: of two runs that start together at least one sees the other.
        with replacing(own) as temporary:
            temporary.touch()
            claim = Claim(
                command=typed_command(),
                host=platform.node(),
                processes=_process_table(),
                process=os.getpid(),
                since=datetime.fromtimestamp(temporary.stat().st_mtime).astimezone(),
                reads=frozenset(_from(own.parent, file) for file in reads),
                writes=frozenset(_from(own.parent, file) for file in writes),
            )
            temporary.write_text(claim.model_dump_json(), "utf-8")
        _refuse_if_used(own, claim)
        threading.Thread(target=_beat, args=(own, ended), daemon=True).start()
        yield
    finally:
        ended.set()
        with suppress(OSError):
            own.unlink(missing_ok=True)


_held = ExitStack()
"""The claim of the run in this process; it is also given up where Ctrl-C calls no hook."""
atexit.register(_held.close)


def hold(own: Path, reads: Iterable[Place], writes: Iterable[Place]) -> None:
    """:func:`claimed`, until :func:`give_up` or the end of this process."""
    give_up()  # that of a run that was interrupted in a notebook
    _held.enter_context(claimed(own, reads, writes))


def give_up() -> None:
    """Free the files of the run in this process."""
    _held.close()


def _from(folder: Path, file: Place) -> str:
    return os.path.relpath(file, folder) if isinstance(file, Path) else str(file)


def _refuse_if_used(own: Path, claim: Claim) -> None:
    now = own.stat().st_mtime
    for path in sorted(own.parent.glob("*.json")):
        if path == own:
            continue
        try:
            other = Claim.model_validate_json(path.read_text("utf-8"))
            silent = max(now - path.stat().st_mtime, 0)
        except (OSError, ValidationError):  # it has just ended, or is no claim
            continue
        own_machine = other.processes == claim.processes
        if silent > DEAD_AFTER_SECONDS or (own_machine and has_ended(other.process)):
            path.unlink(missing_ok=True)
            continue
        # Of two runs that started together the later one yields.
        earlier = (other.since, path.name) < (claim.since, own.name)
        if earlier and (used := claim.in_the_way_of(other)) is not None:
            file = used if is_remote(used) else short_path((own.parent / used).resolve())
            raise ValueError(
                f"{file} is in use by another run, "
                f"`{shortened(other.command, 100)}` (process {other.process} on {other.host}, "
                f"since {other.since:%Y-%m-%d %H:%M:%S}, last sign of life {silent:.0f} s ago); "
                "wait until it has ended, or stop it"
            )


def _process_table() -> str:
    """Names where process numbers of this process mean the same: a boot and a container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _beat(own: Path, ended: threading.Event) -> None:
    """Touch a claim until its run has ended; end a run whose claim another one took for dead."""
    while not ended.wait(BEAT_SECONDS):
        try:
            os.utime(own)
        except FileNotFoundError:
            if not ended.is_set():
                logger.error("another run took this one for dead and may use its files; it stops")
                if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background
                    os._exit(1)
                if sys.platform == "win32":
                    _thread.interrupt_main()
                else:  # a signal also wakes a main thread that waits
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return
        except OSError as error:
            logger.debug("no sign of life could be given: %s", error)
