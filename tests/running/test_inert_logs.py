"""Names from files in log lines."""

import logging
import logging.config
from pathlib import Path

import pytest

from vd_forecasting.running.inert_logs import InertRecord
from vd_forecasting.running.runners import ParallelRunner

HOSTILE = "a\n20:00:00  forged\x1b[2J"
INERT = "a 20:00:00  forged [2J: read"


def test_a_name_cannot_begin_a_line_of_a_log() -> None:
    record = InertRecord("", logging.INFO, "", 0, "%s: read", (HOSTILE,), None)
    assert record.getMessage() == INERT


def log(path: Path) -> None:
    """As Kedro does it in a process that was spawned: the configuration comes first."""
    handlers = {"file": {"class": "logging.FileHandler", "filename": str(path)}}
    root = {"level": "INFO", "handlers": ["file"]}
    logging.config.dictConfig({"version": 1, "handlers": handlers, "root": root})
    logging.getLogger("vd_forecasting.datasets").info("%s: read", HOSTILE)


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_nor_in_a_worker_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setenv("KEDRO_MP_CONTEXT", start)
    path = tmp_path / "run.log"
    with ParallelRunner(max_workers=1).executor(1) as executor:
        executor.submit(log, path).result(100)
    assert path.read_text() == f"{INERT}\n"
