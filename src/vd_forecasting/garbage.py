"""Garbage collection, put off."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside: list[bool] = []
"""One for each that is inside; the first says whether there was garbage collection before."""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Objects in cycles stay where they are, in all threads, until the last of several has left.

    Python would take time to look for them, and free them in whatever thread that happens.
    """
    with _lock:
        _inside.append(_inside[0] if _inside else gc.isenabled())
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            was_enabled = _inside.pop()
            if was_enabled and not _inside:
                gc.enable()
