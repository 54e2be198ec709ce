"""Draws the figures of a page, some of them in a process beside this one.

matplotlib is Python, which draws one figure at a time. In a run with many pages a process of its
own takes every figure that it has time for; while it starts, which takes seconds, all are drawn
here.
"""

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from vd_forecasting.garbage import no_garbage_collection
from vd_forecasting.language import ENGLISH, speaking
from vd_forecasting.rendering.page import AnyFigure, Page
from vd_forecasting.running.processes import processes

FEW_FIGURES = 2


@dataclass
class _Process:
    """What draws beside this process."""

    executor: Executor
    started: Future[None]
    has_imported: bool = False

    def is_ready(self, figures: bytes) -> bool:
        """Whether it can draw; the first page, pickled, makes it import what draws pages."""
        if not self.started.done() or self.started.exception():
            return False
        if self.has_imported:
            return True
        with suppress(BrokenExecutor):
            self.started = self.executor.submit(_take_over, figures)
        self.has_imported = True
        return False

    def draw(self, figures: bytes, waiting: deque[str], language: str) -> dict[str, bytes]:
        """Draw pickled figures from the end of those that wait, and leave there, by name, those
        with which it was killed."""
        drawn: dict[str, bytes] = {}
        ahead: deque[tuple[str, Future[bytes]]] = deque()
        taken: list[str] = []
        try:
            if self.executor.submit(_take_over, figures).exception():
                return drawn  # this process has them
            for name in _taken(waiting, waiting.pop):
                taken.append(name)  # first, as a process that was just killed takes none
                ahead.append((name, self.executor.submit(_png_named, name, language)))
                # One more is handed over than is drawn, but at the end, where this process waits.
                if len(ahead) > (len(waiting) > FEW_FIGURES):
                    drawn[ahead[0][0]] = ahead[0][1].result()
                    ahead.popleft()
            drawn |= {name: future.result() for name, future in ahead}
        except BrokenExecutor:  # most likely because memory ran out
            self.started = Future()  # which will never be done
            waiting.extend(name for name in taken if name not in drawn)
        return drawn


_of_run: list[_Process] = []


@contextmanager
def drawn_beside() -> Iterator[None]:
    """A process takes part in what is drawn, as soon as it has started."""
    with processes(1) as executor:
        _of_run.append(_Process(executor, executor.submit(_start)))
        try:
            yield
        finally:
            _of_run.clear()


def pngs_of(page: Page) -> Iterator[tuple[str, bytes]]:
    """The PNG files of a page by name, as they are ready."""
    waiting = deque(page.figures)

    def draw_here() -> Iterator[tuple[str, bytes]]:
        for name in _taken(waiting, waiting.popleft):
            yield name, png_of(page.figures[name], page.language)

    figures = _pickled(page.figures) if _of_run else b""
    ready = [process for process in _of_run if figures and process.is_ready(figures)]
    with ThreadPoolExecutor(1) as threads:
        beside = [threads.submit(of.draw, figures, waiting, page.language) for of in ready]
        try:
            yield from draw_here()
        except BaseException:
            waiting.clear()  # of which nothing is wanted any more
            raise
    for of_process in beside:
        yield from of_process.result().items()
    yield from draw_here()


def _pickled(figures: Mapping[str, AnyFigure]) -> bytes:
    """Nothing if they cannot be given to another process, as functions within functions."""
    with suppress(pickle.PicklingError, AttributeError, TypeError):
        return pickle.dumps(figures)
    return b""


def _taken(waiting: deque[str], take: Callable[[], str]) -> Iterator[str]:
    """What waits, taken one by one from an end of it, until it is empty."""
    with suppress(IndexError):
        while True:
            yield take()


_of_page: dict[str, AnyFigure] = {}
"""In the process beside: the figures of a page, which share much of what they show."""


def _start() -> None:
    from vd_forecasting.rendering.plot_style import (  # noqa: PLC0415  (matplotlib)
        figure_without_data,
    )

    png_of(figure_without_data("", ""), ENGLISH)


def _take_over(figures: bytes) -> None:
    _of_page.clear()
    _of_page.update(pickle.loads(figures))


def _png_named(name: str, language: str) -> bytes:
    return png_of(_of_page[name], language)


def png_of(figure: AnyFigure, language: str) -> bytes:
    """A figure, or what draws it in this language, as a PNG file."""
    if isinstance(figure, bytes):
        return figure
    from vd_forecasting.rendering.png import png  # noqa: PLC0415  (matplotlib)

    # Collecting garbage would take a tenth of the time of a figure.
    with no_garbage_collection(), speaking(language):
        return png(figure() if callable(figure) else figure)
