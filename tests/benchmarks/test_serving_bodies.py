"""Many bodies that are no rows: ``pytest -m slow -n 0 -s tests/benchmarks/test_serving_bodies.py``.

Each is answered over loopback; none may be answered with a fault of the server.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any

import pytest

from tests.make.recent_files import recent_file
from tests.make.served import as_csv, as_json, rows_of, served, serving

BODIES = int(os.environ.get("VD_TEST_BODIES", "100000"))
ROWS = [row for row in rows_of(recent_file(first=494)) if row["vdid"] != "VD-2"]
KINDS = ("application/json", "text/csv", "application/json; charset=utf-8", "text/plain", "")
ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0.5,
        1e308,
        -(10**25),
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x",
        "é\ud800",
    ),
    *([], {}, [[]], {"a": {}}, "2024-03-05T24:00", "2024-02-30", "NaT", "0001-01-01", "9" * 300),
    *("2024-03-05T16:00:00.123456789+23:59", "VD-0", "\x00", "-99", "1,5", "٣"),
]


def random_bytes(random: Random) -> bytes:
    return random.randbytes(random.choice([0, 1, 7, 100, 5000]))


def random_json(random: Random) -> bytes:
    return json.dumps(value(random, 4)).encode()


def value(random: Random, depth: int) -> Any:
    """Some JSON, nested at most so deep."""
    kind = random.randrange(3) if depth else 0
    if kind == 1:
        return [value(random, depth - 1) for _ in range(random.randrange(5))]
    if kind == 2:
        names = ["rows", "model", "vdid", "timestamp", *ROWS[0], "x"]
        chosen = random.choices(names, k=random.randrange(5))
        return {name: value(random, depth - 1) for name in chosen}
    return random.choice(ODD)


def deep_json(random: Random) -> bytes:
    return random.choice([b"[", b'{"rows":', b'[{"a":']) * random.randrange(50_000)


def odd_cells(random: Random) -> bytes:
    """Rows of which some cells hold something else."""
    rows = [dict(row) for row in ROWS]
    for _ in range(random.randrange(1, 6)):
        random.choice(rows)[random.choice([*ROWS[0]])] = random.choice(ODD)
    if random.random() < 0.5:
        return as_json(rows)
    return as_csv(rows_as_text(rows))


def rows_as_text(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: str(cell).encode("utf-8", "replace").decode() for name, cell in row.items()}
        for row in rows
    ]


def odd_rows(random: Random) -> bytes:
    """Rows that are repeated, absent, or lack a column."""
    rows = random.choices(ROWS, k=random.randrange(1, 14))
    without = random.choice([*ROWS[0], ""])
    return as_json([{name: row[name] for name in row if name != without} for row in rows])


def cut(random: Random) -> bytes:
    body = random.choice([as_json(ROWS), as_csv(ROWS)])
    return body[: random.randrange(len(body))]


def flipped(random: Random) -> bytes:
    """Rows of which some bytes are others, gone or repeated."""
    body = bytearray(random.choice([as_json(ROWS), as_csv(ROWS)]))
    for _ in range(random.randrange(1, 12)):
        at = random.randrange(len(body))
        end = at + random.randrange(4)
        body[at:end] = random.choice(
            [b"", random.randbytes(2), b"\x00", b'"', b",", b"}", b"\n", body[:40]]
        )
    return bytes(body)


MAKERS: tuple[Callable[[Random], bytes], ...] = (
    *(random_bytes, random_json, deep_json, odd_cells, odd_cells, odd_rows, cut, flipped, flipped),
)


def answer(connection: HTTPConnection, body: bytes, kind: str) -> tuple[int, bytes]:
    connection.request("POST", "/forecast", body, {"Content-Type": kind})
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.slow
def test_no_body_is_a_fault_of_the_server() -> None:
    random, found, begun = Random(0), Counter[int](), time.monotonic()
    with (
        serving({"multi_vd_lstm": served()}) as port,
        closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection,
    ):
        for _ in range(BODIES):
            body, kind = random.choice(MAKERS)(random), random.choices(KINDS, [9, 9, 1, 1, 1])[0]
            try:
                status, content = answer(connection, body, kind)
            except (HTTPException, OSError):  # cut off before it was read
                connection.close()
                status, content = answer(connection, body, kind)
            found[status] += 1
            assert status == 200 or 400 <= status < 500, (status, body, content)
            assert status == 200 or json.loads(content)["detail"].isprintable()
        status, _ = answer(connection, as_json(ROWS), "application/json")
    assert status == 200, "it still answers"
    minutes = (time.monotonic() - begun) / 60
    sys.stdout.write(f"\n{BODIES:,} bodies in {minutes:.1f} min: {dict(sorted(found.items()))}\n")
