"""Frames of functions that outlive their calls, as a profiler holds them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def frames_held(by: Callable[..., object] | None = None) -> Iterator[list[FrameType]]:
    """Hold the frames of all calls, or of those of one function."""
    code = getattr(by, "__code__", None)
    held: list[FrameType] = []

    def hold(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and code in (None, frame.f_code):
            held.append(frame)

    before = sys.getprofile()
    sys.setprofile(hold)
    try:
        yield held
    finally:
        sys.setprofile(before)
