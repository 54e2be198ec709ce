import hashlib
import os
import time
from pathlib import Path

import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node

from tests.make.another_language import greek
from tests.make.catalogs import catalog_entries
from vd_forecasting.datasets import CheckpointDataset, PageDataset
from vd_forecasting.datasets.chunks import MODELS_PER_FILE
from vd_forecasting.parameters import Report
from vd_forecasting.rendering.page import Page
from vd_forecasting.running.staleness.fingerprint import (
    Fingerprint,
    Hashes,
    content_hash,
    take_fingerprint,
)
from vd_forecasting.running.staleness.plan import alterations


def write() -> Page:
    """Stands for a node that writes a page."""
    return Page("![A week](figure:week)", {"week": b"drawn"})


def read(*data: object) -> int:
    """Stands for a node that reads any number of datasets."""
    return len(data)


def test_a_figure_of_a_page_that_is_missing_or_altered_is_named(tmp_path: Path) -> None:
    page = PageDataset(filepath=str(tmp_path / "report.md"), figures="plots/")
    catalog = DataCatalog({"page": page})

    def take() -> Fingerprint:
        return take_fingerprint(Node(write, None, "page"), {}, catalog, {})

    page.save(write())
    before = take()
    assert alterations(before, take()) == {}
    (tmp_path / "plots" / "week.png").write_bytes(b"drawn otherwise")
    assert alterations(before, take()) == {"page week.png": "was changed since"}
    (tmp_path / "plots" / "week.png").unlink()
    assert alterations(before, take()) == {"page week.png": "is missing"}
    (tmp_path / "report.md").unlink()
    assert alterations(before, take()) == {"page": "is missing"}


def test_a_file_of_weights_that_is_missing_or_altered_is_named(tmp_path: Path) -> None:
    models = CheckpointDataset(filepath=str(tmp_path / "best.pt"))
    catalog = DataCatalog({"models": models})

    def take() -> Fingerprint:
        return take_fingerprint(Node(write, None, "models"), {}, catalog, {})

    weights = {f"VD-{n}": {"bias": torch.full((1,), float(n))} for n in range(MODELS_PER_FILE + 1)}
    models.save({"weights": weights})
    before = take()
    assert alterations(before, take()) == {}
    _, second = sorted(models.chunks())
    assert isinstance(second, Path)
    second.write_bytes(b"other weights")
    assert alterations(before, take()) == {f"models {second.name}": "was changed since"}
    second.unlink()
    assert alterations(before, take()) == {f"models {second.name}": "is missing"}


def test_the_folder_of_a_file_does_not_count(tmp_path: Path) -> None:
    """... in any kind of entry that the catalog has."""
    entries = [
        {key: value for key, value in entry.items() if key != "validator"}
        for entry in catalog_entries().values()
        if "{node}" not in entry.get("filepath", "")
    ]
    names = [f"dataset_{number}" for number in range(len(entries))]
    node = Node(read, names, "out")

    def entry_digests(folder: str) -> dict[str, str]:
        config = {
            name: entry | {"filepath": str(tmp_path / folder / "a.md")}
            for name, entry in zip(names, entries, strict=True)
            if "filepath" in entry
        }
        return take_fingerprint(node, {}, DataCatalog.from_config(config), {})["datasets"]

    assert entry_digests("one") == entry_digests("two") != {}


# --- the content of a file ------------------------------------------------------------------------


LONG_AGO = time.time_ns() - 10**12


def test_messages_count_for_nodes_that_write_pages_and_for_no_others(tmp_path: Path) -> None:
    def takes(*inputs: str, language: str) -> Fingerprint:
        report = MemoryDataset(Report(language=language))
        page = PageDataset(filepath=str(tmp_path / "report.md"), figures="")
        catalog = DataCatalog({"params:report": report, "params:seed": MemoryDataset(1), "p": page})
        return take_fingerprint(Node(read, [*inputs], "p"), {}, catalog, {})

    with greek(tmp_path):
        written = takes("params:report", language="eo")["code"]
        computed = takes("params:seed", language="eo")["code"]
        english = takes("params:report", language="en")["code"]
        assert {*written} - {*english} == {"messages of eo"}
        with (tmp_path / "eo.po").open("a", encoding="utf-8") as file:
            file.write('\nmsgid "new"\nmsgstr "neu"\n')
        now = takes("params:report", language="eo")["code"]
        assert now.pop("messages of eo") != written.pop("messages of eo")
        assert now == written
        assert takes("params:seed", language="eo")["code"] == computed


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
