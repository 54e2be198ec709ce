"""Headless Chromium, driven by its own DevTools protocol: JSON through a web socket."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests import PROJECT

SECONDS_TO_START = 120

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

Ask = Callable[..., dict[str, Any]]
"""Sends a DevTools command with its parameters and returns the answer."""


def start(*command: str, stdout: Any = subprocess.DEVNULL, **how: Any) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that its children can be stopped with it."""
    return subprocess.Popen(
        command, cwd=PROJECT, stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True, **how
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command and the children it left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def browser(profile: Path, width: int, height: int) -> Iterator[Ask]:
    """A window of a size in pixels that reaches nothing but this machine."""
    client = pytest.importorskip("websockets.sync.client", reason="needs websockets")
    if BROWSER is None:
        pytest.skip("needs chromium")
    process = start(
        BROWSER,
        "--headless=new",
        "--no-sandbox",  # which root cannot have
        "--disable-gpu",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
    )
    try:
        with urlopen(f"http://127.0.0.1:{debugging_port(profile)}/json/list") as answer:
            tab = next(tab for tab in json.load(answer) if tab["type"] == "page")
        with client.connect(tab["webSocketDebuggerUrl"], max_size=None) as connection:
            numbers = count(1)

            def ask(method: str, **parameters: Any) -> dict[str, Any]:
                number = next(numbers)
                message = {"id": number, "method": method, "params": parameters}
                connection.send(json.dumps(message))
                while True:  # events arrive in between
                    answer: dict[str, Any] = json.loads(connection.recv(timeout=60))
                    if answer.get("id") == number:
                        assert "error" not in answer, answer
                        result: dict[str, Any] = answer["result"]
                        return result

            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            ask("Emulation.setDeviceMetricsOverride", **size)
            ask("Page.enable")
            yield ask
    finally:
        stop(process)


def debugging_port(profile: Path) -> int:
    """The port that Chromium chose; it writes it into its profile."""
    chosen = profile / "DevToolsActivePort"
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        if chosen.exists() and (found := re.match(r"\d+\n", chosen.read_text())):
            return int(found.group())
        time.sleep(0.1)
    raise RuntimeError(f"{BROWSER} does not start")


def evaluate(ask: Ask, expression: str) -> Any:
    """The value of a JavaScript expression in the page."""
    answer = ask("Runtime.evaluate", expression=expression, returnByValue=True)
    assert "exceptionDetails" not in answer, answer
    return answer["result"].get("value")
