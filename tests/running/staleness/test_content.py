import hashlib
import os
import time
from pathlib import Path

import pytest

from vd_forecasting.running.staleness.content import Hashes, content_hash

LONG_AGO = time.time_ns() - 10**12


def test_it_is_the_sha_256(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (2**20 + 1))
    assert content_hash(file, {}) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert content_hash(tmp_path / "absent", {}) is None
    assert content_hash(tmp_path, {}) is None


def test_a_file_that_looks_as_it_did_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    monkeypatch.setattr(time, "time", lambda: 1e11)  # much later
    known: Hashes = {}
    before = content_hash(file, known)
    monkeypatch.setattr(Path, "open", None)
    assert content_hash(file, known) == before


def test_a_file_changed_a_moment_ago_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    known: Hashes = {}
    content_hash(file, known)
    assert known == {}


def test_the_same_name_size_and_time_but_other_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    monkeypatch.setattr(time, "time", lambda: 1e11)
    known: Hashes = {}
    before = content_hash(file, known)
    time.sleep(0.02)  # a tick of the file system's clock
    file.write_text("after!")
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    assert content_hash(file, known) != before
