"""The server over loopback: answers, refusals, headers, and bodies of any kind."""

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.make.recent_files import forecast, recent_file, without
from tests.make.served import as_csv, as_json, ask, post, rows_of, served, serving
from vd_forecasting.artefacts.recent import FLAGS
from vd_forecasting.pipelines.forecast.table import write_table
from vd_forecasting.serving import limits
from vd_forecasting.serving.limits import Workers

ROWS = rows_of(recent_file())
SHORT = rows_of(recent_file(first=480))
TOKEN = "a-secret-of-some-length"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A local server of two models."""
    models = {model.name: model for model in map(served, ("joint", "global"))}
    with serving(models) as port:
        yield port


@pytest.fixture(scope="module")
def closed() -> Iterator[int]:
    """A server that wants a token."""
    with serving({"multi_vd_lstm": served()}, TOKEN) as port:
        yield port


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
def test_a_forecast_has_the_numbers_of_the_table_that_kedro_run_writes(
    port: int, kind: str
) -> None:
    body = as_json(ROWS) if kind == "application/json" else as_csv(ROWS)
    status, found = post(port, body, kind)
    assert status == 200
    assert (found["model"], found["levels"]) == ("multi_vd_lstm", [50, 90])
    table = write_table(forecast(recent_file())).set_index(["model", "vdid", "feature"])
    std = dict(zip(served().trained.targets, served().trained.target_scaler[1].max(0), strict=True))
    assert len(found["forecasts"]) == 5 * 2 * 2
    for one in found["forecasts"]:
        rows = table.xs((one["model"], one["vdid"], one["feature"]))
        assert one["unit"] == rows["unit"].iloc[0]
        assert found["times"] == [*rows["time"]]
        assert found["horizons"] == [*rows["horizon"]]
        assert {found["origin"]} == {*rows["origin"]}
        for name in ("forecast", "lower_50", "upper_50", "lower_90", "upper_90"):
            np.testing.assert_allclose(one[name], rows[name], atol=1e-5 * std[one["feature"]])
        assert [" ".join(flags) for flags in one["flags"]] == [*rows["flag"]]
        assert all(found["flags"][name] == FLAGS[name] for flags in one["flags"] for name in flags)


def test_what_was_measured_is_sent_back_as_it_was_cleaned(port: int) -> None:
    raw = without(recent_file(), slice(-3, -1), 0, 0)
    _, found = post(port, as_json(rows_of(raw)))
    assert found["measured"]["times"][-1] == found["origin"]
    by_key = {(one["vdid"], one["feature"]): one["value"] for one in found["measured"]["series"]}
    assert by_key["VD-0", "avg_speed"][-3:-1] == [None, None]
    expected = raw.sel(vd="VD-1", feature="total_volume").values[-3:]
    assert by_key["VD-1", "total_volume"][-3:] == pytest.approx(expected, rel=1e-5)


def test_a_model_is_named_in_the_query_or_in_the_body(port: int) -> None:
    rows = json.loads(as_json(ROWS))
    for body, query in (
        (as_json(ROWS), "?model=global_vd_lstm"),
        (json.dumps(rows | {"model": "global_vd_lstm"}).encode(), ""),
    ):
        status, found = post(port, body, query=query)
        assert (status, found["model"]) == (200, "global_vd_lstm")
    status, found = post(port, as_json(ROWS), query="?model=multi_vd_lstn")
    assert status == 422
    assert found["detail"].endswith("'multi_vd_lstn' is not served; did you mean multi_vd_lstm?")
    status, found = post(port, as_json(ROWS), query="?model=global_vd_lstm&model=x")
    assert (status, found["detail"][:6]) == (422, "model:")


def test_models_say_what_they_take_and_promise(port: int) -> None:
    _, content = ask(port, "GET", "/models")
    first, second = json.loads(content)
    assert [first["name"], second["name"]] == ["multi_vd_lstm", "global_vd_lstm"]
    assert first["vdids"] == ["VD-0", "VD-1"]
    assert first["features"][1] == {"name": "total_volume", "unit": "veh/5 min", "forecast": True}
    assert (first["window_steps"], first["horizon_steps"], first["interval_minutes"]) == (6, 3, 5)
    assert first["train_until"] == "2024-03-05T05:05:00"  # step 350 of 500 from 2024-03-04
    assert first["promised_mae"]["avg_speed"] == {"lstm": [2.0] * 3, "persistence": [4.0] * 3}
    assert first["relative_error"] == 0.5


def test_the_example_needs_no_rows(port: int) -> None:
    response, content = ask(port, "GET", "/example?model=global_vd_lstm")
    assert response.status == 200
    assert json.loads(content)["origin"] == "2024-03-05T17:35:00"


def test_the_description_is_read_without_the_network(port: int) -> None:
    described = json.loads(ask(port, "GET", "/openapi.json")[1])
    assert {*described["paths"]} == {"/forecast", "/example", "/models", "/health"}
    assert {*described["paths"]["/forecast"]["post"]["requestBody"]["content"]} == {
        "application/json",
        "text/csv",
    }
    response, page = ask(port, "GET", "/docs")
    assert response.status == 200
    assert b"POST /forecast" in page
    for path in ("/docs", "/"):
        content = ask(port, "GET", path)[1].decode()
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", content)


def test_pages_have_a_strict_policy(port: int) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javas")):
        response, content = ask(port, "GET", path)
        assert response.status == 200
        assert content
        assert str(response.headers["content-type"]).startswith(kind)
        policy = str(response.headers["content-security-policy"])
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([row for row in SHORT if row["vdid"] != "VD-1"], "rows: has no detector 'VD-1', one of"),
        ([{k: row[k] for k in row if k != "avg_speed"} for row in SHORT], "rows: have no avg_spe"),
        (SHORT[:9], "rows: 3 steps of 5 min up to its last value, but a window takes 6"),
        (
            [row | {"timestamp": f"2024-03-05T{n // 3:02d}:07"} for n, row in enumerate(SHORT)],
            "rows: its interval is 1 h, the model forecasts steps of 5 min",
        ),
        ([row | dict.fromkeys([*row][2:]) for row in SHORT], "rows: "),
    ],
    ids=["a joint detector", "a feature", "too few", "interval", "no value"],
)
def test_rows_that_cannot_be_forecast_are_one_line(port: int, rows: Any, line: str) -> None:
    status, found = post(port, as_json(rows))
    assert status == 422
    assert found["detail"].startswith(line)


def test_other_routes_and_methods_are_one_line(port: int) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/../pyproject.toml", 404),
        ("GET", "/forecast", 404),
        ("DELETE", "/forecast", 405),
        ("POST", "/models", 405),
    ):
        response, content = ask(port, method, path)
        assert response.status == status
        assert json.loads(content)["detail"].endswith("no such route; see /docs")


def test_packed_bodies_are_refused(port: int) -> None:
    body = gzip.compress(as_json(ROWS))
    response, content = ask(
        port, "POST", "/forecast", body, content_type="application/json", content_encoding="gzip"
    )
    assert (response.status, json.loads(content)["detail"][:16]) == (415, "Content-Encoding")


def test_large_bodies_are_refused_before_they_are_read(port: int) -> None:
    head = (
        "POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
        f"Content-Length: {limits.MOST_BYTES + 1}\r\n\r\n"
    )
    assert b" 413 " in exchange(port, head.encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = head.replace(f"Content-Length: {limits.MOST_BYTES + 1}", "Transfer-Encoding: chunked")
    assert b" 413 " in exchange(port, head.encode(), *[chunk] * 65)


def test_slow_bodies_are_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    head = "POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"
    answer = exchange(port, head.encode())
    assert b" 408 " in answer
    assert b"not there after 0.2 s" in answer


def exchange(port: int, *parts: bytes) -> bytes:
    """What comes back for bytes that are sent as they are, until the server ends."""
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # cut off
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except OSError:
            pass
        return found


def test_too_many_requests_are_asked_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_WAITING", 1)
    release, workers = threading.Event(), Workers(1)
    with serving({"multi_vd_lstm": served()}, workers=workers) as port:
        monkeypatch.setattr("vd_forecasting.serving.app.forecast_body", lambda *_: wait(release))
        answers: list[int] = []
        senders = [
            threading.Thread(target=lambda: answers.append(post(port, b"[]")[0])) for _ in range(2)
        ]
        for sender in senders:
            sender.start()
        until = time.monotonic() + 10
        while workers._places and time.monotonic() < until:
            time.sleep(0.01)
        response, content = ask(port, "POST", "/forecast", b"[]")
        release.set()
        for sender in senders:
            sender.join()
    assert (response.status, response.headers["retry-after"]) == (429, "1")
    assert json.loads(content)["detail"].startswith("too many requests: 1 requests wait already")
    assert answers == [200, 200]


def wait(release: threading.Event) -> bytes:
    release.wait(10)
    return b"{}"


def test_what_waited_too_long_is_not_begun(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAIT_SECONDS", -1.0)
    status, found = post(port, as_json(SHORT))
    assert (status, "not begun within" in found["detail"]) == (429, True)


# --- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/models", "/example", "/docs", "/openapi.json", "/nothing"])
@pytest.mark.parametrize("sent", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", "Bearer é"])
def test_without_the_token_nothing_of_a_model_is_shown(
    closed: int, path: str, sent: str | None
) -> None:
    headers: dict[str, str] = {} if sent is None else {"authorization": sent}
    response, content = ask(closed, "GET", path, b"", **headers)
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert json.loads(content)["detail"].startswith("Authorization: ")


def test_with_the_token_all_is_answered(closed: int) -> None:
    sent = {"authorization": f"Bearer {TOKEN}", "content_type": "application/json"}
    response, _ = ask(closed, "POST", "/forecast", as_json(SHORT), **sent)
    assert response.status == 200
    assert ask(closed, "POST", "/forecast", as_json(SHORT))[0].status == 401


@pytest.mark.parametrize("path", ["/health", "/", "/page.css", "/page.js"])
def test_health_and_the_empty_page_need_no_token(closed: int, path: str) -> None:
    assert ask(closed, "GET", path)[0].status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("LOCALHOST:1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
    ],
)
def test_a_local_server_answers_to_local_names_only(port: int, host: str, status: int) -> None:
    assert ask(port, "GET", "/health", host=host)[0].status == status


# --- any body -------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(max_size=8), of, max_size=4),
    max_leaves=12,
)
cells = json_values | st.sampled_from(["2024-03-05T16:00:00", "VD-0", "VD-1", 1e308, -99, 10**30])
rows = st.lists(
    st.dictionaries(st.sampled_from([*ROWS[0]]) | st.text(max_size=4), cells, max_size=6),
    max_size=6,
)
changes = st.lists(
    st.tuples(st.integers(0, len(SHORT) - 1), st.sampled_from([*ROWS[0]]), cells),
    min_size=1,
    max_size=4,
)


def with_changes(changed: list[tuple[int, str, Any]]) -> bytes:
    """Rows that can be forecast, but for some cells."""
    found = [dict(row) for row in SHORT]
    for at, name, cell in changed:
        found[at][name] = cell
    return as_json(found)


bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    rows.map(lambda found: json.dumps(found).encode()),
    changes.map(with_changes),
    st.integers(0, len(as_json(SHORT))).map(lambda end: as_json(SHORT)[:end]),
    st.tuples(st.integers(0, len(as_csv(SHORT)) - 1), st.binary(max_size=6)).map(
        lambda put: as_csv(SHORT)[: put[0]] + put[1] + as_csv(SHORT)[put[0] :]
    ),
)


@given(bodies, st.sampled_from(["application/json", "text/csv"]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_body_is_forecast_or_refused_in_one_line(port: int, body: bytes, kind: str) -> None:
    status, found = post(port, body, kind)
    assert status == 200 or 400 <= status < 500
    if status != 200:
        assert isinstance(found["detail"], str)
        assert found["detail"].isprintable()
