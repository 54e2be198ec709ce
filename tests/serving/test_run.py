"""``serve`` as a user starts and ends it."""

import json
import os
import re
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.make.arrays import make_clean
from tests.make.forked_runs import ForkedRuns
from tests.make.projects import SMALL, copy_of_the_project, save
from tests.make.served import as_json, ask, post, rows_of
from vd_forecasting.serving.limits import is_loopback
from vd_forecasting.serving.run import TOKEN, bind, find_token

SECRET = "a-secret-of-some-length"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.5.0.1", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_only_loopback_is_local(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_other_machines_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert find_token("127.0.0.1") is None
    with pytest.raises(ValueError, match=r"--host 0\.0\.0\.0 can be .* set VD_FORECASTING_TOKEN"):
        find_token("0.0.0.0")
    monkeypatch.setenv(TOKEN, SECRET)
    assert find_token("0.0.0.0") == SECRET
    assert find_token("127.0.0.1") == SECRET


@pytest.mark.parametrize("token", ["", "short", "with a blank in the middle", "sécret" * 5])
def test_a_token_that_cannot_be_sent_or_is_guessed_is_refused(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv(TOKEN, token)
    with pytest.raises(ValueError, match="16 or more printable characters"):
        find_token("127.0.0.1")


def test_an_address_that_cannot_be_used_is_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}: address already in use; choose"):
            bind("127.0.0.1", port)
    with pytest.raises(OSError, match=r"nowhere\.invalid:80: .*choose another --port or --host"):
        bind("nowhere.invalid", 80)


# --- whole runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(runs: ForkedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which one experiment was trained; today.h5 begins where its file ends."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("trained"))
    command = ("run", "--namespace", "single_vd_lstm", "--env", "quick", "--params", SMALL)
    code, printed = runs.run(folder, *command)
    assert code == 0, printed
    today = make_clean(1000, vds=3).isel(time=slice(700, 1000))
    save(today.assign_attrs(utc_offset="+08:00"), folder / "today.h5")
    return folder


@pytest.mark.integration
def test_rows_over_http_give_what_kedro_run_writes(runs: ForkedRuns, project: Path) -> None:
    today = make_clean(1000, vds=3).isel(time=slice(700, 1000), vd=[0])
    pid, port = started(runs, project)
    try:
        status, found = post(port, as_json(rows_of(today, "+08:00")))
        listed = json.loads(ask(port, "GET", "/models")[1])
    finally:
        os.kill(pid, signal.SIGINT)
    code = runs.wait(pid)
    assert status == 200
    assert [model["name"] for model in listed] == ["single_vd_lstm"]
    printed = (project / "serve.log").read_text()
    assert code == 0, printed
    assert "Traceback" not in printed
    assert "not trained, so not served: global_vd_lstm, " in printed
    assert printed.splitlines()[-1].startswith("1 model on "), "Ctrl-C says nothing"

    params = "vd_file=today.h5,compute.threads=1"
    code, printed = runs.run(project, "run", "--pipeline", "forecast", "--params", params)
    assert code == 0, printed
    table = pd.read_csv(project / "data/07_model_output/forecast/single_vd_lstm.csv")
    table = table.set_index(["model", "vdid", "feature"])
    assert found["times"] == [*table.xs(("lstm", "VD-0", "avg_speed"))["time"]]
    for one in found["forecasts"]:
        rows = table.xs((one["model"], one["vdid"], one["feature"]))
        for name in ("forecast", "lower_50", "upper_50", "lower_90", "upper_90"):
            np.testing.assert_allclose(one[name], rows[name], rtol=1e-5)  # of six digits
        assert [" ".join(flags) for flags in one["flags"]] == [*rows["flag"].fillna("")]


def started(runs: ForkedRuns, project: Path) -> tuple[int, int]:
    """Process id and port of a server, once it answers."""
    log = project / "serve.log"
    log.unlink(missing_ok=True)
    pid = runs.start(project, log, "serve", "--port", "0", "--params", "compute.threads=1")
    until = time.monotonic() + 120
    while time.monotonic() < until and runs.is_running(pid):
        if log.exists() and (found := re.search(r"http://127\.0\.0\.1:(\d+)/\n", log.read_text())):
            return pid, int(found[1])
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.mark.integration
def test_what_cannot_be_served_is_one_line(runs: ForkedRuns, project: Path, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        code, printed = runs.run(project, "serve", "--port", port)
    assert code == 1
    assert printed.splitlines()[-1].startswith(f"Error: 127.0.0.1:{port}: address already in use")
    code, printed = runs.run(project, "serve", "--host", "0.0.0.0", "--port", "0")
    assert code == 1
    assert printed.splitlines()[-1].startswith("Error: --host 0.0.0.0 can be reached from other")
    fresh = copy_of_the_project(tmp_path / "fresh")
    code, printed = runs.run(fresh, "serve", "--port", "0")
    assert (code, printed.splitlines()[-1]) == (
        1,
        "Error: no experiment has run yet; kedro run --pipeline compare_all",
    )
