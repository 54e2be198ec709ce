"""Fixtures for tables."""

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


@pytest.fixture
def arrow() -> ModuleType:
    reason = "pyarrow, of the extra ingest, is not there"
    pytest.importorskip("pyarrow.parquet", reason=reason)
    module: ModuleType = pytest.importorskip("pyarrow", reason=reason)
    return module
