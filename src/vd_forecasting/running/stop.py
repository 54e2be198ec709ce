"""Lets what runs in a thread notice that its run was interrupted, which threads are not told."""

import threading

_of_thread = threading.local()


def heed(stop: threading.Event) -> None:
    """Let what this thread runs end once ``stop`` is set."""
    _of_thread.stop = stop


def end_if_stopped() -> None:
    """Raise an InterruptedError if the run of this thread was interrupted; asking costs nothing."""
    stop: threading.Event | None = getattr(_of_thread, "stop", None)
    if stop is not None and stop.is_set():
        raise InterruptedError("the run was interrupted")
