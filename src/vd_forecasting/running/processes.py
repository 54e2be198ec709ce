"""Processes that do a part of the work of this one and end with it, however it ends.

What they import is theirs: this module takes nothing but the standard library along.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import current_process, get_context, parent_process
from types import ModuleType
from typing import Any, TypeVar

Result = TypeVar("Result")

KILLED = (
    "a process that did a part of the work was killed, most likely because memory ran out; give "
    "compute.threads a lower number, so many there are"
)

_main_is_hidden = threading.Lock()  # by one thread at a time, or the wrong one would come back


class InThisThread(Executor):
    """Runs each task at once."""

    def submit(self, task: Callable[..., Any], /, *inputs: Any) -> "Future[Any]":  # type: ignore[override]
        future: Future[Any] = Future()
        try:
            future.set_result(task(*inputs))
        except Exception as error:
            future.set_exception(error)
        return future


def in_order(
    tasks: Iterable[tuple[Callable[..., Result], tuple[Any, ...]]], at_once: int
) -> Iterator[Result]:
    """The results of functions with their inputs, so many at a time, in processes of one thread.

    Tasks are taken as there is room for them. One at a time is run by this process itself. It is a
    ChildProcessError, in one line, if a process is killed.
    """
    with _executor(at_once) as executor:
        waiting = iter(tasks)
        begun = [executor.submit(of, *inputs) for of, inputs in islice(waiting, at_once)]
        while begun:
            # One more, which begins when the first one ends.
            begun += [executor.submit(of, *inputs) for of, inputs in islice(waiting, 1)]
            try:
                yield begun.pop(0).result()
            except BrokenExecutor as error:
                raise ChildProcessError(KILLED) from error


@contextmanager
def _executor(at_once: int) -> Iterator[Executor]:
    if at_once == 1 or not can_start():
        yield InThisThread()
        return
    with processes(at_once) as executor:
        yield executor


def can_start() -> bool:
    """Whether this process may start others, which a daemon may not."""
    return not current_process().daemon


@contextmanager
def processes(number: int) -> Iterator[Executor]:
    """So many processes of one thread, each of which starts when it is needed first."""
    executor = _Processes(number, get_context("spawn"), initializer=_begin)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


class _Processes(ProcessPoolExecutor):
    """Starts processes without the main module, which they would import, as they must not run the
    script of a user again."""

    def submit(self, task: Callable[..., Any], /, *inputs: Any) -> "Future[Any]":  # type: ignore[override]
        with _main_is_hidden:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return super().submit(task, *inputs)  # which starts one if none is idle
            finally:
                sys.modules["__main__"] = main


def _begin() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the library is loaded
    # As the last: Python would free, for half a second, all that was imported.
    atexit.register(os._exit, 0)
    begin_process()


def begin_process() -> None:
    """End this process with the one that started it, and not when an interrupt reaches both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_the_run()


def end_with_the_run() -> None:
    """End this process as soon as the one that started it is gone."""

    def wait_for_the_end() -> None:
        if run := parent_process():
            run.join()
            os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
