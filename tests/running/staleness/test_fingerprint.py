from pathlib import Path

from kedro.io import DataCatalog
from kedro.pipeline import Node

from vd_forecasting.datasets import PageDataset
from vd_forecasting.rendering.page import Page
from vd_forecasting.running.staleness.fingerprint import Fingerprint, take_fingerprint
from vd_forecasting.running.staleness.reasons import alterations


def write() -> Page:
    """Stands for a node that writes a page."""
    return Page("![A week](figure:week)", {"week": b"drawn"})


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
