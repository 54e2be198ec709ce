"""Draws the figures of a page, some of them in a process beside this one.

matplotlib is Python, which draws one figure at a time. In a run with many pages a process of its
own takes every figure that it has time for; while it starts, which takes seconds, all are drawn
here.
"""

import logging
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module

from vd_forecasting.garbage import no_garbage_collection
from vd_forecasting.language import ENGLISH, speaking
from vd_forecasting.rendering.page import AnyFigure, Page
from vd_forecasting.running.processes import processes

logger = logging.getLogger(__name__)

FEW_FIGURES = 2
"""With no more left none is handed over ahead: the run would wait for it."""


@dataclass
class _Process:
    """What draws beside this process."""

    executor: Executor
    started: Future[None]

    @property
    def is_ready(self) -> bool:
        return self.started.done() and not self.started.exception()

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
                most_ahead = 1 if len(waiting) > FEW_FIGURES else 0
                while len(ahead) > most_ahead:
                    drawn[ahead[0][0]] = ahead[0][1].result()
                    ahead.popleft()
        except BrokenExecutor:
            logger.warning(
                "The process that helps to draw was killed, most likely because memory ran out; "
                "the run draws alone"
            )
            self.started = Future()  # which will never be done
            waiting.extend(name for name in taken if name not in drawn)
        return drawn


_of_run: ContextVar[_Process | None] = ContextVar("_of_run", default=None)
"""Of the run in this thread, for a process knows the figures of one page."""


@contextmanager
def drawn_beside(makers: Iterable[str] = ()) -> Iterator[None]:
    """A process takes part in what is drawn, as soon as it has started; if none can, none does.

    It imports, before they are needed, the modules that make the pages.
    """
    with processes(1) as executor:
        helper = None
        with suppress(OSError):  # no memory
            helper = _Process(executor, executor.submit(_start, tuple(makers)))
        token = _of_run.set(helper)
        try:
            yield
        finally:
            _of_run.reset(token)


def pngs_of(page: Page) -> Iterator[tuple[str, bytes]]:
    """The PNG files of a page by name, as they are ready."""
    waiting = deque(page.figures)

    def draw_here() -> Iterator[tuple[str, bytes]]:
        for name in _taken(waiting, waiting.popleft):
            yield name, png_of(page.figures[name], page.language)

    helper = _of_run.get()
    figures = _pickled(page.figures) if helper and helper.is_ready else b""
    if not (helper and figures):
        yield from draw_here()
        return
    with ThreadPoolExecutor(1) as threads:
        beside = threads.submit(helper.draw, figures, waiting, page.language)
        try:
            yield from draw_here()
        except BaseException:
            waiting.clear()  # of which nothing is wanted any more
            raise
    yield from beside.result().items()
    yield from draw_here()


def _pickled(figures: Mapping[str, AnyFigure]) -> bytes:
    """Nothing if they cannot be given to another process, as functions within functions."""
    with suppress(Exception):  # which differs by what cannot
        return pickle.dumps(figures)
    return b""


def _taken(waiting: deque[str], take: Callable[[], str]) -> Iterator[str]:
    """What waits, taken one by one from an end of it, until it is empty."""
    with suppress(IndexError):
        while True:
            yield take()


_of_page: dict[str, AnyFigure] = {}
"""In the process beside: the figures of a page, which share much of what they show."""


def _start(makers: Iterable[str]) -> None:
    for name in makers:
        import_module(name)
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
