"""Figures that a process draws beside this one."""

import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from multiprocessing import active_children, parent_process
from typing import Any

import pytest
from matplotlib.figure import Figure

from vd_forecasting.language import say
from vd_forecasting.rendering import drawing, plot_style
from vd_forecasting.rendering.drawing import drawn_beside, png_of, pngs_of
from vd_forecasting.rendering.page import AnyFigure, Page
from vd_forecasting.running.processes import InThisThread

pytestmark = pytest.mark.integration

NAMES = [f"figure_{number}" for number in range(8)]


def draw(name: str, seconds: float = 0.0) -> Figure:
    """A figure that takes so long."""
    time.sleep(seconds)
    figure, [[ax]] = plot_style.panels(name, say("no finite loss"), (1, 1), 2.0)
    ax.plot([1, 3, 2])
    return figure


def draw_slowly_here(name: str) -> Figure:
    """So that the process beside gets nearly all."""
    return draw(name, 0.0 if parent_process() else 1.0)


def kill_what_draws_beside(name: str) -> Figure:
    if parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(name, 0.5)


def fail_beside(name: str) -> Figure:
    if parent_process():
        raise ValueError(f"{name} cannot be drawn")
    return draw(name, 0.5)


class OnlyHere:
    """What another process cannot unpickle."""

    def __init__(self, figure: Callable[[], Figure]) -> None:
        self.figure = figure

    def __call__(self) -> Figure:
        return self.figure()

    def __setstate__(self, state: object) -> None:
        raise ImportError("no module of that name")


def page(figures: Mapping[str, AnyFigure], language: str = "zh-TW") -> Page:
    return Page("", figures, language)


def wait_for_it() -> None:
    process = drawing._of_run.get()
    assert process
    process.started.result(60)
    assert process.is_ready


def test_figures_are_the_same_wherever_they_are_drawn() -> None:
    figures = {name: partial(draw_slowly_here, name) for name in NAMES} | {"loaded": b"PNG"}
    drawn = {name: png_of(partial(draw, name), "zh-TW") for name in NAMES} | {"loaded": b"PNG"}
    with drawn_beside():
        wait_for_it()
        started = time.monotonic()
        found = dict(pngs_of(page(figures)))
        assert time.monotonic() - started < len(NAMES) / 2, "most are drawn beside"
        assert found == drawn
        assert dict(pngs_of(page({}))) == {}
    assert active_children() == []
    assert len({*drawn.values()}) == len(drawn)


def has_imported(name: str) -> bool:
    return name in sys.modules


def test_what_makes_pages_is_imported_before_the_first() -> None:
    with drawn_beside(["colorsys"]):
        wait_for_it()
        process = drawing._of_run.get()
        assert process
        assert process.executor.submit(has_imported, "colorsys").result()
        assert not process.executor.submit(has_imported, "antigravity").result()


def test_all_is_drawn_here_where_what_makes_pages_cannot_be_imported() -> None:
    figures = {name: partial(draw, name) for name in NAMES[:2]}
    with drawn_beside(["no_such_module"]):
        process = drawing._of_run.get()
        assert process
        assert isinstance(process.started.exception(60), ImportError)
        assert dict(pngs_of(page(figures, "en"))) == {
            name: png_of(figure, "en") for name, figure in figures.items()
        }


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_what_a_process_was_killed_with_is_drawn_here() -> None:
    figures = {name: partial(kill_what_draws_beside, name) for name in NAMES[:4]}
    expected = {name: png_of(partial(draw, name), "en") for name in NAMES[:4]}
    with drawn_beside():
        wait_for_it()
        assert dict(pngs_of(page(figures, "en"))) == expected
        assert dict(pngs_of(page(figures, "en"))) == expected, "there is no process any more"


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("has_started", [False, True])
def test_a_process_that_is_killed_while_it_waits_is_not_missed(has_started: bool) -> None:
    figures = {name: partial(draw, name) for name in NAMES[:4]}
    expected = {name: png_of(figure, "en") for name, figure in figures.items()}
    with drawn_beside():
        if has_started:
            wait_for_it()
        for child in active_children():
            child.kill()
            child.join()
        for _ in range(3):
            assert dict(pngs_of(page(figures, "en"))) == expected


def test_figures_that_no_other_process_can_have_are_drawn_here() -> None:
    given = {name: partial(draw, name) for name in NAMES[:4]}
    within: dict[str, AnyFigure] = {
        name: partial(lambda of: of(), of) for name, of in given.items()
    }
    known_here: dict[str, AnyFigure] = {name: OnlyHere(figure) for name, figure in given.items()}
    expected = {name: png_of(figure, "en") for name, figure in given.items()}
    with drawn_beside():
        wait_for_it()
        assert dict(pngs_of(page(within, "en"))) == expected
        assert dict(pngs_of(page(known_here, "en"))) == expected


def test_an_error_of_a_figure_is_that_of_its_page() -> None:
    figures = {name: partial(fail_beside, name) for name in NAMES[:4]}
    with drawn_beside():
        wait_for_it()
        with pytest.raises(ValueError, match=r"figure_3 cannot be drawn"):
            list(pngs_of(page(figures)))


class KilledBeforeTheThird(InThisThread):
    """Breaks when a third figure is handed over."""

    left = 3  # and what the page has

    def submit(self, task: Callable[..., Any], /, *inputs: Any) -> "Future[Any]":  # type: ignore[override]
        if not self.left:
            raise BrokenExecutor
        self.left -= 1
        return super().submit(task, *inputs)


def test_a_figure_that_could_not_be_handed_over_is_not_lost() -> None:
    process = drawing._Process(KilledBeforeTheThird(), Future())
    waiting = deque(NAMES)
    figures: dict[str, AnyFigure] = dict.fromkeys(NAMES, b"PNG")
    drawn = process.draw(pickle.dumps(figures), waiting, "en")
    assert drawn
    assert sorted([*drawn, *waiting]) == NAMES
