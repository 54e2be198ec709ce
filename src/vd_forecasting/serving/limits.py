"""Bounds on what a request may take: the size and time of its body, its wait, its sender."""

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from threadpoolctl import threadpool_limits

from vd_forecasting.serving.refused import RefusedError

MOST_BYTES = 4 * 2**20
BODY_SECONDS = 10.0
MOST_WAITING = 64
"""Requests beside those that are worked on."""
WAIT_SECONDS = 30.0
RETRY_SECONDS = 1

Made = TypeVar("Made")


async def read_body(request: Request) -> bytes:
    """The body of a request, as it was sent.

    Raises:
        RefusedError: 413 larger than :data:`MOST_BYTES`, 408 slower than :data:`BODY_SECONDS`, 415
            packed, 400 not sent to its end.
    """
    if (coding := request.headers.get("content-encoding", "identity")) != "identity":
        raise RefusedError(
            415, f"Content-Encoding: {coding!r} is not taken; send the body as it is"
        )
    try:
        return await asyncio.wait_for(_read(request), BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError) as error:  # two classes in Python 3.10
        raise RefusedError(
            408, f"body: not there after {BODY_SECONDS:g} s; send it faster, or fewer rows"
        ) from error
    except ClientDisconnect as error:
        raise RefusedError(400, "body: the connection ended before it did") from error


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    parts, size = list[bytes](), int(declared) if declared.isdecimal() else 0
    _refuse_large(size)
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        _refuse_large(size)
    return b"".join(parts)


def _refuse_large(size: int) -> None:
    if size > MOST_BYTES:
        raise RefusedError(
            413, f"body: more than {MOST_BYTES:,} bytes; send fewer rows, the last ones"
        )


def one_thread() -> None:
    """Let torch and BLAS compute on this thread alone: other requests use the other cores."""
    torch.set_num_threads(1)
    threadpool_limits(1)


class Workers:
    """Threads that forecast, one request each, and a bounded queue before them."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "forecast", initializer=one_thread)
        self._places = count + MOST_WAITING

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, from before the body is read; RefusedError 429 if it is full."""
        if self._places == 0:
            raise _busy(f"{MOST_WAITING} requests wait already")
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def run(self, function: Callable[..., Made], *arguments: Any) -> Made:
        """What the function returns, called on one of the threads.

        Raises:
            RefusedError: 429, no thread was free for :data:`WAIT_SECONDS`.
        """
        call = partial(_in_time, time.monotonic() + WAIT_SECONDS, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def stop(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _in_time(until: float, function: Callable[..., Made], *arguments: Any) -> Made:
    if time.monotonic() > until:
        raise _busy(f"not begun within {WAIT_SECONDS:g} s")
    return function(*arguments)


def _busy(why: str) -> RefusedError:
    return RefusedError(429, f"too many requests: {why}; try again", RETRY_SECONDS)


# --- who may ask ----------------------------------------------------------------------------------

OPEN = frozenset({"/health", "/", "/page.css", "/page.js"})
"""What needs no token: the page holds nothing of a model, and asks for the token itself."""
SECURE = {
    b"content-security-policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; "
        b"img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}

ASGI = Callable[[Any, Any, Any], Awaitable[None]]
Answerer = Callable[[RefusedError], Any]


def guarded(app: ASGI, token: str | None, answer: Answerer) -> ASGI:
    """An application that answers to whoever may ask, with headers that keep browsers strict.

    With a token that is who sends it. Without one the server is local, and only requests for a
    local name are answered, lest a page from elsewhere reach it by a name that it lets point here.
    """

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        async def send_secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = dict(message["headers"])
                message = {**message, "headers": [*(SECURE | given).items()]}
            await send(message)

        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            check_sender(Headers(scope=scope), scope["path"], token)
        except RefusedError as refused:
            await answer(refused)(scope, receive, send_secured)
            return
        await app(scope, receive, send_secured)

    return guard


def check_sender(headers: Headers, path: str, token: str | None) -> None:
    """Raise a RefusedError, 401 or 421, to a sender that may not ask for this path."""
    if token is None:
        name = headers.get("host", "localhost").lower()
        without_port = name if name.endswith("]") else name.rpartition(":")[0] or name
        if not is_loopback(without_port.strip("[]")):
            raise RefusedError(421, f"Host: {name!r} is no name of this machine; use localhost")
        return
    kind, _, given = headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(), token.encode())
    if path not in OPEN and not (same and kind.lower() == "bearer"):
        raise RefusedError(401, "Authorization: send the header Authorization: Bearer <token>")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
