"""The graph on which ``kedro viz`` opens, as headless Chromium draws it at 1600 × 1000 pixels."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import TypedDict
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.make.browser import SECONDS_TO_START, Ask, browser, evaluate, start, stop
from vd_forecasting.pipeline_registry import register_pipelines

pytestmark = pytest.mark.slow

MOST_BOXES = 60
LEAST_PIXELS = 9
SECONDS_TO_SETTLE = 60

NO_HINTS = "localStorage.setItem('KedroViz', JSON.stringify({showFeatureHints: false}))"
"""A card that explains news covers part of the graph until it is closed."""

# What lies under the ends of a label is its own box, unless something covers it or it is outside.
BOXES = """
[...document.querySelectorAll('.pipeline-node')].map(node => {
    const [text, box] = ['text', '.pipeline-node__bg'].map(part => node.querySelector(part))
    const [label, around] = [text, box].map(part => part.getBoundingClientRect())
    const middle = label.top + label.height / 2
    const seen = x => document.elementsFromPoint(x, middle).find(
        element => element.checkVisibility({opacityProperty: true}))
    const ends = [label.left, label.right].map(seen)
    return {
        id: node.dataset.id,
        kind: node.dataset.nodeType,
        name: node.dataset.nodeFullname,
        label: text.textContent,
        height: Math.round(100 * label.height) / 100,
        place: [around.left, around.top, label.height, getComputedStyle(node).opacity].join(),
        whole: label.left >= around.left && label.right <= around.right
            && ends.every(end => end?.closest('.pipeline-node') === node),
    }
})
"""


class Box(TypedDict):
    """A box of the graph; heights in pixels."""

    id: str
    kind: str
    name: str
    label: str
    height: float
    place: str
    whole: bool


@contextmanager
def kedro_viz() -> Iterator[str]:
    """Serve the project's graph; gives the address.

    Raises:
        RuntimeError: it does not answer; with what it printed.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    # It asks the package index for a newer version: the closed port answers at once.
    environment = os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    command = ("viz", "run", "--no-browser", "--host", "127.0.0.1", "--port", str(port))
    with TemporaryFile("w+") as printed:
        process = start(sys.executable, "-m", "kedro", *command, env=environment, stdout=printed)
        try:
            if not answers(address + "api/main", process):
                printed.seek(0)
                raise RuntimeError(f"kedro viz does not answer: {printed.read()}")
            yield address
        finally:
            stop(process)


def free_port() -> int:
    """A port that nothing listens on; kedro viz takes none that systems hand out, above 49151."""
    for port in range(20_000 + os.getpid() % 10_000, 49_152):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the address answers before the time is up and before the process ends."""
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(address, timeout=5):
                return True
        except (URLError, OSError):
            time.sleep(0.5)
    return False


def settled(ask: Ask, differs_from: list[Box]) -> list[Box]:
    """The boxes, once they are others than those and have stopped moving."""
    until = time.monotonic() + SECONDS_TO_SETTLE
    before: list[Box] = differs_from
    while time.monotonic() < until:
        boxes: list[Box] = evaluate(ask, BOXES)
        if boxes == before and boxes != differs_from:
            return boxes
        before = boxes
        time.sleep(1)  # longer than the page takes to move a box
    raise AssertionError("the graph does not come to rest")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ask, str]]:
    with browser(tmp_path_factory.mktemp("chromium"), 1600, 1000) as ask, kedro_viz() as address:
        ask("Page.addScriptToEvaluateOnNewDocument", source=NO_HINTS)
        yield ask, address


@pytest.fixture
def folded(page: tuple[Ask, str]) -> list[Box]:
    """The boxes of the graph, as it opens."""
    ask, address = page
    ask("Page.navigate", url=address)
    return settled(ask, differs_from=[])


def test_the_graph_opens_on_sixty_boxes_at_most_without_parameters(folded: list[Box]) -> None:
    kinds = Counter(box["kind"] for box in folded)
    assert len(folded) <= MOST_BOXES, kinds
    assert not kinds["parameters"]


def test_every_label_can_be_read_and_none_is_cut(folded: list[Box]) -> None:
    small = {box["name"]: box["height"] for box in folded if box["height"] < LEAST_PIXELS}
    assert not small
    assert not [box["name"] for box in folded if not box["whole"]]
    assert not [box["name"] for box in folded if box["label"] != box["name"]]


def test_unfolding_an_experiment_shows_its_own_steps_only(
    page: tuple[Ask, str], folded: list[Box]
) -> None:
    experiment = "single_vd_xlstm"
    click = "dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    evaluate(page[0], f"document.querySelector('.pipeline-node[data-id={experiment}]').{click}")
    unfolded = settled(page[0], differs_from=folded)

    steps = register_pipelines()["__default__"].only_nodes_with_namespaces([experiment])
    datasets = {name for name in steps.datasets() if not name.startswith(("params:", "parameters"))}
    was = {box["id"] for box in folded}
    new = [box for box in unfolded if box["id"] not in was]
    assert was - {box["id"] for box in unfolded} == {experiment}
    assert Counter(box["name"] for box in new if box["kind"] == "task") == Counter(
        step.name.removeprefix(f"{experiment}.") for step in steps.nodes
    )
    assert {box["name"] for box in new if box["kind"] != "task"} == datasets - {
        box["name"] for box in folded
    }
