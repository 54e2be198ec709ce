"""The page of the server: its colours, and what headless Chromium draws."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.make.browser import Ask, browser, evaluate
from tests.make.recent_files import recent_file
from tests.make.served import as_csv, rows_of, served, serving
from vd_forecasting.rendering.plot_style import COLOURS
from vd_forecasting.serving.app import asset
from vd_forecasting.vocabulary import MODELS, NAMES

TOKEN = "a-secret-of-some-length"
SECONDS = 30
WIDTHS = (1200, 390)


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Names of all models that may be drawn."""
    return {*MODELS, *served().learnt.models.names}


def test_colours_are_those_of_the_plots(shown: set[str]) -> None:
    style = asset("page.css").decode()
    light = style[: style.index("@media")]
    found = {name: re.findall(rf"--{name}: (#\w+);", light) for name in shown | {"truth"}}
    assert found == {name: [COLOURS[name].lower()] for name in found}


def test_names_are_those_of_the_plots(shown: set[str]) -> None:
    script = asset("page.js").decode()
    [block] = re.findall(r"const NAMES = \{(.*?)\}", script, re.S)
    found = dict(re.findall(r'(\w+): "([^"]+)"', block))
    assert found == {name: NAMES[name] for name in shown}


def test_texts_of_others_are_never_html() -> None:
    script = asset("page.js").decode()
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with browser(tmp_path_factory.mktemp("chromium"), WIDTHS[0], 900) as ask:
        yield ask


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    models = {model.name: model for model in map(served, ("joint", "global"))}
    with serving(models) as port:
        yield port


def awaited(ask: Ask, expression: str) -> Any:
    """The first value of a JavaScript expression that counts as true."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if found := evaluate(ask, expression):
            return found
        time.sleep(0.1)
    text = evaluate(ask, "document.body.innerText")
    raise AssertionError(f"{expression} does not come true: {text}")


def opened(ask: Ask, port: int) -> None:
    """The page, once it has drawn the end of the comparison's data."""
    ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
    awaited(ask, "document.querySelectorAll('#chart .dot').length === 3")


def text(ask: Ask, name: str) -> str:
    return str(evaluate(ask, f"document.getElementById('{name}').textContent"))


def send(ask: Ask, rows: str) -> None:
    """Paste rows and press the button."""
    evaluate(ask, f"document.getElementById('text').value = {rows!r}")
    evaluate(ask, "document.getElementById('send').click()")


@pytest.mark.slow
def test_the_page_opens_on_a_forecast_of_the_comparisons_data(ask: Ask, port: int) -> None:
    opened(ask, port)
    assert text(ask, "question") == "What does LSTM expect in the next 15 min?"
    assert "No rows were sent yet: these are the last of made.h5" in text(ask, "lead")
    bands = "document.querySelectorAll('#chart .band').length"
    assert evaluate(ask, bands) == 2
    assert evaluate(ask, "document.querySelector('#chart svg title').textContent").startswith(
        "avg_speed of VD-0: LSTM expects "
    )


@pytest.mark.slow
def test_rows_that_are_pasted_are_drawn_for_the_detector_chosen(ask: Ask, port: int) -> None:
    opened(ask, port)
    raw = recent_file(first=470)
    send(ask, as_csv(rows_of(raw, "+08:00")).decode())
    awaited(ask, "document.getElementById('lead').textContent.startsWith('Your rows end on')")
    assert "17:35 (UTC+08:00)" in text(ask, "lead")
    choose = "e => {{ e.value = '{}'; e.dispatchEvent(new Event('change')) }}"
    for name, value in (("detector", "VD-1"), ("feature", "total_volume"), ("model", "ridge")):
        evaluate(ask, f"({choose.format(value)})(document.getElementById('{name}'))")
    assert text(ask, "caption") == "VD-1 · total_volume (veh/5 min)"
    assert evaluate(ask, "document.querySelector('#chart svg').classList.value") == "ridge"
    assert evaluate(ask, "document.querySelectorAll('#table tbody tr').length") == 3
    assert "names no UTC offset" in text(ask, "flags")
    key = "new KeyboardEvent('keydown', {key: 'ArrowRight'})"
    evaluate(ask, f"document.getElementById('chart').dispatchEvent({key})")
    assert re.fullmatch(
        r"Tue 5 Mar 17:40: ridge [\d.]+ veh/5 min \(50 %: .* to .*; 90 %: .*\)",
        text(ask, "readout"),
    )


@pytest.mark.slow
def test_what_is_wrong_with_rows_is_said_in_the_servers_line(ask: Ask, port: int) -> None:
    opened(ask, port)
    send(ask, "timestamp,vdid,<b>x</b>\n")
    said = "rows: have no avg_speed, which the model reads; their columns are"
    awaited(ask, f"document.getElementById('problem').textContent.startsWith('{said}')")
    assert "'<b>x</b>'" in text(ask, "problem")
    assert evaluate(ask, "document.querySelectorAll('#chart .dot').length") == 3


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_everything_can_be_read(
    ask: Ask, port: int, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    ask("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    ask("Emulation.setEmulatedMedia", features=features)
    opened(ask, port)
    assert evaluate(ask, "document.documentElement.scrollWidth <= innerWidth")
    contrasts: dict[str, float] = evaluate(ask, CONTRASTS)
    assert len(contrasts) > 5
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


# Of WCAG 2.1, between the colour of a text and that of the page.
CONTRASTS = """
(() => {
    const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
    const luminance = colour => {
        const [r, g, b] = channels(colour).map(of => of / 255).map(
            of => of <= 0.03928 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const paper = luminance(getComputedStyle(document.body).backgroundColor)
    const ratio = colour => {
        const [low, high] = [luminance(colour), paper].sort((a, b) => a - b)
        return (high + 0.05) / (low + 0.05)
    }
    const found = {}
    for (const name of ['h1', '.lead', 'label', 'select', 'a', 'figcaption', 'summary', 'output']) {
        found[name] = ratio(getComputedStyle(document.querySelector(name)).color)
    }
    found.tick = ratio(getComputedStyle(document.querySelector('.tick')).fill)
    return found
})()
"""


@pytest.mark.slow
def test_a_token_is_asked_for_and_then_sent(ask: Ask) -> None:
    with serving({"multi_vd_lstm": served()}, TOKEN) as port:
        ask("Page.navigate", url=f"http://127.0.0.1:{port}/")
        awaited(ask, "!document.getElementById('sign-in').hidden")
        assert evaluate(ask, "document.getElementById('content').hidden")
        evaluate(ask, f"document.getElementById('token').value = '{TOKEN}'")
        evaluate(ask, "document.querySelector('#sign-in button').click()")
        awaited(ask, "document.querySelectorAll('#chart .dot').length === 3")


@pytest.mark.slow
def test_the_page_loads_nothing_from_elsewhere(ask: Ask, port: int) -> None:
    opened(ask, port)
    loaded = evaluate(ask, "performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded
    assert all(name.startswith(f"http://127.0.0.1:{port}/") for name in loaded)
