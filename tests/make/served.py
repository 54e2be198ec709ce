"""Served models of a small experiment, a server of them, and requests to it."""

import csv
import io
import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import numpy as np
import uvicorn
import xarray as xr

from tests.make.parameters import INTERVALS
from tests.make.recent_files import BASELINES, trained
from vd_forecasting.pipelines.forecast.forecast import learn, learn_baselines
from vd_forecasting.pipelines.forecast.recent_windows import fewest_steps
from vd_forecasting.serving.app import create_app
from vd_forecasting.serving.limits import Workers
from vd_forecasting.serving.models_in_memory import ServedModel
from vd_forecasting.serving.run import bind

Row = dict[str, Any]


@cache
def served(kind: str = "joint") -> ServedModel:
    """An LSTM of 3 VDs or two, with errors of 2 promised where persistence has 4."""
    best, windows, _ = trained(kind)
    errors = {
        key: {name: {"mae": [mae] * windows.prediction_length} for name in windows.targets}
        for key, mae in (("by_horizon", 2.0), ("persistence_by_horizon", 4.0))
    }
    learnt = learn(windows, best, learn_baselines(windows, BASELINES))
    return ServedModel(best, windows, fewest_steps(windows), learnt, errors, INTERVALS)


@contextmanager
def serving(
    models: Mapping[str, ServedModel], token: str | None = None, workers: Workers | None = None
) -> Iterator[int]:
    """A server of some models on this machine; gives its port."""
    with closing(bind("127.0.0.1", 0)) as bound:
        app = create_app(models, workers or Workers(1), token)
        server = uvicorn.Server(
            uvicorn.Config(app, http="h11", lifespan="off", log_config=None, access_log=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def ask(
    port: int, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[HTTPResponse, bytes]:
    """The answer to one request."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, sent)
        response = connection.getresponse()
        return response, response.read()


def post(port: int, body: bytes, content_type: str = "application/json", query: str = "") -> Any:
    """The answer to rows: status and JSON."""
    response, content = ask(port, "POST", f"/forecast{query}", body, content_type=content_type)
    return response.status, json.loads(content)


def rows_of(raw: xr.DataArray, offset: str = "") -> list[Row]:
    """A file in the long form, a row per time and detector."""
    raw = raw.transpose("time", "vd", "feature")
    stamps = np.datetime_as_string(raw["time"].values, unit="s")
    names = [str(name) for name in raw["feature"].values]
    return [
        {"timestamp": f"{stamp}{offset}", "vdid": str(vdid)}
        | {
            name: None if math.isnan(value) else value
            for name, value in zip(names, of_vd.tolist(), strict=True)
        }
        for stamp, of_time in zip(stamps, raw.values.astype("float64"), strict=True)
        for vdid, of_vd in zip(raw["vd"].values, of_time, strict=True)
    ]


def as_json(rows: list[Row]) -> bytes:
    return json.dumps({"rows": rows}).encode()


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*rows[0]])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
