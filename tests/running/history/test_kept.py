"""Files of past runs: numbers, how many there are, and what else may lie there."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.make.kept_runs import make_daily_errors, make_experiment, make_run
from vd_forecasting.running.history.kept import keep, load_runs

RUN = make_run({"single_vd_lstm": make_experiment(make_daily_errors([1.0, 2.0]))})


def test_a_run_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert load_runs(folder) == {}
    assert keep(RUN, folder, 5) == 1
    assert load_runs(folder) == {1: RUN}


def test_the_oldest_are_removed_and_numbers_go_on(tmp_path: Path) -> None:
    assert [keep(RUN, tmp_path, 3) for _ in range(12)] == list(range(1, 13))
    assert list(load_runs(tmp_path)) == [10, 11, 12]
    assert keep(RUN, tmp_path, 1) == 13
    assert [path.name for path in tmp_path.iterdir()] == ["13.json"]


def test_runs_that_end_together_have_numbers_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda _: keep(RUN, tmp_path, 100), range(24)))
    assert sorted(numbers) == list(range(1, 25))
    assert set(load_runs(tmp_path)) == set(numbers)


def test_what_cannot_be_read_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """... with a warning, unless a run has only taken its number."""
    keep(RUN, tmp_path, 9)
    (tmp_path / "2.json").touch()
    (tmp_path / "3.json").write_text('{"command": 1}')
    (tmp_path / "4.json").write_bytes(b"\xff\xfe")
    (tmp_path / "notes.json").write_text("mine")
    assert list(load_runs(tmp_path)) == [1]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "3.json cannot be read" in caplog.text
    assert keep(RUN, tmp_path, 9) == 5


def test_a_key_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    keep(RUN, tmp_path, 9)
    path = tmp_path / "1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert load_runs(tmp_path) == {1: RUN}


def test_a_number_is_free_again_if_nothing_could_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(RUN), "model_dump_json", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keep(RUN, tmp_path, 9)
    assert list(tmp_path.iterdir()) == []
