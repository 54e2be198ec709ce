"""Lets what runs notice that nobody wants it any more.

An interrupt reaches neither the threads of a run nor the workers of a cluster.
"""

import threading
from collections.abc import Callable

_of_thread = threading.local()


def heed(is_stopped: Callable[[], bool]) -> None:
    """Let what this thread runs end once ``is_stopped()``."""
    _of_thread.is_stopped = is_stopped


def end_if_stopped() -> None:
    """Raise an InterruptedError if what runs in this thread is to stop; asking costs nothing."""
    is_stopped: Callable[[], bool] | None = getattr(_of_thread, "is_stopped", None)
    if is_stopped is not None and is_stopped():
        raise InterruptedError("the run was interrupted")
