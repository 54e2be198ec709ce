"""Start the server: a socket, then the models, then answers until Ctrl-C."""

import gc
import os
import re
import socket
from collections.abc import Callable
from contextlib import closing

import uvicorn
from kedro.io import CatalogProtocol

from vd_forecasting.serving.app import create_app
from vd_forecasting.serving.limits import Workers, is_loopback, one_thread
from vd_forecasting.serving.models_in_memory import PIPELINES, load_models
from vd_forecasting.wording import plural

__all__ = ["PIPELINES", "serve"]

TOKEN = "VD_FORECASTING_TOKEN"
"""Environment variable with the token; an option would be in the list of processes."""
SECONDS_TO_END = 5


def serve(
    load: Callable[[], CatalogProtocol],
    address: tuple[str, int],
    env: str | None,
    say: Callable[[str], None],
) -> None:
    """Serve the trained experiments of a catalog until the process is interrupted.

    Raises:
        ValueError: one line; nothing was trained, or other machines could ask without a token.
        OSError: one line; the address cannot be used.
    """
    token = find_token(address[0])
    with closing(bind(*address)) as bound:
        catalog = load()
        models = load_models(catalog, env)
        one_thread()
        cores = catalog.load("params:compute").cores
        workers = Workers(cores)
        host, port = bound.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            create_app(models, workers, token),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
        gc.freeze()  # what lives as long as the server is not looked through again and again
        say(f"{plural(len(models), 'model')} on {plural(cores, 'core')}: http://{name}:{port}/")
        try:
            uvicorn.Server(config).run(sockets=[bound])
        finally:
            workers.stop()


def find_token(host: str) -> str | None:
    """The token that requests have to send; None if the server is local and none is set."""
    token = os.environ.get(TOKEN)
    if token is not None and not re.fullmatch(r"[!-~]{16,}", token):
        raise ValueError(f"{TOKEN}: must be 16 or more printable characters without a blank")
    if token is None and not is_loopback(host):
        raise ValueError(
            f"--host {host} can be reached from other machines; set {TOKEN} to a secret, or leave "
            "out --host"
        )
    return token


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address; an OSError of one line if there cannot be one."""
    bound: socket.socket | None = None
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        why = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{host}:{port}: {why.lower()}; choose another --port or --host, 0 finds a free port"
        ) from error
    return bound
